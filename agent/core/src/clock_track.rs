//! How the clocks of a peer and of this host move against each other, by its heartbeats.
//!
//! The difference between this host's receive time and the peer's send time is the time on the way plus an offset that
//! nobody needs to know. A packet can only be late, so the *least* difference is the offset: it does not fall unless
//! this host's clock stood still while the peer's went on, and it does not rise for good unless the peer's did. That is
//! how a pause shows that stops the clock of a machine, which no clock inside of it can show.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::{Nanos, nanos};

/// Differences that are compared; a burst after a pause of a minute at ten a second fits.
const WINDOW: usize = 640;
/// What came within this time may be one burst: the last of it counts.
const BURST: Duration = Duration::from_millis(300);
/// By how much clocks may drift apart: 500 parts in a million, the most that NTP slews (RFC 5905, 10).
const DRIFT: f64 = 0.0005;

/// For how long packets may have been late that are on time again.
const LATE_FOR: Duration = Duration::from_secs(60);
/// Where one peer shows a step much later than others, it is one.
const SETTLED_FOR: Duration = Duration::from_secs(2);
/// Differences of a calm path are that close to each other, in nanoseconds.
const JITTER: i64 = 50_000_000;

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct ClockTrack {
    /// The least difference before the window, in nanoseconds, and when it last counted.
    floor: Option<(Nanos, i64)>,
    /// What that was before it was settled on a greater one, and when that was.
    before: Option<(Nanos, i64)>,
    /// When it was settled last.
    settled: Option<Nanos>,
    /// (received, difference) of the newest heartbeats.
    recent: VecDeque<(Nanos, i64)>,
    /// See [`Self::behind`] and [`Self::has_fallen_by`], which are asked far more often than they change.
    behind: Duration,
    fallen: Duration,
}

impl ClockTrack {
    /// A heartbeat that left at `sent`, by the peer's boot clock, came in at `at`.
    pub fn on_heartbeat(&mut self, sent: Nanos, at: Nanos) {
        while self.recent.len() == WINDOW || self.recent.front().is_some_and(|old| old.0.plus(BURST) < at) {
            self.retire();
        }
        self.recent.push_back((at, difference(at, sent)));
        self.compare();
    }

    /// The oldest one joins those that the newest are compared with.
    fn retire(&mut self) {
        let Some((at, difference)) = self.recent.pop_front() else { return };
        let drifted =
            |(since, floor): (Nanos, i64)| floor.saturating_add((nanos(at.since(since)) as f64 * DRIFT) as i64);
        let least = self.floor.map_or(difference, |floor| drifted(floor).min(difference));
        self.floor = Some((at, least));
    }

    /// By how much this host's clock fell behind the peer's of late; zero where it did not. Where packets were late for so long
    /// that this was settled on, they may just be on time again.
    #[must_use]
    pub fn behind(&self) -> Duration {
        self.behind
    }

    /// The same, whether or not packets may just be on time again: that alone proves nothing, and yet does not contradict another
    /// peer by which this host's clock fell behind by as much.
    #[must_use]
    pub fn has_fallen_by(&self, length: Duration) -> bool {
        is_jitter(self.fallen.abs_diff(length))
    }

    /// Whether both clocks go on at `at` as they did before: neither fell behind the other. What was settled just before is not
    /// known to be what was before.
    #[must_use]
    pub fn agrees(&self, at: Nanos) -> bool {
        let compares = self.floor.is_some() && self.settled.is_none_or(|settled| settled.plus(SETTLED_FOR) < at);
        compares && is_jitter(self.fallen) && self.peer_behind().is_some_and(is_jitter)
    }

    fn compare(&mut self) {
        (self.behind, self.fallen) = (Duration::ZERO, Duration::ZERO);
        let Some(((at, least), (_, floor))) = self.least().zip(self.floor) else { return };
        self.fallen = duration(floor.saturating_sub(least));
        let on_time_again = self
            .before
            .is_some_and(|(settled, before)| at.since(settled) < LATE_FOR && least.saturating_add(JITTER) >= before);
        self.behind = if on_time_again { Duration::ZERO } else { self.fallen };
    }

    /// By how much the peer's clock fell behind this host's; zero where it did not. Packets that are all late look the
    /// same, until one is not: a single one, which may have been held up after it was dated, says nothing.
    #[must_use]
    pub fn peer_behind(&self) -> Option<Duration> {
        let several = self.recent.len() > 1;
        let shift = || Some(duration(self.least()?.1.saturating_sub(self.floor?.1)));
        several.then(|| shift().unwrap_or_default())
    }

    fn least(&self) -> Option<(Nanos, i64)> {
        self.recent.iter().min_by_key(|(_, difference)| *difference).copied()
    }

    /// This host's clock stood still at `at`, for how long this peer did not show: nothing from before can be compared with.
    pub fn forget(&mut self, at: Nanos) {
        *self = Self { settled: Some(at), ..Self::default() };
    }

    /// What is so now is what later differences are compared with.
    pub fn settle(&mut self) {
        let Some(now) = self.least() else { return };
        let raised = self.floor.filter(|(_, floor)| floor.saturating_add(JITTER) < now.1);
        self.before = raised.map(|(_, floor)| (now.0, floor));
        self.settled = Some(now.0);
        self.floor = Some(now);
        self.compare();
    }
}

/// `at` less `sent`. Times that lie more than 292 years apart, as only hostile ones do, count as that far.
fn difference(at: Nanos, sent: Nanos) -> i64 {
    let apart = at.0.abs_diff(sent.0).try_into().unwrap_or(i64::MAX);
    if at < sent { -apart } else { apart }
}

