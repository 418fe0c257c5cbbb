//! Prometheus and Alertmanager in the lab, with the configuration of `dashboards/prometheus`, and what they are asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::dashboards;
use crate::lab::daemon::Daemon;
use crate::lab::netns::Namespace;
use crate::lab::network::Host;
use crate::stop::Stop;

/// Where Prometheus answers.
const URL: &str = "http://127.0.0.1:9090";
/// Where Alertmanager answers, as prometheus.yml has it.
const ALERTMANAGER: &str = "http://127.0.0.1:9093";
/// What the example reads its targets from.
const TARGETS: &str = "/etc/lacuna/peers.json";
/// How long the two may take until they answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// A request that takes longer fails.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How far apart a range is evaluated, in seconds: no scrape lies between two.
const STEP: &str = "1";

/// Both of them; they end with this value.
pub(super) struct Servers {
    prometheus: Daemon,
    alertmanager: Daemon,
}

impl Servers {
    /// Starts them in that namespace, with their files in `folder`.
    pub(super) fn start(place: &Namespace, hosts: &[Host], folder: &Path) -> Result<Self> {
        configure(hosts, folder)?;
        let mut alertmanager = place.service("prometheus-alertmanager");
        alertmanager
            .arg(format!("--config.file={}", folder.join("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", folder.join("alertmanager.data").display()))
            .args(["--web.listen-address=127.0.0.1:9093", "--cluster.listen-address="]);
        let mut prometheus = place.service("prometheus");
        prometheus
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus.data").display()))
            .args(["--web.listen-address=127.0.0.1:9090", "--enable-feature=exemplar-storage"]);
        for command in [&mut alertmanager, &mut prometheus] {
            command.env_remove("http_proxy").env_remove("HTTP_PROXY");
        }
        Ok(Self {
            alertmanager: Daemon::start(alertmanager, &folder.join("alertmanager.log"))?,
            prometheus: Daemon::start(prometheus, &folder.join("prometheus.log"))?,
        })
    }

    /// Waits until both answer.
    pub(super) fn wait_until_ready(&mut self, stop: &Stop) -> Result<()> {
        let http = agent();
        for (name, daemon, url) in
            [("alertmanager", &mut self.alertmanager, ALERTMANAGER), ("prometheus", &mut self.prometheus, URL)]
        {
            let answers = || http.get(format!("{url}/-/ready")).call().is_ok_and(|answer| answer.status() == 200);
            let ready = stop.wait_for(PATIENCE, || !daemon.alive() || answers())?;
            ensure!(ready && daemon.alive(), "{name} does not answer: see its log");
        }
        Ok(())
    }
}

/// The files of `dashboards/prometheus`, as they are but for the place of the targets, which are what agents find each other by.
fn configure(hosts: &[Host], folder: &Path) -> Result<()> {
    let targets = folder.join("peers.json");
    for name in ["prometheus.yml", "recording.rules.yml", "alerts.rules.yml", "alertmanager.yml"] {
        let path = dashboards::folder().join("prometheus").join(name);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        std::fs::write(folder.join(name), text.replace(TARGETS, &targets.display().to_string()))?;
    }
    let peer = |host: &Host| json!({ "targets": [format!("{}:9479", host.addr)], "labels": { "name": host.name } });
    std::fs::write(&targets, Value::Array(hosts.iter().map(peer).collect()).to_string())?;
    Ok(())
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).proxy(None);
    config.build().into()
}

/// A connection to Prometheus, from its own namespace.
pub(super) struct Prometheus(ureq::Agent);

/// A series of an answer: its labels, and its values in order of time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// With `__name__` where there is one.
    pub(super) labels: BTreeMap<String, String>,
    /// Whatever Prometheus said, NaN included.
    pub(super) values: Vec<f64>,
}

impl Series {
    /// The last value that is a number.
    pub(super) fn last(&self) -> Option<f64> {
        self.values.iter().rev().find(|value| value.is_finite()).copied()
    }

