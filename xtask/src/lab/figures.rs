//! What agents count and log, beside their incidents: figures of `/metrics` that must have grown by so much, and lines that
//! must stand in the log so often.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::agent;
use super::api::Client;
use super::judge::Judgement;
use super::network::Network;
use super::scenario::Scenario;

/// An agent that answers later does not answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One of `figures` in a scenario: by how much a sample of `/metrics` may grow from the moment that all hosts see each
/// other until the end.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Growth {
    /// Whose agent counts it.
    pub(crate) host: String,
    /// The sample as the agent writes it, with its labels. One that is not there yet in the beginning is 0 then.
    pub(crate) sample: String,
    /// No less than this; where that is given, it must be there in the end.
    #[serde(default)]
    pub(crate) at_least: Option<f64>,
    /// No more than this.
    #[serde(default)]
    pub(crate) at_most: Option<f64>,
}

/// One of `logs` in a scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Logged {
    /// Whose agent.
    pub(crate) host: String,
    /// All of these in one line.
    pub(crate) says: Vec<String>,
    /// In so many lines.
    pub(crate) times: usize,
}

/// Samples by their name and labels.
type Samples = BTreeMap<String, f64>;

/// The figures of the hosts that the scenario asks for, at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(BTreeMap<String, Samples>);

impl Figures {
    /// Asks the agents.
    pub(crate) fn read(scenario: &Scenario, network: &Network) -> Result<Self> {
        let mut figures = Self::default();
        for Growth { host, .. } in &scenario.figures {
            if !figures.0.contains_key(host) {
                let samples = ask(network, host).with_context(|| format!("the figures of {host}"))?;
                figures.0.insert(host.clone(), samples);
            }
        }
        Ok(figures)
    }

    /// What became of them until `after`.
    pub(crate) fn judge(&self, expected: &[Growth], after: &Self, judgement: &mut Judgement) {
        for expect in expected {
            let samples = |figures: &Self| Some(*figures.0.get(&expect.host)?.get(&expect.sample)?);
            let line = format!("{}: {}", expect.host, expect.sample);
            match grown(expect, samples(self), samples(after)) {
                Ok(said) => judgement.reached.push(format!("{line} {said}")),
                Err(said) => judgement.wrong.push(format!("{line} {said}")),
            }
        }
    }
}

/// Whether that is as it must be, in words.
fn grown(expect: &Growth, before: Option<f64>, after: Option<f64>) -> Result<String, String> {
    let Some(after) = after else {
        return if expect.at_least.is_some() { Err("is not there".into()) } else { Ok("is not there".into()) };
    };
    let grown = after - before.unwrap_or(0.0);
    if let Some(least) = expect.at_least.filter(|least| grown < *least) {
        return Err(format!("grew by {grown}, which is below {least}"));
    }
    if let Some(most) = expect.at_most.filter(|most| grown > *most) {
        return Err(format!("grew by {grown}, which is above {most}"));
    }
    Ok(format!("grew by {grown}"))
}

fn ask(network: &Network, host: &str) -> Result<Samples> {
    let host = network.host(host)?;
    let (_, url) = agent::asked(network, host);
    let place = host.namespace().unwrap_or(&network.switch);
    let text = place.enter(|| Client::new(&url, TIMEOUT).text("/metrics"))?;
    Ok(samples(&text))
}

/// The lines of the text format that are no comments: name and labels, a space, the value.
fn samples(text: &str) -> Samples {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parts = lines.filter_map(|line| line.rsplit_once(' '));
    parts.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

/// Whether the logs in that folder have the lines that they must have.
pub(crate) fn judge_logs(expected: &[Logged], folder: &Path, judgement: &mut Judgement) -> Result<()> {
    for Logged { host, says, times } in expected {
        let path = agent::log(folder, host);
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let found = count(&String::from_utf8_lossy(&bytes), says);
        let line = format!("{host}: its log has {found} lines with {}", says.join(" and "));
        match found == *times {
            true => judgement.reached.push(line),
            false => judgement.wrong.push(format!("{line}, and must have {times}")),
        }
    }
    Ok(())
}

fn count(text: &str, says: &[String]) -> usize {
    text.lines().filter(|line| says.iter().all(|words| line.contains(words))).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_told_apart_by_their_labels() {
        let text = "# HELP x y\nx_total{reason=\"a b\"} 3\nx_total{reason=\"c\"} 4\nrss 1.5e7\nbroken\n# EOF\n";
        let expected = [("rss", 1.5e7), ("x_total{reason=\"a b\"}", 3.0), ("x_total{reason=\"c\"}", 4.0)];
        assert_eq!(samples(text), expected.map(|(name, value)| (name.to_owned(), value)).into());
    }

    #[test]
    fn a_sample_may_be_missing_only_where_nothing_of_it_is_wanted() {
        let expect = |at_least, at_most| Growth { host: String::new(), sample: String::new(), at_least, at_most };
        let cases = [
            (expect(Some(5.0), None), None, Some(5.0), true),
            (expect(Some(5.0), None), Some(1.0), Some(5.0), false),
            (expect(Some(0.0), None), None, None, false),
            (expect(None, Some(0.0)), None, None, true),
            (expect(None, Some(0.0)), Some(2.0), Some(3.0), false),
        ];
        for (expect, before, after, good) in cases {
            assert_eq!(grown(&expect, before, after).is_ok(), good, "{expect:?} {before:?} {after:?}");
        }
    }

    #[test]
    fn a_line_counts_that_has_all_the_words() {
        let text = "WARN refused reason=\"tag\" peer=\"a\"\nWARN refused reason=\"tag\"\n";
        assert_eq!(count(text, &["tag".into(), "peer=\"a\"".into()]), 1);
    }
}
