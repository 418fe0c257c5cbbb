//! The commands as a user runs them: what they print where, and how they end.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

#[path = "support/agent.rs"]
mod agent;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use agent::{command, err, lacuna, out};
use lacuna::store::{Store, StoreSettings};
use lacuna_core::incident::Incident;
use serde_json::Value;

const PATH_DROP: &str = include_str!("data/path-drop.json");
const HOST_DOWN: &str = include_str!("data/host-down.json");

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// A directory with a store of two incidents.
fn store() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings { path: dir.path().to_owned(), ..StoreSettings::default() };
    let mut store = Store::open(&settings).unwrap();
    for document in [HOST_DOWN, PATH_DROP] {
        store.put(&serde_json::from_str(document).unwrap()).unwrap();
    }
    dir
}

fn written(dir: &Path, name: &str, text: &str) -> String {
    let file = dir.join(name);
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn config_check_says_ok_and_what_it_means() {
    let dir = tempfile::tempdir().unwrap();
    let text = "host = \"db1\"\n[heartbeat]\ninsecure = true\n[watch]\nvips = [\"10.77.0.100\"]\n\
                [[peers]]\nname = \"lb1\"\naddr = \"10.77.0.12:9479\"\n";
    let file = written(dir.path(), "good.toml", text);
    let checked = lacuna(&["config", "check", &file]);
    assert_eq!(code(&checked), Some(0), "{}", err(&checked));
    let expected = format!(
        "{file}: ok\n  host db1\n  1 peers: lb1\n  heartbeats every 100 ms from 0.0.0.0:9479, not authenticated\n  \
         incidents: a peer silent for 300 ms, a CPU standing still for 500 ms, CPUs saturated for 30.0 s\n  \
         store /var/lib/lacuna, at most 512.0 MiB, closed incidents for 30.0 d\n  \
         asks who has 10.77.0.100\n  page, API and metrics on http://127.0.0.1:9480/\n  \
         marks are taken over /run/lacuna/control.sock\n"
    );
    assert_eq!(out(&checked), expected);
    assert_eq!(err(&checked), "");
}

#[test]
fn config_check_says_which_keys_are_there_and_is_no_less_content_where_they_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("cluster.key");
    let text = format!(
        "host = \"db1\"\n[heartbeat]\nkey_file = {key:?}\n[[peers]]\nname = \"lb1\"\naddr = \"10.77.0.12:9479\"\n"
    );
    let file = written(dir.path(), "keys.toml", &text);
    let missing = lacuna(&["config", "check", &file]);
    assert_eq!(code(&missing), Some(0));
    assert!(out(&missing).contains("authenticated, but not with what is here now: "), "{}", out(&missing));

    std::fs::write(&key, format!("{}=\n{}=\n", "A".repeat(43), "E".repeat(43))).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let there = out(&lacuna(&["config", "check", &file]));
    assert!(there.contains("from 0.0.0.0:9479, authenticated: 2 keys, the first one signs\n"), "{there}");
}

#[test]
fn a_wrong_configuration_is_exit_2_for_every_command_that_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(dir.path(), "bad.toml", "hots = \"db1\"\n[heartbeat]\ninterval = \"100\"\n");
    for words in [
        vec!["config", "check", &file],
        vec!["agent", "--config", &file],
        vec!["doctor", "--config", &file],
        vec!["incidents", "--config", &file],
    ] {
        let refused = lacuna(&words);
        assert_eq!(code(&refused), Some(2), "{words:?}: {}", err(&refused));
        assert_eq!(out(&refused), "", "{words:?}");
        let lines: Vec<_> = err(&refused).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with(&format!("{file}:1: hots: is not a key; allowed: host, labels")));
        assert!(lines[1].starts_with(&format!("{file}:3: heartbeat.interval: \"100\" is not a duration")));
    }
}

