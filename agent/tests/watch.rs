//! `lacuna watch` as a user runs it: on a real terminal, against the real web server of an agent.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

#[path = "support/agent.rs"]
mod agent;
#[path = "support/pty.rs"]
mod pty;

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use lacuna::shared::{CpuStatus, Identity, Shared};
use lacuna_core::incident::{Incident, State};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pty::{LEAVES, Session};
use tokio::sync::oneshot;

const HOST_DOWN: &str = include_str!("data/host-down.json");
const PATH_DROP: &str = include_str!("data/path-drop.json");

/// The web server of an agent that sees what it is told to.
struct Agent {
    shared: Arc<Shared>,
    url: String,
    end: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Agent {
    fn start(address: &str) -> Self {
        let identity = Identity {
            host: "db1".into(),
            version: "0.1.0".into(),
            kernel: "6.18.0".into(),
            incarnation: 7,
            ..Identity::default()
        };
        let shared = Arc::new(Shared::new(identity, Vec::new(), None));
        *shared.ready.write() = true;
        *shared.cpus.write() =
            vec![CpuStatus { cpu: 0, busy: Some(0.25), steal_seconds_total: Some(1.5), watched: true }];
        shared.incidents.write().put(Arc::new(serde_json::from_str(HOST_DOWN).unwrap()));
        let listener = TcpListener::bind(address).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (end, ended) = oneshot::channel::<()>();
        let served = Arc::clone(&shared);
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let shutdown = async { _ = ended.await };
            runtime.block_on(lacuna::web::serve(served, None, None, listener, shutdown)).unwrap();
        });
        Self { shared, url, end, server }
    }

    fn address(&self) -> String {
        self.url.trim_start_matches("http://").to_owned()
    }

    fn change(&self, incident: Incident) {
        let incident = Arc::new(incident);
        self.shared.incidents.write().put(Arc::clone(&incident));
        let _ = self.shared.changes.send(incident);
    }

    fn stop(self) {
        self.end.send(()).unwrap();
        self.server.join().unwrap();
    }
}

fn watch(url: &str) -> Command {
    agent::command(&["watch", "--agent", url])
}

#[test]
fn it_draws_reacts_to_keys_follows_changes_and_gives_the_terminal_back() {
    let agent = Agent::start("127.0.0.1:0");
    let mut session = Session::start(&watch(&agent.url), 24, 100);
    session.wait_for("db1  ok  1 open: host-down?");
    session.wait_for("lb2 is gone");
    session.wait_for("cpu0 25 %");

    session.press("\r");
    session.wait_for("Evidence");
    session.press("\u{1b}");
    session.wait_without("Evidence");
    session.press("?");
    session.wait_for("explain the chosen incident");
    session.press("?");
    session.wait_for("Peers");

    // By the stream: in the status are only those that are open.
    agent.change(serde_json::from_str(PATH_DROP).unwrap());
    session.wait_for("path-drop");
    let down: Incident = serde_json::from_str(HOST_DOWN).unwrap();
    agent.change(Incident { state: State::Closed, ended_at: Some("2026-11-23T08:01:00.000Z".into()), ..down });
    session.wait_for("nothing open");

    session.press("q");
    let ended = session.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    assert_eq!(ended.said.matches(LEAVES).count(), 1);
    assert!(ended.cursor_is_visible);
    assert_eq!(ended.screen.trim(), "", "what was on the terminal before comes back, and nothing else");
    agent.stop();
}

#[test]
fn keys_and_lines_of_the_terminal_are_as_before_however_it_ends() {
    let agent = Agent::start("127.0.0.1:0");
    for end in ["q", "\u{3}", "SIGTERM", "SIGHUP"] {
        let mut session = Session::start(&watch(&agent.url), 24, 80);
        session.wait_for("db1");
        match end {
            "SIGTERM" => kill(Pid::from_raw(session.id()), Signal::SIGTERM).unwrap(),
            "SIGHUP" => kill(Pid::from_raw(session.id()), Signal::SIGHUP).unwrap(),
            keys => session.press(keys),
        }
        let ended = session.end();
        assert_eq!(ended.status.code(), Some(0), "{end:?}: {}", ended.said);
        assert!(ended.said.contains(LEAVES) && ended.cursor_is_visible, "{end:?}");
        assert_eq!(ended.after, ended.before, "{end:?}");
    }
    agent.stop();
}

#[test]
fn a_terminal_that_changes_its_size_is_drawn_anew() {
    let agent = Agent::start("127.0.0.1:0");
    let mut session = Session::start(&watch(&agent.url), 24, 100);
    session.wait_for("This host");
    session.resize(8, 30);
    session.wait_for("needs 40 x 10");
    session.resize(30, 120);
    session.wait_for("BEGAN (UTC)");
    session.press("q");
    assert_eq!(session.end().status.code(), Some(0));
    agent.stop();
}

#[test]
fn an_agent_that_does_not_answer_is_said_so_and_asked_again() {
    let agent = Agent::start("127.0.0.1:0");
    let (url, address) = (agent.url.clone(), agent.address());
    agent.stop();
    let mut session = Session::start(&watch(&url), 24, 100);
    session.wait_for("no answer yet, asking again each second");
    session.wait_for("lacuna agent --config FILE");
    let agent = Agent::start(&address);
    session.wait_for("1 open: host-down?");
    agent.stop();
    session.wait_for("no answer  was: 1 open");
    session.wait_for("old, asking again each second");
    session.press("q");
    assert_eq!(session.end().status.code(), Some(0));
}

#[test]
fn without_a_terminal_it_is_refused_and_says_what_to_do() {
    let watch = || watch("http://127.0.0.1:9");
    for mut command in [watch(), {
        let mut piped = watch();
        piped.stdin(Stdio::null());
        piped
    }] {
        let refused = command.output().unwrap();
        assert_eq!(refused.status.code(), Some(2));
        let said = agent::err(&refused);
        assert!(said.contains("watch needs a terminal") && said.contains("`lacuna status`"), "{said}");
        assert_eq!(agent::out(&refused), "");
    }
    let mut dumb = watch();
    dumb.env("TERM", "dumb");
    let ended = Session::start(&dumb, 24, 80).end();
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.said.contains("TERM=dumb") && !ended.said.contains('\u{1b}'), "{}", ended.said);
}

#[test]
fn no_color_is_respected() {
    let agent = Agent::start("127.0.0.1:0");
    for (value, coloured) in [("1", false), ("", true)] {
        let mut command = watch(&agent.url);
        command.env("NO_COLOR", value);
        let mut session = Session::start(&command, 24, 100);
        session.wait_for("lb2 is gone");
        session.press("q");
        let said = session.end().said;
        let colours = said.contains("\u{1b}[38;5;");
        assert_eq!(colours, coloured, "NO_COLOR={value:?}: {said:?}");
    }
    agent.stop();
}
