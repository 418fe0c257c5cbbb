//! Waits from a begin (a boot, an incident) to the next incident, and what a wait says that has not ended yet.
//!
//! Two answers, since few waits are ever known. One takes each begin to be followed by a time without incidents, of
//! unknown length and the same each time, and then by incidents at an unknown constant rate: the exponential distribution
//! with two parameters. Its chance is exact, however few waits there were, for that distribution and so for a constant rate
//! (the safe time is 0 then); waits that are spread less, such as those of something that fills up, make it too large. The
//! other answer assumes nothing but that the waits are alike, and is the most that one may believe without a model.

use super::poisson::UNLIKELY;

/// Waits are not known more exactly than this, in hours: 1 min. It keeps waits that agree by chance from proving anything.
pub(super) const RESOLUTION: f64 = 1.0 / 60.0;
/// No quiet is waited for longer than this, in hours: ten years.
const FOR_GOOD: f64 = 87_600.0;
/// Restarts beyond which nobody is asked for more.
const MOST_RESTARTS: u32 = 100;

/// Waits of the past, in hours.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Waits {
    /// Those that ended with an incident.
    pub(super) ended: Vec<f64>,
    /// Those that were cut off before one (a restart, the mark), at so many quiet hours.
    pub(super) cut: Vec<f64>,
}

/// A wait that has not ended: known to be quiet from `from` to `to` hours after its begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quiet {
    /// At the mark; 0 where the wait began after it.
    pub(super) from: f64,
    /// Now, or where it was cut off.
    pub(super) to: f64,
}

impl Waits {
    /// The longest one that ended; 0 where none did.
    #[must_use]
    pub(super) fn longest(&self) -> f64 {
        self.ended.iter().copied().fold(0.0, f64::max)
    }

    fn shortest(&self) -> f64 {
        self.ended.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The most that the chance of this quiet can be with no model: the waits are exchangeable.
    ///
    /// With none cut off it is (1 + the number that were longer) / (1 + their number), Hill's A(n) (JASA 63, 1968); those
    /// that were cut off leave the comparison where they were (Kaplan and Meier, JASA 53, 1958).
    #[must_use]
    pub(super) fn at_most(&self, quiet: &[Quiet]) -> f64 {
        let mut ended = self.ended.clone();
        ended.sort_by(f64::total_cmp);
        let mut cut = self.cut.clone();
        let mut chance = 1.0;
        for one in quiet {
            let survived = ended.iter().enumerate().filter(|(_, wait)| **wait > one.from && **wait <= one.to);
            for (earlier, wait) in survived {
                let at_risk = (ended.len() - earlier) + cut.iter().filter(|cut| *cut >= wait).count();
                chance *= ratio(at_risk, at_risk + 1);
            }
            cut.push(one.to);
        }
        chance
    }

    /// The chance of this quiet, were nothing changed, with a safe time and a constant rate after it; absent with fewer
    /// than two waits that ended, which tell nothing of how much they are spread.
    #[must_use]
    pub(super) fn chance(&self, quiet: &[Quiet]) -> Option<f64> {
        if self.ended.len() < 2 {
            return None;
        }
        let with = |at: fn(&Quiet) -> f64| self.log_evidence(quiet.iter().map(at));
        Some((with(|one| one.to) - with(|one| one.from)).exp().min(1.0))
    }

    /// The logarithm of the likelihood of all waits, `more` of them cut off, integrated over the rate and the safe time with
    /// the prior 1/rate, up to a constant. See `docs/recurrence.md`.
    ///
    /// With a safe time s it is proportional to A(s)^-n, where n waits ended and A(s) is the time spent beyond s. A is
    /// linear between the waits that were cut off, so that the integral over s is a sum.
    fn log_evidence(&self, more: impl Iterator<Item = f64>) -> f64 {
        let shortest = self.shortest();
        // A wait that has not begun yet (0) is none.
        let cut = self.cut.iter().copied().chain(more).filter(|wait| *wait > 0.0);
        let all: Vec<f64> = self.ended.iter().copied().chain(cut).collect();
        let beyond = |safe: f64| RESOLUTION + all.iter().map(|wait| (wait - safe).max(0.0)).sum::<f64>();
        let mut bends: Vec<f64> = all.iter().copied().filter(|wait| *wait < shortest).collect();
        bends.push(shortest);
        bends.sort_by(|a, b| b.total_cmp(a));
        bends.dedup();
        let power = ratio(self.ended.len(), 1) - 1.0;
        let top = beyond(shortest);
        let value = |safe: f64| (top / beyond(safe)).powf(power);
        let mut sum = 0.0;
        for (place, bend) in bends.iter().enumerate() {
            let lower = bends.get(place + 1).map_or(0.0, |next| value(*next));
            let at_risk = all.iter().filter(|wait| *wait >= bend).count();
            sum += (value(*bend) - lower) / ratio(at_risk, 1);
        }
        sum.ln() - power * top.ln()
    }
}

/// By how many hours the last wait must go on being quiet until `chance` is [`UNLIKELY`]; absent where no length is enough.
pub(super) fn needed(quiet: &[Quiet], chance: impl Fn(&[Quiet]) -> Option<f64>) -> Option<f64> {
    let after = |hours: f64| {
        let mut longer = quiet.to_vec();
        longer.last_mut()?.to += hours;
        chance(&longer)
    };
    if after(0.0)? < UNLIKELY {
        return Some(0.0);
    }
    let (mut short, mut enough) = (0.0, 1.0);
    while after(enough)? >= UNLIKELY {
        (short, enough) = (enough, enough * 2.0);
        if enough > FOR_GOOD {
            return None;
        }
    }
    // To a second.
    while enough - short > 1.0 / 3600.0 {
        let middle = f64::midpoint(short, enough);
        if after(middle)? < UNLIKELY { enough = middle } else { short = middle }
    }
    Some(enough)
}

/// How many waits must follow the present one, and all outlast the longest one, until the quiet is [`UNLIKELY`] without a
/// model.
pub(super) fn restarts_needed(waits: &Waits, quiet: &[Quiet]) -> Option<u32> {
    let mut quiet = quiet.to_vec();
    let beyond = waits.longest() + RESOLUTION;
    if let Some(present) = quiet.last_mut() {
        present.to = present.to.max(beyond);
    }
    for restarts in 0..=MOST_RESTARTS {
        if waits.at_most(&quiet) < UNLIKELY {
            return Some(restarts);
        }
        quiet.push(Quiet { from: 0.0, to: beyond });
    }
    None
}

#[expect(clippy::cast_precision_loss, reason = "numbers of waits, far below 2^53")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
