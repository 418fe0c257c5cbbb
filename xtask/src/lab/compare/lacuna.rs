//! What Lacuna said, as the lab judged it: a cell of the table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::verdict::{Cell, Mark};
use crate::lab::api::{Incident, Verdict};
use crate::lab::judge::MACHINE;
use crate::lab::report::Outcome;
use crate::lab::scenario::Scenario;

/// A machine that is busy for longer than this has much to do; that alone holds nobody up.
const LASTING: Duration = Duration::from_secs(10);

/// The verdicts that were expected, of all hosts; right where the whole run was as it must be. What the machine itself did
/// meanwhile (its CPUs are shared with others) is left out, as in every run of the lab.
pub(super) fn cell(scenario: &Scenario, outcome: &Outcome, folder: &Path) -> Result<Cell> {
    let expected: BTreeSet<_> = scenario.expect.iter().map(|expect| expect.class).collect();
    let mut sentences: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for host in &scenario.hosts {
        let verdicts = incidents(folder, &host.name)?.into_iter().map(|incident| incident.verdict);
        for verdict in verdicts.filter(|verdict| expected.contains(&verdict.class)) {
            sentences.entry(sentence(&verdict)).or_default().insert(&host.name);
        }
    }
    let told = sentences.into_iter().map(|(sentence, hosts)| {
        let hosts: Vec<_> = hosts.into_iter().collect();
        format!("{}: {sentence}", hosts.join(", "))
    });
    let told: Vec<_> = told.collect();
    let (mark, judged) = match outcome.passed {
        true => (Mark::Right, "right".to_owned()),
        false => (Mark::Wrong, format!("wrong: {}", outcome.problems.join("; "))),
    };
    Ok(Cell { mark, told: told.join("; "), judged })
}

/// Short stalls of hosts that are the machine's own doing, by the account of Lacuna: its CPUs are shared with others.
pub(super) fn held_up(scenario: &Scenario, folder: &Path) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for host in &scenario.hosts {
        for incident in incidents(folder, &host.name)? {
            let Verdict { class, subject, .. } = &incident.verdict;
            let short = incident.duration_ms < LASTING.as_millis().try_into().unwrap_or(u64::MAX);
            if short && MACHINE.contains(class) && subject.get("host").is_some_and(|about| *about == host.name) {
                all.push(format!("{} for {} ms ({})", host.name, incident.duration_ms, class.name()));
            }
        }
    }
    Ok(all)
}

/// The last version of each incident that the lab has kept.
fn incidents(folder: &Path, host: &str) -> Result<Vec<Incident>> {
    let path = folder.join(format!("{host}.incidents.json"));
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let document: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let incidents = document["incidents"].as_array().into_iter().flatten();
    let incidents = incidents.map(|incident| serde_json::from_value(incident["last"].clone()));
    incidents.collect::<Result<_, _>>().with_context(|| path.display().to_string())
}

/// The class, and with whom or between whom; the same for both ends of a path and from every side of a partition.
fn sentence(verdict: &Verdict) -> String {
    let member = |name: &str| verdict.subject.get(name).and_then(Value::as_str);
    let detail = |name: &str| verdict.detail.get(name).and_then(Value::as_str);
    let class = verdict.class.name();
    if let Some(groups) = verdict.detail.get("groups").and_then(Value::as_array) {
        return format!("{class} {}", sides(groups));
    }
    let about = match (member("host"), member("peer")) {
        (Some(host), Some(peer)) => format!("{} – {}", host.min(peer), host.max(peer)),
        (host, _) => format!("of {}", host.unwrap_or("nobody")),
    };
    let more = detail("direction").or_else(|| detail("state"));
    more.map_or_else(|| format!("{class} {about}"), |more| format!("{class} {about} ({more})"))
}

fn sides(groups: &[Value]) -> String {
    let names = |group: &Value| {
        let names: BTreeSet<_> = group.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        names.into_iter().collect::<Vec<_>>().join(" ")
    };
    groups.iter().map(names).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_ends_and_all_sides_say_the_same() {
        let check = |verdict: Value, expected: &str| {
            assert_eq!(sentence(&serde_json::from_value(verdict).unwrap()), expected);
        };
        for (host, peer) in [("a", "b"), ("b", "a")] {
            let subject = json!({ "host": host, "peer": peer });
            let path =
                json!({ "class": "path-drop", "subject": subject, "summary": "", "detail": { "direction": "both" } });
            check(path, "path-drop a – b (both)");
        }
        for groups in [json!([["a", "c"], ["b", "d"]]), json!([["d", "b"], ["a", "c"]])] {
            let subject = json!({ "hosts": ["a", "b", "c", "d"] });
            let detail = json!({ "groups": groups });
            let partition = json!({ "class": "partition", "subject": subject, "summary": "", "detail": detail });
            check(partition, "partition a c | b d");
        }
        let stall = json!({ "class": "agent-stall", "subject": { "host": "b" }, "summary": "", "detail": { "state": "throttled" } });
        check(stall, "agent-stall of b (throttled)");
    }
}
