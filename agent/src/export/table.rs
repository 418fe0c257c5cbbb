//! Columns for terminals: aligned by what is seen, coloured only where asked for, nothing that steers a terminal.

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

/// Whether texts are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    /// True for terminals whose user did not ask for plain text.
    pub colour: bool,
}

impl Paint {
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
}

/// `text` with its control characters made visible.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// Rows of cells under headings.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<(String, Look)>>,
}

impl Table {
    /// A table with those headings.
    #[must_use]
    pub fn new(headings: &[&str]) -> Self {
        let headings = headings.iter().map(|text| ((*text).to_owned(), Look::Bold));
        Self { rows: vec![headings.collect()] }
    }

    /// A table without headings.
    #[must_use]
    pub fn bare() -> Self {
        Self { rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [(String, Look); N]) {
        self.rows.push(cells.into());
    }

    /// The lines, each behind `indent`; the last column is not padded.
    #[must_use]
    pub fn render(&self, paint: Paint, indent: &str) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for (column, (cell, look)) in row.iter().enumerate() {
                line.push_str(&paint.paint(cell, *look));
                if column + 1 < row.len() {
                    let seen = clean(cell).chars().count();
                    line.push_str(&" ".repeat(widths[column] - seen + 2));
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| clean(&cell.0).chars().count()).max()
        };
        (0..columns).map(|column| width(column).unwrap_or(0)).collect()
    }
}

/// A cell as it is.
#[must_use]
pub fn plain(text: impl Into<String>) -> (String, Look) {
    (text.into(), Look::Plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_what_is_seen_whatever_the_colour() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row([plain("lb1"), ("up".into(), Look::Good)]);
        table.row([plain("größer"), plain("")]);
        let plain = table.render(Paint { colour: false }, "  ");
        assert_eq!(plain, "  NAME    STATE\n  lb1     up\n  größer\n");
        let coloured = table.render(Paint { colour: true }, "");
        assert!(coloured.contains("lb1     \u{1b}[32mup\u{1b}[0m\n"), "{coloured:?}");
    }

    #[test]
    fn nothing_steers_the_terminal() {
        let paint = Paint { colour: true };
        assert_eq!(paint.paint("a\u{1b}]0;x\u{7}\nb", Look::Plain), "a\\u{1b}]0;x\\u{7}\\nb");
    }
}
