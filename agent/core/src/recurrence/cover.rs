//! Watched time: what lies outside of it is neither quiet nor at risk.

use super::model::{Occurrence, Watched};

const MS_PER_HOUR: f64 = 3_600_000.0;
/// What begins so shortly after watched time ended, or before it began, was seen: the end is noted every ten seconds only,
/// and the incident may be the very one that kept the agent from going on.
const SEEN_WITHIN_MS: i64 = 60_000;

/// Times that were watched, merged.
#[derive(Clone, Debug, Default)]
pub(super) struct Cover {
    /// Disjoint, in order.
    parts: Vec<(i64, i64)>,
}

impl Cover {
    /// The union of those periods.
    #[must_use]
    pub(super) fn of<'a>(watched: impl Iterator<Item = &'a Watched>) -> Self {
        Self::union(watched.map(period).collect())
    }

    fn union(mut periods: Vec<(i64, i64)>) -> Self {
        periods.sort_unstable();
        let mut parts: Vec<(i64, i64)> = Vec::new();
        for (from, to) in periods {
            match parts.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => parts.push((from, to)),
            }
        }
        Self { parts }
    }

    /// When incidents like that one would have been seen: while whom they are about was heard. Before there is such an account, as
    /// before this was kept, and of what there is none, as of several hosts: while the agent watched.
    #[must_use]
    pub(super) fn for_incident(watched: &[Watched], incident: &Occurrence) -> Self {
        let about = incident.peer.as_deref().or(incident.host.as_deref());
        let heard = || watched.iter().filter(|one| about == Some(one.host.as_str()));
        let Some(first) = heard().map(|one| one.from_ms).min() else { return Self::of(watched.iter()) };
        let before =
            watched.iter().map(period).filter(|(from, _)| *from < first).map(|(from, to)| (from, to.min(first)));
        Self::union(heard().map(period).chain(before).collect())
    }

    /// How much of the time between the two was watched, in hours.
    #[must_use]
    pub(super) fn hours(&self, from_ms: i64, to_ms: i64) -> f64 {
        let within = |(from, to): &(i64, i64)| (to.min(&to_ms) - from.max(&from_ms)).max(0);
        hours(self.parts.iter().map(within).sum())
    }

    /// Whether an incident that began then would have been seen.
    #[must_use]
    pub(super) fn sees(&self, at_ms: i64) -> bool {
        self.parts.iter().any(|(from, to)| (from - SEEN_WITHIN_MS..=to + SEEN_WITHIN_MS).contains(&at_ms))
    }

    /// The first watched moment at `from_ms` or after it.
    #[must_use]
    pub(super) fn first_from(&self, from_ms: i64) -> Option<i64> {
        self.parts.iter().find(|(_, to)| *to > from_ms).map(|(from, _)| (*from).max(from_ms))
    }
}

fn period(watched: &Watched) -> (i64, i64) {
    (watched.from_ms, watched.to_ms)
}

/// Milliseconds in hours.
#[expect(clippy::cast_precision_loss, reason = "2^53 ms are 285,000 years")]
#[must_use]
pub(super) fn hours(ms: i64) -> f64 {
    ms as f64 / MS_PER_HOUR
}
