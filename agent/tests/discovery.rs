//! Peers that are found, with real agents on the loopback interface of a network namespace that each test makes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a failed test")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use dns::{NameServer, Say};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

#[path = "support/dns.rs"]
mod dns;

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A network namespace with nothing but a loopback interface, and a folder.
struct Host {
    holder: Running,
    dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let script = "ip link set lo up && echo up && exec sleep 600";
        let mut shell = Command::new("unshare");
        let mut holder = shell.args(["--net", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.take().unwrap()), &mut line).unwrap();
        assert_eq!(line, "up\n", "these tests need root");
        Self { holder: Running(holder), dir: tempfile::tempdir().unwrap() }
    }

    fn namespace(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.holder.0.id()).into()
    }

    fn lacuna(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace().display())).arg(env!("CARGO_BIN_EXE_lacuna"));
        command.args(words).env_remove("LACUNA_LOG").stdin(Stdio::null());
        command
    }

    /// A socket inside.
    fn udp(&self, address: &'static str) -> UdpSocket {
        let namespace = File::open(self.namespace()).unwrap();
        let inside = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            UdpSocket::bind(address).unwrap()
        };
        thread::spawn(inside).join().unwrap()
    }

    fn config(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.toml"))
    }

    /// An agent at `127.0.0.NUMBER`, with `rest` in its configuration.
    fn agent(&self, name: &str, number: u16, rest: &str) -> Agent<'_> {
        let http = format!("127.0.0.1:{}", 19480 + number);
        let text = format!(
            "host = \"{name}\"\n[heartbeat]\nlisten = \"127.0.0.{number}:9479\"\ninsecure = true\n[http]\nlisten = \"{http}\"\n\
             [store]\npath = \"{}\"\n{rest}",
            self.dir.path().join(name).display()
        );
        let config = self.config(name);
        fs::write(&config, text).unwrap();
        let mut command = self.lacuna(&["agent", "--config", config.to_str().unwrap()]);
        let log = File::create(self.dir.path().join(format!("{name}.log"))).unwrap();
        let running = Running(command.stderr(log).spawn().unwrap());
        Agent { host: self, name: name.to_owned(), url: format!("http://{http}"), running }
    }
}

struct Agent<'a> {
    host: &'a Host,
    name: String,
    url: String,
    running: Running,
}

impl Agent<'_> {
    /// Adds to the configuration, and has the agent read it again.
    fn reload_with(&self, more: &str) {
        let config = self.host.config(&self.name);
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, text + more).unwrap();
        let pid = Pid::from_raw(i32::try_from(self.running.0.id()).unwrap());
        kill(pid, Signal::SIGHUP).unwrap();
    }

    fn json(&self, command: &str) -> Option<Value> {
        let Output { status, stdout, .. } =
            self.host.lacuna(&[command, "--json", "--agent", &self.url]).output().unwrap();
        status.success().then(|| serde_json::from_slice(&stdout).unwrap())
    }

    /// Waits until the status is as it should be.
    fn until(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = None;
        for _ in 0..300 {
            last = self.json("status");
            if let Some(status) = last.as_ref().filter(|status| is(status)) {
                return status.clone();
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("{}: never {what}: {last:#?}\n{}", self.name, self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.host.dir.path().join(format!("{}.log", self.name))).unwrap()
    }

    /// The incidents that say something of `other`. A busy machine may well stall this agent meanwhile; that is no matter here.
    fn incidents_with(&self, other: &str) -> BTreeSet<String> {
        let document = self.json("incidents").unwrap();
        let incidents = document["incidents"].as_array().unwrap();
        let names = |incident: &&Value| {
            let subject = &incident["verdict"]["subject"];
            subject["host"] == other || subject["peer"] == other
        };
        incidents.iter().filter(names).map(|incident| incident["id"].to_string()).collect()
    }
}

fn peer<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status["peers"].as_array().unwrap().iter().find(|peer| peer["name"] == name)
}

fn names(status: &Value) -> Vec<&str> {
    status["peers"].as_array().unwrap().iter().map(|peer| peer["name"].as_str().unwrap()).collect()
}

fn is_up(name: &str) -> impl Fn(&Value) -> bool {
    move |status| peer(status, name).is_some_and(|peer| peer["up"] == true)
}

