//! The table for people, and the same for programs.

use serde::Serialize;

use super::beside::Product;
use super::said::Said;
use super::verdict::Cell;

/// A row: a fault, and what everyone concluded.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    /// The name of its scenario.
    pub(super) fault: String,
    /// What happened.
    pub(super) about: String,
    /// In the order of the columns.
    pub(super) cells: Vec<Column>,
}

/// A cell, and whose it is.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Column {
    /// The program.
    pub(super) product: &'static str,
    #[serde(flatten)]
    pub(super) cell: Cell,
    /// All that the cell was made from; absent for Lacuna, whose documents are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) said: Option<Vec<Said>>,
}

/// In Markdown.
pub(super) fn markdown(rows: &[Row]) -> String {
    let mut lines = vec![
        format!("| fault | {} | Lacuna |", Product::ALL.map(heading).join(" | ")),
        format!("|---|{}---|", "---|".repeat(Product::ALL.len())),
    ];
    for Row { fault, about, cells } in rows {
        let cells: Vec<_> = cells.iter().map(|column| words(&column.cell)).collect();
        lines.push(format!("| **{}**: {about} | {} |", fault.replace('-', " "), cells.join(" | ")));
    }
    lines.join("\n") + "\n"
}

fn heading(product: Product) -> &'static str {
    match product {
        Product::Keepalived => "keepalived (VRRP)",
        Product::Bird => "bird2 (BFD)",
        Product::Corosync => "corosync",
    }
}

/// A bar would end the cell.
fn words(Cell { told, judged, .. }: &Cell) -> String {
    let told = if told.is_empty() { String::new() } else { format!("{told}. ") };
    format!("{told}**{judged}**").replace('|', "/")
}

#[cfg(test)]
mod tests {
    use super::super::verdict::Mark;
    use super::*;

    #[test]
    fn a_row_has_a_cell_for_everyone() {
        let column = |product, told: &str, judged: &str| {
            let cell = Cell { mark: Mark::Right, told: told.into(), judged: judged.into() };
            Column { product, cell, said: None }
        };
        let cells = vec![
            column("keepalived", "", "does not notice"),
            column("bird", "a: session to b expired", "cannot tell"),
            column("corosync", "x", "y"),
            column("lacuna", "a: partition a | b", "right"),
        ];
        let row = Row { fault: "stopped-peer".into(), about: "b is stopped".into(), cells };
        let table = markdown(&[row]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.first(), Some(&"| fault | keepalived (VRRP) | bird2 (BFD) | corosync | Lacuna |"));
        let expected = "| **stopped peer**: b is stopped | **does not notice** | a: session to b expired. **cannot tell** | \
                        x. **y** | a: partition a / b. **right** |";
        assert_eq!(lines.get(2), Some(&expected));
    }
}
