//! This host: its CPUs, and how late the agent itself was.

use std::time::Duration;

use super::super::state::State;
use super::spark::bars;
use super::{Row, title};
use crate::export::table::{Cell, Look, plain};
use crate::export::width::{columns as width_of, pad};
use crate::export::words;
use crate::recent::SLOTS;
use crate::shared::CpuStatus;

/// Lines of CPUs that are wanted where there is more to show.
const LINES: usize = 4;
/// Between two CPUs.
const GAP: usize = 3;
const LATE: &str = "agent late, 5 min  ";
/// So long a lateness is worth a colour: beyond it heartbeats are missed.
const TOO_LATE: Duration = Duration::from_millis(150);

/// Title, lines of CPUs, and the agent's lateness.
pub(super) fn wants(state: &State, width: usize) -> usize {
    let cpus = state.status.as_ref().map_or(0, |status| status.cpus.len());
    let lines = cpus.div_ceil(beside(&items(state), width));
    2 + lines.min(LINES)
}

pub(super) fn rows(state: &State, width: usize, height: usize) -> Vec<Row> {
    if height == 0 {
        return Vec::new();
    }
    let items = items(state);
    let note = if items.is_empty() { "CPUs not read yet".to_owned() } else { format!("{} CPUs", items.len()) };
    let mut rows = vec![title("This host", &note, width)];
    rows.extend(cpus(state, &items, width, height.saturating_sub(2)));
    rows.push(lateness(state, width));
    rows.truncate(height);
    rows
}

fn items(state: &State) -> Vec<Cell> {
    let cpus = state.status.iter().flat_map(|status| &status.cpus);
    cpus.map(|cpu| item(cpu, state.steal(cpu.cpu))).collect()
}

/// "cpu3 25 % steal 1 %"
fn item(cpu: &CpuStatus, steal: Option<f64>) -> Cell {
    let busy = cpu.busy.map_or_else(|| "-".to_owned(), percent);
    let steal_words = steal.map(|part| format!(" steal {}", percent(part))).unwrap_or_default();
    let watched = if cpu.watched { "" } else { " not watched" };
    let look = match steal {
        Some(part) if part >= 0.1 => Look::Bad,
        _ if !cpu.watched => Look::Warning,
        _ => Look::Plain,
    };
    (format!("cpu{} {busy}{steal_words}{watched}", cpu.cpu), look)
}

fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

/// How many CPUs fit into a line.
fn beside(items: &[Cell], width: usize) -> usize {
    let widest = items.iter().map(|(text, _)| width_of(text)).max().unwrap_or(0);
    ((width.saturating_sub(2) + GAP) / (widest + GAP)).max(1)
}

/// The CPUs in at most so many lines; the last one says what does not fit.
fn cpus(state: &State, items: &[Cell], width: usize, lines: usize) -> Vec<Row> {
    let beside = beside(items, width);
    let widest = items.iter().map(|(text, _)| width_of(text)).max().unwrap_or(0);
    let row = |items: &[Cell]| {
        let cells = items.iter().map(|(text, look)| (pad(text, widest + GAP), *look));
        Row::of(std::iter::once(plain("  ")).chain(cells).collect())
    };
    if items.len().div_ceil(beside) <= lines {
        return items.chunks(beside).map(row).collect();
    }
    let fit = lines.saturating_sub(1) * beside;
    let mut rows: Vec<Row> = items[..fit].chunks(beside).map(row).collect();
    if lines > 0 {
        rows.push(Row::one(format!("  {}", others(state, fit)), Look::Plain));
    }
    rows
}

/// What those have that do not fit: the most of each figure.
fn others(state: &State, shown: usize) -> String {
    let others = || state.status.iter().flat_map(|status| &status.cpus).skip(shown);
    let mut words = format!("{} CPUs more", others().count());
    if let Some(busiest) = others().filter_map(|cpu| cpu.busy).max_by(f64::total_cmp) {
        words.push_str(&format!(", the busiest {}", percent(busiest)));
    }
    if let Some(steal) = others().filter_map(|cpu| state.steal(cpu.cpu)).max_by(f64::total_cmp) {
        words.push_str(&format!(", most steal {}", percent(steal)));
    }
    let unwatched = others().filter(|cpu| !cpu.watched).count();
    if unwatched > 0 {
        words.push_str(&format!(", {unwatched} not watched"));
    }
    words
}

fn lateness(state: &State, width: usize) -> Row {
    let recent = state.status.as_ref().map(|status| &status.counters.recent_lateness);
    let slots: Vec<Duration> = recent.into_iter().flat_map(|recent| recent.longest()).collect();
    let Some(longest) = slots.iter().max() else {
        return Row::one(format!("  {LATE}not measured yet"), Look::Dim);
    };
    let longest_words = format!("  {} at most", words::span(*longest));
    let room = width.saturating_sub(2 + width_of(LATE) + width_of(&longest_words));
    let look = if *longest >= TOO_LATE { Look::Warning } else { Look::Plain };
    Row::of(vec![plain("  "), plain(LATE), plain(bars(&slots, room.min(SLOTS))), (longest_words, look)])
}
