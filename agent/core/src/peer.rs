//! What this host knows of one peer, from its heartbeats and echo replies.
//!
//! Signal: heartbeats with a number, the peer's send time and this kernel's receive time, and in them what the
//! peer last heard of us. Ask: is the peer silent, does it not hear us, and is it back? The intuition: a hole in
//! the *numbers* is a loss on the way, a hole in the *send times* is a peer that did not send, and a report of
//! old news of us is a loss on the way there. None of it compares clocks of two hosts.

use std::collections::VecDeque;
use std::time::Duration;

use crate::account::Ends;
use crate::clock_track::ClockTrack;
use crate::evidence::{
    FlowReport, Heard, Heartbeat, HoleReason, HoleReport, KernelDrops, LargeHeard, LargeHeartbeat, Size, SizeProbe,
    StallReport,
};
use crate::flow::FlowTrack;
use crate::loss::LossTrack;
use crate::received::Received;
use crate::sizes::{CALM, Sizes};
use crate::time::{Nanos, nanos};
use crate::views::Views;
use large::LargeIn;
use words::{late, step};

mod arrival;
mod echo;
mod large;
mod link;
mod words;

pub use arrival::{Arrival, LastHeard};
pub use echo::{EchoTrack, Kernel};
pub use link::LinkTrack;
pub use words::lost_between;

/// Send times that are kept, to tell what a peer should have heard: a minute at ten a second.
const SENT_WINDOW: usize = 600;

/// Where so many small heartbeats in a row were lost, a large one that is missing says nothing of sizes.
const SMALL_LOST_TOO: u64 = 3;

/// The counts of a peer at the beginning of a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    /// What it had said that it heard of us.
    pub heard: Option<Heard>,
    /// Its count of what it had of this host and did not take.
    pub overflow: u64,
    /// Packets from its address that this host had refused when it was last heard.
    pub refused: u64,
    /// Echo requests: (sent, answered).
    pub echo: (u64, u64),
    /// Heartbeats received from its incarnation.
    pub received: u64,
    /// It had said goodbye.
    pub left: bool,
    /// What it had said that its kernel dropped of the heartbeats between it and this host, when all of them arrived last.
    pub drops: Option<[u64; 3]>,
}

/// Everything that is known of one peer.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// The last heartbeat; absent where none ever came.
    pub last: Option<LastHeard>,
    /// It said goodbye: its silence is no stall.
    pub left: bool,
    /// Heartbeats received from its present incarnation.
    pub received: u64,
    /// Heartbeats from it, over all incarnations.
    pub received_total: u64,
    /// Heartbeats from it that did not arrive.
    pub lost_from: u64,
    /// Number of the last heartbeat that left for it.
    pub sent_seq: u64,
    /// What it last said that it heard of this agent's incarnation.
    pub heard: Option<Heard>,
    /// What it first said that it heard of this agent's incarnation.
    first_heard: Option<Heard>,
    /// Its count of datagrams that its receive buffer had no room for, or that it refused from this host's address.
    pub overflow: u64,
    /// Packets from its address that this host refused: not of this cluster, not of this version, not its own.
    pub refused: u64,
    /// How many those were when it was last heard.
    refused_before: u64,
    /// When it was first heard, or heard again after it had sent nothing: before that it could not hear either.
    pub resumed: Nanos,
    /// When its kernel first said since the last heartbeat that nobody listens, and when it last did.
    pub unreachable: Option<(Nanos, Nanos)>,
    /// Echo requests to it.
    pub echo: EchoTrack,
    /// Who has its address at link level.
    pub link: LinkTrack,
    /// Its own recent stalls, as it last told them.
    pub stalls: Vec<StallReport>,
    /// When those of them ended that are over.
    pub(crate) ends: Ends,
    /// What it last saw of the others.
    pub views: Views,
    /// Its label `hypervisor`, by its hash.
    pub hypervisor: Option<u64>,
    /// How its boot clock moves against this host's.
    pub clock: ClockTrack,
    /// Where heartbeats of it were last missing: from the one before to the one after.
    pub missing: Option<(Nanos, Nanos)>,
    /// What is lost of its small heartbeats.
    pub loss_from: LossTrack,
    /// What is lost of the small heartbeats to it, by its account.
    pub loss_to: LossTrack,
    /// Which sizes reach it.
    pub sizes: Sizes,
    /// What it last said of the way from it: where large packets vanish, why.
    pub hole: Option<HoleReport>,
    /// What this host's kernel dropped of the small heartbeats from and to it; absent where that is not counted.
    pub own_drops: Option<KernelDrops>,
    /// Heartbeats to it that this host's kernel refused to send.
    send_refused: u64,
    /// What it last said that its own kernel dropped of the small heartbeats between it and this host.
    pub drops: Option<KernelDrops>,
    /// What it had said of that when all heartbeats to it arrived last.
    drops_before: Option<[u64; 3]>,
    /// Since when it has been heard without a gap.
    pub heard_since: Option<Nanos>,
    /// How its heartbeats come in, by the place of their size.
    pub flows: [FlowTrack; 3],
    /// How it says that those of this host come in, by the place of their size.
    pub flows_to: [Option<FlowReport>; 3],
    /// What came in of its large heartbeats: of the MTU, and fragmented.
    large: [Option<LargeIn>; 2],
    /// Its newest size probe.
    probe: Option<SizeProbe>,
    /// Which of its newest numbers came in.
    numbers: Received,
    /// When the newest heartbeats left for it: (number, time).
    sent: VecDeque<(u64, Nanos)>,
}

