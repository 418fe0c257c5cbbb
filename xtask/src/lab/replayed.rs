//! What the agents of a run recorded must say what they said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;

use super::api::Client;
use super::judge::Judgement;
use super::netns;

/// Settings that must make no difference to a replay; what is not there stays as it is.
const SURROUNDINGS: [&[(&str, &str)]; 4] = [
    &[],
    &[("LC_ALL", "tr_TR.UTF-8"), ("TZ", "Asia/Kathmandu"), ("NO_COLOR", "1")],
    &[("LC_ALL", "C"), ("TZ", "America/St_Johns"), ("TOKIO_WORKER_THREADS", "1")],
    &[("LC_ALL", "de_DE.UTF-8"), ("TZ", "UTC"), ("TOKIO_WORKER_THREADS", "16"), ("LACUNA_LOG", "trace")],
];
/// As often as a recording is replayed where nobody says otherwise.
pub(crate) const REPLAYS: u32 = 2;
/// How long an agent may take to answer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Longer than a recorder keeps a block in memory.
const IN_MEMORY: Duration = Duration::from_millis(2500);
/// As many incidents as a store is asked for at once.
const MOST: &str = "1000";

/// What an agent said, and what it recorded.
pub(crate) struct Recorded {
    /// By id.
    pub(crate) said: BTreeMap<String, Value>,
    /// The file.
    pub(crate) recording: PathBuf,
    /// Whether it said nothing else: not so where it went on after it was asked.
    pub(crate) all: bool,
}

impl Recorded {
    /// Of an agent that runs, asked from that namespace: what it has said for good by then.
    pub(crate) fn of_agent(namespace: &str, url: &str, recording: &Path) -> Result<Self> {
        let (namespace, client) = (namespace.to_owned(), Client::new(url, TIMEOUT));
        let asking = std::thread::spawn(move || -> Result<_> {
            netns::join(&namespace)?;
            let mut said = by_id(&client.document("/api/v1/incidents")?)?;
            said.retain(|_, incident| incident.get("state").is_some_and(|state| state == "closed"));
            // What it is told meanwhile is in memory for a second.
            std::thread::sleep(IN_MEMORY);
            Ok((said, client.bytes("/api/v1/recording")?))
        });
        let (said, bytes) = asking.join().map_err(|_| anyhow!("the asking thread panicked"))??;
        std::fs::write(recording, bytes)?;
        Ok(Self { said, recording: recording.to_owned(), all: false })
    }

    /// Of an agent that has ended, from its store.
    pub(crate) fn of_store(agent: &Path, store: &Path, recording: PathBuf) -> Result<Self> {
        run(Command::new(agent).arg("record").arg(&recording).arg("--store").arg(store))?;
        let mut list = Command::new(agent);
        let list = run(list.args(["incidents", "--json", "--limit", MOST, "--store"]).arg(store))?;
        Ok(Self { said: by_id(&list)?, recording, all: true })
    }
}

/// Replays it so many times in different surroundings, on one CPU every other time: it must say what the agent said, to the
/// letter, and print the same bytes every time.
pub(crate) fn judge(
    agent: &Path,
    host: &str,
    recorded: &Recorded,
    times: u32,
    judgement: &mut Judgement,
) -> Result<()> {
    let replay = |(time, surroundings): (u32, &&[(&str, &str)])| {
        let mut replay = if time % 2 == 0 { Command::new(agent) } else { on_one_cpu(agent) };
        replay.args(["replay", "--json"]).arg(&recorded.recording).envs(surroundings.iter().copied());
        bytes(&mut replay)
    };
    let mut replays = (0..times).zip(SURROUNDINGS.iter().cycle()).map(replay);
    let first = replays.next().context("no replay was asked for")??;
    let replayed = by_id(&document(&first)?)?;
    for id in recorded.said.keys().chain(replayed.keys().filter(|id| !recorded.said.contains_key(*id))) {
        let (said, again) = (recorded.said.get(id), replayed.get(id));
        if said != again && (said.is_some() || recorded.all) {
            judgement.wrong.push(format!("{host}: the replay of its recording: {}", difference(said, again)));
        }
    }
    for (time, again) in (2..).zip(replays) {
        if again? != first {
            judgement.wrong.push(format!("{host}: replay {time} of its recording differs from the first"));
        }
    }
    judgement.reached.push(format!("{host}: {} incidents replayed, {times} times", recorded.said.len()));
    Ok(())
}

/// The program on the first CPU only, by `taskset` of util-linux.
fn on_one_cpu(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0"]).arg(program);
    command
}

fn run(command: &mut Command) -> Result<Value> {
    document(&bytes(command)?)
}

fn bytes(command: &mut Command) -> Result<Vec<u8>> {
    let done = command.output().context("the agent's binary")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{command:?}: {said}");
    Ok(done.stdout)
}

fn document(printed: &[u8]) -> Result<Value> {
    if printed.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(printed).context("no JSON") }
}

fn by_id(document: &Value) -> Result<BTreeMap<String, Value>> {
    let incidents = document.get("incidents").and_then(Value::as_array).context("no list of incidents")?;
    let with_id = |incident: &Value| Some((incident.get("id")?.as_str()?.to_owned(), incident.clone()));
    Ok(incidents.iter().filter_map(with_id).collect())
}

/// Where two versions of an incident differ first, in a line.
fn difference(said: Option<&Value>, again: Option<&Value>) -> String {
    let class = |incident: &Value| incident.pointer("/verdict/class").cloned().unwrap_or_default();
    match (said, again) {
        (Some(said), None) => format!("{} is missing", class(said)),
        (None, Some(again)) => format!("{} was not said", class(again)),
        (Some(Value::Object(said)), Some(Value::Object(again))) => {
            let differ = said.iter().find(|(key, value)| again.get(*key) != Some(value));
            let (key, value) = differ.map_or(("keys", &Value::Null), |(key, value)| (key.as_str(), value));
            format!("{key} was {value}, is {}", again.get(key).unwrap_or(&Value::Null))
        }
        _ => "no incident".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_is_told_by_its_first_key() {
        let incident = |state: &str| json!({ "id": "1", "state": state, "verdict": { "class": "path-drop" } });
        let (open, closed) = (incident("open"), incident("closed"));
        assert_eq!(difference(Some(&open), Some(&closed)), "state was \"open\", is \"closed\"");
        assert_eq!(difference(Some(&open), None), "\"path-drop\" is missing");
        assert_eq!(difference(None, Some(&open)), "\"path-drop\" was not said");
        assert_eq!(by_id(&json!({ "incidents": [open] })).unwrap().len(), 1);
        assert!(by_id(&json!({})).is_err());
    }
}
