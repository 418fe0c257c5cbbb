//! Do the data refute a constant rate? Three tests of which each is one known distribution. And where gaps are those of bursts,
//! which of them are between bursts.

use statrs::distribution::{ContinuousCDF, FisherSnedecor, Normal};

use super::waits::{RESOLUTION, Waits};

/// A hypothesis whose data are rarer than this is refuted.
pub const REFUTED: f64 = 0.01;
/// Gaps below which [`bursts`] is not asked: the normal distribution is no good for it.
const FEWEST_GAPS: usize = 8;

/// The chance of waits from boot to first incident such as these at a constant rate; absent with too few to tell.
///
/// Two tests, of which each may refute; their smaller chance counts twice (Bonferroni).
/// - They are longer than the gaps after them: at a constant rate the mean wait over the mean gap has Fisher's F
///   distribution, twice the numbers of incidents being its degrees of freedom (Cox, Biometrika 40, 1953).
/// - The shortest is too long for their mean: n exponential waits have n times the shortest over their sum larger than u
///   with chance (1 - u)^(n - 1), since the n parts of a line that is cut at random are all longer than u/n so often.
#[must_use]
pub(super) fn waits_from_boot(waits: &Waits, later: u32, later_hours: f64) -> Option<f64> {
    let chances = [longer_than_gaps(waits, later, later_hours), none_short(waits)];
    let known: Vec<f64> = chances.into_iter().flatten().collect();
    let least = known.iter().copied().reduce(f64::min)?;
    Some((least * f64::from(u32::try_from(known.len()).unwrap_or(2))).min(1.0))
}

fn longer_than_gaps(waits: &Waits, later: u32, later_hours: f64) -> Option<f64> {
    if waits.ended.is_empty() || later == 0 || later_hours <= 0.0 {
        return None;
    }
    let (first, later) = (count(waits.ended.len()), f64::from(later));
    let before: f64 = waits.ended.iter().chain(&waits.cut).sum();
    let ratio = (before / first) / (later_hours / later);
    Some(FisherSnedecor::new(2.0 * first, 2.0 * later).ok()?.sf(ratio))
}

fn none_short(waits: &Waits) -> Option<f64> {
    let number = count(waits.ended.len());
    let sum: f64 = waits.ended.iter().sum();
    if number < 2.0 || sum <= 0.0 {
        return None;
    }
    let shortest = waits.ended.iter().copied().fold(f64::INFINITY, f64::min);
    let shortest = (shortest - RESOLUTION).max(0.0);
    Some((1.0 - number * shortest / sum).max(0.0).powf(number - 1.0))
}

/// The chance of gaps as uneven as these at a constant rate: Greenwood's statistic, the sum of the squares of the parts that
/// the gaps are of their sum, with the moments of Moran (J. R. Stat. Soc. B 9, 1947). Absent with few gaps.
#[must_use]
pub(super) fn bursts(gaps: &[f64]) -> Option<f64> {
    let sum: f64 = gaps.iter().sum();
    if gaps.len() < FEWEST_GAPS || sum <= 0.0 {
        return None;
    }
    let greenwood: f64 = gaps.iter().map(|gap| (gap / sum).powi(2)).sum();
    let n = count(gaps.len()) - 1.0;
    let mean = 2.0 / (n + 2.0);
    let variance = 4.0 * n / ((n + 2.0).powi(2) * (n + 3.0) * (n + 4.0));
    Some(Normal::standard().sf((greenwood - mean) / variance.sqrt()))
}

/// The gaps that a quiet is compared with, in order of length: where incidents come in bursts the pauses between them, which are
/// those above the largest step in the order of lengths (by ratio); else all. Of bursts of two or more the pauses are less than half of
/// all gaps, so the step is in the upper half: below it is one gap in a burst that is shorter than the others.
///
/// A gap within a burst is no measure of quiet: every burst has ended by itself, and each time that was followed by a gap longer
/// than nearly all there were.
#[must_use]
pub(super) fn pauses(mut gaps: Vec<f64>) -> Vec<f64> {
    let in_bursts = bursts(&gaps).is_some_and(|chance| chance < REFUTED);
    gaps.sort_by(f64::total_cmp);
    if !in_bursts {
        return gaps;
    }
    let step = |pair: &[f64]| pair[1].max(RESOLUTION) / pair[0].max(RESOLUTION);
    let steps = gaps.windows(2).map(step).enumerate().skip(gaps.len() / 2);
    let within = steps.max_by(|(_, one), (_, other)| one.total_cmp(other)).map_or(0, |(place, _)| place + 1);
    gaps.split_off(within)
}

#[expect(clippy::cast_precision_loss, reason = "numbers of incidents, far below 2^53")]
fn count(number: usize) -> f64 {
    number as f64
}