impl Peer {
    /// A peer to which numbers up to `sent_seq` have left before.
    #[must_use]
    pub fn going_on_after(sent_seq: u64) -> Self {
        Self { sent_seq, ..Self::default() }
    }

    /// A heartbeat left for the peer, or this host's kernel refused to send it.
    pub fn on_sent(&mut self, seq: u64, refused: bool, at: Nanos) {
        self.sent_seq = seq;
        self.send_refused += u64::from(refused);
        if self.sent.len() == SENT_WINDOW {
            self.sent.pop_front();
        }
        self.sent.push_back((seq, at));
    }

    /// A heartbeat came in; says what it changed.
    pub fn on_heartbeat(&mut self, beat: &Heartbeat, at: Nanos, my_incarnation: u64) -> Arrival {
        let mut arrival =
            self.last.as_ref().map(|last| Arrival::of(beat, at, last, &mut self.numbers)).unwrap_or_default();
        if arrival.duplicate {
            self.on_duplicates(Size::Small, 1);
            return arrival;
        }
        self.received_total += 1;
        self.link.on_heard();
        if arrival.reordered {
            self.received += 1;
            let flow = &mut self.flows[Size::Small.place()];
            flow.reordered += 1;
            flow.on_packet(beat.sent_at, at);
            self.lost_from = self.lost_from.saturating_sub(1);
            self.loss_from.fill(1);
            return arrival;
        }
        if arrival.counts_anew() || self.last.is_none() {
            self.received = 0;
            self.heard = None;
            self.first_heard = None;
            self.numbers = Received::default();
            self.clock = ClockTrack::default();
            self.ends = Ends::default();
            self.flows.iter_mut().for_each(FlowTrack::begin_anew);
            self.large = [None; 2];
            self.probe = None;
            self.drops_before = None;
            self.views = Views::default();
            self.sizes.begin_anew();
            self.forget_losses();
        } else {
            self.loss_from.record(arrival.missing, 1, at);
            if arrival.missing > 0 {
                self.missing = Some((at.minus(arrival.silence), at));
            }
        }
        self.received += 1;
        self.unreachable = None;
        self.flows[Size::Small.place()].on_packet(beat.sent_at, at);
        self.lost_from = self.lost_from.saturating_add(arrival.missing);
        self.numbers.advance(arrival.missing.saturating_add(1));
        self.left = beat.goodbye;
        self.refused_before = self.refused;
        self.overflow = beat.overflow;
        let before = self.heard;
        self.heard = beat.heard.filter(|heard| heard.incarnation == my_incarnation);
        // A peer that was told to forget this host and then to watch it again counts anew.
        let goes_on = before.zip(self.heard).is_some_and(|(before, now)| before.count <= now.count);
        self.first_heard = self.first_heard.filter(|_| goes_on).or(self.heard);
        let words = before.zip(self.heard).filter(|_| goes_on);
        arrival.heard_step = words.map(|(before, now)| step(&before, &now));
        arrival.heard_late = words.map_or(0, |(before, now)| late(&before, &now));
        self.note_heard(&arrival, beat, at);
        self.note_drops(&arrival, beat);
        self.stalls.clone_from(&beat.stalls);
        self.views.on_heartbeat(beat, at);
        self.hypervisor = beat.hypervisor;
        self.clock.on_heartbeat(beat.sent_at, at);
        let (seq, sent_at) = (beat.seq, beat.sent_at);
        self.last = Some(LastHeard { at, seq, sent_at, boot_id: beat.boot_id, incarnation: beat.incarnation });
        self.ends.note(&beat.stalls, |moment| on_own_clock(moment, sent_at, at));
        arrival
    }

