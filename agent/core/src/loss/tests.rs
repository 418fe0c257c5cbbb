use super::*;

/// A linear congruential generator (Knuth, MMIX): the same numbers every time.
struct Chance(u64);

impl Chance {
    fn lost(&mut self, rate: f64) -> bool {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 / (1_u64 << 53) as f64) < rate
    }
}

/// Hands over `packets` of which each is lost by chance.
fn lossy(seed: u64, rate: f64, packets: usize, mut each: impl FnMut(u64, u64)) {
    let (mut chance, mut missing) = (Chance(seed), 0);
    for _ in 0..packets {
        if chance.lost(rate) {
            missing += 1;
        } else {
            each(std::mem::take(&mut missing), 1);
        }
    }
}

/// Table I of Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17 (1998), method
/// 3, at 95 %.
#[test]
fn the_interval_is_wilsons() {
    for (lost, packets, low, high) in
        [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
    {
        let found = wilson(lost, packets, 1.959_964);
        assert!((found.0 - low).abs() < 5e-5 && (found.1 - high).abs() < 5e-5, "{lost} of {packets}: {found:?}");
    }
}

#[test]
fn the_interval_holds_the_true_rate() {
    for rate in [0.05, 0.1, 0.3] {
        let missed = (0..1000).filter(|seed| {
            let mut measure = LossMeasure::default();
            lossy(seed * 7 + 1, rate, 700, |missing, arrived| measure.record(missing, arrived));
            let stated = measure.rate().expect("more than 300 packets");
            assert_eq!(stated.packets as usize, MEASURED);
            !(stated.low..=stated.high).contains(&rate)
        });
        // One in a thousand is expected: six are a chance of one in two thousand.
        assert!(missed.count() < 6, "{rate}");
    }
}

#[test]
fn steady_losses_are_found_and_others_are_not() {
    for (rate, steady) in [(0.05, true), (0.1, true), (0.3, true), (0.001, false), (0.0, false)] {
        let mut track = LossTrack::default();
        lossy(3, rate, 300, |missing, arrived| track.record(missing, arrived, Nanos(1)));
        assert_eq!(track.steady().is_some(), steady, "{rate}");
    }
}

#[test]
fn a_path_that_flaps_is_no_steady_loss() {
    let mut track = LossTrack::default();
    for _ in 0..6 {
        track.record(5, 40, Nanos(1));
    }
    assert_eq!(track.steady(), None);
}

#[test]
fn a_cut_is_left_out() {
    let mut track = LossTrack::default();
    (0..6).for_each(|_| track.record(CUT, 40, Nanos(1)));
    assert_eq!(track, {
        let mut clean = LossTrack::default();
        clean.record(0, 240, Nanos(1));
        clean
    });
}

#[test]
fn what_comes_late_is_not_lost() {
    let mut track = LossTrack::default();
    for _ in 0..20 {
        track.record(1, 10, Nanos(1));
        track.fill(1);
    }
    assert_eq!(track.steady(), None);
    assert!(!track.is_suspicious());
}

/// Seen in the lab: two seconds after a loss of 20 % had begun, five in a row of it were taken for a short cut.
#[test]
fn five_in_a_row_may_be_of_a_loss_of_which_little_is_known() {
    let told = |runs: &[(u64, u64)]| {
        let mut track = LossTrack::default();
        runs.iter().for_each(|(missing, arrived)| track.record(*missing, *arrived, Nanos(1)));
        track.is_suspicious()
    };
    assert!(told(&[(0, 200), (1, 5), (5, 6), (1, 14)]), "two others, before and after");
    assert!(!told(&[(0, 200), (1, 5), (5, 21)]), "one other may be a chance");
    assert!(!told(&[(0, 200), (1, 5), (5, 6), (1, 200)]), "nothing else for long");
}

#[test]
fn misses_in_a_row_follow_the_loss() {
    let misses = |rate| {
        let mut track = LossTrack::default();
        lossy(5, rate, 1000, |missing, arrived| track.record(missing, arrived, Nanos(1)));
        track.misses_of_a_gap()
    };
    assert_eq!(misses(0.0), 0, "the configured ones hold");
    assert!((14..=17).contains(&misses(0.3)), "{}", misses(0.3));
    assert!((5..=8).contains(&misses(0.05)), "{}", misses(0.05));
}

#[test]
fn a_loss_that_has_just_begun_is_no_loss_by_size() {
    let mut track = LossTrack::default();
    track.record(0, 300, Nanos(1));
    assert_eq!(track.misses_of_a_hole(), 0);
    track.record(1, 4, Nanos(2));
    assert!((14..=20).contains(&track.misses_of_a_hole()), "{}", track.misses_of_a_hole());
    track.record(0, 250, Nanos(3));
    assert!((4..=5).contains(&track.misses_of_a_hole()), "one, long ago: {}", track.misses_of_a_hole());
}

#[test]
fn the_window_is_bounded() {
    let mut track = LossTrack::default();
    (0..1000).for_each(|_| track.record(3, u64::MAX, Nanos(1)));
    assert_eq!(track.window.len(), WINDOW);
    let mut measure = LossMeasure::default();
    (0..1000).for_each(|_| measure.record(0, u64::MAX));
    assert!(measure.outcomes.len() <= 3 * MEASURED);
}

#[test]
fn it_is_over_when_nothing_was_lost_for_long() {
    let mut measure = LossMeasure::since(Some(LossRate::of(30, 100)));
    measure.record(0, 80);
    assert!(measure.is_over());
    measure = LossMeasure::since(Some(LossRate::of(5, 100)));
    measure.record(0, 300);
    assert!(!measure.is_over(), "at 5 % that is no rarity");
    (0..90).for_each(|_| measure.record(0, 10));
    assert!(!measure.is_over(), "five losses may have been of a lower rate");
    (0..50).for_each(|_| measure.record(0, 10));
    assert!(measure.is_over(), "nothing is waited for longer than at 1 %");
}

/// Seen in the lab: a loss of 5 % was found late, and healed before its rate could be stated.
#[test]
fn the_more_was_counted_the_sooner_it_is_over() {
    let mut measure = LossMeasure::since(Some(LossRate::of(7, 182)));
    (0..11).for_each(|_| measure.record(1, 22));
    assert!(measure.rate().is_none());
    (0..63).for_each(|_| measure.record(0, 10));
    assert!(measure.is_over());
}

#[test]
fn an_hour_of_a_steady_loss_is_one_loss() {
    for (rate, seed) in [0.05, 0.1, 0.2, 0.3].into_iter().flat_map(|rate| (1..=20).map(move |seed| (rate, seed))) {
        let (mut track, mut measure, mut over) = (LossTrack::default(), None::<LossMeasure>, 0);
        lossy(seed * 11, rate, 36_000, |missing, arrived| {
            track.record(missing, arrived, Nanos(1));
            if measure.is_none() {
                measure = track.steady().map(|found| LossMeasure::since(Some(found)));
            } else if let Some(measure) = &mut measure {
                measure.record(missing, arrived);
                over += u32::from(measure.is_over());
            }
        });
        assert!(measure.is_some());
        assert_eq!(over, 0, "{rate}, seed {seed}");
    }
}
