//! How far a peer's clocks are from this host's, and how fast they part. For people and for metrics: no verdict rests on it.
//!
//! An exchange leaves this host, waits at the peer and comes back. The time on the way back is something between nothing and
//! the whole round trip, so an exchange says between which bounds the offset lies, and nothing more (RFC 5905, section 8,
//! names the middle, and half of the round trip as its error). What holds of several exchanges at once lies between all of
//! their bounds.

use std::collections::VecDeque;
use std::time::Duration;

use lacuna_core::time::{Nanos, WallNanos, nanos};

/// Exchanges that are compared for the offset: less than two seconds at ten a second.
const WINDOW: usize = 16;
/// By how much clocks that are slewed may part meanwhile: 500 parts in a million, the most that NTP slews (RFC 5905, 10).
const SLEWED: f64 = 0.0005;
/// One exchange is kept for the drift of so long.
const PERIOD: Duration = Duration::from_secs(10);
/// So many of them: ten minutes.
const PERIODS: usize = 60;

/// An exchange with a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    /// When the answer came in, on this host's boot clock.
    pub(super) at: Nanos,
    /// What this host's wall clock showed then.
    pub(super) wall: WallNanos,
    /// When the answer had left, on the peer's boot clock.
    pub(super) sent_at: Nanos,
    /// What the peer's wall clock showed then.
    pub(super) sent_wall: WallNanos,
    /// The time on the way, there and back.
    pub(super) round_trip: Duration,
}

/// A figure that lies within `error` of `value`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Within {
    pub(crate) value: f64,
    pub(crate) error: f64,
}

/// Bounds of an offset, in nanoseconds, at a time of this host's boot clock.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    at: Nanos,
    low: f64,
    high: f64,
}

impl Bounds {
    /// Of a clock that showed `there` when the answer left, and of ours, which showed `here` when it came in.
    fn new(at: Nanos, there: u64, here: u64, round_trip: Duration) -> Self {
        let low = (i128::from(there) - i128::from(here)) as f64;
        Self { at, low, high: low + nanos(round_trip) as f64 }
    }

    fn width(&self) -> f64 {
        self.high - self.low
    }

    fn middle(low: f64, high: f64, unit: f64) -> Within {
        Within { value: f64::midpoint(low, high) * unit, error: (high - low) / 2.0 * unit }
    }
}

/// The clocks of a peer beside this host's.
#[derive(Clone, Debug, Default)]
pub(super) struct ClockEstimate {
    walls: VecDeque<Bounds>,
    drift: Drift,
}

impl ClockEstimate {
    /// Takes an exchange.
    pub(super) fn add(&mut self, exchange: &Exchange) {
        let Exchange { at, wall, sent_at, sent_wall, round_trip } = *exchange;
        let bounds = Bounds::new(at, sent_wall.0, wall.0, round_trip);
        // A clock was set: what was before says nothing any more.
        while !self.walls.is_empty() && self.common(bounds).is_none() {
            self.walls.pop_front();
        }
        if self.walls.len() == WINDOW {
            self.walls.pop_front();
        }
        self.walls.push_back(bounds);
        self.drift.add(Bounds::new(at, sent_at.0, at.0, round_trip));
    }

    /// The peer's boot clock is another one: what it drifted before says nothing.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::default();
    }

    /// The peer's wall clock minus this one's, in seconds.
    pub(super) fn offset(&self) -> Option<Within> {
        let (low, high) = self.common(*self.walls.back()?)?;
        Some(Bounds::middle(low, high, 1e-9))
    }

    /// By how much the peer's boot clock gains on this one's, as a part of the time that passes.
    pub(super) fn drift(&self) -> Option<Within> {
        self.drift.known
    }

    /// What all exchanges agree on at the time of `newest`.
    fn common(&self, newest: Bounds) -> Option<(f64, f64)> {
        let slack = |old: &Bounds| nanos(newest.at.since(old.at)) as f64 * SLEWED;
        let low = self.walls.iter().map(|old| old.low - slack(old)).fold(newest.low, f64::max);
        let high = self.walls.iter().map(|old| old.high + slack(old)).fold(newest.high, f64::min);
        (low <= high).then_some((low, high))
    }
}

/// How fast two boot clocks part, taken as steady for ten minutes: a line that passes between the bounds of all exchanges
/// that are kept is no steeper than the steepest that does, and no flatter than the flattest.
#[derive(Clone, Debug, Default)]
struct Drift {
    /// The exchange with the shortest round trip of each period.
    kept: VecDeque<Bounds>,
    /// That of the present period, and when that began.
    present: Option<(Nanos, Bounds)>,
    known: Option<Within>,
}

impl Drift {
    fn add(&mut self, bounds: Bounds) {
        match &mut self.present {
            Some((since, best)) if bounds.at.since(*since) < PERIOD => {
                if bounds.width() < best.width() {
                    *best = bounds;
                }
            }
            _ => {
                if let Some((_, best)) = self.present.replace((bounds.at, bounds)) {
                    self.keep(best);
                }
            }
        }
    }

    fn keep(&mut self, best: Bounds) {
        if self.kept.len() == PERIODS {
            self.kept.pop_front();
        }
        self.kept.push_back(best);
        // Where no line passes, the drift has changed, or a clock stood still: what was before says nothing any more.
        if slopes(&self.kept).is_some_and(|(low, high)| low > high) {
            self.kept.drain(..self.kept.len() - 1);
        }
        self.known = slopes(&self.kept).map(|(low, high)| Bounds::middle(low, high, 1.0));
    }
}

