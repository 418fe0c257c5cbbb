//! The state as rows of text; then, in [`draw`] alone, as what ratatui draws.

mod columns;
mod header;
mod host;
mod incidents;
mod pages;
mod peers;
mod share;
mod spark;
#[cfg(test)]
mod tests;

use ratatui::Frame;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::state::{Focus, Page, State};
use crate::export::table::{Cell, Look, clean, plain};
use crate::export::width::{break_lines, columns as width_of, shorten};

/// The smallest terminal that is drawn on: a row of each list, and names that can be read.
const LEAST_WIDTH: usize = 40;
const LEAST_HEIGHT: usize = 10;

/// A row of the screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Row {
    cells: Vec<Cell>,
    /// The arrows are here.
    chosen: bool,
}

impl Row {
    fn of(cells: Vec<Cell>) -> Self {
        Self { cells, chosen: false }
    }

    fn one(text: impl Into<String>, look: Look) -> Self {
        Self::of(vec![(text.into(), look)])
    }
}

/// Draws what is known on the whole terminal.
pub(super) fn draw(frame: &mut Frame, state: &State) {
    let area = frame.area();
    let width = usize::from(area.width);
    let rows = rows(state, width, usize::from(area.height));
    let lines: Vec<_> = rows.into_iter().map(|row| line(row, width, state.colour)).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

/// How many lines of a page lie beyond a terminal of that size.
pub(super) fn beyond(state: &State, width: usize, height: usize) -> usize {
    let lines = match &state.page {
        Page::Overview => return 0,
        Page::Incident(incident, _) => pages::incident(incident, width).len(),
        Page::Help(_) => pages::help(width).len(),
    };
    lines.saturating_sub(height.saturating_sub(1))
}

fn rows(state: &State, width: usize, height: usize) -> Vec<Row> {
    if width < LEAST_WIDTH || height < LEAST_HEIGHT {
        return too_small(width, height);
    }
    match &state.page {
        Page::Overview => overview(state, width, height),
        Page::Incident(incident, top) => pages::from(pages::incident(incident, width), *top, height),
        Page::Help(top) => pages::from(pages::help(width), *top, height),
    }
}

fn too_small(width: usize, height: usize) -> Vec<Row> {
    let text = format!("lacuna watch needs {LEAST_WIDTH} x {LEAST_HEIGHT}, this terminal has {width} x {height}");
    let lines = break_lines(&text, width).into_iter().take(height);
    lines.map(|line| Row::one(line, Look::Plain)).collect()
}

fn overview(state: &State, width: usize, height: usize) -> Vec<Row> {
    let mut rows = header::rows(state, width);
    let room = height.saturating_sub(rows.len() + 1);
    let mut left_out = Vec::new();
    if state.status.is_some() {
        let wants = [incidents::wants(state), peers::wants(state), host::wants(state, width)];
        let [of_incidents, of_peers, of_host] = share::share(room, wants);
        rows.extend(incidents::rows(state, width, of_incidents));
        rows.extend(peers::rows(state, width, of_peers));
        rows.extend(host::rows(state, width, of_host));
        let parts = [("peers", of_peers), ("this host", of_host)];
        left_out = parts.into_iter().filter(|(_, rows)| *rows == 0).map(|(name, _)| name).collect();
    }
    rows.resize(height.saturating_sub(1), Row::default());
    rows.push(footer(state.focus, &left_out));
    rows
}

fn footer(focus: Focus, left_out: &[&str]) -> Row {
    let other = if focus == Focus::Incidents { "peers" } else { "incidents" };
    let mut cells = Vec::new();
    if !left_out.is_empty() {
        cells.push((format!("no room for {}  ", left_out.join(", ")), Look::Warning));
    }
    cells.push((format!("q quit  ? help  ↑↓ choose  Enter explain  Tab {other}"), Look::Dim));
    Row::of(cells)
}

/// The line above a list.
fn title(name: &str, note: &str, width: usize) -> Row {
    let note = if note.is_empty() { " ".to_owned() } else { format!(" · {} ", clean(note)) };
    let note = shorten(&note, width.saturating_sub(width_of(name) + 4));
    let rest = width.saturating_sub(width_of(name) + width_of(&note) + 3);
    Row::of(vec![("── ".into(), Look::Dim), (name.into(), Look::Bold), plain(note), ("─".repeat(rest), Look::Dim)])
}

/// Which rows of a list are shown where there is room for `rows`, so that the chosen one is among them.
fn shown(all: usize, rows: usize, chosen: usize) -> std::ops::Range<usize> {
    let start = (chosen + 1).saturating_sub(rows).min(all.saturating_sub(rows));
    start..all.min(start + rows)
}

/// Where `range` is in a list that is longer: " 3–7 of 9".
fn place(range: &std::ops::Range<usize>, all: usize) -> Option<String> {
    (range.len() < all).then(|| format!("{}–{} of {all}", range.start + 1, range.end))
}

fn line(row: Row, width: usize, colour: bool) -> Line<'static> {
    let mut room = width;
    let mut spans = Vec::new();
    for (text, look) in row.cells {
        let text = shorten(&clean(&text), room);
        room -= width_of(&text);
        spans.push(Span::styled(text, style(look, colour)));
    }
    if row.chosen {
        spans.push(Span::raw(" ".repeat(room)));
        return Line::from(spans).style(Style::new().add_modifier(Modifier::REVERSED));
    }
    Line::from(spans)
}

fn style(look: Look, colour: bool) -> Style {
    let style = Style::new();
    let bold = style.add_modifier(Modifier::BOLD);
    match look {
        Look::Plain => style,
        Look::Bold => bold,
        Look::Dim => style.add_modifier(Modifier::DIM),
        Look::Good if colour => style.fg(Color::Green),
        Look::Good => style,
        Look::Warning if colour => style.fg(Color::Yellow),
        Look::Bad if colour => bold.fg(Color::Red),
        Look::Warning | Look::Bad => bold,
    }
}
