//! Every query of every panel, variable, annotation and rule, run for real.

use std::collections::BTreeSet;

use anyhow::Result;

use super::prometheus::{Prometheus, Series};
use crate::dashboards::description::{Dashboard, Description};

/// What Grafana would put in the place of its variables: two hosts of the lab that have lost each other.
const VARIABLES: [(&str, &str); 5] =
    [("$__rate_interval", "20s"), ("$job", "lacuna"), ("$host", "a"), ("$peer", "b"), ("$cpu", "0")];

/// One query and what became of it.
pub(super) struct Ran {
    /// Where it stands, such as `fleet: Steal`.
    pub(super) place: String,
    /// As it stands there.
    pub(super) expr: String,
    /// What came of it; of what is not right, the reason.
    pub(super) series: Result<Vec<Series>, String>,
}

/// A query before it is run.
struct Asked {
    place: String,
    expr: String,
    /// Only the moment counts.
    now: bool,
}

/// Runs all of them over the last `seconds`.
///
/// # Errors
/// Prometheus does not answer at all.
pub(super) fn run(prometheus: &Prometheus, description: &Description, seconds: f64) -> Result<Vec<Ran>> {
    let names = prometheus.names()?;
    let all = description.dashboards.iter().flat_map(|(name, dashboard)| of_panels(name, dashboard));
    let all = all.chain(of_common(description)).chain(of_recordings(prometheus)?);
    let ran = all.map(|asked| {
        let series = answer(prometheus, &asked, &names, seconds);
        Ran { place: asked.place, expr: asked.expr, series }
    });
    Ok(ran.collect())
}

/// The rules that Prometheus could not evaluate, or that name a series that nobody has.
pub(super) fn broken_rules(prometheus: &Prometheus) -> Result<Vec<String>> {
    let names = prometheus.names()?;
    let problem = |rule: &super::prometheus::Rule| {
        let missing = missing(&rule.query, &names);
        match (rule.health.as_str(), missing.first()) {
            ("ok", None) => None,
            ("ok", Some(name)) => Some(format!("rule {}: nobody has a series {name}", rule.name)),
            (health, _) => Some(format!("rule {}: {health} {}", rule.name, rule.last_error)),
        }
    };
    Ok(prometheus.rules()?.iter().filter_map(problem).collect())
}

fn of_panels<'a>(name: &'a str, dashboard: &'a Dashboard) -> impl Iterator<Item = Asked> + 'a {
    dashboard.panels.iter().flat_map(move |panel| {
        panel.queries.iter().map(move |query| Asked {
            place: format!("{name}: {}", panel.title),
            expr: query.expr.clone(),
            now: panel.kind.is_of_now(),
        })
    })
}

/// Annotations as they are, and the values of variables.
fn of_common(description: &Description) -> impl Iterator<Item = Asked> {
    let annotations = description.common.annotations.iter().map(|annotation| Asked {
        place: format!("annotation: {}", annotation.name),
        expr: annotation.expr.clone(),
        now: false,
    });
    let variables = description.common.variables.iter().filter_map(|(name, variable)| {
        let (series, label) = variable.query.strip_prefix("label_values(")?.strip_suffix(')')?.rsplit_once(", ")?;
        let expr = format!("count by ({label}) ({series})");
        Some(Asked { place: format!("variable: {name}"), expr, now: true })
    });
    annotations.chain(variables)
}

/// What recording rules left; alerts mostly ask for what is not there.
fn of_recordings(prometheus: &Prometheus) -> Result<Vec<Asked>> {
    let recordings = prometheus.rules()?.into_iter().filter(|rule| rule.kind == "recording");
    let asked = recordings.map(|rule| Asked { place: format!("rule: {}", rule.name), expr: rule.name, now: false });
    Ok(asked.collect())
}

fn answer(
    prometheus: &Prometheus,
    asked: &Asked,
    names: &BTreeSet<String>,
    seconds: f64,
) -> Result<Vec<Series>, String> {
    if let Some(name) = missing(&asked.expr, names).first() {
        return Err(format!("no agent exports {name}"));
    }
    let expr = filled(&asked.expr);
    let found = if asked.now { prometheus.now(&expr) } else { prometheus.last(&expr, seconds) };
    let series = found.map_err(|error| format!("{error:#}"))?;
    match series.iter().any(|series| series.last().is_some()) {
        true => Ok(series),
        false => Err("no data".into()),
    }
}

/// The query with the values of its variables.
pub(super) fn filled(expr: &str) -> String {
    VARIABLES.iter().fold(expr.to_owned(), |expr, (variable, value)| expr.replace(variable, value))
}

/// The series of agents, of Prometheus itself and of the rules that the query names and nobody has.
fn missing(expr: &str, names: &BTreeSet<String>) -> Vec<String> {
    let ours = |word: &&str| word.starts_with("lacuna_") || word.starts_with("process_") || word.contains(":lacuna_");
    words(expr).into_iter().filter(ours).filter(|word| !names.contains(*word)).map(str::to_owned).collect()
}

/// The names in a query, without what stands in quotes.
fn words(expr: &str) -> Vec<&str> {
    let unquoted = expr.split('"').step_by(2);
    let of_a_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    unquoted
        .flat_map(|part| part.split(move |letter: char| !of_a_name(letter)))
        .filter(|word| !word.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_has_a_value() {
        let description = Description::read().unwrap();
        let panels = description.dashboards.iter().flat_map(|(name, dashboard)| of_panels(name, dashboard));
        let all: Vec<_> = panels.chain(of_common(&description)).collect();
        assert!(all.len() > 60, "{}", all.len());
        for asked in all {
            assert!(!filled(&asked.expr).contains('$'), "{}: {}", asked.place, asked.expr);
        }
    }

    #[test]
    fn each_variable_is_asked_for() {
        let description = Description::read().unwrap();
        let variables = of_common(&description).filter(|asked| asked.place.starts_with("variable"));
        assert_eq!(variables.count(), description.common.variables.len());
    }

    #[test]
    fn a_series_that_nobody_has_is_named() {
        let names = ["lacuna_a_total".to_owned(), "job:lacuna_b:sum".to_owned()].into();
        let expr = r#"sum(rate(lacuna_a_total{x="lacuna_quoted"}[5m])) / job:lacuna_b:sum + lacuna_gone_total"#;
        assert_eq!(missing(expr, &names), ["lacuna_gone_total"]);
        assert!(missing(r#"up{job="lacuna"} == 0"#, &names).is_empty());
    }
}
