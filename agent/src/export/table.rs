//! Columns for terminals: aligned by what is seen, coloured only where asked for, nothing that steers a terminal.
//!
//! Where a terminal is too narrow, the last column is wrapped in its place; where that leaves it too little room, what does not
//! fit beside the first columns stands below them, each figure with its heading. Nothing is cut.

use super::width::{columns, pad, wrap};

/// Between two columns.
const GAP: usize = 2;
/// Least room for a last column that is wrapped in its place.
const LEAST: usize = 24;
/// A text that is longer has lines of its own where it does not fit beside the others.
const LONG: usize = 30;

/// How a cell looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Look {
    /// As it is.
    #[default]
    Plain,
    /// Headings.
    Bold,
    /// What matters less.
    Dim,
    /// All is well.
    Good,
    /// Something beside the main job.
    Warning,
    /// Something is wrong.
    Bad,
}

/// A text and how it looks.
pub type Cell = (String, Look);

/// What texts are printed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    /// True for terminals whose user did not ask for plain text.
    pub colour: bool,
    /// The columns of the terminal; absent where it is none, so that lines are as long as they are.
    pub width: Option<usize>,
}

impl Paint {
    /// A file or a pipe.
    pub const PLAIN: Self = Self { colour: false, width: None };

    /// `text` in that look, with nothing in it that steers a terminal: names of tasks come from anybody.
    #[must_use]
    pub fn paint(self, text: &str, look: Look) -> String {
        let text = clean(text);
        let code = match look {
            Look::Plain => return text,
            Look::Bold => "1",
            Look::Dim => "2",
            Look::Good => "32",
            Look::Warning => "33",
            Look::Bad => "31",
        };
        if self.colour && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text }
    }

    /// `text` in that look behind `first`, with line ends; its further lines stand as far to the right.
    #[must_use]
    pub fn paragraph(self, first: &str, text: &str, look: Look) -> String {
        let text = clean(text);
        let lines = match self.width {
            Some(width) => wrap(&text, width.saturating_sub(columns(first)).max(1)),
            None => vec![text],
        };
        let further = " ".repeat(columns(first));
        let line = |(place, line): (usize, &String)| {
            format!("{}{}\n", if place == 0 { first } else { &further }, self.paint(line, look))
        };
        lines.iter().enumerate().map(line).collect()
    }
}

/// `text` with what steers a terminal made visible: control characters, and those that turn the direction of the text.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if turns_direction(c) {
            clean.extend(c.escape_unicode());
        } else if c.is_control() {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// The directional formatting characters of Unicode (UAX #9), with which a name could look like another one.
fn turns_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Rows of cells under headings.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
    headed: bool,
}

impl Table {
    /// A table with those headings.
    #[must_use]
    pub fn new(headings: &[&str]) -> Self {
        let headings = headings.iter().map(|text| ((*text).to_owned(), Look::Bold));
        Self { rows: vec![headings.collect()], headed: true }
    }

    /// A table without headings.
    #[must_use]
    pub fn bare() -> Self {
        Self { rows: Vec::new(), headed: false }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// Adds a row of as many cells as there happen to be.
    pub fn push(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The lines, each behind `indent`; the last column is not padded.
    #[must_use]
    pub fn render(&self, paint: Paint, indent: &str) -> String {
        let widths = self.widths();
        let room = paint.width.map_or(usize::MAX, |width| width.saturating_sub(columns(indent)));
        let before_last = widths.split_last().map_or(0, |(_, others)| others.iter().map(|width| width + GAP).sum());
        if before_last + widths.last().unwrap_or(&0) <= room {
            return self.rows.iter().map(|row| line(row, &widths, paint, indent)).collect();
        }
        if room.saturating_sub(before_last) >= LEAST.max(self.longest_word(widths.len())) {
            return self.rows.iter().map(|row| wrapped(row, &widths, paint, indent)).collect();
        }
        self.stacked(&widths, beside(&widths, room), paint, indent)
    }

    /// The rows with their cells padded to columns, also where the table is too wide.
    #[must_use]
    pub fn aligned(&self) -> Vec<Vec<Cell>> {
        let widths = self.widths();
        let padded = |row: &Vec<Cell>| {
            let cells = row.iter().enumerate();
            let padded = cells.map(|(column, (text, look))| {
                let last = column + 1 == row.len();
                let room = if last { 0 } else { widths[column] + GAP };
                (pad(&clean(text), room), *look)
            });
            padded.collect()
        };
        self.rows.iter().map(padded).collect()
    }

    /// The first `beside` columns in line, the others below.
    fn stacked(&self, widths: &[usize], beside: usize, paint: Paint, indent: &str) -> String {
        let headings = self.rows.first().filter(|_| self.headed).and_then(|row| row.get(beside..)).unwrap_or_default();
        let mut text = String::new();
        for (place, row) in self.rows.iter().enumerate() {
            let (first, others) = row.split_at(beside.min(row.len()));
            text.push_str(&line(first, widths, paint, indent));
            if place > 0 || !self.headed {
                text.push_str(&below(others, headings, paint, indent));
            }
        }
        text
    }

    /// The columns of the longest word in the last one of `all` columns.
    fn longest_word(&self, all: usize) -> usize {
        let last = self.rows.iter().filter_map(|row| row.get(all.checked_sub(1)?));
        let words = last.flat_map(|(cell, _)| cell.split_whitespace());
        words.map(|word| columns(&clean(word))).max().unwrap_or(0)
    }

    fn widths(&self) -> Vec<usize> {
        let most = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| columns(&clean(&cell.0))).max()
        };
        (0..most).map(|column| width(column).unwrap_or(0)).collect()
    }
}

