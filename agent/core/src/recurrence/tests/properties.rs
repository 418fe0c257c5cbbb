//! What must hold whatever the past was.

use proptest::prelude::*;

use super::super::waits::{Quiet, Waits};
use super::*;

fn waits() -> impl Strategy<Value = Waits> {
    let hours = || proptest::collection::vec(0.1..200.0_f64, 0..6);
    (hours(), hours()).prop_map(|(ended, cut)| Waits { ended, cut })
}

proptest! {
    #[test]
    fn longer_quiet_is_never_less_telling(waits in waits(), from in 0.0..50.0_f64, first in 0.0..300.0_f64, more in 0.0..300.0_f64) {
        let quiet = |to: f64| [Quiet { from, to: from + to }];
        let (short, long) = (quiet(first), quiet(first + more));
        prop_assert!(waits.at_most(&long) <= waits.at_most(&short) + 1e-12);
        if let (Some(long), Some(short)) = (waits.chance(&long), waits.chance(&short)) {
            prop_assert!(long <= short + 1e-9 && long >= 0.0 && short <= 1.0, "{long} {short}");
        }
    }

    #[test]
    fn a_further_quiet_boot_is_never_less_telling(waits in waits(), to in 0.1..300.0_f64, again in 0.1..300.0_f64) {
        let (once, twice) = ([Quiet { from: 0.0, to }], [Quiet { from: 0.0, to }, Quiet { from: 0.0, to: again }]);
        prop_assert!(waits.at_most(&twice) <= waits.at_most(&once) + 1e-12);
        if let (Some(twice), Some(once)) = (waits.chance(&twice), waits.chance(&once)) {
            prop_assert!(twice <= once + 1e-9);
        }
    }

    /// On either clock: time after the mark that nobody watched says no more than it would if it were not there.
    #[test]
    fn unwatched_time_is_not_quiet_time(
        onsets in proptest::collection::vec(5.0..60.0_f64, 1..5), bursts in any::<bool>(),
        quiet in 5.0..200.0_f64, down in 0.0..1.0_f64, length in 0.0..1.0_f64,
    ) {
        let mut story = Story::default();
        let mut now = 0.0;
        for onset in onsets {
            story = story.boot(now, now + onset + 2.0).incident(now + onset);
            if bursts { story = story.burst(now + onset + 0.1, now + onset + 1.0) }
            now += onset + 2.1;
        }
        let (mark, end) = (now, now + quiet);
        let (gone, back) = (now + quiet * down, now + quiet * (down + (1.0 - down) * length));
        let watched = Story { history: story.history.clone(), boots: story.boots }.boot(now, end);
        let broken = Story { history: story.history, boots: story.boots }.boot(now, gone).watched_in_boot(now, back, end);
        let whole = watched.quiet(mark, end);
        let recurrence = broken.recurrence(mark, end);
        let Some(broken) = recurrence.quiet else {
            prop_assert_eq!(recurrence.belief, Belief::NotWatched);
            return Ok(());
        };
        prop_assert!(broken.hours <= whole.hours + 1e-6);
        prop_assert_eq!(broken.clock, whole.clock);
        prop_assert!(broken.chance.unwrap() >= whole.chance.unwrap() - 1e-9);
        prop_assert!(broken.chance_at_most.unwrap_or(1.0) >= whole.chance_at_most.unwrap_or(0.0) - 1e-9);
        let shorter = watched.quiet(mark, mark + broken.hours);
        near(broken.chance.unwrap(), shorter.chance.unwrap(), 1e-4);
    }
}

/// Pseudo-random numbers between 0 and 1 (SplitMix64), the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self) -> f64 {
        -(1.0 - self.next()).ln()
    }
}

/// How often a chance of less than 5 % is found where nothing changed.
fn false_alarms(number: usize, mut wait: impl FnMut(&mut Random) -> f64) -> f64 {
    const RUNS: u32 = 20_000;
    let mut random = Random(7);
    let mut alarms = 0;
    for _ in 0..RUNS {
        let waits = Waits { ended: (0..number).map(|_| wait(&mut random)).collect(), cut: Vec::new() };
        let quiet = [Quiet { from: 0.0, to: wait(&mut random) }];
        alarms += u32::from(waits.chance(&quiet).unwrap() < UNLIKELY);
    }
    f64::from(alarms) / f64::from(RUNS)
}

/// "95 % sure" is wrong in 5 % of the cases at most: at a constant rate, with a safe time before it, and with waits that
/// grow more likely to end (Weibull with shape 2, and 8). With waits that do the opposite (shape 0.6) it is wrong twice as often.
#[test]
fn of_changes_that_changed_nothing_one_in_twenty_looks_gone() {
    for number in [2, 3, 5, 10] {
        let alarms = false_alarms(number, |random| 40.0 * random.exponential());
        assert!((0.044..0.056).contains(&alarms), "{number} waits at a constant rate: {alarms}");
        let alarms = false_alarms(number, |random| 30.0 + 10.0 * random.exponential());
        assert!((0.044..0.056).contains(&alarms), "{number} waits with a safe time: {alarms}");
        for shape in [2.0_f64, 8.0] {
            let alarms = false_alarms(number, |random| 40.0 * random.exponential().powf(1.0 / shape));
            assert!(alarms < 0.04, "{number} waits of shape {shape}: {alarms}");
        }
        let alarms = false_alarms(number, |random| 40.0 * random.exponential().powf(1.0 / 0.6));
        assert!(alarms < 0.11, "{number} waits of shape 0.6: {alarms}");
    }
}
