//! The timeline of an incident as geometry: lanes, rows and bars, a pure function of the document and of the changes that were
//! noted. `place` says in which lane a piece of evidence belongs, `svg` draws, `words` says what stopped first.
//!
//! A lane is a host, or a CPU of a host. What a host did not hear is a gap in its own lane, whoever was silent: so the lane that
//! stopped by itself is told from those that noticed.

mod place;
mod svg;
#[cfg(test)]
mod tests;
mod words;

use lacuna_core::incident::{Cited, Incident};
use lacuna_core::recurrence::Mark;

use place::Placed;
pub(super) use place::{Sort, place};
pub(super) use svg::{draw, legend};
pub(super) use words::{first, lane_name};

/// Most lanes that are drawn.
const MAX_LANES: usize = 12;
/// Most rows in a lane, a kind of evidence each.
const MAX_ROWS: usize = 6;
/// Most bars in a row.
const MAX_BARS: usize = 24;
/// Most changes that are drawn.
const MAX_CHANGES: usize = 8;
/// Two begins that are closer cannot be told apart: heartbeats leave and sentinels wake each 100 ms, and each may be a
/// little late.
const SAME_MOMENT_MS: i64 = 150;
/// What is drawn before the begin and after the end, at most: this, or a quarter of the incident where that is more.
const MARGIN_MS: i64 = 2000;

/// What is drawn. All times are milliseconds since 1970, UTC.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Timeline {
    /// What the drawing spans.
    pub(super) from_ms: i64,
    /// Its end; later than its begin.
    pub(super) to_ms: i64,
    /// Begin of the incident.
    pub(super) began_ms: i64,
    /// Its end; as long as it was when the document was written, where it is open.
    pub(super) until_ms: i64,
    /// When it was noticed.
    pub(super) noticed_ms: Option<i64>,
    /// The one that stopped first goes first; those that did not stop last.
    pub(super) lanes: Vec<Lane>,
    /// Changes that were noted within the span.
    pub(super) changes: Vec<(i64, String)>,
    /// What was left out.
    pub(super) left_out: LeftOut,
}

/// How much there was no room for, or no place on the span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Lanes.
    pub(super) lanes: usize,
    /// Pieces of evidence of the lanes that are drawn.
    pub(super) pieces: usize,
    /// Changes.
    pub(super) changes: usize,
}

/// A host, or a CPU of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lane {
    /// The host.
    pub(super) host: String,
    /// Its CPU.
    pub(super) cpu: Option<u32>,
    /// When it stopped, and in which way; absent where it did not.
    pub(super) stopped: Option<(i64, Sort)>,
    /// What tells most goes first.
    pub(super) rows: Vec<Row>,
}

/// One kind of evidence in a lane.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// What sort that is.
    pub(super) sort: Sort,
    /// The public name of the kind.
    pub(super) kind: String,
    /// In order of time.
    pub(super) bars: Vec<Bar>,
}

/// One piece of evidence.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bar {
    /// Its place in the incident's list.
    pub(super) piece: usize,
    /// Begin, not clipped.
    pub(super) from_ms: i64,
    /// End, not clipped.
    pub(super) to_ms: i64,
    /// In a few words.
    pub(super) label: String,
}

impl Timeline {
    /// Absent where the document has no begin that can be read.
    #[must_use]
    pub(super) fn of(incident: &Incident, marks: &[Mark]) -> Option<Self> {
        let began_ms = millis(&incident.started_at)?;
        let length = i64::try_from(incident.duration_ms).unwrap_or(i64::MAX / 4);
        let told_end = incident.ended_at.as_deref().and_then(millis);
        let until_ms = told_end.unwrap_or(began_ms.saturating_add(length)).max(began_ms);
        let pieces = pieces(incident);
        let (from_ms, to_ms) = span(began_ms, until_ms, &pieces);
        let mut left_out = LeftOut::default();
        let inside: Vec<_> =
            pieces.into_iter().filter(|(_, bar)| bar.to_ms >= from_ms && bar.from_ms <= to_ms).collect();
        left_out.pieces = incident.evidence.len() - inside.len();
        let mut lanes = lanes(inside, began_ms, &mut left_out);
        order(&mut lanes);
        left_out.lanes = lanes.len().saturating_sub(MAX_LANES);
        lanes.truncate(MAX_LANES);
        let mut changes: Vec<_> = marks.iter().filter(|mark| (from_ms..=to_ms).contains(&mark.at_ms)).collect();
        left_out.changes = changes.len().saturating_sub(MAX_CHANGES);
        changes.drain(..left_out.changes);
        let changes = changes.into_iter().map(|mark| (mark.at_ms, mark.text.clone())).collect();
        let noticed_ms = millis(&incident.detected_at).filter(|at| (from_ms..=to_ms).contains(at));
        Some(Self { from_ms, to_ms, began_ms, until_ms, noticed_ms, lanes, changes, left_out })
    }

