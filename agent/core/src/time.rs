//! Time as an argument: the engine never reads a clock, it is told.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// A point of this host's boot clock (`CLOCK_BOOTTIME`), in nanoseconds since boot.
///
/// All intervals inside the engine are on this clock: it neither steps nor stands still in a suspend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The time that passed from `earlier` to `self`; zero where `earlier` is the later one.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `self` moved into the future; stops at the end of the range.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }

    /// `self` moved into the past; stops at boot.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(by)))
    }

    /// Whether the two lie no further apart than that.
    #[must_use]
    pub fn is_near(self, other: Self, within: Duration) -> bool {
        self <= other.plus(within) && other <= self.plus(within)
    }
}

/// How much of the time from `from` to `to` lies in at least one of these intervals.
#[must_use]
pub fn covered(mut intervals: Vec<(Nanos, Nanos)>, from: Nanos, to: Nanos) -> Duration {
    intervals.sort_unstable();
    let (mut sum, mut counted) = (Duration::ZERO, from);
    for (begin, end) in intervals {
        sum += end.min(to).since(begin.max(counted));
        counted = counted.max(end);
    }
    sum
}

/// A point of the wall clock (`CLOCK_REALTIME`), in nanoseconds since 1970-01-01T00:00:00Z.
///
/// Only for people to read and for hosts to meet on; never to measure an interval with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallNanos(pub u64);

/// The end of the year 9999, the last that RFC 3339 can write, since 1970.
const LAST: Duration = Duration::from_millis(253_402_300_799_999);

/// That long after 1970 as RFC 3339 in UTC, to the millisecond.
pub(crate) fn rfc3339(since_epoch: Duration) -> String {
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since_epoch.min(LAST)).to_string()
}

/// `duration` in whole nanoseconds; stops at `u64::MAX` (584 years).
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
