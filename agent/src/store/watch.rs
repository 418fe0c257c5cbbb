//! From the driver's signs of life to watched time: a period ends where they stop for long, or the wall clock is set. So it is with
//! the peers that are heard: of one that is not, nobody knows whether it is quiet.

use std::collections::BTreeMap;
use std::time::Duration;

use lacuna_core::gap::hex;
use lacuna_core::recurrence::Watched;
use lacuna_core::time::{Nanos, WallNanos};

use crate::clock::Reading;

/// Between two signs of life; the store notes the end of watched time so often.
pub(crate) const BEAT: Duration = Duration::from_secs(10);
/// A driver that gave none for longer did not watch.
const BREAK: Duration = Duration::from_secs(60);
/// A wall clock that moves by more against the boot clock, between two signs, was set.
const STEP_MS: u64 = 2000;

/// Periods of peers are written with every so manieth sign of life: within the minute for which the end of one may be unknown.
const PEERS_EVERY: u32 = 5;
/// Peers whose periods are kept, as many as there may be.
const MOST_PEERS: usize = 1024;

/// A peer that was heard just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeardPeer {
    /// Its name.
    pub host: String,
    /// Its boot.
    pub boot_id: [u8; 16],
    /// Its boot clock, as far as it is known.
    pub boot: Nanos,
}

/// The periods of all peers.
#[derive(Debug, Default)]
pub(super) struct PeerWatch {
    peers: BTreeMap<String, ([u8; 16], Watch)>,
    beats: u32,
}

impl PeerWatch {
    /// Those were heard at `now`, by this host's clock. The periods that are to be written: those that ended, and from time to time
    /// those that go on.
    pub(super) fn beat(&mut self, now: WallNanos, heard: &[HeardPeer]) -> Vec<Watched> {
        let mut ended = self.forget(now);
        for peer in heard {
            let new = || (peer.boot_id, Watch::new(peer.host.clone(), hex(&peer.boot_id)));
            if self.peers.get(&peer.host).is_some_and(|(boot_id, _)| *boot_id != peer.boot_id) {
                ended.extend(self.peers.remove(&peer.host).and_then(|(_, watch)| watch.period));
            }
            if self.peers.len() < MOST_PEERS || self.peers.contains_key(&peer.host) {
                let (_, watch) = self.peers.entry(peer.host.clone()).or_insert_with(new);
                ended.extend(watch.beat(Reading { boot: peer.boot, wall: now }));
            }
        }
        self.beats = self.beats.wrapping_add(1);
        if self.beats.is_multiple_of(PEERS_EVERY) {
            ended.extend(self.periods());
        }
        ended
    }

    /// Those that were not heard for so long that their periods ended; they may never be heard again.
    fn forget(&mut self, now: WallNanos) -> Vec<Watched> {
        let is_over = |_: &String, (_, watch): &mut ([u8; 16], Watch)| watch.is_over(now);
        self.peers.extract_if(.., is_over).filter_map(|(_, (_, watch))| watch.period).collect()
    }

    /// The period of each, as far as it goes.
    pub(super) fn periods(&self) -> impl Iterator<Item = Watched> {
        self.peers.values().filter_map(|(_, watch)| watch.period().cloned())
    }
}

/// The period that the agent is in.
#[derive(Debug)]
pub(super) struct Watch {
    host: String,
    boot_id: String,
    period: Option<Watched>,
    last: Option<Reading>,
}

impl Watch {
    pub(super) fn new(host: String, boot_id: String) -> Self {
        Self { host, boot_id, period: None, last: None }
    }

    /// The driver watches at that moment. Absent where the period is the one before, lengthened; else that one, to be written
    /// before it is forgotten.
    pub(super) fn beat(&mut self, now: Reading) -> Option<Watched> {
        let goes_on = self.last.is_some_and(|last| continues(last, now));
        self.last = Some(now);
        let at_ms = millis(now.wall.0);
        if let Some(period) = self.period.as_mut().filter(|_| goes_on) {
            period.to_ms = period.to_ms.max(at_ms);
            return None;
        }
        let begun = Watched {
            host: self.host.clone(),
            boot_id: self.boot_id.clone(),
            booted_ms: at_ms - millis(now.boot.0),
            from_ms: at_ms,
            to_ms: at_ms,
        };
        self.period.replace(begun)
    }

