//! Packets that somebody recorded and sends again: the tag on them is right, and they must not count.
//!
//! No two clocks are compared for this. What proves that a packet is new is that it repeats a number of ours which no
//! packet of that peer repeated before: whoever wrote it had received what we sent last. A number that was seen already
//! (within the window of RFC 4303, 3.4.3), a start of the peer's agent that another one has followed, or an unknown
//! start without such a proof is refused. A peer that cannot hear us has no proof: its start is taken where it is later
//! than the one before and its wall clock is not far from ours. Two whose clocks are far apart refuse each other at first:
//! each repeats the number of what it refused ([`Guard::unproven`]), which is the other one's proof.

use std::collections::VecDeque;
use std::time::Duration;

use crate::evidence::{Heartbeat, LargeHeartbeat, Size};
use crate::received::Received;
use crate::time::{WallNanos, nanos};

/// Earlier starts of the peer's agent that are remembered.
const FORMER: usize = 16;
/// How far apart the wall clocks of hosts may be that keep time at all.
const CLOCKS_AGREE: Duration = Duration::from_secs(30);

/// Kinds of packets that count by themselves: small, of the MTU, fragmented, probes.
pub const KINDS: usize = 4;

/// Why a packet was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its number was seen already: the network may have doubled it.
    Duplicate,
    /// It is from before.
    Replay,
    /// It claims a start of the peer's agent that nothing proves.
    Unproven,
}

impl Refusal {
    /// A short name of the reason, for the counter.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Replay => "replay",
            Self::Unproven => "unproven",
        }
    }
}

/// Which start of which boot: boot id and incarnation.
pub type Start = ([u8; 16], u64);

/// What a packet says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The start of the peer's agent.
    pub start: Start,
    /// Which kind, below [`KINDS`].
    pub kind: usize,
    /// Its number among those of its kind.
    pub seq: u64,
    /// Its sender's wall clock; only small ones have it.
    pub wall: Option<WallNanos>,
    /// The number of this agent's present start that it repeats.
    pub echo: Option<u64>,
}

impl Claim {
    /// That of a small heartbeat, at the agent that was started as `incarnation`.
    #[must_use]
    pub fn of_heartbeat(beat: &Heartbeat, incarnation: u64) -> Self {
        let heard = beat.heard.filter(|heard| heard.incarnation == incarnation);
        Self {
            start: (beat.boot_id, beat.incarnation),
            kind: Size::Small.place(),
            seq: beat.seq,
            wall: Some(beat.sent_wall),
            echo: heard.map(|heard| heard.seq),
        }
    }

    /// That of a large one, which repeats a number as [`Claim::echo`] has it.
    #[must_use]
    pub fn of_large(large: &LargeHeartbeat, echo: Option<u64>) -> Self {
        let start = (large.boot_id, large.incarnation);
        Self { start, kind: large.size.place(), seq: large.seq, wall: None, echo }
    }
}

/// What is known of one peer.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    present: Option<Start>,
    former: VecDeque<Start>,
    windows: [Window; KINDS],
    /// The highest number of ours that the peer repeated, in packets of each kind.
    echoed: [u64; KINDS],
    /// The latest start that nothing proves yet, and the number of its newest small packet.
    unproven: Option<(u64, u64)>,
}

/// The numbers of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    highest: u64,
    received: Received,
}

impl Window {
    fn take(&mut self, seq: u64) -> Result<(), Refusal> {
        if seq > self.highest {
            self.received.advance(seq - self.highest);
            self.highest = seq;
            return Ok(());
        }
        let back = self.highest - seq;
        match self.received.fill(back) {
            true => Ok(()),
            false if back < Received::WINDOW => Err(Refusal::Duplicate),
            false => Err(Refusal::Replay),
        }
    }

    /// Goes on from a lower number.
    fn restart(&mut self, seq: u64) {
        *self = Self::default();
        self.received.advance(seq);
        self.highest = seq;
    }
}

