//! What may be believed of one series after a mark, and on which clock.

use super::boots::{OnBoots, gaps};
use super::cover::Cover;
use super::evenness::{REFUTED, bursts, pauses, waits_from_boot};
use super::model::{History, Occurrence, Window};
use super::poisson::{self, Rate, UNLIKELY};
use super::report::{AtConstantRate, Belief, Clock, QuietTime, Recurrence};
use super::waits::{Quiet, Waits, needed, restarts_needed};
use super::words;

/// One series, in order of time, and what surrounds it.
pub(super) struct Case<'a> {
    pub(super) history: &'a History,
    pub(super) cover: &'a Cover,
    pub(super) series: &'a [&'a Occurrence],
    pub(super) mark_ms: i64,
    pub(super) window: Window,
}

impl Case<'_> {
    pub(super) fn assess(&self) -> Recurrence {
        let Window { since_ms, until_ms } = self.window;
        let before = Rate::of(self.begun(since_ms, self.mark_ms), self.cover.hours(since_ms, self.mark_ms));
        let after = Rate::of(self.begun(self.mark_ms, until_ms + 1), self.cover.hours(self.mark_ms, until_ms));
        let mut told = Recurrence {
            counts_from: None,
            before,
            after,
            belief: Belief::NothingBefore,
            change: None,
            quiet: None,
            because: Vec::new(),
        };
        if !self.began_before() {
            told.because = words::nothing_before(&after);
        } else if self.has_come_back() {
            told.belief = Belief::Recurred;
            told.change = poisson::change(&before, &after).filter(|_| after.incidents > 0);
            told.because = words::recurred(&after, told.change.as_ref(), bursts(&gaps(self.series, self.mark_ms, &[])));
        } else {
            self.weigh(&mut told);
        }
        told
    }

    /// Incidents in watched time: with others the rate would be too high.
    fn begun(&self, from_ms: i64, to_ms: i64) -> u32 {
        let inside = self.series.iter().filter(|one| (from_ms..to_ms).contains(&one.started_ms));
        let begun = inside.filter(|one| self.cover.sees(one.started_ms)).count();
        u32::try_from(begun).unwrap_or(u32::MAX)
    }

    fn has_come_back(&self) -> bool {
        self.series.iter().any(|one| one.started_ms >= self.mark_ms || one.ended_ms.is_none())
    }

    fn began_before(&self) -> bool {
        self.series.iter().any(|one| one.started_ms < self.mark_ms)
    }

    /// Watched hours since the mark, or since the end of what was still going on at the mark.
    fn quiet_hours(&self) -> f64 {
        let ended = self.series.iter().filter_map(|one| one.ended_ms).max();
        self.cover.hours(self.mark_ms.max(ended.unwrap_or(self.mark_ms)), self.window.until_ms)
    }

    fn weigh(&self, told: &mut Recurrence) {
        let hours = self.quiet_hours();
        if hours <= 0.0 || told.before.incidents == 0 {
            told.belief = Belief::NotWatched;
            told.because = words::not_watched(&told.before);
            return;
        }
        let quiet = self.on_best_clock(&told.before, hours);
        let unlikely = quiet.chance.is_some_and(|chance| chance < UNLIKELY);
        told.belief = if unlikely { Belief::Gone } else { Belief::TooEarly };
        told.because = words::quiet(&told.before, &quiet);
        told.quiet = Some(quiet);
    }

    /// A clock other than watched time is taken where the data refute a constant rate, that of boots before that of bursts.
    fn on_best_clock(&self, before: &Rate, hours: f64) -> QuietTime {
        let plain = at_constant_rate(before, hours);
        let boots = OnBoots::of(self.history, self.cover, self.series, self.mark_ms, self.window);
        let from_boot = waits_from_boot(&boots.waits, boots.later, boots.later_hours);
        if from_boot.is_some_and(|chance| chance < REFUTED) {
            if boots.quiet.is_empty() && boots.had_begun {
                let gaps = gaps(self.series, self.mark_ms, &boots.starts_ms);
                return self.since_incident(gaps, from_boot, hours, plain);
            }
            return since_boot(boots, from_boot, hours, plain);
        }
        let gaps = gaps(self.series, self.mark_ms, &[]);
        let burst = bursts(&gaps);
        if burst.is_some_and(|chance| chance < REFUTED) {
            return self.since_incident(gaps, burst, hours, plain);
        }
        let known = [from_boot, burst].into_iter().flatten().reduce(f64::min);
        QuietTime {
            chance: Some(plain.chance),
            hours_needed: Some(plain.hours_needed),
            ..blank(Clock::ConstantRate, hours, known, plain)
        }
    }

    /// The pauses between bursts are taken as boots are: a safe time, then a constant rate.
    fn since_incident(&self, gaps: Vec<f64>, refuted: Option<f64>, hours: f64, plain: AtConstantRate) -> QuietTime {
        let last = self.series.iter().map(|one| one.started_ms).max().unwrap_or(self.mark_ms);
        let since = |until_ms| self.cover.hours(last, until_ms);
        let quiet = [Quiet { from: since(self.mark_ms), to: since(self.window.until_ms) }];
        let waits = Waits { ended: pauses(gaps), cut: Vec::new() };
        let at_most = waits.at_most(&quiet);
        QuietTime {
            chance: Some(waits.chance(&quiet).unwrap_or(at_most)),
            chance_at_most: Some(at_most),
            hours_needed: needed(&quiet, |quiet| waits.chance(quiet)),
            pause_hours: waits.ended,
            ..blank(Clock::SinceIncident, hours, refuted, plain)
        }
    }
}

fn since_boot(boots: OnBoots, refuted: Option<f64>, hours: f64, plain: AtConstantRate) -> QuietTime {
    let OnBoots { waits, quiet, .. } = boots;
    let at_most = waits.at_most(&quiet);
    let chance = waits.chance(&quiet).unwrap_or(at_most);
    let known = !quiet.is_empty();
    QuietTime {
        chance: known.then_some(chance),
        chance_at_most: known.then_some(at_most),
        hours_needed: needed(&quiet, |quiet| waits.chance(quiet)),
        restarts_needed: restarts_needed(&waits, &quiet),
        hours_from_boot: waits.ended,
        quiet_boot_hours: waits.cut,
        quiet_boot_hours_after: quiet.iter().map(|one| one.to).collect(),
        ..blank(Clock::SinceBoot, hours, refuted, plain)
    }
}

fn at_constant_rate(before: &Rate, hours: f64) -> AtConstantRate {
    let needed = poisson::quiet_needed(before.incidents, before.watched_hours);
    AtConstantRate {
        chance: poisson::chance_of_quiet(before.incidents, before.watched_hours, hours),
        hours_needed: (needed - hours).max(0.0),
    }
}

fn blank(clock: Clock, hours: f64, refuted: Option<f64>, at_constant_rate: AtConstantRate) -> QuietTime {
    QuietTime {
        hours,
        clock,
        chance: None,
        chance_at_most: None,
        hours_needed: None,
        restarts_needed: None,
        hours_from_boot: Vec::new(),
        quiet_boot_hours: Vec::new(),
        quiet_boot_hours_after: Vec::new(),
        pause_hours: Vec::new(),
        constant_rate_chance: refuted,
        at_constant_rate,
    }
}