#[test]
fn incidents_are_listed_newest_last_without_an_agent() {
    let dir = store();
    let listed = lacuna(&["incidents", "--store", dir.path().to_str().unwrap()]);
    assert_eq!(code(&listed), Some(0), "{}", err(&listed));
    let text = out(&listed);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[1].contains("path-drop") && lines[2].contains("host-down?"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colour in a pipe");
}

#[test]
fn json_is_one_document_and_nothing_else() {
    let dir = store();
    let path = dir.path().to_str().unwrap();
    let listed = lacuna(&["incidents", "--store", path, "--class", "path-drop", "--json"]);
    let document: Value = serde_json::from_str(&out(&listed)).unwrap();
    assert_eq!(document["incidents"].as_array().unwrap().len(), 1);
    assert_eq!(document["incidents"][0]["id"], "01JD6QAAAA0000000000000001");
    let explained = lacuna(&["explain", "01JD6Q", "--store", path, "--json"]);
    let incident: Incident = serde_json::from_str(&out(&explained)).unwrap();
    assert_eq!(incident, serde_json::from_str(PATH_DROP).unwrap());
    let none = lacuna(&["incidents", "--store", path, "--class", "io-stall", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&out(&none)).unwrap()["incidents"], serde_json::json!([]));
}

#[test]
fn explain_takes_a_unique_beginning_of_an_id() {
    let dir = store();
    let path = dir.path().to_str().unwrap();
    let explained = lacuna(&["explain", "01JD6Q", "--store", path]);
    assert_eq!(code(&explained), Some(0), "{}", err(&explained));
    for said in ["both ran and lost", "Timeline", "Evidence", "Ruled out", "restart: lb1 has the same boot id", "lb2"] {
        assert!(out(&explained).contains(said), "{said} not in\n{}", out(&explained));
    }
    let ambiguous = lacuna(&["explain", "01JD6", "--store", path]);
    assert_eq!(code(&ambiguous), Some(1));
    assert!(err(&ambiguous).contains("the beginning of several ids: 01JD6QAAAA"), "{}", err(&ambiguous));
    let unknown = lacuna(&["explain", "nobody", "--store", path]);
    assert_eq!(code(&unknown), Some(1));
    assert!(err(&unknown).contains("`lacuna incidents` lists them"));
    let page = dir.path().join("page.html");
    let saved = lacuna(&["explain", "01JD6Q", "--store", path, "--html", page.to_str().unwrap()]);
    assert_eq!((code(&saved), out(&saved).as_str()), (Some(0), ""));
    assert!(err(&saved).contains(&format!("bytes in {}", page.display())), "{}", err(&saved));
    let text = std::fs::read_to_string(page).unwrap();
    assert!(text.starts_with("<!DOCTYPE html>"));
    assert!(!text.contains("href=\"/") && !text.contains("://") && !text.contains("src=\""), "it needs nothing else");
    let nowhere = lacuna(&["explain", "01JD6Q", "--store", path, "--html", "/nowhere/page.html"]);
    assert_eq!(code(&nowhere), Some(1));
    assert!(err(&nowhere).contains("cannot write /nowhere/page.html"), "{}", err(&nowhere));
}

#[test]
fn wrong_usage_is_exit_2_and_says_what_is_allowed() {
    let dir = store();
    let path = dir.path().to_str().unwrap();
    for (words, said) in [
        (vec!["incidents", "--store", path, "--class", "slow"], "possible values: path-drop, packet-loss"),
        (vec!["incidents", "--store", path, "--since", "yesterday"], "allowed: RFC 3339"),
        (vec!["incidents", "--limit", "0"], "allowed: 1 to 10000"),
        (vec!["status", "--agent", "ftp://x"], "allowed: http://ADDRESS:PORT"),
        (vec!["frobnicate"], "unrecognized subcommand"),
        (vec![], "Usage: lacuna"),
    ] {
        let refused = lacuna(&words);
        assert_eq!(code(&refused), Some(2), "{words:?}: {}", err(&refused));
        assert!(err(&refused).contains(said), "{words:?}: {}", err(&refused));
        assert_eq!(out(&refused), "");
    }
    let logged = command(&["incidents"]).env("LACUNA_LOG", "lacuna=loud").output().unwrap();
    assert_eq!(code(&logged), Some(2), "{}", err(&logged));
}

#[test]
fn a_store_that_is_not_there_and_an_agent_that_does_not_run_are_exit_1() {
    let dir = tempfile::tempdir().unwrap();
    let missing = lacuna(&["incidents", "--store", dir.path().to_str().unwrap()]);
    assert_eq!(code(&missing), Some(1));
    assert!(err(&missing).contains("there is no store"), "{}", err(&missing));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let absent = lacuna(&["status", "--agent", &format!("http://127.0.0.1:{port}")]);
    assert_eq!(code(&absent), Some(1));
    assert!(err(&absent).contains("no agent answers at http://127.0.0.1"), "{}", err(&absent));
    // Longer ago than 1970.
    let ages = lacuna(&["incidents", "--since", "100y", "--agent", &format!("http://127.0.0.1:{port}")]);
    assert_eq!(code(&ages), Some(1), "{}", err(&ages));
    assert!(err(&ages).contains("no agent answers at http://127.0.0.1"), "{}", err(&ages));
}

#[test]
fn what_answers_and_is_no_agent_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").unwrap();
    });
    let confused = lacuna(&["status", "--agent", &url]);
    answering.join().unwrap();
    assert_eq!(code(&confused), Some(1));
    assert!(err(&confused).contains("is no lacuna agent"), "{}", err(&confused));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings { path: dir.path().to_owned(), ..StoreSettings::default() };
    let mut store = Store::open(&settings).unwrap();
    let mut incident: Incident = serde_json::from_str(PATH_DROP).unwrap();
    for i in 0..200 {
        incident.id = format!("id-{i}");
        incident.verdict.summary = "x".repeat(4000);
        store.put(&incident).unwrap();
    }
    let words = ["incidents", "--store", dir.path().to_str().unwrap()];
    let mut child = command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut reader = BufReader::with_capacity(64, child.stdout.take().unwrap());
    reader.read_line(&mut line).unwrap();
    drop(reader);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(code(&ended), Some(0), "{}", err(&ended));
    assert_eq!(err(&ended), "");
}