    /// The place of that moment, from 0 at the left to 100 at the right; what is beyond is at the edge.
    #[must_use]
    pub(super) fn percent(&self, ms: i64) -> f64 {
        let within = ms.clamp(self.from_ms, self.to_ms) - self.from_ms;
        // Days in milliseconds are far below 2^53.
        within as f64 * 100.0 / (self.to_ms - self.from_ms).max(1) as f64
    }
}

/// Where each piece belongs, and its bar; those whose times cannot be read are left out.
fn pieces(incident: &Incident) -> Vec<(Placed, Bar)> {
    let piece = |(number, cited): (usize, &Cited)| {
        let (from_ms, to_ms) = (millis(&cited.from)?, millis(&cited.to)?);
        let placed = place(cited, &incident.observer);
        let label = placed.label.clone();
        Some((placed, Bar { piece: number, from_ms, to_ms: to_ms.max(from_ms), label }))
    };
    incident.evidence.iter().enumerate().filter_map(piece).collect()
}

/// The incident with a margin, and more before and after where there is evidence of it, but not so much that the incident itself
/// would be hard to see.
fn span(began_ms: i64, until_ms: i64, pieces: &[(Placed, Bar)]) -> (i64, i64) {
    let length = until_ms.saturating_sub(began_ms);
    let (least, most) = ((length / 20).max(100), (length / 4).max(MARGIN_MS));
    let first = pieces.iter().map(|(_, bar)| bar.from_ms).min().unwrap_or(began_ms);
    let last = pieces.iter().map(|(_, bar)| bar.to_ms).max().unwrap_or(until_ms);
    let from = first.min(began_ms).max(began_ms.saturating_sub(most)).min(began_ms.saturating_sub(least));
    let to = last.max(until_ms).min(until_ms.saturating_add(most)).max(until_ms.saturating_add(least));
    (from, to)
}

fn lanes(pieces: Vec<(Placed, Bar)>, began_ms: i64, left_out: &mut LeftOut) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = Vec::new();
    for (placed, bar) in pieces {
        let stop = placed.sort.stops().then(|| (stop_at(placed.sort, &bar, began_ms), placed.sort));
        let lane = match lanes.iter().position(|lane| (&lane.host, lane.cpu) == (&placed.host, placed.cpu)) {
            Some(known) => &mut lanes[known],
            None => {
                lanes.push(Lane { host: placed.host, cpu: placed.cpu, stopped: None, rows: Vec::new() });
                let last = lanes.len() - 1;
                &mut lanes[last]
            }
        };
        lane.stopped = lane.stopped.into_iter().chain(stop).min();
        match lane.rows.iter_mut().find(|row| (row.sort, &row.kind) == (placed.sort, &placed.kind)) {
            Some(row) => row.bars.push(bar),
            None => lane.rows.push(Row { sort: placed.sort, kind: placed.kind, bars: vec![bar] }),
        }
    }
    lanes.iter_mut().for_each(|lane| bound(lane, left_out));
    lanes
}

/// A gap is known to have begun with the first heartbeat that is missing, which is the begin of the incident; what is cited
/// begins with the last one that came in.
fn stop_at(sort: Sort, bar: &Bar, began_ms: i64) -> i64 {
    if sort == Sort::Gap { bar.from_ms.max(began_ms.min(bar.to_ms)) } else { bar.from_ms }
}

/// What tells most stays.
fn bound(lane: &mut Lane, left_out: &mut LeftOut) {
    lane.rows.sort_by_key(|row| (row.sort, row.bars.iter().map(|bar| bar.from_ms).min()));
    for row in lane.rows.drain(MAX_ROWS.min(lane.rows.len())..) {
        left_out.pieces += row.bars.len();
    }
    for row in &mut lane.rows {
        row.bars.sort_by_key(|bar| (bar.from_ms, bar.piece));
        left_out.pieces += row.bars.len().saturating_sub(MAX_BARS);
        row.bars.truncate(MAX_BARS);
    }
}

/// What stopped first goes first; of what stopped at the same moment, as far as that can be told, what stood still by itself goes
/// before what noticed.
fn order(lanes: &mut [Lane]) {
    let earliest = lanes.iter().filter_map(|lane| lane.stopped).map(|(at, _)| at).min().unwrap_or(0);
    lanes.sort_by_key(|lane| {
        let stopped = lane.stopped.map(|(at, sort)| ((at - earliest) / SAME_MOMENT_MS, sort, at));
        let begins = lane.rows.iter().flat_map(|row| &row.bars).map(|bar| bar.from_ms).min();
        (stopped.is_none(), stopped, begins, lane.host.clone(), lane.cpu)
    });
}

/// Milliseconds since 1970.
fn millis(rfc3339: &str) -> Option<i64> {
    humantime::parse_rfc3339_weak(rfc3339).ok().map(crate::store::millis)
}
