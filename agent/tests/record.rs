//! `lacuna record` and `lacuna replay` as a user runs them, with an agent that runs and with what it leaves.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

#[path = "support/agent.rs"]
mod agent;

use std::path::{Path, PathBuf};
use std::time::Duration;

use agent::{Running, err, lacuna, out};
use nix::sys::signal::Signal;
use serde_json::Value;

struct Host {
    dir: tempfile::TempDir,
    config: String,
}

impl Host {
    fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "host = \"db1\"\n{more}\n[store]\npath = {:?}\n[control]\nsocket = {:?}\n[http]\nlisten = \"127.0.0.1:19481\"\n",
            dir.path().join("store"),
            dir.path().join("control.sock")
        );
        let config = dir.path().join("agent.toml");
        std::fs::write(&config, text).unwrap();
        Self { config: config.to_str().unwrap().to_owned(), dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A recording of that agent, once it has written any.
    fn record(&self, name: &str, more: &[&str]) -> PathBuf {
        let file = self.path(name);
        let recorded = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            let done = lacuna(&[&["record", file.to_str().unwrap()], more].concat());
            done.status.success() && std::fs::metadata(&file).unwrap().len() > 300
        });
        assert!(recorded);
        file
    }
}

fn replayed(file: &Path) -> (Value, String) {
    let told = lacuna(&["replay", "--json", file.to_str().unwrap()]);
    assert_eq!(told.status.code(), Some(0), "{}", err(&told));
    (serde_json::from_str(&out(&told)).unwrap(), err(&told))
}

#[test]
fn what_an_agent_was_told_is_saved_while_it_runs_and_after_it() {
    let host = Host::new("");
    let agent = Running::start(&host.config);
    let first = host.record("first.lacuna", &["--config", &host.config]);
    agent.end(Signal::SIGTERM);
    let left = host.record("left.lacuna", &["--config", &host.config]);
    assert!(std::fs::metadata(&left).unwrap().len() > std::fs::metadata(&first).unwrap().len());
    for file in [&first, &left] {
        let (document, said) = replayed(file);
        assert_eq!((document["recordings"][0]["host"].as_str(), said.as_str()), (Some("db1"), ""));
        assert_eq!(document["recordings"][0]["holes"], 0);
    }
    let both = lacuna(&["replay", host.dir.path().to_str().unwrap(), "--gap", "200ms", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&out(&both)).unwrap()["recordings"].as_array().unwrap().len(), 2);
}

#[test]
fn a_torn_recording_is_read_up_to_there_and_says_so() {
    let host = Host::new("[recorder]\nsize = \"1MiB\"");
    let agent = Running::start(&host.config);
    host.record("torn.lacuna", &["--config", &host.config]);
    // A second block.
    std::thread::sleep(Duration::from_secs(2));
    let file = host.record("torn.lacuna", &["--config", &host.config]);
    agent.end(Signal::SIGKILL);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 5]).unwrap();
    let (document, said) = replayed(&file);
    assert!(said.contains("read up to a damage: byte "), "{said}");
    assert_eq!(document["recordings"][0]["damage"]["why"], "it ends within a block");
    let ring = host.path("store/recording");
    let torn = std::fs::read_dir(&ring).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&torn).unwrap();
    std::fs::write(&torn, &bytes[..bytes.len() - 1]).unwrap();
    let store = host.path("store");
    let left = lacuna(&["record", file.to_str().unwrap(), "--store", store.to_str().unwrap()]);
    assert!(err(&left).contains("damaged, and not part of the recording"), "{}", err(&left));
    let text = std::fs::read_to_string(&host.config).unwrap().replace(":19481\"", ":19482\"\nrecordings = true");
    std::fs::write(&host.config, text).unwrap();
    let agent = Running::start(&host.config);
    let (url, folder, again) = ("http://127.0.0.1:19482", host.path("fleet"), host.path("again.lacuna"));
    let answers = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        agent.lacuna(&["record", again.to_str().unwrap(), "--agent", url]).status.success()
    });
    assert!(answers, "the agent gives nothing for 20 s");
    let over_http = agent.lacuna(&["record", folder.to_str().unwrap(), "--agent", url, "--agent", url]);
    assert!(err(&over_http).contains("damaged, and not part of the recording"), "{}", err(&over_http));
    assert_eq!(over_http.status.code(), Some(1), "both agents are called db1: {}", err(&over_http));
    assert!(std::fs::metadata(folder.join("db1.lacuna")).unwrap().len() > 300);
    agent.end(Signal::SIGTERM);
}

#[test]
fn what_cannot_be_saved_or_replayed_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.lacuna");
    let file = file.to_str().unwrap();
    let nobody = lacuna(&["record", file, "--socket", "/nowhere/control.sock"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(err(&nobody).contains("start one with `lacuna agent"), "{}", err(&nobody));
    let nothing = lacuna(&["record", file, "--store", "/nowhere"]);
    assert!(err(&nothing).contains("no agent has recorded anything in /nowhere/recording"), "{}", err(&nothing));
    std::fs::write(file, "rubbish\n").unwrap();
    let rubbish = lacuna(&["replay", file]);
    assert_eq!(rubbish.status.code(), Some(1));
    assert!(err(&rubbish).contains("x.lacuna: no recording: line 1"), "{}", err(&rubbish));
    let empty = lacuna(&["replay", "/proc/self/fdinfo"]);
    assert!(err(&empty).contains("no recording (NAME.lacuna)"), "{}", err(&empty));
}
