//! The peer matrix: a row for each host that says what it hears, a column for each that is heard.

use maud::{Markup, html};

use crate::export::words;
use crate::sights::{Matrix, Sight};

/// Hosts that are drawn; those in trouble go first.
const MOST: usize = 24;

pub(super) fn table(matrix: &Matrix) -> Markup {
    let shown = chosen(matrix);
    let left_out = matrix.hosts.len() - shown.len() + matrix.left_out;
    html! {
        @if matrix.hosts.len() < 2 { p class="dim" { "nobody is watched" } } @else {
            p class="dim" { "Each row is what that host says it last heard; the first is this host. Rows of others are as old as \
                             their last heartbeat." }
            div class="wide" { table class="matrix" {
                thead { tr { th { "hears" } @for column in &shown { th scope="col" { (matrix.hosts[*column]) } } } }
                tbody { @for row in &shown {
                    tr {
                        th scope="row" { (matrix.hosts[*row]) }
                        @for column in &shown { (cell(sight(matrix, *row, *column))) }
                    }
                } }
            } }
            @if left_out > 0 { p class="dim" { (left_out) " more hosts are not shown; those in trouble go before them" } }
        }
    }
}

/// Their places in order: all, or this host, those in trouble and the first of the others.
fn chosen(matrix: &Matrix) -> Vec<usize> {
    let all = 0..matrix.hosts.len();
    let troubled = |host: usize| {
        all.clone().any(|other| sight(matrix, host, other).is_trouble() || sight(matrix, other, host).is_trouble())
    };
    let mut order: Vec<usize> = all.clone().collect();
    order.sort_by_key(|host| *host != 0 && !troubled(*host));
    order.truncate(MOST);
    order.sort_unstable();
    order
}

fn sight(matrix: &Matrix, row: usize, column: usize) -> Sight {
    matrix.rows.get(row).and_then(|row| row.get(column)).copied().unwrap_or(Sight::Unknown)
}

/// The words say the same as the colour.
fn cell(sight: Sight) -> Markup {
    let (class, text) = match sight {
        Sight::Itself => ("dim", "–".to_owned()),
        Sight::Hears(age) => ("good", words::span(age)),
        Sight::Silent(age) => ("bad", format!("silent {}", words::span(age))),
        Sight::Never => ("bad", "never".to_owned()),
        Sight::Left => ("dim", "left".to_owned()),
        Sight::Unknown => ("dim", "?".to_owned()),
    };
    html! { td class=(class) { (text) } }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn fleet(hosts: usize, silent: Option<(usize, usize)>) -> Matrix {
        let sight = |row: usize, column: usize| match (row, column) {
            pair if Some(pair) == silent => Sight::Silent(Duration::from_secs(4)),
            (row, column) if row == column => Sight::Itself,
            _ => Sight::Hears(Duration::from_millis(40)),
        };
        let rows = (0..hosts).map(|row| (0..hosts).map(|column| sight(row, column)).collect()).collect();
        Matrix { hosts: (0..hosts).map(|number| format!("<h{number}>")).collect(), rows, left_out: 0 }
    }

    #[test]
    fn each_row_is_what_a_host_hears() {
        let page = table(&fleet(2, Some((1, 0)))).into_string();
        let row = "<th scope=\"row\">&lt;h1&gt;</th><td class=\"bad\">silent 4.0 s</td><td class=\"dim\">–</td>";
        assert!(page.contains(row), "{page}");
        assert!(page.contains("<td class=\"good\">40 ms</td>"), "{page}");
    }

    #[test]
    fn a_large_fleet_is_cut_and_those_in_trouble_stay() {
        let matrix = fleet(60, Some((50, 55)));
        let shown = chosen(&matrix);
        assert_eq!(shown.len(), MOST);
        assert!(shown.contains(&0) && shown.contains(&50) && shown.contains(&55), "{shown:?}");
        let page = table(&Matrix { left_out: 3, ..matrix }).into_string();
        assert!(page.contains("39 more hosts are not shown"), "{page}");
        assert!(page.len() < 40_000, "{}", page.len());
    }

    #[test]
    fn without_peers_there_is_no_table() {
        assert!(table(&Matrix::default()).into_string().contains("nobody is watched"));
    }
}
