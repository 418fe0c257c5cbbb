//! Incidents by class, subject and hour.

use std::collections::BTreeMap;

use super::boots::gaps;
use super::model::Occurrence;
use super::report::{BusiestHour, Gaps, Series};
use super::rfc3339;
use crate::incident::Class;

const MS_PER_HOUR: i64 = 3_600_000;

/// Incidents of one class with one subject, in order of time.
pub(super) type Grouped<'a> = BTreeMap<(Class, &'a str), Vec<&'a Occurrence>>;

pub(super) fn grouped<'a>(incidents: impl Iterator<Item = &'a Occurrence>) -> Grouped<'a> {
    let mut series = Grouped::new();
    for one in incidents {
        series.entry((one.class, one.subject.as_str())).or_default().push(one);
    }
    series.values_mut().for_each(|list| list.sort_by_key(|one| one.started_ms));
    series
}

/// The counts of a series; absent for an empty one.
pub(super) fn count(series: &[&Occurrence]) -> Option<Series> {
    let (first, last) = (series.first()?, series.last()?);
    let mut of_day = vec![0; 24];
    let mut hours: BTreeMap<i64, u32> = BTreeMap::new();
    for one in series {
        let hour = one.started_ms.div_euclid(MS_PER_HOUR);
        *hours.entry(hour).or_default() += 1;
        if let Some(count) = usize::try_from(hour.rem_euclid(24)).ok().and_then(|hour| of_day.get_mut(hour)) {
            *count += 1;
        }
    }
    let (busiest, most) = hours.into_iter().rev().max_by_key(|(_, count)| *count)?;
    Some(Series {
        class: first.class,
        subject: first.subject.clone(),
        incidents: u32::try_from(series.len()).unwrap_or(u32::MAX),
        stalls: series.iter().fold(0, |sum, one| sum.saturating_add(one.times)),
        first_at: rfc3339(first.started_ms),
        last_at: rfc3339(last.started_ms),
        by_hour_of_day: of_day,
        busiest_hour: BusiestHour { at: rfc3339(busiest * MS_PER_HOUR), incidents: most },
        gaps: spread(gaps(series, i64::MAX, &[])),
        recurrence: None,
    })
}

fn spread(mut gaps: Vec<f64>) -> Option<Gaps> {
    gaps.sort_by(f64::total_cmp);
    let seconds = |hours: &f64| hours * 3600.0;
    Some(Gaps {
        shortest_seconds: gaps.first().map(seconds)?,
        median_seconds: gaps.get(gaps.len() / 2).map(seconds)?,
        longest_seconds: gaps.last().map(seconds)?,
    })
}