/// As an editor or a configuration management does it.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn an_agent_follows_its_file_and_a_peer_taken_out_is_no_incident() {
    let host = Host::new();
    let list = host.dir.path().join("peers.json");
    fs::write(&list, "[]").unwrap();
    let a = host.agent("a", 1, &format!("[[discovery.file]]\npath = \"{}\"\n", list.display()));
    let b = host.agent("b", 2, "[[peers]]\nname = \"a\"\naddr = \"127.0.0.1:9479\"\n");
    let begun = a.until("answering", |_| true);
    assert_eq!(names(&begun), [""; 0]);

    replace(&list, r#"[{"targets": ["127.0.0.2", "127.0.0.1"], "labels": {"name": "b"}}]"#);
    let found = a.until("with b", is_up("b"));
    assert_eq!(names(&found), ["b"], "not this host itself");
    assert_eq!(found["counters"]["discovery"]["peers"], serde_json::json!({"file": 1, "static": 0}));
    b.until("hearing a", is_up("a"));

    fs::write(&list, r#"[{"targets": ["127.0"#).unwrap();
    let broken = a.until("degraded", |status| status["health"]["degraded"]["discovery"].is_string());
    assert_eq!(names(&broken), ["b"], "a list that is half written changes nothing");
    thread::sleep(Duration::from_secs(3));
    assert_eq!(a.log().matches("what it gave before stays, 2 entries").count(), 1, "{}", a.log());

    let before = (a.incidents_with("b"), b.incidents_with("a"));
    replace(&list, "[]");
    a.until("without b", |status| names(status).is_empty());
    let told = b.until("told that a left", |status| peer(status, "a").is_some_and(|peer| peer["left"] == true));
    assert_eq!(peer(&told, "a").unwrap()["up"], false);
    // Several times what makes a gap.
    thread::sleep(Duration::from_secs(2));
    assert_eq!((a.incidents_with("b"), b.incidents_with("a")), before);

    replace(&list, r#"[{"targets": ["127.0.0.2"], "labels": {"name": "b"}}]"#);
    a.until("with b again", is_up("b"));
    b.until("hearing a again", is_up("a"));

    // Another host takes over the name: nobody answers there yet.
    replace(&list, r#"[{"targets": ["127.0.0.9"], "labels": {"name": "b"}}]"#);
    let moved = a.until("with b elsewhere", |status| peer(status, "b").is_some_and(|b| b["addr"] == "127.0.0.9:9479"));
    assert_eq!(peer(&moved, "b").unwrap()["up"], Value::Null, "the other one was never heard");
    b.until("told again that a left", |status| peer(status, "a").is_some_and(|peer| peer["left"] == true));
    thread::sleep(Duration::from_secs(2));
    assert_eq!((a.incidents_with("b"), b.incidents_with("a")), before);
}

#[test]
fn a_reload_that_is_refused_is_told_until_one_is_taken() {
    let host = Host::new();
    let agent = host.agent("a", 1, "[[peers]]\nname = \"b\"\naddr = \"127.0.0.2:9479\"\n");
    agent.until("ready", |status| status["health"]["degraded"]["configuration"].is_null());
    let text = fs::read_to_string(host.config("a")).unwrap();
    agent.reload_with("[thresholds]\ngapp = \"200ms\"\n");
    let refused = agent.until("refusing it", |status| status["health"]["degraded"]["configuration"].is_string());
    let why = refused["health"]["degraded"]["configuration"].as_str().unwrap();
    assert!(why.contains("gapp"), "{why}");
    assert_eq!(names(&refused), ["b"], "what it watches stays");
    fs::write(host.config("a"), text).unwrap();
    agent.reload_with("[thresholds]\ngap = \"300ms\"\n");
    agent.until("well again", |status| status["health"]["degraded"]["configuration"].is_null());
}

#[test]
fn an_agent_follows_its_name_server_and_keeps_its_peers_when_that_fails() {
    let host = Host::new();
    let server = NameServer::on(host.udp("127.0.0.1:5353"));
    let services = |all: Vec<&'static str>| server.says("_lacuna._udp.test.", RecordType::SRV, Say::Records(1, all));
    services(vec!["9479 a.test.", "9479 b.test."]);
    for (name, address) in [("a.test.", "127.0.0.1"), ("b.test.", "127.0.0.2"), ("c.test.", "127.0.0.3")] {
        server.says(name, RecordType::A, Say::Records(1, vec![address]));
    }
    let discovery = format!(
        "[[discovery.dns]]\nname = \"_lacuna._udp.test.\"\ntype = \"srv\"\ninterval = \"5s\"\nresolver = \"{}\"\n",
        server.address
    );
    let a = host.agent("a.test", 1, &discovery);
    let b = host.agent("b.test", 2, &discovery);
    let found = a.until("with b", is_up("b.test"));
    assert_eq!(names(&found), ["b.test"], "not this host itself");
    b.until("with a", is_up("a.test"));

    services(vec!["9479 a.test.", "9479 b.test.", "9479 c.test."]);
    a.until("with c", |status| names(status) == ["b.test", "c.test"]);

    server.says("_lacuna._udp.test.", RecordType::SRV, Say::Error(ResponseCode::ServFail));
    a.until("in trouble", |status| status["counters"]["discovery"]["errors"]["dns"].as_u64() > Some(0));
    server.says("_lacuna._udp.test.", RecordType::SRV, Say::Nothing);
    let silent =
        a.until("in trouble again", |status| status["counters"]["discovery"]["errors"]["dns"].as_u64() > Some(1));
    assert_eq!(names(&silent), ["b.test", "c.test"]);

    let before = a.incidents_with("c.test");
    services(vec!["9479 a.test.", "9479 b.test."]);
    let well = a.until("without c", |status| names(status) == ["b.test"]);
    assert_eq!(well["health"]["degraded"]["discovery"], Value::Null);
    assert_eq!(a.incidents_with("c.test"), before);
}

#[test]
fn a_configuration_that_is_read_again_keeps_what_was_found_and_may_add_sources() {
    let host = Host::new();
    let lists = ["one.json", "two.json"].map(|name| host.dir.path().join(name));
    let source = |list: &Path| format!("[[discovery.file]]\npath = \"{}\"\n", list.display());
    for (list, name, number) in [(&lists[0], "c", 3), (&lists[1], "d", 4)] {
        fs::write(list, format!(r#"[{{"targets": ["127.0.0.{number}"], "labels": {{"name": "{name}"}}}}]"#)).unwrap();
    }
    let a = host.agent("a", 1, &format!("[[peers]]\nname = \"b\"\naddr = \"127.0.0.2:9479\"\n{}", source(&lists[0])));
    a.until("with b and c", |status| names(status) == ["b", "c"]);
    a.reload_with(&source(&lists[1]));
    a.until("with d", |status| names(status) == ["b", "c", "d"]);
    a.reload_with("[[peers]]\nname = \"e\"\naddr = \"127.0.0.5:9479\"\n");
    let last = a.until("with e", |status| names(status).contains(&"e"));
    assert_eq!(names(&last), ["b", "e", "c", "d"], "those of the configuration first");
}

#[test]
fn a_peer_that_calls_itself_otherwise_is_said_once_with_both_names() {
    let host = Host::new();
    let list = host.dir.path().join("peers.json");
    fs::write(&list, r#"[{"targets": ["127.0.0.2"], "labels": {"name": "lb2"}}]"#).unwrap();
    let a = host.agent("a", 1, &format!("[[discovery.file]]\npath = \"{}\"\n", list.display()));
    let b = host.agent("b", 2, "[[peers]]\nname = \"a\"\naddr = \"127.0.0.1:9479\"\n");
    let refused = |status: &Value| status["counters"]["packets_refused"]["foreign-name"].as_u64();
    let seen = a.until("refusing b", |status| refused(status) >= Some(10));
    assert_eq!(peer(&seen, "lb2").unwrap()["up"], Value::Null, "its heartbeats do not count");
    b.until("hearing a", is_up("a"));
    let said = r#"the peer at 127.0.0.2:9479 calls itself "b"; its name here is "lb2""#;
    assert_eq!(a.log().matches(said).count(), 1, "{}", a.log());
    assert!(a.incidents_with("lb2").is_empty());

    replace(&list, r#"[{"targets": ["127.0.0.2"], "labels": {"name": "b"}}]"#);
    a.until("with b", is_up("b"));
}

#[test]
fn config_check_and_doctor_say_what_the_sources_give() {
    let dir = tempfile::tempdir().unwrap();
    let (list, config) = (dir.path().join("peers.json"), dir.path().join("lacuna.toml"));
    let text = format!(
        "host = \"db1\"\n[heartbeat]\ninsecure = true\n[[peers]]\nname = \"lb1\"\naddr = \"10.77.0.12:9479\"\n\
         [[discovery.file]]\npath = \"{}\"\n",
        list.display()
    );
    fs::write(&config, text).unwrap();
    let run = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_lacuna")).args(words).arg(&config).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = run(&["config", "check"]);
    assert_eq!(code, Some(0), "a file that is not there yet is no mistake");
    let missing = format!("  file {} gives 0 peers now: none; cannot be read: No such file", list.display());
    assert!(said.contains(&missing), "{said}");
    assert!(said.contains("  1 peers: lb1\n"), "{said}");

    fs::write(&list, r#"[{"targets": ["10.77.0.12", "10.77.0.13"], "labels": {}}]"#).unwrap();
    let (_, said) = run(&["config", "check"]);
    assert!(said.contains("gives 2 peers now: 10.77.0.12, 10.77.0.13\n"), "{said}");
    assert!(said.contains("  1 left out: 10.77.0.12 at 10.77.0.12:9479 (duplicate)\n"), "{said}");
    assert!(said.contains("  2 peers: lb1, 10.77.0.13\n"), "{said}");
    let (_, said) = run(&["doctor", "--config"]);
    assert!(said.contains("gives 2 peers: 10.77.0.12, 10.77.0.13"), "{said}");
    assert!(said.contains("2: lb1, 10.77.0.13"), "{said}");
}
