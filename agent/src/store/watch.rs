//! From the driver's signs of life to watched time: a period ends where they stop for long, or the wall clock is set.

use std::time::Duration;

use lacuna_core::recurrence::Watched;

use crate::clock::Reading;

/// Between two signs of life; the store notes the end of watched time so often.
pub(crate) const BEAT: Duration = Duration::from_secs(10);
/// A driver that gave none for longer did not watch.
const BREAK: Duration = Duration::from_secs(60);
/// A wall clock that moves by more against the boot clock, between two signs, was set.
const STEP_MS: u64 = 2000;

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
    use lacuna_core::time::{Nanos, WallNanos};

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
