//! What became of traces.

use std::fmt;

use super::families::{Families, labels};
use crate::shared::{Counters, OtlpFigures};

pub(super) fn traces(out: &mut Families<'_>, counters: &Counters) -> fmt::Result {
    out.counters(
        "lacuna_stories_refused",
        "Incidents that peers told of, and links of own ones, that found no room",
        [(labels([]), counters.stories_refused)],
    )?;
    counters.otlp.as_ref().map_or(Ok(()), |figures| otlp(out, figures))
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a spool stay far below 2^53")]
fn otlp(out: &mut Families<'_>, figures: &OtlpFigures) -> fmt::Result {
    let up = figures.up.map(|up| (labels([]), if up { 1.0 } else { 0.0 }));
    out.gauges("lacuna_otlp_up", "1 where the collector took the last request; absent before the first", up)?;
    out.counters("lacuna_otlp_spans_sent", "Spans that the collector took", [(labels([]), figures.sent)])?;
    let dropped =
        [("rejected", figures.rejected), ("full", figures.full), ("disk", figures.disk), ("damaged", figures.damaged)];
    out.counters(
        "lacuna_otlp_spans_dropped",
        "Spans that were given up: the collector rejects them, their room is full, the disk does not take or give them back",
        dropped.map(|(reason, count)| (labels([("reason", reason)]), count)),
    )?;
    out.counters(
        "lacuna_otlp_requests_failed",
        "Requests to the collector that failed and are repeated",
        [(labels([]), figures.failures)],
    )?;
    out.counters(
        "lacuna_otlp_refused",
        "Words about incidents that the thread which sends traces had no time for",
        [(labels([]), figures.refused)],
    )?;
    let waiting = figures.waiting_spans as f64;
    out.gauges("lacuna_otlp_waiting_spans", "Spans that wait on the disk for the collector", [(labels([]), waiting)])?;
    let bytes = figures.waiting_bytes as f64;
    out.gauges("lacuna_otlp_spool_bytes", "What files with spans take on the disk", [(labels([]), bytes)])
}
