//! The only reader of clocks in the agent.

use std::time::{Duration, Instant, SystemTime};

use lacuna_core::time::{Nanos, WallNanos};
use nix::time::{ClockId, clock_getres, clock_gettime};

/// Boot and wall clock, read one right after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// `CLOCK_BOOTTIME`.
    pub boot: Nanos,
    /// `CLOCK_REALTIME`.
    pub wall: WallNanos,
}

/// Readings that are taken at most until both clocks are read together.
const ATTEMPTS: usize = 8;
/// Two clocks that are read within this time are read together.
const TOGETHER: Duration = Duration::from_micros(200);

/// Both clocks, now. A thread that is held up between the two (by its quota, or as its CPU is taken away) would believe
/// that one of them had stood still, so the boot clock is read before and after.
#[must_use]
pub fn read() -> Reading {
    let attempt = || (boot(), WallNanos(nanoseconds(ClockId::CLOCK_REALTIME)), boot());
    closest(std::iter::repeat_with(attempt).take(ATTEMPTS)).unwrap_or(Reading { boot: boot(), wall: WallNanos(0) })
}

/// The first of the attempts (boot clock, wall clock, boot clock) that was not held up, else the one that was least.
fn closest(attempts: impl Iterator<Item = (Nanos, WallNanos, Nanos)>) -> Option<Reading> {
    let mut best: Option<(Duration, Reading)> = None;
    for (before, wall, boot) in attempts {
        let took = boot.since(before);
        if best.as_ref().is_none_or(|(least, _)| took < *least) {
            best = Some((took, Reading { boot, wall }));
        }
        if took <= TOGETHER {
            break;
        }
    }
    best.map(|(_, reading)| reading)
}

/// `CLOCK_BOOTTIME`, now.
#[must_use]
pub fn boot() -> Nanos {
    Nanos(nanoseconds(ClockId::CLOCK_BOOTTIME))
}

/// The wall clock, now, for the standard library's types.
#[must_use]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// A monotonic point in time, for waits that no evidence depends on.
#[must_use]
pub fn instant() -> Instant {
    Instant::now()
}

/// `CLOCK_BOOTTIME`, or why this kernel does not have it.
///
/// # Errors
/// What the kernel says.
pub fn try_boot() -> nix::Result<Duration> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from)
}

/// How much the boot clock is ahead of the monotonic one: the time spent in suspend since boot.
#[must_use]
pub fn suspended() -> Duration {
    Duration::from_nanos(nanoseconds(ClockId::CLOCK_BOOTTIME).saturating_sub(nanoseconds(ClockId::CLOCK_MONOTONIC)))
}

/// One jiffy of the running kernel: by that much the coarse clocks grow (`clock_getres(2)`, `KTIME_LOW_RES` of Linux).
#[must_use]
pub fn jiffy() -> Duration {
    // 250 Hz is what kernels have that do not say; the coarse clock is older than any that the agent supports.
    clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::from_millis(4), Duration::from)
}

/// The clocks exist on every kernel that the agent supports; a read that fails all the same counts as boot time.
fn nanoseconds(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| {
        let (seconds, rest) = (time.tv_sec().cast_unsigned(), time.tv_nsec().cast_unsigned());
        seconds.saturating_mul(1_000_000_000).saturating_add(rest)
    })
}

impl Reading {
    /// The boot time at which the wall clock showed `wall`, for a time not long before this reading.
    ///
    /// The kernel stamps packets with the wall clock. Had it been stepped in between, the result would be off by
    /// the step, so it is kept between `earliest` (the packet was not there when last looked) and this reading.
    #[must_use]
    pub fn boot_at(&self, wall: WallNanos, earliest: Nanos) -> Nanos {
        let age = i128::from(self.wall.0) - i128::from(wall.0);
        let at = i128::from(self.boot.0) - age;
        let clamped = at.clamp(i128::from(earliest.0.min(self.boot.0)), i128::from(self.boot.0));
        Nanos(u64::try_from(clamped).unwrap_or(self.boot.0))
    }

    /// What the wall clock showed at `at`, shortly before this reading or after it: what comes in during a turn is later than
    /// the reading of its begin.
    #[must_use]
    pub fn wall_at(&self, at: Nanos) -> WallNanos {
        WallNanos(self.wall.0.wrapping_sub(self.boot.0).wrapping_add(at.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Reading = Reading { boot: Nanos(5_000), wall: WallNanos(1_000_000) };

    #[test]
    fn a_thread_that_is_held_up_between_two_clocks_reads_them_again() {
        let at = |ms: u64| Nanos(ms * 1_000_000);
        let wall = |ms: u64| WallNanos(ms * 1_000_000);
        let held_up = (at(100), wall(1_900), at(900));
        let together = (at(900), wall(1_900), at(900));
        let reading = closest([held_up, together].into_iter()).unwrap();
        assert_eq!(reading, Reading { boot: at(900), wall: wall(1_900) });
        let less = (at(950), wall(1_990), at(990));
        assert_eq!(closest([held_up, less].into_iter()).unwrap().boot, at(990), "else the one that was held up least");
    }

    #[test]
    fn the_wall_clock_of_a_moment_before_and_after_a_reading() {
        assert_eq!(NOW.wall_at(Nanos(4_800)), WallNanos(999_800));
        assert_eq!(NOW.wall_at(Nanos(5_300)), WallNanos(1_000_300), "not that of the reading");
    }

    #[test]
    fn a_stamp_moves_to_the_boot_clock() {
        assert_eq!(NOW.boot_at(WallNanos(999_800), Nanos(0)), Nanos(4_800));
    }

    #[test]
    fn a_step_of_the_wall_clock_moves_no_packet_out_of_its_turn() {
        assert_eq!(NOW.boot_at(WallNanos(2_000_000), Nanos(4_500)), Nanos(5_000));
        assert_eq!(NOW.boot_at(WallNanos(100), Nanos(4_500)), Nanos(4_500));
    }
}