#[test]
fn doctor_gives_a_line_for_everything_and_one_document() {
    let told = lacuna(&["doctor"]);
    let text = out(&told);
    for topic in ["kernel", "btf", "CAP_BPF", "probe", "clock source", "boot clock", "icmp", "store", "peers"] {
        assert!(text.contains(topic), "{topic} not in\n{text}");
    }
    let document: Value = serde_json::from_str(&out(&lacuna(&["doctor", "--json"]))).unwrap();
    let works = document["works"].as_bool().unwrap();
    assert_eq!(code(&told), Some(i32::from(!works)));
    assert!(document["checks"].as_array().unwrap().len() > 10);
}

/// An agent in a network namespace of its own, since one without peers watches the default gateway: there is none.
struct Isolated(std::process::Child);

impl Isolated {
    fn start(config: &str) -> Self {
        let script = "ip link set lo up && exec \"$@\"";
        let words = ["--net", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_lacuna"), "agent", "--config", config];
        Self(Command::new("unshare").args(words).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Runs a command in the agent's namespace.
    fn lacuna(&self, words: &[&str]) -> Output {
        let namespace = format!("--net=/proc/{}/ns/net", self.0.id());
        Command::new("nsenter").arg(namespace).arg(env!("CARGO_BIN_EXE_lacuna")).args(words).output().unwrap()
    }

    fn end(mut self) -> std::process::ExitStatus {
        let pid = i32::try_from(self.0.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).unwrap();
        self.0.wait().unwrap()
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn status_is_of_the_agent_that_runs() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let text =
        format!("host = \"db1\"\n[http]\nlisten = \"127.0.0.1:19480\"\n[store]\npath = \"{}\"\n", store.display());
    let agent = Isolated::start(&written(dir.path(), "agent.toml", &text));
    let url = "http://127.0.0.1:19480";
    let status = (0..100)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(100));
            agent.lacuna(&["status", "--agent", url])
        })
        .find(|status| code(status) == Some(0))
        .expect("the agent never answered");
    assert!(out(&status).contains("on db1, kernel "), "{}", out(&status));
    assert!(out(&status).contains("none configured"), "no peer and no gateway: {}", out(&status));
    let listed = agent.lacuna(&["incidents", "--agent", url, "--json"]);
    assert!(serde_json::from_str::<Value>(&out(&listed)).unwrap()["incidents"].is_array());
    let ended = agent.end();
    assert!(ended.success(), "{ended}");
}
