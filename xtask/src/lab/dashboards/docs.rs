//! docs/dashboards.md: each panel with its query and what it answered.

use anyhow::Result;

use super::prometheus::Series;
use super::queries::Ran;
use crate::dashboards::description::{Annotation, Dashboard, Description, Panel};
use crate::tables;

/// The page, and the command that its generated part names.
const PAGE: &str = "docs/dashboards.md";
const COMMAND: &str = "lab dashboards";
/// Series that are shown of an answer.
const SHOWN: usize = 4;

/// Writes the answers into the page.
pub(super) fn write(ran: &[Ran]) -> Result<()> {
    tables::write(PAGE, COMMAND, &text(&Description::read()?, ran))
}

fn text(description: &Description, ran: &[Ran]) -> String {
    let of_dashboard = |(name, dashboard): &(&'static str, Dashboard)| {
        let panels: String = dashboard.panels.iter().map(|panel| of_panel(name, panel, ran)).collect();
        format!("\n## {}\n\n{}.\n{panels}", dashboard.title, dashboard.about)
    };
    let dashboards: String = description.dashboards.iter().map(of_dashboard).collect();
    let of_annotation = |annotation: &Annotation| {
        let query = query(&format!("annotation: {}", annotation.name), &annotation.expr, ran);
        format!("\n### {}\n\n{}.\n{query}", annotation.name, annotation.about)
    };
    let annotations: String = description.common.annotations.iter().map(of_annotation).collect();
    format!("{dashboards}\n## Over every panel\n{annotations}\n")
}

fn of_panel(name: &str, panel: &Panel, ran: &[Ran]) -> String {
    let place = format!("{name}: {}", panel.title);
    let queries: String = panel.queries.iter().map(|asked| query(&place, &asked.expr, ran)).collect();
    format!("\n### {}\n\n{}.\n{queries}", panel.title, panel.about)
}

/// A query and what it answered.
fn query(place: &str, expr: &str, ran: &[Ran]) -> String {
    let found = ran.iter().find(|ran| ran.place == place && ran.expr == expr);
    let answer = found.and_then(|ran| ran.series.as_ref().ok()).map(|series| answer(series)).unwrap_or_default();
    format!("\n```promql\n{expr}\n```\n```text\n{answer}```\n")
}

/// The last value of some series, those first that had the greatest.
fn answer(series: &[Series]) -> String {
    let mut with_values: Vec<_> =
        series.iter().filter_map(|series| Some((series, series.last()?, series.greatest()?))).collect();
    with_values.sort_by(|(.., one), (.., other)| other.total_cmp(one));
    let line = |(series, last, greatest): &(&Series, f64, f64)| {
        let [last, greatest] = [*last, *greatest].map(figure);
        let most = if last == greatest { String::new() } else { format!(", at most {greatest}") };
        format!("{} {last}{most}\n", labels(series))
    };
    let mut text: String = with_values.iter().take(SHOWN).map(line).collect();
    if with_values.len() > SHOWN {
        text += &format!("and {} more\n", with_values.len() - SHOWN);
    }
    text
}

fn labels(series: &Series) -> String {
    let shown = series.labels.iter().filter(|(name, _)| *name != "__name__");
    // What a kernel is called beyond its version is nobody's business.
    let public = |name: &str, value: &str| {
        if name == "kernel" { value.split('-').next().unwrap_or_default().to_owned() } else { value.to_owned() }
    };
    let pairs: Vec<_> = shown.map(|(name, value)| format!("{name}={:?}", public(name, value))).collect();
    format!("{{{}}}", pairs.join(","))
}

/// As short as it says something.
fn figure(value: f64) -> String {
    match value.abs() {
        size if value.fract() == 0.0 && size < 1e15 => format!("{value:.0}"),
        size if (1e-3..1e15).contains(&size) => format!("{value:.4}"),
        _ => format!("{value:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_short() {
        let series = |name: &str, value: f64| Series {
            labels: [("__name__".to_owned(), "up".to_owned()), ("instance".to_owned(), name.to_owned())].into(),
            values: vec![1.0, value],
        };
        let few = [series("a", 2.0), series("b", 0.0123)];
        assert_eq!(answer(&few), "{instance=\"a\"} 2\n{instance=\"b\"} 0.0123, at most 1\n");
        let many: Vec<_> = (0..9).map(|number| series(&format!("h{number}"), 1.0)).collect();
        assert!(answer(&many).ends_with("and 5 more\n"));
    }

    #[test]
    fn the_page_has_every_query_of_every_panel() {
        let page = std::fs::read_to_string(crate::root().join(PAGE)).unwrap();
        for panel in Description::read().unwrap().dashboards.iter().flat_map(|(_, dashboard)| &dashboard.panels) {
            assert!(page.contains(&format!("\n### {}\n", panel.title)), "{}", panel.title);
            for query in &panel.queries {
                assert!(
                    page.contains(&query.expr),
                    "not in {PAGE}, run `cargo xtask lab dashboards --write`: {}",
                    query.expr
                );
            }
        }
    }
}
