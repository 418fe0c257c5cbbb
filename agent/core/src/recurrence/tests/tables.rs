//! Figures that others published.

use super::super::evenness::{bursts, pauses, waits_from_boot};
use super::super::poisson::{chance_of_quiet, change, count_interval, quiet_needed};
use super::super::waits::{Quiet, Waits};
use super::*;

/// Garwood's intervals, as in the tables of Pearson and Hartley (Biometrika Tables for Statisticians I, table 40), and of
/// Ulm (Am. J. Epidemiology 131, 1990).
#[test]
fn intervals_of_counts_are_those_of_the_tables() {
    let cases = [
        (0, 0.0, 3.689),
        (1, 0.0253, 5.572),
        (2, 0.242, 7.225),
        (5, 1.623, 11.668),
        (10, 4.795, 18.390),
        (20, 12.217, 30.888),
        (50, 37.111, 65.919),
        (100, 81.364, 121.627),
    ];
    for (count, low, high) in cases {
        let found = count_interval(count);
        near(found.0, low, 0.002);
        near(found.1, high, 0.0001);
    }
}

#[test]
fn intervals_of_large_counts_are_those_of_the_normal_distribution() {
    let (low, high) = count_interval(20_000);
    near(low, 20_000.0 - 1.96 * 20_000_f64.sqrt(), 0.001);
    near(high, 20_000.0 + 1.96 * 20_000_f64.sqrt(), 0.001);
}

/// Clopper and Pearson for 1, 5 and 0 of 10: 0.25 to 44.5 %, 18.7 to 81.3 %, 0 to 30.85 %.
#[test]
fn intervals_of_ratios_are_those_of_the_tables_of_shares() {
    for (after, low, high) in [(1, 0.002_529, 0.445_02), (5, 0.187_09, 0.812_91), (0, 0.0, 0.308_50)] {
        let found = change(&Rate::of(10 - after, 1.0), &Rate::of(after, 1.0)).unwrap();
        near(found.ratio_low, low / (1.0 - low), 0.001);
        near(found.ratio_high, high / (1.0 - high), 0.001);
    }
}

/// Of 10 coins 2 or fewer show heads with chance 56/1024, so twice that.
#[test]
fn equal_rates_are_refuted_as_a_coin_is() {
    let found = change(&Rate::of(8, 1.0), &Rate::of(2, 1.0)).unwrap();
    near(found.chance, 112.0 / 1024.0, 1e-9);
    near(found.ratio, 0.25, 1e-9);
    assert!(change(&Rate::of(0, 1.0), &Rate::of(2, 1.0)).is_none());
    assert!(change(&Rate::of(1, 1.0), &Rate::of(2, 0.0)).is_none());
    near(change(&Rate::of(5, 1.0), &Rate::of(5, 1.0)).unwrap().chance, 1.0, 1e-9);
}

/// (E/(E+t))^(n+1/2): 10 events in 100 h, then 10 h, is 1.1^-10.5; and the rule of three's exact form for many events.
#[test]
fn quiet_at_a_constant_rate() {
    near(chance_of_quiet(10, 100.0, 10.0), 1.1_f64.powf(-10.5), 1e-12);
    near(chance_of_quiet(10, 100.0, quiet_needed(10, 100.0)), 0.05, 1e-9);
    near(quiet_needed(100_000, 100_000.0), 20.0_f64.ln(), 0.001);
    near(chance_of_quiet(3, 10.0, 0.0), 1.0, 1e-12);
}

/// 5 % points of F from Fisher's table: 3.00 with 2 and many degrees of freedom, 4.10 with 2 and 10; 1 %: 7.56 with 2 and 10.
#[test]
fn waits_longer_than_gaps_are_judged_by_fishers_table() {
    let waits = |mean: f64| Waits { ended: vec![mean], cut: Vec::new() };
    near(waits_from_boot(&waits(4.103), 5, 5.0).unwrap(), 0.05, 0.002);
    near(waits_from_boot(&waits(7.559), 5, 5.0).unwrap(), 0.01, 0.002);
    near(waits_from_boot(&waits(2.996), 100_000, 100_000.0).unwrap(), 0.05, 0.002);
    assert_eq!(waits_from_boot(&waits(40.0), 0, 0.0), None, "one wait and nothing beside it");
}

