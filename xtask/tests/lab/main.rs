//! The lab's own promises, with a stand-in for the agent: faults have their effect, a wrong verdict is caught, and
//! everything is removed again, however a run ends.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of these tests are tests as well")]

mod naive;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const DROP: &str = r#"
about = "what a sends to b is lost"
lasts = "4s"
hosts = [{ name = "a" }, { name = "b" }, { name = "c" }]
steps = [
    { name = "cut", at = "1s", drop = { from = "a", to = "b", hook = "HOOK" } },
    { name = "healed", at = "3s", heal = true },
]
[[expect]]
host = "a"
class = "path-drop"
subject = { host = "a", peer = "b" }
detail = { direction = "to-peer" }
from = "cut"
to = "healed"
tolerance = "500ms"
[[expect]]
host = "b"
class = "path-drop"
subject = { host = "b", peer = "a" }
detail = { direction = "from-peer" }
from = "cut"
to = "healed"
tolerance = "500ms"
"#;

const STOP: &str = r#"
about = "the agent of b is stopped; the naive agent blames the network, and must not get away with it"
lasts = "4s"
patience = "0s"
hosts = [{ name = "a" }, { name = "b" }]
steps = [
    { name = "stopped", at = "1s", signal = { host = "b", signal = "SIGSTOP" } },
    { name = "continued", at = "3s", signal = { host = "b", signal = "SIGCONT" } },
]
[[expect]]
host = "a"
class = "agent-stall"
subject = { host = "b" }
"#;

const LONG: &str = r#"
about = "long enough to be interrupted"
lasts = "60s"
hosts = [{ name = "a" }, { name = "b" }]
"#;

/// What the stand-in has in its store, and what a replay of it says where it is as it should be.
const NOTHING: &str = r#"{"incidents":[]}"#;
/// What a replay says that says more than the agent did.
const SOMETHING: &str = r#"{"incidents":[{"id":"1","verdict":{"class":"host-down"}}]}"#;

/// A folder with scenarios and an agent; it is removed with this value.
struct Place(PathBuf);

impl Place {
    fn new(name: &str, scenarios: &[(&str, &str)]) -> Self {
        Self::with_replay(name, scenarios, NOTHING)
    }

    fn with_replay(name: &str, scenarios: &[(&str, &str)], replay: &str) -> Self {
        let path = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        for (name, text) in scenarios {
            std::fs::write(path.join(format!("{name}.toml")), text).unwrap();
        }
        let test = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\ncase $1 in\nrecord) ;;\nincidents) echo '{NOTHING}' ;;\nreplay) echo '{replay}' ;;\n\
             *) NAIVE_CONFIG=$3 exec {} --ignored --exact --nocapture naive::agent ;;\nesac\n",
            test.display()
        );
        let agent = path.join("agent");
        std::fs::write(&agent, script).unwrap();
        std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    fn lab(&self, args: &[&str]) -> Command {
        let mut lab = Command::new(env!("CARGO_BIN_EXE_xtask"));
        lab.arg("lab").arg("--agent").arg(self.0.join("agent"));
        lab.args(args).current_dir(&self.0);
        lab.env("CARGO_TARGET_DIR", self.0.join("target"));
        lab
    }

    fn start(&self, args: &[&str]) -> Child {
        self.lab(args).stdout(Stdio::null()).spawn().unwrap()
    }

    /// Agents of this place that run.
    fn agents(&self) -> usize {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let environments = processes.filter_map(|process| std::fs::read(process.path().join("environ")).ok());
        let mine = self.0.join("target").display().to_string();
        environments
            .filter(|environment| {
                let text = String::from_utf8_lossy(environment);
                text.split('\0')
                    .any(|variable| variable.strip_prefix("NAIVE_CONFIG=").is_some_and(|path| path.starts_with(&mine)))
            })
            .count()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn namespaces_of(runner: u32) -> usize {
    let Ok(names) = std::fs::read_dir("/run/netns") else {
        return 0;
    };
    let prefix = format!("lac{runner}-");
    let names = names.flatten().filter_map(|name| name.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&prefix)).count()
}

