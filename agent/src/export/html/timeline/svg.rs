//! The drawing. Places along the time are parts of its width, so that it fits a phone and a wall, and gets wider to zoom; places
//! down the page are pixels, so that texts stay as large as they are.

use lacuna_core::incident::Incident;
use maud::{Markup, html};

use super::{Bar, Lane, LeftOut, Row, Sort, Timeline, first, lane_name};
use crate::export::words;

/// Height of the axis above the lanes, of a lane's name, of a row, of the words in it, of the bar below them, and of the space below a
/// lane, in pixels.
const AXIS: usize = 38;
const NAME: usize = 20;
const ROW: usize = 26;
const WORDS: usize = 15;
const BAR: usize = 7;
const SPACE: usize = 8;
/// Width of what is too short to be seen, as a part of the drawing's, in percent.
const THIN: f64 = 0.7;
/// Labels of bars that begin so near to the left begin there, in percent; of others they begin where the bar does or end where it
/// does, where there is more room.
const LEFT: f64 = 15.0;
/// Most ticks of the axis: more would touch each other on a phone.
const TICKS: i64 = 5;
/// Distances between ticks, in milliseconds.
const STEPS_MS: [i64; 22] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000,
    3_600_000, 14_400_000, 86_400_000,
];

/// The drawing of an incident's timeline; each bar leads to its piece of evidence on the same page.
#[must_use]
pub(in super::super) fn draw(timeline: &Timeline, incident: &Incident) -> Markup {
    let (placed, height) = stacked(&timeline.lanes);
    let at = |ms: i64| percent(timeline.percent(ms));
    let band = timeline.percent(timeline.until_ms) - timeline.percent(timeline.began_ms);
    html! {
        svg width="100%" height=(height) role="group" aria-labelledby="drawing-title drawing-text" {
            title id="drawing-title" { "Timeline" }
            desc id="drawing-text" { (first(timeline)) ". The table of evidence below says the same in words." }
            rect class="band" x=(at(timeline.began_ms)) y=(AXIS) width=(percent(band)) height=(height - AXIS) {}
            @for tick in ticks(timeline) { (tick_mark(timeline, tick, height)) }
            @if let Some(noticed) = timeline.noticed_ms {
                line class="noticed" x1=(at(noticed)) x2=(at(noticed)) y1=(AXIS) y2=(height) {}
            }
            @for (number, (ms, text)) in timeline.changes.iter().enumerate() {
                g {
                    title { (text) }
                    line class="change" x1=(at(*ms)) x2=(at(*ms)) y1=(AXIS - 6) y2=(height) {}
                    text x=(at(*ms)) y=(AXIS - 8) text-anchor=(anchor(timeline.percent(*ms))) { "◆" (number + 1) }
                }
            }
            @for (y, lane) in &placed { (draw_lane(timeline, incident, lane, *y)) }
        }
    }
}

/// Where each lane begins, and how high all of it is.
fn stacked(lanes: &[Lane]) -> (Vec<(usize, &Lane)>, usize) {
    let mut y = AXIS;
    let mut placed = Vec::new();
    for lane in lanes {
        placed.push((y, lane));
        y += NAME + lane.rows.len() * ROW + SPACE;
    }
    (placed, y)
}

fn draw_lane(timeline: &Timeline, incident: &Incident, lane: &Lane, y: usize) -> Markup {
    let height = NAME + lane.rows.len() * ROW;
    html! {
        text class="name" x="4" y=(y + 15) { (lane_name(lane)) @if lane.stopped.is_none() { " (did not stop)" } }
        @for (number, row) in lane.rows.iter().enumerate() {
            (draw_row(timeline, incident, row, y + NAME + number * ROW))
        }
        line class="edge" x1="0" x2="100%" y1=(y + height + SPACE / 2) y2=(y + height + SPACE / 2) {}
    }
}

fn draw_row(timeline: &Timeline, incident: &Incident, row: &Row, y: usize) -> Markup {
    html! {
        @for (number, bar) in row.bars.iter().enumerate() {
            a href={ "#e" (bar.piece) } {
                @if let Some(cited) = incident.evidence.get(bar.piece) {
                    title { (cited.from) " to " (cited.to) ": " (words::evidence(cited)) }
                }
                (draw_bar(timeline, row.sort, bar, y))
                @if number == 0 { (label(timeline, row, bar, y)) }
            }
        }
    }
}

fn draw_bar(timeline: &Timeline, sort: Sort, bar: &Bar, y: usize) -> Markup {
    let (begin, end) = (timeline.percent(bar.from_ms), timeline.percent(bar.to_ms));
    let width = (end - begin).max(THIN);
    // What is too short at the right edge would be outside.
    let begin = begin.min(100.0 - width);
    html! { rect class=(sort.style()) x=(percent(begin)) y=(y + WORDS) width=(percent(width)) height=(BAR) {} }
}