/// The chance that two exponential waits have a ratio of less than 2 is 1/3: the shorter is more than 2/3 of the mean.
#[test]
fn waits_that_agree_too_well_refute_a_constant_rate() {
    let two = Waits { ended: vec![10.0, 20.0], cut: Vec::new() };
    near(waits_from_boot(&two, 0, 0.0).unwrap(), 1.0 / 3.0, 0.01);
    let four = Waits { ended: vec![38.0, 39.5, 41.0, 43.5], cut: Vec::new() };
    near(waits_from_boot(&four, 0, 0.0).unwrap(), (1.0_f64 - 152.0 / 162.0).powi(3), 0.03);
}

#[test]
fn gaps_that_are_all_alike_are_no_burst_and_few_are_not_judged() {
    assert!(bursts(&[1.0; 20]).unwrap() > 0.9);
    assert_eq!(bursts(&[1.0, 50.0, 1.0]), None);
    let mut uneven = vec![0.01; 30];
    uneven.extend([20.0; 3]);
    assert!(bursts(&uneven).unwrap() < REFUTED);
}

/// The largest step of these is from one gap of a minute to the others in bursts.
#[test]
fn one_gap_that_is_shorter_than_all_others_makes_no_pauses_of_them() {
    let within = (0..40_u32).map(|gap| (20.0 + f64::from(gap)) / 60.0);
    let gaps: Vec<f64> = within.chain([1.0 / 60.0]).chain([11.0, 12.0, 12.5, 13.0]).collect();
    assert!(bursts(&gaps).unwrap() < REFUTED);
    assert_eq!(pauses(gaps), [11.0, 12.0, 12.5, 13.0]);
}

/// With none cut off: (1 + number longer)/(n + 1); three that all outlast three others: 3! 3!/6!.
#[test]
fn without_a_model_quiet_is_worth_its_rank() {
    let waits = Waits { ended: vec![38.0, 39.5, 41.0, 43.5], cut: Vec::new() };
    let quiet = |to| waits.at_most(&[Quiet { from: 0.0, to }]);
    for (to, expected) in [(16.0, 1.0), (38.0, 0.8), (40.0, 0.6), (42.0, 0.4), (43.5, 0.2), (1000.0, 0.2)] {
        near(quiet(to), expected, 1e-9);
    }
    let three = Waits { ended: vec![1.0, 2.0, 3.0], cut: Vec::new() };
    near(three.at_most(&[Quiet { from: 0.0, to: 4.0 }; 3]), 1.0 / 20.0, 1e-9);
    let with_cut = Waits { ended: vec![40.0, 42.0], cut: vec![41.0] };
    near(with_cut.at_most(&[Quiet { from: 0.0, to: 50.0 }]), 0.75 * 0.5, 1e-9);
}

/// The closed form without cuts: n/(n+1) (S/(S+t-T))^(n-1) beyond the shortest wait T, S being the sum of what the others
/// are longer by.
#[test]
fn with_a_safe_time_quiet_is_worth_the_closed_form() {
    let waits = Waits { ended: vec![38.0, 39.5, 41.0, 43.5], cut: Vec::new() };
    let chance = |to| waits.chance(&[Quiet { from: 0.0, to }]).unwrap();
    // S is 10 h, and 1/60 h of resolution.
    let (sum, after) = (10.0 + 1.0 / 60.0, |to: f64| to - 38.0);
    for to in [38.0, 44.0, 53.0, 100.0] {
        near(chance(to), 0.8 * (sum / (sum + after(to))).powi(3), 1e-9);
    }
    near(1.0 - chance(16.0), 0.2 * (sum / (sum + 4.0 * 22.0)).powi(3), 1e-6);
    let one = Waits { ended: vec![40.0], cut: Vec::new() };
    assert_eq!(one.chance(&[Quiet { from: 0.0, to: 100.0 }]), None);
}