    /// What the peer says that it heard of this host, small and large.
    fn note_heard(&mut self, arrival: &Arrival, beat: &Heartbeat, at: Nanos) {
        self.hole = beat.hole;
        // What left before its first word may have found nobody.
        let lost_too = arrival.heard_step.is_none_or(|(missing, heard)| {
            self.loss_to.record(missing, heard, at);
            self.loss_to.fill(arrival.heard_late);
            missing >= u64::from(self.loss_to.misses_of_a_gap()).max(SMALL_LOST_TOO)
        });
        if lost_too {
            self.sizes.forgive();
        }
        self.flows_to = [None; 3];
        if self.heard.is_some() {
            self.sizes.on_heard(&beat.large, beat.probe);
            beat.flows.iter().for_each(|flow| self.flows_to[flow.size.place()] = Some(*flow));
        }
    }

    /// What the peer's kernel drops shows up to a second later in its words: what it said while all arrived is from before a
    /// loss, what it says since may be of it.
    fn note_drops(&mut self, arrival: &Arrival, beat: &Heartbeat) {
        self.drops.clone_from(&beat.drops);
        let arrives = arrival.heard_step.is_some_and(|(missing, heard)| missing == 0 && heard > 0);
        if arrives || self.drops_before.is_none() {
            self.drops_before = self.drops.as_ref().map(KernelDrops::counts);
        }
    }

    /// What this host's kernel dropped of the heartbeats between it and the peer, as it tells the peer.
    #[must_use]
    pub fn drops_for(&self) -> Option<KernelDrops> {
        let own = self.own_drops.clone()?;
        Some(KernelDrops { refused: self.send_refused, ..own })
    }

    /// Its address answered the echo request of `sent_at`. What another host answers that has it by now says nothing of the peer.
    pub fn on_echo_reply(&mut self, sent_at: Nanos, at: Nanos) {
        if !self.link.is_taken_over() {
            self.echo.on_reply(sent_at, at);
        }
    }

    /// At its address nobody listens on the port; as with an echo.
    pub fn on_port_unreachable(&mut self, at: Nanos) {
        if !self.link.is_taken_over() {
            self.unreachable = Some((self.unreachable.map_or(at, |(first, _)| first), at));
        }
    }

    /// A large heartbeat of the peer came in; one of another start of its agent than the last small one counts for nothing.
    pub fn on_large(&mut self, large: &LargeHeartbeat, at: Nanos) {
        let known = self
            .last
            .as_ref()
            .is_some_and(|last| (last.boot_id, last.incarnation) == (large.boot_id, large.incarnation));
        if !known || large.size == Size::Small {
            return;
        }
        let flow = &mut self.flows[large.size.place()];
        match self.large[place(large.size)].get_or_insert_with(|| LargeIn::new(large.size)).take(large.seq, at) {
            Some(overtaken) => {
                flow.reordered += u64::from(overtaken);
                flow.on_packet(large.sent_at, at);
            }
            None => self.on_duplicates(large.size, 1),
        }
    }

    /// Packets of the peer came in again.
    pub fn on_duplicates(&mut self, size: Size, count: u64) {
        let flow = &mut self.flows[size.place()];
        flow.duplicates = flow.duplicates.saturating_add(count);
    }

    /// How the peer's packets come in, as it is told.
    #[must_use]
    pub fn flows_for(&self) -> Vec<FlowReport> {
        Size::ALL.into_iter().filter_map(|(size, _)| self.flows[size.place()].report(size)).collect()
    }

    /// Since when large heartbeats of the peer have vanished of which it says so: when the first of them was due. Absent where
    /// none ever came in.
    #[must_use]
    pub fn large_vanish_since(&self, reason: HoleReason) -> Option<Nanos> {
        let due = |size: Size| self.large[place(size)].map(|large| large.last.plus(CALM));
        match reason {
            HoleReason::FragNeededLost => due(Size::Mtu),
            HoleReason::FragmentsLost => due(Size::Fragmented),
            HoleReason::DfDropped => [due(Size::Mtu), due(Size::Fragmented)].into_iter().flatten().min(),
        }
    }

    /// Large heartbeats of that size from the peer since the first that came in: (sent, received).
    #[must_use]
    pub fn large_from(&self, size: Size) -> Option<(u64, u64)> {
        let LargeIn { first, heard, .. } = self.large[place(size)]?;
        Some((heard.seq.saturating_sub(first).saturating_add(1), heard.count))
    }