/// The words of a row stand above its first bar.
fn label(timeline: &Timeline, row: &Row, bar: &Bar, y: usize) -> Markup {
    let (begin, end) = (timeline.percent(bar.from_ms), timeline.percent(bar.to_ms));
    let lasted = u64::try_from(bar.to_ms - bar.from_ms).ok().filter(|ms| *ms > 0);
    let lasted =
        lasted.map(|ms| format!(", {}", words::span(std::time::Duration::from_millis(ms)))).unwrap_or_default();
    let times = if row.bars.len() > 1 { format!(" ({} times)", row.bars.len()) } else { String::new() };
    let to_the_right = begin <= LEFT || 100.0 - begin >= end;
    let (at, anchor, shift) = if to_the_right { (begin, "start", "2") } else { (end, "end", "-2") };
    html! { text x=(percent(at)) y=(y + 12) dx=(shift) text-anchor=(anchor) { (bar.label) (lasted) (times) } }
}

fn tick_mark(timeline: &Timeline, ms: i64, height: usize) -> Markup {
    let place = timeline.percent(ms);
    html! {
        line class="grid" x1=(percent(place)) x2=(percent(place)) y1=(AXIS - 18) y2=(height) {}
        text class="tick" x=(percent(place)) y="14" text-anchor=(anchor(place)) { (offset(ms - timeline.began_ms)) }
    }
}

/// The moments of the axis: the begin of the incident, and others at round distances from it.
fn ticks(timeline: &Timeline) -> Vec<i64> {
    let span = timeline.to_ms - timeline.from_ms;
    let step = STEPS_MS.into_iter().find(|step| span / step < TICKS).unwrap_or_else(|| (span / TICKS).max(1));
    let before = (timeline.began_ms - timeline.from_ms) / step;
    let after = (timeline.to_ms - timeline.began_ms) / step;
    (-before..=after).map(|number| timeline.began_ms + number * step).collect()
}

/// "+5 s", "-0.2 s" or "+2 min" from the begin of the incident.
fn offset(ms: i64) -> String {
    match ms.unsigned_abs() {
        0 => "begin".to_owned(),
        far if far >= 120_000 && far % 60_000 == 0 => format!("{:+} min", ms / 60_000),
        _ if ms % 1000 == 0 => format!("{:+} s", ms / 1000),
        _ => format!("{:+.3}", ms as f64 / 1000.0).trim_end_matches('0').to_owned() + " s",
    }
}

/// Texts near an edge stay inside.
fn anchor(place: f64) -> &'static str {
    match place {
        place if place < 8.0 => "start",
        place if place > 92.0 => "end",
        _ => "middle",
    }
}

fn percent(part: f64) -> String {
    format!("{part:.2}%")
}

/// What the colours mean, as far as they are there.
#[must_use]
pub(in super::super) fn legend(timeline: &Timeline) -> Markup {
    let there = |sort: Sort| timeline.lanes.iter().any(|lane| lane.rows.iter().any(|row| row.sort == sort));
    html! {
        ul class="legend" {
            @for (_, style, name) in Sort::ALL.into_iter().filter(|(sort, ..)| there(*sort)) {
                li { svg width="12" height="12" aria-hidden="true" { rect class=(style) width="12" height="12" {} } (name) }
            }
            li { "shaded: the incident" }
            @if timeline.noticed_ms.is_some() { li { "dashed: noticed" } }
        }
        @if let Some(words) = left_out(timeline.left_out) { p class="dim" { (words) } }
    }
}

/// Absent where nothing was.
fn left_out(left_out: LeftOut) -> Option<String> {
    let LeftOut { lanes, pieces, changes } = left_out;
    let parts = [(lanes, "lanes"), (pieces, "pieces of evidence"), (changes, "changes")];
    let parts: Vec<_> =
        parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    (!parts.is_empty()).then(|| format!("Not drawn: {}. The table has all evidence.", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_round() {
        for (ms, text) in
            [(0, "begin"), (5000, "+5 s"), (-200, "-0.2 s"), (120_000, "+2 min"), (90_000, "+90 s"), (5, "+0.005 s")]
        {
            assert_eq!(offset(ms), text);
        }
    }

    #[test]
    fn ticks_are_few_at_every_length() {
        for length in [1, 300, 5100, 15_840, 600_000, 86_400_000, 90 * 86_400_000_i64] {
            let timeline = Timeline {
                from_ms: 1_000_000,
                to_ms: 1_000_000 + length,
                began_ms: 1_000_000 + length / 20,
                until_ms: 1_000_000 + length,
                noticed_ms: None,
                lanes: Vec::new(),
                changes: Vec::new(),
                left_out: LeftOut::default(),
            };
            let ticks = ticks(&timeline);
            assert!((1..=7).contains(&ticks.len()), "{length}: {ticks:?}");
            assert!(ticks.contains(&timeline.began_ms));
            assert!(ticks.iter().all(|tick| (timeline.from_ms..=timeline.to_ms).contains(tick)), "{length}: {ticks:?}");
        }
    }

    #[test]
    fn what_is_left_out_is_said() {
        assert_eq!(left_out(LeftOut::default()), None);
        let said = left_out(LeftOut { lanes: 2, pieces: 0, changes: 1 });
        assert_eq!(said.as_deref(), Some("Not drawn: 2 lanes, 1 changes. The table has all evidence."));
    }
}
