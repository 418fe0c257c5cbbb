//! The plain case: incidents at a constant rate. Rates, what quiet says, and whether two rates differ.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, Binomial, ContinuousCDF, DiscreteCDF, Gamma};

/// An event that is rarer than this, were nothing changed, is not taken for chance: 95 % sure.
pub const UNLIKELY: f64 = 0.05;
/// What Jeffreys' prior for a rate, Gamma(1/2, 0), adds to the number of events.
const JEFFREYS: f64 = 0.5;

/// Incidents in watched time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Incidents that began.
    pub incidents: u32,
    /// Watched time, in hours.
    pub watched_hours: f64,
    /// Incidents an hour; absent where nothing was watched.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub per_hour: Option<f64>,
    /// Lower end of its 95 % interval.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub per_hour_low: Option<f64>,
    /// Upper end of its 95 % interval.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub per_hour_high: Option<f64>,
}

impl Rate {
    /// So many incidents in so many watched hours.
    #[must_use]
    pub(super) fn of(incidents: u32, watched_hours: f64) -> Self {
        let (low, high) = count_interval(incidents);
        let per_hour = |count: f64| (watched_hours > 0.0).then(|| count / watched_hours);
        Self {
            incidents,
            watched_hours,
            per_hour: per_hour(f64::from(incidents)),
            per_hour_low: per_hour(low),
            per_hour_high: per_hour(high),
        }
    }
}

/// The exact 95 % interval of the mean of a Poisson count (Garwood, Biometrika 28, 1936: chi-square quantiles, which are
/// those of the gamma distribution).
#[must_use]
pub(super) fn count_interval(count: u32) -> (f64, f64) {
    let count = f64::from(count);
    let low = if count > 0.0 { gamma_quantile(count, 0.025) } else { 0.0 };
    (low, gamma_quantile(count + 1.0, 0.975))
}

fn gamma_quantile(shape: f64, p: f64) -> f64 {
    Gamma::new(shape, 1.0).map_or(f64::NAN, |gamma| gamma.inverse_cdf(p))
}

/// The chance of no incident in `quiet` hours after `incidents` in `watched` hours, were nothing changed: the posterior
/// predictive of a Poisson process with Jeffreys' prior, a negative binomial at 0.
#[must_use]
pub(super) fn chance_of_quiet(incidents: u32, watched: f64, quiet: f64) -> f64 {
    if quiet <= 0.0 {
        return 1.0;
    }
    (watched / (watched + quiet)).powf(f64::from(incidents) + JEFFREYS)
}

/// The quiet hours after which that chance is [`UNLIKELY`].
#[must_use]
pub(super) fn quiet_needed(incidents: u32, watched: f64) -> f64 {
    watched * (UNLIKELY.powf(-1.0 / (f64::from(incidents) + JEFFREYS)) - 1.0)
}

/// How a rate changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The chance of rates as different as these or more, were they the same: the conditional binomial test, two-sided.
    pub chance: f64,
    /// The rate after the mark as a part of that before.
    pub ratio: f64,
    /// Lower end of its 95 % interval (Clopper and Pearson).
    pub ratio_low: f64,
    /// Upper end of its 95 % interval.
    pub ratio_high: f64,
}

/// Compares two rates; absent where one was not watched, or nothing happened before.
///
/// Given all incidents, how many of them came after is binomial (Przyborowski and Wilenski, Biometrika 31, 1940).
#[must_use]
pub(super) fn change(before: &Rate, after: &Rate) -> Option<Change> {
    if before.incidents == 0 || before.watched_hours <= 0.0 || after.watched_hours <= 0.0 {
        return None;
    }
    let (b, a) = (f64::from(before.incidents), f64::from(after.incidents));
    let scale = before.watched_hours / after.watched_hours;
    let share = after.watched_hours / (before.watched_hours + after.watched_hours);
    let ratio = |part: f64| part / (1.0 - part) * scale;
    let (low, high) = share_interval(before.incidents, after.incidents)?;
    let chance = binomial_test(after.incidents, before.incidents.saturating_add(after.incidents), share)?;
    Some(Change { chance, ratio: a / b * scale, ratio_low: ratio(low), ratio_high: ratio(high) })
}

/// The 95 % interval of the part that came after (Clopper and Pearson, Biometrika 26, 1934).
fn share_interval(before: u32, after: u32) -> Option<(f64, f64)> {
    let (b, a) = (f64::from(before), f64::from(after));
    let low = if after == 0 { 0.0 } else { Beta::new(a, b + 1.0).ok()?.inverse_cdf(0.025) };
    Some((low, Beta::new(a + 1.0, b).ok()?.inverse_cdf(0.975)))
}

/// Twice the smaller tail.
fn binomial_test(successes: u32, trials: u32, share: f64) -> Option<f64> {
    let binomial = Binomial::new(share, u64::from(trials)).ok()?;
    let below = binomial.cdf(u64::from(successes));
    let above = successes.checked_sub(1).map_or(1.0, |fewer| binomial.sf(u64::from(fewer)));
    Some((2.0 * below.min(above)).min(1.0))
}
