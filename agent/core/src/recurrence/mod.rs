//! Does it come back? Incidents by class, subject and hour, and what quiet after a change says.
//!
//! Pure: the past goes in, a report comes out. The derivations stand in `docs/recurrence.md`. What every answer keeps to:
//! unwatched time is not quiet time, and where it is not known which of two clocks runs, the data decide and the report says
//! which.

mod assess;
mod boots;
mod counts;
mod cover;
mod evenness;
mod model;
mod poisson;
mod report;
#[cfg(test)]
mod tests;
mod waits;
mod words;

use std::time::Duration;

use assess::Case;
use cover::{Cover, hours};

pub use evenness::REFUTED;
pub use model::{History, Mark, Occurrence, Watched, Window};
pub use poisson::{Change, Rate, UNLIKELY};
pub use report::{AtConstantRate, Belief, BusiestHour, Clock, Gaps, MarkNote, QuietTime, Recurrence, Report, Series};
pub use words::{hours as hours_in_words, percent};

/// The report on that window; `mark` is the change that before and after are told apart by, `marks` all that are known.
#[must_use]
pub fn report(history: &History, window: Window, mark: Option<&Mark>, marks: &[Mark]) -> Report {
    // Peers are heard while the agent watches only: all together are what that did.
    let cover = Cover::of(history.watched.iter());
    let inside = |at_ms: i64| (window.since_ms..=window.until_ms).contains(&at_ms);
    let told =
        |one: &&Occurrence| inside(one.started_ms) || one.ended_ms.is_none() && one.started_ms <= window.until_ms;
    let groups = counts::grouped(history.incidents.iter().filter(told));
    let mut series: Vec<Series> = groups.values().filter_map(|list| counts::count(list)).collect();
    if let Some(mark) = mark {
        for (one, list) in series.iter_mut().zip(groups.values()) {
            let restart = boots::restart_of_change(history, list, mark.at_ms);
            let Some(newest) = list.last() else { continue };
            let cover = &Cover::for_incident(&history.watched, newest);
            let case = Case { history, cover, series: list, mark_ms: restart.unwrap_or(mark.at_ms), window };
            one.recurrence = Some(Recurrence { counts_from: restart.map(rfc3339), ..case.assess() });
        }
    }
    series.sort_by_key(|one| std::cmp::Reverse(one.incidents));
    let watched_hours = cover.hours(window.since_ms, window.until_ms);
    Report {
        since: rfc3339(window.since_ms),
        until: rfc3339(window.until_ms),
        watched_hours,
        unwatched_hours: (hours(window.until_ms - window.since_ms) - watched_hours).max(0.0),
        mark: mark.map(MarkNote::from),
        marks: marks.iter().filter(|mark| inside(mark.at_ms)).map(MarkNote::from).collect(),
        series,
    }
}

impl From<&Mark> for MarkNote {
    fn from(mark: &Mark) -> Self {
        Self { id: mark.id, at: rfc3339(mark.at_ms), text: mark.text.clone() }
    }
}

/// RFC 3339, UTC, with milliseconds.
fn rfc3339(ms: i64) -> String {
    crate::time::rfc3339(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}