    /// A size probe of the peer came in.
    pub fn on_probe(&mut self, probe: SizeProbe) {
        self.probe = Some(probe);
    }

    /// What this host heard of the peer's large heartbeats, and its newest size probe, as it tells the peer.
    #[must_use]
    pub fn large_for(&self) -> (Vec<LargeHeard>, Option<SizeProbe>) {
        (self.large.iter().flatten().map(|large| large.heard).collect(), self.probe)
    }

    /// When the newest small heartbeat left that the peer says it heard.
    #[must_use]
    pub fn heard_up_to(&self) -> Option<Nanos> {
        let heard = self.heard?;
        self.sent.iter().rev().find(|(seq, _)| *seq <= heard.seq).map(|(_, at)| *at)
    }

    /// What was lost is told, and does not count again.
    pub fn forget_losses(&mut self) {
        (self.loss_from, self.loss_to) = (LossTrack::default(), LossTrack::default());
    }

    /// What a gap that begins now will be compared with.
    #[must_use]
    pub fn baseline(&self) -> Baseline {
        let echo = (self.echo.sent, self.echo.answered);
        let (drops, refused) = (self.drops_before, self.refused_before);
        Baseline {
            heard: self.heard,
            overflow: self.overflow,
            refused,
            echo,
            received: self.received,
            left: self.left,
            drops,
        }
    }

    /// When the oldest heartbeat left that is still remembered.
    #[must_use]
    pub fn first_sent(&self) -> Option<Nanos> {
        self.sent.front().map(|(_, at)| *at)
    }

    /// What this host last heard of the peer, as it tells the peer at `now`.
    #[must_use]
    pub fn heard_for(&self, now: Nanos) -> Option<Heard> {
        self.last.as_ref().map(|last| Heard {
            incarnation: last.incarnation,
            seq: last.seq,
            count: self.received,
            age: now.since(last.at),
        })
    }

    /// Heartbeats to the peer that did not arrive, by its own account, since it first gave one.
    #[must_use]
    pub fn lost_to(&self) -> Option<u64> {
        lost_between(&self.first_heard?, &self.heard?)
    }

    /// A point of the peer's boot clock on this host's, by when its last heartbeat left and came in: off by the time
    /// on the way, and by what its clock stood still since. Absent for what was before this host's boot.
    #[must_use]
    pub fn on_own_clock(&self, at: Nanos) -> Option<Nanos> {
        let last = self.last.as_ref()?;
        on_own_clock(at, last.sent_at, last.at)
    }

    /// How many heartbeats with a number above `seq` left for the peer after `from` and before `to`. Numbers do not
    /// depend on clocks: what the peer calls old may be new to a host whose clock stood still.
    #[must_use]
    pub fn sent_beyond(&self, seq: u64, from: Nanos, to: Nanos) -> u64 {
        // Numbers grow, and it is the newest that matter.
        let beyond = self.sent.iter().rev().take_while(|(sent, _)| *sent > seq);
        beyond.filter(|(_, at)| *at > from && *at < to).count() as u64
    }

    /// How many heartbeats left for the peer after `from` and before `to`.
    #[must_use]
    pub fn sent_between(&self, from: Nanos, to: Nanos) -> u64 {
        self.sent_beyond(0, from, to)
    }

    /// How many numbers up to `seq` left for the peer after `from`; absent where that is longer ago than is remembered.
    #[must_use]
    pub fn numbers_since(&self, from: Nanos, seq: u64) -> Option<u64> {
        self.sent.front().filter(|(_, oldest)| *oldest <= from)?;
        Some(self.sent.iter().filter(|(sent, at)| *sent <= seq && *at > from).count() as u64)
    }

    /// The round trip that `heard` completes when it is received at `at`, without the time that the peer held it.
    #[must_use]
    pub fn round_trip(&self, heard: &Heard, at: Nanos) -> Option<Duration> {
        let (_, sent_at) = self.sent.iter().rev().find(|(seq, _)| *seq == heard.seq)?;
        at.since(*sent_at).checked_sub(heard.age)
    }
}

/// The place of a large size in a pair.
fn place(size: Size) -> usize {
    usize::from(size == Size::Fragmented)
}

/// A moment of the peer's boot clock on this host's, where a packet left at `sent` and came in at `at`.
fn on_own_clock(moment: Nanos, sent: Nanos, at: Nanos) -> Option<Nanos> {
    at.0.checked_sub(nanos(sent.since(moment))).map(Nanos)
}