/// The flattest and the steepest line; absent where there are not two exchanges.
fn slopes(kept: &VecDeque<Bounds>) -> Option<(f64, f64)> {
    let mut found: Option<(f64, f64)> = None;
    for (place, later) in kept.iter().enumerate() {
        for earlier in kept.iter().take(place) {
            let apart = nanos(later.at.since(earlier.at)) as f64;
            if apart > 0.0 {
                let (low, high) = ((later.low - earlier.high) / apart, (later.high - earlier.low) / apart);
                let (flattest, steepest) = found.unwrap_or((low, high));
                found = Some((flattest.max(low), steepest.min(high)));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    /// The peer's wall clock is ahead by this much.
    const AHEAD: u64 = 5 * SECOND;

    /// An exchange after `ms`, with a peer whose boot clock gains `ppm` parts in a million; in microseconds on the way there
    /// and back.
    fn exchange(ms: u64, (there, back): (u64, u64), ppm: f64, ahead: u64) -> Exchange {
        let (at, back) = (1000 * SECOND + ms * 1_000_000, back * 1000);
        let left = at - back;
        let gained = (ms as f64 * ppm) as i64;
        Exchange {
            at: Nanos(at),
            wall: WallNanos(at),
            sent_at: Nanos((7 * SECOND + left).saturating_add_signed(gained)),
            sent_wall: WallNanos(left + ahead),
            round_trip: Duration::from_nanos(there * 1000 + back),
        }
    }

    fn holds(within: Within, truth: f64) -> bool {
        (within.value - truth).abs() <= within.error * 1.000_001
    }

    #[test]
    fn the_offset_lies_within_its_error_however_unequal_the_ways_are() {
        let mut estimate = ClockEstimate::default();
        assert_eq!(estimate.offset(), None);
        for (ms, way) in [(0, (100, 100)), (100, (900, 100)), (200, (50, 700)), (300, (2000, 0)), (400, (0, 2000))] {
            estimate.add(&exchange(ms, way, 0.0, AHEAD));
            assert!(holds(estimate.offset().unwrap(), 5.0), "{way:?}: {:?}", estimate.offset());
        }
        assert!(estimate.offset().unwrap().error <= 0.000_3, "the quickest of late counts: {:?}", estimate.offset());
    }

    #[test]
    fn a_clock_that_is_set_shows_at_once() {
        let mut estimate = ClockEstimate::default();
        (0..50).for_each(|n| estimate.add(&exchange(n * 100, (100, 100), 0.0, AHEAD)));
        estimate.add(&exchange(5_000, (100, 100), 0.0, AHEAD + SECOND));
        assert!(holds(estimate.offset().unwrap(), 6.0), "{:?}", estimate.offset());
    }

    #[test]
    fn the_drift_is_found_and_its_error_shrinks() {
        let mut estimate = ClockEstimate::default();
        let mut errors = Vec::new();
        for n in 0..6_500 {
            // Every way is different, the way there is never the way back.
            let way = (60 + n * 37 % 900, 40 + n * 53 % 1_100);
            estimate.add(&exchange(n * 100, way, 37.0, AHEAD));
            if let Some(drift) = estimate.drift() {
                assert!(holds(drift, 37e-6), "after {n}: {drift:?}");
                errors.push(drift.error);
            }
        }
        let (first, last) = (errors[0], errors[errors.len() - 1]);
        assert!(last < 1e-6 && last * 20.0 < first, "{first} to {last}");
        assert!(estimate.drift.kept.len() <= PERIODS && estimate.walls.len() <= WINDOW);
    }

    #[test]
    fn a_drift_that_changes_and_a_clock_that_stands_still_are_looked_at_anew() {
        for (ppm, stood) in [(-80.0, 0), (37.0, 2 * SECOND)] {
            let mut estimate = ClockEstimate::default();
            (0..3_000).for_each(|n| estimate.add(&exchange(n * 100, (100, 150), 37.0, AHEAD)));
            for n in 3_000..6_000 {
                let mut later = exchange(n * 100, (100, 150), ppm, AHEAD);
                later.sent_at = later.sent_at.minus(Duration::from_nanos(stood));
                if ppm < 0.0 {
                    later.sent_at = later.sent_at.plus(Duration::from_nanos(300_000 * 117));
                }
                estimate.add(&later);
            }
            assert!(holds(estimate.drift().unwrap(), ppm * 1e-6), "{ppm}: {:?}", estimate.drift());
        }
    }

    #[test]
    fn hostile_times_do_no_harm() {
        let mut estimate = ClockEstimate::default();
        for n in 0..300_u64 {
            let wild = |salt: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(u32::try_from(salt).unwrap());
            estimate.add(&Exchange {
                at: Nanos(n * 7 * SECOND),
                wall: WallNanos(wild(7)),
                sent_at: Nanos(wild(13)),
                sent_wall: WallNanos(wild(29)),
                round_trip: Duration::from_nanos(wild(31)),
            });
            assert!(estimate.offset().is_some_and(|offset| offset.error.is_finite()));
        }
    }
}
