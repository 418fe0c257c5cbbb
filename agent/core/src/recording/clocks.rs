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
    /// the heartbeat which was on its way for the shortest time, and of a clock that did not step meanwhile.
    least: Vec<(Arc<str>, i128)>,
}

impl ClockNotes {
    /// Takes a piece of evidence.
    pub fn note(&mut self, evidence: &Evidence) {
        match (&evidence.fact, self.read) {
            (Fact::Clock { wall }, _) => self.read = Some((evidence.to, *wall)),
            (Fact::Heartbeat(beat), Some((boot, wall))) => {
                let received = i128::from(wall.0) + i128::from(evidence.to.0) - i128::from(boot.0);
                let took = received - i128::from(beat.sent_wall.0);
                self.note_least(&evidence.host, took);
            }
            _ => {}
        }
    }

    /// Compact lines share the names of their hosts: as a rule there is no need to look at the letters.
    fn note_least(&mut self, peer: &Arc<str>, took: i128) {
        let place = self.least.iter().position(|(known, _)| Arc::ptr_eq(known, peer));
        let place = place.or_else(|| self.least.iter().position(|(known, _)| known == peer));
        if let Some(known) = place.and_then(|place| self.least.get_mut(place)) {
            *known = (Arc::clone(peer), took.min(known.1));
        } else if self.least.len() < MAX_PEERS {
            self.least.push((Arc::clone(peer), took));
        }
    }

    fn least(&self, peer: &str) -> Option<i128> {
        self.least.iter().find(|(known, _)| **known == *peer).map(|(_, least)| *least)
    }
}

/// By how many nanoseconds each host's wall clock is ahead of that of the first one; absent for one that no heartbeats, not
/// even by way of others, connect to it. As in NTP (RFC 5905, 8) the way is taken to be as long in both directions; where
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
                let sent = Heartbeat { sent_wall: at(10_000, *its), ..Heartbeat::default() };
                notes.note(&Evidence::at(peer, Nanos(10_000 + took + more), Fact::Heartbeat(Arc::new(sent))));
            }
        }
        notes
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