    /// The greatest value that is a number.
    pub(super) fn greatest(&self) -> Option<f64> {
        self.values.iter().copied().filter(|value| value.is_finite()).reduce(f64::max)
    }
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
struct Answer {
    result: Vec<Found>,
}

/// A series as the API has it; `value` of a moment, `values` of a range.
#[derive(Deserialize)]
struct Found {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    value: Option<(f64, String)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

impl From<Found> for Series {
    fn from(found: Found) -> Self {
        let all = found.values.into_iter().chain(found.value);
        // Prometheus writes NaN and +Inf as Rust reads them.
        let values = all.map(|(_, text)| text.parse().unwrap_or(f64::NAN)).collect();
        Self { labels: found.metric, values }
    }
}

/// An alert as Prometheus has it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Alert {
    /// With `alertname`.
    pub(super) labels: BTreeMap<String, String>,
    /// `pending` or `firing`.
    pub(super) state: String,
}

/// A rule as Prometheus has it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Rule {
    /// Of the alert or of the series.
    pub(super) name: String,
    /// PromQL.
    pub(super) query: String,
    /// `recording` or `alerting`.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// `ok`, `err` or `unknown`.
    pub(super) health: String,
    /// What went wrong.
    #[serde(rename = "lastError", default)]
    pub(super) last_error: String,
}

impl Prometheus {
    /// To be made in its namespace.
    pub(super) fn new() -> Self {
        Self(agent())
    }

    /// What is now.
    pub(super) fn now(&self, expr: &str) -> Result<Vec<Series>> {
        self.series("query", &[("query", expr)])
    }

    /// What was in the last seconds.
    pub(super) fn last(&self, expr: &str, seconds: f64) -> Result<Vec<Series>> {
        let now = seconds_since_1970()?;
        let (start, end) = (format!("{:.3}", now - seconds), format!("{now:.3}"));
        self.series("query_range", &[("query", expr), ("start", &start), ("end", &end), ("step", STEP)])
    }

    /// The traces that the exemplars of that series in the last seconds lead to.
    pub(super) fn traces(&self, series: &str, seconds: f64) -> Result<BTreeSet<String>> {
        #[derive(Deserialize)]
        struct OfSeries {
            exemplars: Vec<Exemplar>,
        }
        #[derive(Deserialize)]
        struct Exemplar {
            labels: BTreeMap<String, String>,
        }
        let now = seconds_since_1970()?;
        let (start, end) = (format!("{:.3}", now - seconds), format!("{now:.3}"));
        let found: Vec<OfSeries> =
            self.ask("query_exemplars", &[("query", series), ("start", &start), ("end", &end)])?;
        let all = found.into_iter().flat_map(|series| series.exemplars);
        Ok(all.filter_map(|mut exemplar| exemplar.labels.remove("trace_id")).collect())
    }

    /// The names of all series.
    pub(super) fn names(&self) -> Result<BTreeSet<String>> {
        self.ask("label/__name__/values", &[])
    }

    /// The alerts that are pending or fire.
    pub(super) fn alerts(&self) -> Result<Vec<Alert>> {
        #[derive(Deserialize)]
        struct Alerts {
            alerts: Vec<Alert>,
        }
        Ok(self.ask::<Alerts>("alerts", &[])?.alerts)
    }

    /// All rules.
    pub(super) fn rules(&self) -> Result<Vec<Rule>> {
        #[derive(Deserialize)]
        struct Groups {
            groups: Vec<Group>,
        }
        #[derive(Deserialize)]
        struct Group {
            rules: Vec<Rule>,
        }
        Ok(self.ask::<Groups>("rules", &[])?.groups.into_iter().flat_map(|group| group.rules).collect())
    }

    fn series(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Vec<Series>> {
        Ok(self.ask::<Answer>(path, parameters)?.result.into_iter().map(Series::from).collect())
    }

    fn ask<T: DeserializeOwned>(&self, path: &str, parameters: &[(&str, &str)]) -> Result<T> {
        let request = self.0.get(format!("{URL}/api/v1/{path}")).query_pairs(parameters.iter().copied());
        let mut answer = request.call().with_context(|| format!("{path}: {parameters:?}"))?;
        let text = answer.body_mut().read_to_string()?;
        ensure!(answer.status() == 200, "{path} answered {}: {text}", answer.status());
        let envelope: Envelope<T> = serde_json::from_str(&text).with_context(|| format!("{path} answered {text}"))?;
        Ok(envelope.data)
    }
}

fn seconds_since_1970() -> Result<f64> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_and_a_range_are_read_alike() {
        let text = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"a":"1"},"value":[1.5,"2"]},
            {"metric":{},"values":[[1,"3"],[2,"NaN"],[3,"+Inf"]]}]}}"#;
        let answer: Envelope<Answer> = serde_json::from_str(text).unwrap();
        let series: Vec<Series> = answer.data.result.into_iter().map(Series::from).collect();
        assert_eq!(series[0].last(), Some(2.0));
        assert_eq!((series[1].last(), series[1].greatest(), series[1].values.len()), (Some(3.0), Some(3.0), 3));
    }
}
