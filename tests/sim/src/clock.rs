//! True time, and what the clocks of a host show of it.

use std::time::Duration;

use lacuna_core::time::{Nanos, WallNanos, nanos};

/// True time since the fleet began, in nanoseconds; no host can see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) u64);

impl Time {
    pub(crate) fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }

    /// The time that passed from `earlier` to `self`; zero where `earlier` is the later one.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

/// What the boot clock shows when the agent starts after a boot.
const BOOTED: u64 = 1_000_000_000;

/// The clocks of one host. The boot clock began at another moment than the others', goes at its own speed, and may stand still
/// with the machine; the wall clock is off by some.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// What the boot clock shows at the begin of true time.
    pub(crate) boot_ns: u64,
    /// By how much it is too fast, in billionths.
    pub(crate) drift_ppb: i64,
    /// What the wall clock shows when the boot clock shows zero.
    pub(crate) wall_ns: u64,
    /// When it stood still, and for how long.
    stood: Vec<(Time, Duration)>,
}

impl Clock {
    pub(crate) fn new(boot_ns: u64, drift_ppb: i64, wall_ns: u64) -> Self {
        Self { boot_ns, drift_ppb, wall_ns, stood: Vec::new() }
    }

    /// What the boot clock shows at that time, which may be past.
    pub(crate) fn boot(&self, at: Time) -> Nanos {
        let stood: Duration = self.stood.iter().map(|(from, length)| at.since(*from).min(*length)).sum();
        let passed = i128::from(at.0.saturating_sub(nanos(stood)));
        let shown = i128::from(self.boot_ns) + passed + passed * i128::from(self.drift_ppb) / 1_000_000_000;
        Nanos(u64::try_from(shown).unwrap_or_default())
    }

    /// What the wall clock shows when the boot clock shows that.
    pub(crate) fn wall(&self, boot: Nanos) -> WallNanos {
        WallNanos(self.wall_ns.saturating_add(boot.0))
    }

    /// The wall clock is set, by so many milliseconds.
    pub(crate) fn step_wall(&mut self, by_ms: i64) {
        self.wall_ns = self.wall_ns.saturating_add_signed(by_ms.saturating_mul(1_000_000));
    }

    /// It stood still from then on, for so long.
    pub(crate) fn stand_still(&mut self, from: Time, length: Duration) {
        self.stood.push((from, length));
    }

    /// The boot clock begins anew, as after a boot at that time.
    pub(crate) fn begin_anew(&mut self, at: Time) {
        self.wall_ns = self.wall_ns.saturating_add(self.boot(at).0).saturating_sub(BOOTED);
        self.stood = vec![(Time(0), at.since(Time(0)))];
        self.boot_ns = BOOTED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_stood_still_goes_on_where_it_was() {
        let mut clock = Clock::new(1_000, 0, 5_000);
        assert_eq!(clock.boot(Time(500)), Nanos(1_500));
        clock.stand_still(Time(500), Duration::from_nanos(300));
        let shown = [400, 500, 600, 800, 900].map(|at| clock.boot(Time(at)).0);
        assert_eq!(shown, [1_400, 1_500, 1_500, 1_500, 1_600]);
        assert_eq!(clock.wall(Nanos(1_600)), WallNanos(6_600));
    }

    #[test]
    fn a_fast_clock_gains() {
        let clock = Clock::new(0, 50_000, 0);
        assert_eq!(clock.boot(Time(2_000_000_000)), Nanos(2_000_100_000));
    }

    #[test]
    fn after_a_boot_the_wall_clock_goes_on_and_the_boot_clock_does_not() {
        let mut clock = Clock::new(40_000_000_000, 0, 1_000_000_000_000);
        let before = clock.wall(clock.boot(Time(7)));
        clock.begin_anew(Time(7));
        assert_eq!(clock.boot(Time(7)), Nanos(BOOTED));
        assert_eq!(clock.wall(clock.boot(Time(7))), before);
    }
}