fn finished(child: Child) -> (u32, Output) {
    (child.id(), child.wait_with_output().unwrap())
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

fn document(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_drop_at_every_hook_is_seen_from_both_ends_and_side_by_side() {
    let texts = ["switch", "input", "ingress"].map(|hook| (hook, DROP.replace("HOOK", hook)));
    let scenarios = texts.each_ref().map(|(name, text)| (*name, text.as_str()));
    let place = Place::new("drop", &scenarios);
    let files = ["./switch.toml", "./input.toml", "./ingress.toml"];
    let lab = place.lab(&[&["--json", "--jobs", "3"], &files[..]].concat());
    let (runner, output) = finished({ lab }.stdout(Stdio::piped()).spawn().unwrap());
    let document = document(&output);
    assert!(output.status.success(), "{document:#}");
    let runs = document["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 3);
    let reached = |run: &Value, what: &str| {
        let all = run["reached"].as_array().unwrap();
        all.iter().filter(|reached| reached.as_str().unwrap().contains(what)).count()
    };
    assert!(runs.iter().all(|run| reached(run, "path-drop") == 2 && reached(run, "replayed") == 3), "{document:#}");
    assert_eq!(namespaces_of(runner), 0);
}

#[test]
fn a_wrong_blame_fails_the_run_and_its_files_are_kept() {
    let place = Place::with_replay("blame", &[("stop", STOP)], SOMETHING);
    let lab = place.lab(&["--json", "./stop.toml"]).stdout(Stdio::piped()).spawn();
    let (runner, output) = finished(lab.unwrap());
    assert_eq!(output.status.code(), Some(1));
    let document = document(&output);
    let run = &document["runs"][0];
    let problems = run["problems"].to_string();
    assert!(problems.contains("a: no agent-stall (host=b)"), "{problems}");
    assert!(problems.contains("a: path-drop (direction="), "{problems}");
    assert!(problems.contains("b: the replay of its recording: \\\"host-down\\\" was not said"), "{problems}");
    let kept = Path::new(run["kept"].as_str().unwrap());
    for file in ["a.log", "a.toml", "a.incidents.json", "truth.json"] {
        assert!(kept.join(file).exists(), "{file}");
    }
    assert_eq!((namespaces_of(runner), place.agents()), (0, 0));
}

#[test]
fn a_runner_that_is_asked_to_end_removes_everything() {
    for asked in [Signal::SIGTERM, Signal::SIGINT] {
        let place = Place::new(asked.as_str(), &[("long", LONG)]);
        let lab = place.start(&["./long.toml"]);
        wait_for("the agents start", || place.agents() == 2);
        signal(&lab, asked);
        let (runner, output) = finished(lab);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!((namespaces_of(runner), place.agents()), (0, 0));
        let left = std::fs::read_dir(place.0.join("target/lab")).unwrap().count();
        assert_eq!(left, 0, "folders of runs that were interrupted");
    }
}

#[test]
fn what_a_killed_runner_left_behind_the_next_one_removes() {
    let place = Place::new("killed", &[("long", LONG)]);
    let lab = place.start(&["./long.toml"]);
    wait_for("the agents start", || place.agents() == 2);
    signal(&lab, Signal::SIGKILL);
    let (runner, _) = finished(lab);
    assert_eq!(namespaces_of(runner), 3, "a killed runner cannot clean up");
    wait_for("the agents end with their runner", || place.agents() == 0);
    let mut next = place.start(&["./long.toml"]);
    wait_for("the leftovers are removed", || namespaces_of(runner) == 0);
    signal(&next, Signal::SIGTERM);
    next.wait().unwrap();
    assert_eq!(namespaces_of(next.id()), 0);
}