fn is_jitter(difference: Duration) -> bool {
    difference < Duration::from_nanos(JITTER.unsigned_abs())
}

fn duration(nanoseconds: i64) -> Duration {
    Duration::from_nanos(nanoseconds.max(0).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Ten heartbeats a second from `from` on, each `late_ns` on its way, received by a clock that is `ahead_ns` ahead.
    fn feed(track: &mut ClockTrack, from: u64, count: u64, late_ns: u64, ahead_ns: u64) {
        for number in 0..count {
            let sent = from + number * SECOND / 10;
            track.on_heartbeat(Nanos(sent), Nanos(sent + late_ns + ahead_ns));
        }
    }

    #[test]
    fn a_steady_peer_shows_nothing() {
        let mut track = ClockTrack::default();
        feed(&mut track, SECOND, 600, 200_000, 7 * SECOND);
        assert_eq!((track.behind(), track.peer_behind()), (Duration::ZERO, Some(Duration::ZERO)));
    }

    #[test]
    fn this_hosts_clock_stood_while_a_burst_waited() {
        let mut track = ClockTrack::default();
        feed(&mut track, SECOND, 100, 200_000, 7 * SECOND);
        let resumed = Nanos(18 * SECOND);
        for number in 0..50 {
            track.on_heartbeat(Nanos(11 * SECOND + number * SECOND / 10), resumed);
        }
        assert_eq!(track.behind().as_millis(), 4_900);
        track.settle();
        assert_eq!(track.behind(), Duration::ZERO);
    }

    #[test]
    fn packets_that_were_late_for_a_while_are_no_step_of_a_clock() {
        let mut track = ClockTrack::default();
        feed(&mut track, SECOND, 100, 200_000, 0);
        feed(&mut track, 11 * SECOND, 300, 800_000_000, 0);
        assert!(track.peer_behind() > Some(Duration::from_millis(600)), "all are late: it might be the peer's clock");
        feed(&mut track, 41 * SECOND, 50, 200_000, 0);
        assert!(track.behind() < Duration::from_millis(50), "only what the clocks may have drifted");
        assert_eq!(track.peer_behind(), Some(Duration::ZERO));
    }

    #[test]
    fn a_peer_whose_clock_stood_stays_behind() {
        let mut track = ClockTrack::default();
        feed(&mut track, SECOND, 100, 200_000, 0);
        feed(&mut track, 11 * SECOND, 10, 200_000, 5 * SECOND);
        let behind = track.peer_behind().unwrap();
        assert!(behind.abs_diff(Duration::from_secs(5)) < Duration::from_millis(50));
    }

    #[test]
    fn packets_that_are_on_time_again_after_that_was_settled_on_are_no_step_of_a_clock() {
        let mut track = ClockTrack::default();
        feed(&mut track, SECOND, 100, 200_000, 0);
        feed(&mut track, 11 * SECOND, 100, 2 * SECOND, 0);
        track.settle();
        feed(&mut track, 21 * SECOND, 50, 200_000, 0);
        assert_eq!(track.behind(), Duration::ZERO);
        track.settle();
        feed(&mut track, 26 * SECOND, 50, 200_000, 0);
        for number in 0..50 {
            track.on_heartbeat(Nanos(31 * SECOND + number * SECOND / 10), Nanos(31 * SECOND + number));
        }
        assert!(track.behind() > Duration::from_secs(4), "but this one is");
    }

    #[test]
    fn a_clock_that_stands_soon_after_that_of_the_peer_contradicts_nobody() {
        let mut track = ClockTrack::default();
        feed(&mut track, SECOND, 100, 200_000, 0);
        feed(&mut track, 11 * SECOND, 100, 200_000, 5 * SECOND);
        track.settle();
        feed(&mut track, 21 * SECOND, 10, 200_000, SECOND);
        assert_eq!(track.behind(), Duration::ZERO, "what was late may be on time again");
        assert!(track.has_fallen_by(Duration::from_secs(4)) && !track.has_fallen_by(Duration::from_secs(2)));
    }

    #[test]
    fn clocks_agree_where_neither_fell_behind_and_that_is_known() {
        let mut track = ClockTrack::default();
        feed(&mut track, SECOND, 2, 200_000, 0);
        assert!(!track.agrees(Nanos(SECOND)), "there is nothing before to compare with");
        feed(&mut track, 2 * SECOND, 100, 200_000, 0);
        assert!(track.agrees(Nanos(12 * SECOND)));
        let mut stood = track.clone();
        feed(&mut stood, 13 * SECOND, 10, 200_000, SECOND);
        assert!(!stood.agrees(Nanos(14 * SECOND)), "that of the peer stood");
        let resumed = Nanos(12 * SECOND);
        (0..20).for_each(|tenth| track.on_heartbeat(Nanos(12 * SECOND + tenth * SECOND / 10), resumed));
        assert!(!track.agrees(resumed), "this one stood");
        track.settle();
        assert!(!track.agrees(resumed), "it stood just now");
        let at = |tenth| Nanos(14 * SECOND + tenth * SECOND / 10);
        (0..50).for_each(|tenth| track.on_heartbeat(at(tenth + 19), at(tenth)));
        assert!(track.agrees(at(50)));
    }

    #[test]
    fn a_single_packet_may_have_been_held_up() {
        let mut track = ClockTrack::default();
        feed(&mut track, SECOND, 100, 200_000, 0);
        feed(&mut track, 11 * SECOND, 1, 3 * SECOND, 0);
        assert_eq!(track.peer_behind(), None);
    }
}
