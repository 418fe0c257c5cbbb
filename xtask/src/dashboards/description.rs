//! What `dashboards/description/*.toml` says: panels with their queries, and what all dashboards have in common.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// The dashboards, in the order in which they are linked.
const NAMES: [&str; 3] = ["fleet", "host", "path"];

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    /// What all dashboards share.
    pub(crate) common: Common,
    /// By the name of their file.
    pub(crate) dashboards: Vec<(&'static str, Dashboard)>,
}

/// `common.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Common {
    /// Where traces are looked for.
    pub(crate) traces: Vec<Traces>,
    /// Variables that dashboards choose from.
    pub(crate) variables: BTreeMap<String, Variable>,
    /// Events that are drawn over every panel.
    pub(crate) annotations: Vec<Annotation>,
}

/// A store of traces that Grafana can ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Traces {
    /// Grafana's own.
    Tempo,
    /// Jaeger.
    Jaeger,
}

impl Traces {
    /// The name of the plugin, and of the variable with the data source.
    pub(crate) fn plugin(self) -> &'static str {
        match self {
            Self::Tempo => "tempo",
            Self::Jaeger => "jaeger",
        }
    }
}

/// A variable whose values come from a query.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Variable {
    /// What people see.
    pub(crate) label: String,
    /// What it is.
    pub(crate) about: String,
    /// In Grafana's words: `label_values(series, label)`.
    pub(crate) query: String,
    /// Several can be chosen, and are at first.
    #[serde(default)]
    pub(crate) all: bool,
}

/// Events by a query.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Annotation {
    /// What people switch on and off.
    pub(crate) name: String,
    /// What it shows.
    pub(crate) about: String,
    /// PromQL.
    pub(crate) expr: String,
    /// With `{{label}}` in it.
    pub(crate) title: String,
    /// With `{{label}}` in it.
    pub(crate) text: String,
    /// Labels, with commas between them.
    pub(crate) tags: String,
    /// How far apart it is evaluated.
    pub(crate) step: String,
    /// Of the marker.
    pub(crate) color: String,
    /// The value is the moment, in milliseconds since 1970.
    #[serde(default)]
    pub(crate) value_is_time: bool,
}

/// `fleet.toml` and the like.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Dashboard {
    /// By which it is linked.
    pub(crate) uid: String,
    /// What people see.
    pub(crate) title: String,
    /// What it is for.
    pub(crate) about: String,
    /// Of [`Common::variables`].
    pub(crate) variables: Vec<String>,
    /// In the order of reading.
    pub(crate) panels: Vec<Panel>,
}

/// A panel.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Panel {
    /// The heading that begins with this panel.
    #[serde(default)]
    pub(crate) row: Option<String>,
    /// What people see.
    pub(crate) title: String,
    /// What it shows, and how to read it.
    pub(crate) about: String,
    /// How it is drawn.
    pub(crate) kind: Kind,
    /// Of 24.
    pub(crate) width: u32,
    /// In rows of Grafana's grid.
    #[serde(default = "Panel::usual_height")]
    pub(crate) height: u32,
    /// Grafana's name of the unit.
    #[serde(default)]
    pub(crate) unit: Option<String>,
    /// The scale is logarithmic.
    #[serde(default)]
    pub(crate) log: bool,
    /// Red from this value on, green below.
    #[serde(default)]
    pub(crate) red_from: Option<f64>,
    /// Green from this value on, red below.
    #[serde(default)]
    pub(crate) green_from: Option<f64>,
    /// What values are called.
    #[serde(default)]
    pub(crate) states: BTreeMap<String, String>,
    /// The variable for whose values it is repeated.
    #[serde(default)]
    pub(crate) repeat: Option<String>,
    /// What it asks for.
    pub(crate) queries: Vec<Query>,
    /// Where a click leads.
    #[serde(default)]
    pub(crate) links: Vec<Link>,
}

impl Panel {
    fn usual_height() -> u32 {
        4
    }
}

/// How a panel is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// One figure.
    Stat,
    /// Lines.
    Timeseries,
    /// Bars over time, one on another.
    Bars,
    /// What is now, a line for each series.
    Table,
    /// What is now, `instance` down and `peer` across, in colours.
    Matrix,
    /// A histogram over time.
    Heatmap,
    /// Which state was when.
    States,
}

impl Kind {
    /// Whether it shows the moment only.
    pub(crate) fn is_of_now(self) -> bool {
        matches!(self, Self::Table | Self::Matrix)
    }
}

/// A query of a panel.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Query {
    /// PromQL, with Grafana's variables.
    pub(crate) expr: String,
    /// With `{{label}}` in it.
    #[serde(default)]
    pub(crate) legend: String,
    /// Exemplars are asked for as well.
    #[serde(default)]
    pub(crate) exemplar: bool,
}

/// Where a click leads. The names are those of labels; of a matrix `row` and `column`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "to", deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) enum Link {
    /// To the dashboard of a host.
    Host {
        /// That host.
        host: String,
    },
    /// To the dashboard of a path.
    Path {
        /// One end.
        host: String,
        /// The other one.
        peer: String,
    },
    /// To the traces of incidents of a host.
    Traces {
        /// That host.
        host: String,
    },
}

impl Description {
    /// Reads it.
    ///
    /// # Errors
    /// A file that is missing or wrong; the message names it.
    pub(crate) fn read() -> Result<Self> {
        let common: Common = toml::from_str(&text("common")?).context("dashboards/description/common.toml")?;
        let mut dashboards = Vec::new();
        for name in NAMES {
            let dashboard: Dashboard =
                toml::from_str(&text(name)?).with_context(|| format!("dashboards/description/{name}.toml"))?;
            let unknown = dashboard.variables.iter().find(|variable| !common.variables.contains_key(*variable));
            ensure!(unknown.is_none(), "{name}.toml: no variable {unknown:?} in common.toml");
            dashboards.push((name, dashboard));
        }
        Ok(Self { common, dashboards })
    }
}

fn text(name: &str) -> Result<String> {
    let path: PathBuf = super::folder().join("description").join(format!("{name}.toml"));
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_panel_says_what_it_shows_and_asks_for_something() {
        let description = Description::read().unwrap();
        let mut titles = Vec::new();
        for (name, panel) in
            description.dashboards.iter().flat_map(|(name, of)| of.panels.iter().map(move |p| (name, p)))
        {
            assert!(!panel.about.is_empty() && !panel.queries.is_empty(), "{name}: {}", panel.title);
            assert!((1..=24).contains(&panel.width), "{name}: {}", panel.title);
            let title = (name, &panel.title);
            assert!(!titles.contains(&title), "twice: {title:?}");
            titles.push(title);
        }
    }

    #[test]
    fn a_word_that_is_not_known_is_refused() {
        let text = "uid = 'x'\ntitle = 'x'\nabout = 'x'\nvariables = []\n[[panels]]\ntitle = 'x'\nabout = 'x'\nkind = 'pie'\nwidth = 3\nqueries = []\n";
        let error = toml::from_str::<Dashboard>(text).unwrap_err();
        assert!(error.to_string().contains("pie"), "{error}");
    }
}
