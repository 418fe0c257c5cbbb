//! What stopped first, in a sentence.

use std::time::Duration;

use super::{Lane, SAME_MOMENT_MS, Sort, Timeline};
use crate::export::words::span;

/// Others that are named after the first.
const OTHERS: usize = 4;

/// "db1 CPU 1 stopped first, lb1's gap 300 ms later".
#[must_use]
pub(in super::super) fn first(timeline: &Timeline) -> String {
    let stopped: Vec<(&Lane, i64, Sort)> =
        timeline.lanes.iter().filter_map(|lane| lane.stopped.map(|(at, sort)| (lane, at, sort))).collect();
    let Some(((lane, at, sort), others)) = stopped.split_first() else {
        return "What stopped first is not among the evidence".to_owned();
    };
    // They are in order of time, as far as that can be told.
    let together = match sort {
        Sort::Gap => others.iter().take_while(|(_, when, _)| when - at < SAME_MOMENT_MS).count(),
        _ => 0,
    };
    let (together, others) = others.split_at(together);
    let mut parts = vec![match (sort, together, others) {
        (Sort::Gap, [], []) => format!("Only {} is known", gap_of(lane)),
        (Sort::Gap, [], _) => format!("{} came first", gap_of(lane)),
        (Sort::Gap, ..) => {
            let gaps: Vec<_> =
                std::iter::once(*lane).chain(together.iter().map(|(lane, ..)| *lane)).map(gap_of).collect();
            format!("{} began at the same moment", gaps.join(" and "))
        }
        (_, _, []) => format!("Only {} stopped", lane_name(lane)),
        _ => format!("{} stopped first", lane_name(lane)),
    }];
    parts.extend(others.iter().take(OTHERS).map(|(lane, when, sort)| later(lane, *sort, when - at)));
    let beyond = others.len().saturating_sub(OTHERS);
    if beyond > 0 {
        parts.push(format!("and {beyond} more"));
    }
    parts.join(", ")
}

/// What came after the first, or with it: one that stood still goes first, also where a gap is dated a little earlier.
fn later(lane: &Lane, sort: Sort, after_ms: i64) -> String {
    let what = if sort == Sort::Gap { gap_of(lane) } else { format!("{} stopped", lane_name(lane)) };
    match after_ms.unsigned_abs() {
        ms if ms < SAME_MOMENT_MS.unsigned_abs() => format!("{what} at the same moment"),
        ms => format!("{what} {} later", span(Duration::from_millis(ms))),
    }
}

fn gap_of(lane: &Lane) -> String {
    format!("{}'s gap", lane_name(lane))
}

/// "db1", or "db1 CPU 1".
#[must_use]
pub(in super::super) fn lane_name(lane: &Lane) -> String {
    match lane.cpu {
        Some(cpu) => format!("{} CPU {cpu}", lane.host),
        None => lane.host.clone(),
    }
}
