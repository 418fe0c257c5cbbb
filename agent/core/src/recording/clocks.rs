//! Whose wall clock is ahead, by what hosts recorded of each other's heartbeats.

use std::sync::Arc;

use crate::evidence::{Evidence, Fact};
use crate::time::{Nanos, WallNanos};

/// Peers whose clocks are noted.
const MAX_PEERS: usize = 4096;

/// What one host saw of the others' wall clocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClockNotes {
    /// Both clocks of the host, read together last.
    read: Option<(Nanos, WallNanos)>,
    /// For each peer the least difference between its time of sending and the host's of receiving, in nanoseconds: that of
    /// the heartbeat which was on its way for the shortest time since either clock was last set.
    least: Vec<Least>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Least {
    peer: Arc<str>,
    took: i128,
    /// How far the peer's wall clock was before its boot clock, by its newest heartbeat.
    wall_before_boot: i128,
}

/// A wall clock that moves by more against the boot clock, between two words of it, was set; one that is corrected slowly moves by
/// half a thousandth at most (`adjtimex(2)`).
const SET_NS: u128 = 100_000_000;

impl ClockNotes {
    /// Takes a piece of evidence.
    pub fn note(&mut self, evidence: &Evidence) {
        match (&evidence.fact, self.read) {
            (Fact::Clock { wall }, before) => {
                let now = (evidence.to, *wall);
                if before.is_some_and(|before| ahead_of_boot(before).abs_diff(ahead_of_boot(now)) > SET_NS) {
                    self.least.clear();
                }
                self.read = Some(now);
            }
            (Fact::Heartbeat(beat), Some(read)) => {
                let received = ahead_of_boot(read) + i128::from(evidence.to.0);
                let took = received - i128::from(beat.sent_wall.0);
                self.note_least(&evidence.host, took, ahead_of_boot((beat.sent_at, beat.sent_wall)));
            }
            _ => {}
        }
    }

    /// Compact lines share the names of their hosts: as a rule there is no need to look at the letters.
    fn note_least(&mut self, peer: &Arc<str>, took: i128, wall_before_boot: i128) {
        let place = self.least.iter().position(|known| Arc::ptr_eq(&known.peer, peer));
        let place = place.or_else(|| self.least.iter().position(|known| known.peer == *peer));
        let new = Least { peer: Arc::clone(peer), took, wall_before_boot };
        if let Some(known) = place.and_then(|place| self.least.get_mut(place)) {
            let was_set = known.wall_before_boot.abs_diff(wall_before_boot) > SET_NS;
            *known = Least { took: if was_set { took } else { took.min(known.took) }, ..new };
        } else if self.least.len() < MAX_PEERS {
            self.least.push(new);
        }
    }

    fn least(&self, peer: &str) -> Option<i128> {
        self.least.iter().find(|known| *known.peer == *peer).map(|known| known.took)
    }
}

/// How far a wall clock is before the boot clock that was read with it.
fn ahead_of_boot((boot, wall): (Nanos, WallNanos)) -> i128 {
    i128::from(wall.0) - i128::from(boot.0)
}

/// By how many nanoseconds each host's wall clock is ahead of that of the first one, at the end of what they recorded; absent for
/// one that no heartbeats, not even by way of others, connect to it. As in NTP (RFC 5905, 8) the way is taken to be as long in both directions; where
/// only one was recorded, it is taken to be short.
#[must_use]
pub fn ahead(hosts: &[(&str, &ClockNotes)]) -> Vec<Option<i64>> {
    let between = |one: usize, other: usize| {
        let (one, other) = (hosts.get(one)?, hosts.get(other)?);
        let (there, back) = (other.1.least(one.0), one.1.least(other.0));
        match (there, back) {
            (Some(there), Some(back)) => Some((there - back) / 2),
            (Some(there), None) => Some(there),
            (None, back) => back.map(|back| -back),
        }
    };
    let mut ahead: Vec<Option<i128>> = vec![None; hosts.len()];
    let mut reached = vec![0];
    if let Some(first) = ahead.first_mut() {
        *first = Some(0);
    }
    while let Some(from) = reached.pop() {
        for to in 0..hosts.len() {
            if ahead[to].is_none()
                && let (Some(so_far), Some(more)) = (ahead[from], between(from, to))
            {
                ahead[to] = Some(so_far + more);
                reached.push(to);
            }
        }
    }
    ahead.into_iter().map(|ns| ns.and_then(|ns| i64::try_from(ns).ok())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Heartbeat;

    /// A host whose clock is ahead by that, and what it heard of others, each ahead by that, after so long on the way.
    fn notes(ahead: i64, heard: &[(&str, i64, u64)]) -> ClockNotes {
        let mut notes = ClockNotes::default();
        let at = |boot: u64, ahead: i64| WallNanos((1_000_000_000_000 + boot).saturating_add_signed(ahead));
        notes.note(&Evidence::at("", Nanos(500), Fact::Clock { wall: at(500, ahead) }));
        for (peer, its, took) in heard {
            for more in [700, 0, 90] {
                let sent = Heartbeat { sent_at: Nanos(10_000), sent_wall: at(10_000, *its), ..Heartbeat::default() };
                notes.note(&Evidence::at(peer, Nanos(10_000 + took + more), Fact::Heartbeat(Arc::new(sent))));
            }
        }
        notes
    }

    /// Two hours later the clock of b is set, by an hour forwards or back.
    #[test]
    fn a_clock_that_was_set_is_as_it_is_in_the_end() {
        const HOUR: i64 = 3_600_000_000_000;
        for step in [HOUR, -HOUR] {
            let (mut a, mut b) = (notes(0, &[("b", 0, 300)]), notes(0, &[("a", 0, 300)]));
            let later: u64 = 7_200_000_000_000;
            let wall = |ahead: i64| WallNanos((1_000_000_000_000 + later).saturating_add_signed(ahead));
            b.note(&Evidence::at("", Nanos(later), Fact::Clock { wall: wall(step) }));
            let beat = |ahead| Heartbeat { sent_at: Nanos(later), sent_wall: wall(ahead), ..Heartbeat::default() };
            a.note(&Evidence::at("b", Nanos(later + 300), Fact::Heartbeat(Arc::new(beat(step)))));
            b.note(&Evidence::at("a", Nanos(later + 300), Fact::Heartbeat(Arc::new(beat(0)))));
            assert_eq!(ahead(&[("a", &a), ("b", &b)]), [Some(0), Some(step)]);
        }
    }

    #[test]
    fn both_ways_tell_the_clocks_apart_from_the_way() {
        let (a, b) = (notes(0, &[("b", 5_000, 300)]), notes(5_000, &[("a", 0, 300), ("c", -7_000, 300)]));
        let c = notes(-7_000, &[("b", 5_000, 300)]);
        assert_eq!(ahead(&[("a", &a), ("b", &b), ("c", &c)]), [Some(0), Some(5_000), Some(-7_000)], "c by way of b");
        let stranger = notes(9, &[]);
        assert_eq!(ahead(&[("a", &a), ("x", &stranger)]), [Some(0), None]);
        let mute = ClockNotes::default();
        assert_eq!(ahead(&[("a", &a), ("b", &mute)]), [Some(0), Some(4_700)], "one way alone: off by the way");
        assert_eq!(ahead(&[]), []);
    }
}