impl Guard {
    /// Takes a packet whose tag is right, at `now` by this host's wall clock.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn take(&mut self, claim: &Claim, now: WallNanos) -> Result<(), Refusal> {
        let taken = self.judge(claim, now);
        match taken {
            Ok(()) => self.unproven = None,
            Err(Refusal::Unproven) if claim.kind == 0 => {
                self.unproven = self.unproven.max(Some((claim.start.1, claim.seq)));
            }
            Err(_) => {}
        }
        taken
    }

    /// What the peer has to be told back so that it can prove that its present start is one: incarnation and number of what was
    /// refused for that. An old packet that somebody sends again says an earlier start, which proves nothing to anybody.
    #[must_use]
    pub fn unproven(&self) -> Option<(u64, u64)> {
        self.unproven
    }

    fn judge(&mut self, claim: &Claim, now: WallNanos) -> Result<(), Refusal> {
        if self.present != Some(claim.start) {
            self.begin(claim, now)?;
        }
        let window = self.windows.get_mut(claim.kind).ok_or(Refusal::Replay)?;
        let echoed = self.echoed.get_mut(claim.kind).ok_or(Refusal::Replay)?;
        let proven = claim.echo.is_some_and(|echo| echo > *echoed);
        match window.take(claim.seq) {
            // Its numbers went back, and it knows what we just sent: a snapshot of it was restored.
            Err(_) if proven => window.restart(claim.seq),
            other => other?,
        }
        *echoed = (*echoed).max(claim.echo.unwrap_or(0));
        Ok(())
    }

    fn begin(&mut self, claim: &Claim, now: WallNanos) -> Result<(), Refusal> {
        let proven = claim.echo.is_some_and(|echo| self.echoed.iter().all(|echoed| echo > *echoed));
        if self.former.contains(&claim.start) {
            return Err(Refusal::Replay);
        }
        let later = self.present.is_none_or(|(_, incarnation)| claim.start.1 > incarnation);
        let agrees = claim.wall.is_some_and(|wall| wall.0.abs_diff(now.0) <= nanos(CLOCKS_AGREE));
        if !(proven || later && agrees) {
            return Err(Refusal::Unproven);
        }
        if let Some(before) = self.present.replace(claim.start) {
            if self.former.len() == FORMER {
                self.former.pop_front();
            }
            self.former.push_back(before);
        }
        self.windows = Default::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallNanos = WallNanos(1_800_000_000_000_000_000);
    const HOUR: u64 = 3_600_000_000_000;

    fn claim(incarnation: u64, seq: u64) -> Claim {
        Claim { start: ([1; 16], incarnation), kind: 0, seq, wall: Some(NOW), echo: None }
    }

    fn take(guard: &mut Guard, claim: Claim) -> Result<(), Refusal> {
        guard.take(&claim, NOW)
    }

    #[test]
    fn a_number_counts_once_also_where_packets_overtake_each_other() {
        let mut guard = Guard::default();
        for seq in [1, 2, 4, 3, 100] {
            assert_eq!(take(&mut guard, claim(1, seq)), Ok(()), "{seq}");
        }
        assert_eq!(take(&mut guard, claim(1, 100)), Err(Refusal::Duplicate));
        assert_eq!(take(&mut guard, claim(1, 4)), Err(Refusal::Replay), "too old to know");
        assert_eq!(take(&mut guard, Claim { kind: 1, ..claim(1, 4) }), Ok(()), "kinds count by themselves");
    }

    #[test]
    fn a_start_that_another_has_followed_never_counts_again() {
        let mut guard = Guard::default();
        take(&mut guard, claim(1, 5)).unwrap();
        take(&mut guard, claim(2, 1)).unwrap();
        assert_eq!(take(&mut guard, Claim { echo: Some(9), ..claim(1, 6) }), Err(Refusal::Replay));
    }

    #[test]
    fn an_old_recording_is_refused_though_this_agent_knows_nothing_yet() {
        let mut guard = Guard::default();
        let old = Claim { wall: Some(WallNanos(NOW.0 - HOUR)), ..claim(1, 5) };
        assert_eq!(take(&mut guard, old), Err(Refusal::Unproven));
    }

    #[test]
    fn a_peer_whose_clock_is_wrong_is_believed_once_it_has_heard_us() {
        let mut guard = Guard::default();
        let wrong = Claim { wall: Some(WallNanos(NOW.0 + HOUR)), ..claim(1, 1) };
        assert_eq!(take(&mut guard, wrong), Err(Refusal::Unproven));
        assert_eq!(take(&mut guard, Claim { seq: 2, echo: Some(1), ..wrong }), Ok(()));
        assert_eq!(take(&mut guard, Claim { seq: 3, echo: Some(1), ..wrong }), Ok(()), "and from then on");
    }

    /// Seen in a simulated fleet: the agent of one was started anew after the wall clock of the other had been set.
    #[test]
    fn two_whose_clocks_are_far_apart_prove_themselves_to_each_other() {
        let (mut a, mut b) = (Guard::default(), Guard::default());
        let (of_a, of_b) = (claim(7, 40), Claim { wall: Some(WallNanos(NOW.0 + HOUR)), ..claim(8, 90) });
        assert_eq!(b.take(&of_a, WallNanos(NOW.0 + HOUR)), Err(Refusal::Unproven));
        assert_eq!(a.take(&of_b, NOW), Err(Refusal::Unproven));
        assert_eq!((a.unproven(), b.unproven()), (Some((8, 90)), Some((7, 40))));
        let large = |of: Claim, echo: u64| Claim { kind: 1, seq: 1, wall: None, echo: Some(echo), ..of };
        assert_eq!(a.take(&large(of_b, 40), NOW), Ok(()), "b repeats what it refused of a");
        assert_eq!(b.take(&large(of_a, 90), NOW), Ok(()));
        assert_eq!((a.unproven(), b.unproven()), (None, None));
        assert_eq!(a.take(&Claim { seq: 91, ..of_b }, NOW), Ok(()), "and small ones from then on");
    }

    #[test]
    fn what_is_told_back_is_the_latest_start() {
        let mut guard = Guard::default();
        let old = Claim { wall: Some(WallNanos(NOW.0 - HOUR)), ..claim(3, 900) };
        for refused in [old, Claim { seq: 5, ..claim(6, 5) }, old] {
            let far = WallNanos(NOW.0 - 2 * HOUR);
            assert_eq!(guard.take(&refused, far), Err(Refusal::Unproven));
        }
        assert_eq!(guard.unproven(), Some((6, 5)), "what is sent again does not take its place");
    }

    #[test]
    fn a_restored_snapshot_counts_with_a_proof_and_its_recording_does_not() {
        let mut guard = Guard::default();
        take(&mut guard, Claim { echo: Some(50), ..claim(1, 1000) }).unwrap();
        assert_eq!(take(&mut guard, Claim { echo: Some(50), ..claim(1, 7) }), Err(Refusal::Replay));
        assert_eq!(take(&mut guard, Claim { echo: Some(51), ..claim(1, 8) }), Ok(()));
        assert_eq!(take(&mut guard, Claim { echo: Some(51), ..claim(1, 8) }), Err(Refusal::Duplicate));
    }

    #[test]
    fn an_earlier_start_counts_with_a_proof_only() {
        let mut guard = Guard::default();
        take(&mut guard, claim(9, 1)).unwrap();
        assert_eq!(take(&mut guard, claim(3, 1)), Err(Refusal::Unproven), "its wall clock was set back");
        assert_eq!(take(&mut guard, Claim { echo: Some(4), ..claim(3, 2) }), Ok(()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut guard = Guard::default();
        (1..100).for_each(|start| take(&mut guard, claim(start, 1)).unwrap());
        assert_eq!(guard.former.len(), FORMER);
    }
}