    /// Whether no sign of life that comes now would lengthen it.
    fn is_over(&self, now: WallNanos) -> bool {
        let break_ns = u64::try_from(BREAK.as_nanos()).unwrap_or(u64::MAX);
        self.last.is_some_and(|last| now.0.saturating_sub(last.wall.0) > break_ns)
    }

    pub(super) fn period(&self) -> Option<&Watched> {
        self.period.as_ref()
    }
}

fn continues(last: Reading, now: Reading) -> bool {
    let booted = |reading: Reading| reading.wall.0.wrapping_sub(reading.boot.0) / 1_000_000;
    now.boot.since(last.boot) <= BREAK && booted(now).abs_diff(booted(last)) <= STEP_MS
}

fn millis(nanos: u64) -> i64 {
    i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn reading(boot_s: u64, wall_s: u64) -> Reading {
        Reading { boot: Nanos(boot_s * SECOND), wall: WallNanos(wall_s * SECOND) }
    }

    /// The lengths of the periods, in seconds.
    fn lengths(readings: &[Reading]) -> Vec<i64> {
        let mut watch = Watch::new("db1".into(), "7c".into());
        let mut periods: Vec<Watched> = readings.iter().filter_map(|now| watch.beat(*now)).collect();
        periods.extend(watch.period().cloned());
        periods.iter().map(|one| (one.to_ms - one.from_ms) / 1000).collect()
    }

    #[test]
    fn signs_of_life_lengthen_a_period() {
        assert_eq!(lengths(&[reading(100, 5100), reading(110, 5110), reading(120, 5120)]), [20]);
    }

    #[test]
    fn an_agent_that_stood_still_did_not_watch() {
        assert_eq!(
            lengths(&[reading(100, 5100), reading(110, 5110), reading(400, 5400), reading(410, 5410)]),
            [10, 10]
        );
    }

    #[test]
    fn a_peer_is_watched_while_it_is_heard() {
        let mut watch = PeerWatch::default();
        let heard = |boot: u8, boot_s: u64| {
            [HeardPeer { host: "db1".into(), boot_id: [boot; 16], boot: Nanos(boot_s * SECOND) }]
        };
        let mut written = Vec::new();
        let mut beat = |wall_s: u64, heard: &[HeardPeer]| written.extend(watch.beat(WallNanos(wall_s * SECOND), heard));
        (0..4).for_each(|beats| beat(1000 + beats * 10, &heard(1, 100 + beats * 10)));
        // Its agent ends for ten minutes, then it is booted anew.
        (4..64).for_each(|beats| beat(1000 + beats * 10, &[]));
        (64..66).for_each(|beats| beat(1000 + beats * 10, &heard(1, 100 + beats * 10)));
        (66..70).for_each(|beats| beat(1000 + beats * 10, &heard(2, beats * 10 - 650)));
        written.dedup();
        let told: Vec<_> =
            written.iter().map(|one| (one.boot_id.as_str().len(), one.booted_ms, one.from_ms, one.to_ms)).collect();
        assert!(told.contains(&(32, 900_000, 1_000_000, 1_030_000)), "{told:?}");
        assert!(told.contains(&(32, 900_000, 1_640_000, 1_650_000)), "{told:?}");
        assert!(told.contains(&(32, 1_650_000, 1_660_000, 1_690_000)), "{told:?}");
    }

    #[test]
    fn a_peer_that_is_not_heard_any_more_leaves_its_period_and_its_room() {
        let mut watch = PeerWatch::default();
        let heard = |place: usize| HeardPeer { host: format!("vm{place}"), boot_id: [1; 16], boot: Nanos(SECOND) };
        let mut written = Vec::new();
        for generation in 0..3 {
            let peers: Vec<_> = (0..MOST_PEERS).map(|place| heard(generation * MOST_PEERS + place)).collect();
            let now = 1000 + 100 * u64::try_from(generation).unwrap();
            written.extend(watch.beat(WallNanos(now * SECOND), &peers));
            assert_eq!(watch.periods().count(), MOST_PEERS);
        }
        assert_eq!(written.len(), 2 * MOST_PEERS, "of those before");
    }

    #[test]
    fn a_clock_that_is_set_begins_a_period() {
        assert_eq!(
            lengths(&[reading(100, 5100), reading(110, 5110), reading(120, 9120), reading(130, 9130)]),
            [10, 10]
        );
        let mut watch = Watch::new("db1".into(), "7c".into());
        watch.beat(reading(100, 5100));
        assert_eq!(watch.period().unwrap().booted_ms, 5_000_000);
    }
}