/// How many columns fit into a line, one at least.
fn beside(widths: &[usize], room: usize) -> usize {
    let mut used = 0;
    let fit = widths.iter().take_while(|width| {
        used += *width + GAP;
        used - GAP <= room
    });
    fit.count().max(1)
}

/// A row in one line.
fn line(row: &[Cell], widths: &[usize], paint: Paint, indent: &str) -> String {
    let mut line = format!("{indent}{}", before_last(row, widths, paint));
    if let Some((cell, look)) = row.last() {
        line.push_str(&paint.paint(cell, *look));
    }
    format!("{}\n", line.trim_end())
}

/// A row whose last cell is wrapped in its place.
fn wrapped(row: &[Cell], widths: &[usize], paint: Paint, indent: &str) -> String {
    let Some(((cell, look), others)) = row.split_last() else { return "\n".to_owned() };
    let start = columns(indent) + widths.iter().take(others.len()).map(|width| width + GAP).sum::<usize>();
    let unseen = " ".repeat(start);
    let text = paint.paragraph(&unseen, cell, *look);
    let text = text.strip_prefix(&unseen).unwrap_or(&text);
    let lines = format!("{indent}{}{text}", before_last(row, widths, paint));
    lines.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// All cells but the last, each padded.
fn before_last(row: &[Cell], widths: &[usize], paint: Paint) -> String {
    let cells = row.iter().zip(widths).take(row.len().saturating_sub(1));
    let padded = cells.map(|((cell, look), width)| {
        let lacks = (width + GAP).saturating_sub(columns(&clean(cell)));
        format!("{}{}", paint.paint(cell, *look), " ".repeat(lacks))
    });
    padded.collect()
}

/// The cells that have no room beside the first ones, further to the right.
fn below(cells: &[Cell], headings: &[Cell], paint: Paint, indent: &str) -> String {
    let indent = format!("{indent}    ");
    let mut below = Below { paint, indent: &indent, line: String::new(), used: 0, text: String::new() };
    for (column, (cell, look)) in cells.iter().enumerate() {
        let heading = headings.get(column).map_or("", |(heading, _)| heading);
        below.add(&heading.to_lowercase(), cell, *look);
    }
    below.end_line();
    below.text
}

/// What stands below the first columns of a row: figures beside each other, long texts in lines of their own.
struct Below<'a> {
    paint: Paint,
    indent: &'a str,
    line: String,
    /// Columns of `line`.
    used: usize,
    text: String,
}

impl Below<'_> {
    fn add(&mut self, heading: &str, cell: &str, look: Look) {
        // A figure that is not known is not worth a place.
        if cell.is_empty() || cell == "-" {
            return;
        }
        if columns(&clean(cell)) > LONG {
            self.end_line();
            self.text.push_str(&self.paint.paragraph(self.indent, cell, look));
            return;
        }
        let heading = if heading.is_empty() { String::new() } else { format!("{heading} ") };
        let needs = columns(&heading) + columns(&clean(cell));
        let room = self.paint.width.map_or(usize::MAX, |width| width.saturating_sub(columns(self.indent)));
        if self.used > 0 && self.used + GAP + needs > room {
            self.end_line();
        }
        if self.used > 0 {
            self.line.push_str("  ");
            self.used += GAP;
        }
        self.line.push_str(&self.paint.paint(&heading, Look::Dim));
        self.line.push_str(&self.paint.paint(cell, look));
        self.used += needs;
    }

    fn end_line(&mut self) {
        if self.used > 0 {
            self.text.push_str(&format!("{}{}\n", self.indent, self.line));
            self.line.clear();
            self.used = 0;
        }
    }
}

/// A cell as it is.
#[must_use]
pub fn plain(text: impl Into<String>) -> Cell {
    (text.into(), Look::Plain)
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
