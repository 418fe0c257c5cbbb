//! Columns that fit: where a terminal is too narrow, the least important ones are left out, and named.

use crate::export::table::{Cell, Look, clean};
use crate::export::width::{columns as width_of, pad};

/// Between two columns.
const GAP: usize = 2;

/// A column of a list.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) cells: Vec<Cell>,
    /// The column with the highest rank goes first; one with 0 stays.
    pub(super) rank: u8,
}

/// What fits.
pub(super) struct Fitted {
    /// The headings.
    pub(super) headings: Vec<Cell>,
    /// The rows, padded.
    pub(super) rows: Vec<Vec<Cell>>,
    /// The names of columns that do not fit.
    pub(super) left_out: Vec<&'static str>,
    /// The columns of the terminal that remain.
    pub(super) rest: usize,
}

/// Leaves out columns until `least` columns of the terminal's `width` remain for what follows them.
pub(super) fn fit(mut columns: Vec<Column>, width: usize, least: usize) -> Fitted {
    let mut left_out = Vec::new();
    while used(&columns) + least > width {
        let ranked = columns.iter().enumerate().filter(|(_, column)| column.rank > 0);
        let Some(place) = ranked.max_by_key(|(_, column)| column.rank).map(|(place, _)| place) else { break };
        left_out.push(columns.remove(place).name);
    }
    left_out.reverse();
    let rows = columns.iter().map(|column| column.cells.len()).max().unwrap_or(0);
    let padded = |column: &Column, (text, look): &Cell| (pad(&clean(text), column.width() + GAP), *look);
    let row = |row: usize| {
        let cells = columns.iter().filter_map(|column| Some(padded(column, column.cells.get(row)?)));
        cells.collect()
    };
    Fitted {
        headings: columns.iter().map(|column| padded(column, &(column.name.into(), Look::Bold))).collect(),
        rows: (0..rows).map(row).collect(),
        left_out,
        rest: width.saturating_sub(used(&columns)),
    }
}

impl Column {
    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|(text, _)| width_of(&clean(text)));
        cells.max().unwrap_or(0).max(width_of(self.name))
    }
}

fn used(columns: &[Column]) -> usize {
    columns.iter().map(|column| column.width() + GAP).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::table::plain;

    fn column(name: &'static str, cell: &str, rank: u8) -> Column {
        Column { name, cells: vec![plain(cell)], rank }
    }

    fn text(cells: &[Cell]) -> String {
        cells.iter().map(|(text, _)| text.as_str()).collect()
    }

    #[test]
    fn the_least_important_columns_are_left_out_and_named() {
        let columns = || vec![column("NAME", "lb1", 0), column("RTT", "0.21 ms", 2), column("LOSS", "0 %", 1)];
        let all = fit(columns(), 40, 10);
        assert_eq!(
            (text(&all.headings).as_str(), text(&all.rows[0]).as_str()),
            ("NAME  RTT      LOSS  ", "lb1   0.21 ms  0 %   ")
        );
        assert_eq!((all.left_out.len(), all.rest), (0, 19));
        let some = fit(columns(), 25, 10);
        assert_eq!((text(&some.rows[0]).as_str(), some.left_out, some.rest), ("lb1   0 %   ", vec!["RTT"], 13));
        let one = fit(columns(), 8, 10);
        assert_eq!((text(&one.rows[0]).as_str(), one.left_out, one.rest), ("lb1   ", vec!["LOSS", "RTT"], 2));
    }
}
