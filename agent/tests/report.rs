//! `lacuna mark` and `lacuna report` as a user runs them: the first of the outages that this project was made from, through
//! the store and the command, and marks through a running agent.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

#[path = "support/agent.rs"]
mod agent;

use std::path::Path;
use std::process::Output;
use std::time::{Duration, SystemTime};

use agent::{Running, err, lacuna, out};
use lacuna::store::{Store, StoreSettings};
use lacuna_core::incident::{Class, Incident, Subject};
use lacuna_core::recurrence::{Belief, Clock, Recurrence, Report, Watched};
use nix::sys::signal::Signal;

const LOCKUP: &str = include_str!("data/path-drop.json");
const MARK: &str = "apic parameters on the kernel command line";

/// A store whose past is told in hours before now.
struct Past {
    dir: tempfile::TempDir,
    store: Store,
    now: SystemTime,
    boots: u32,
    incidents: u32,
}

impl Past {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = StoreSettings { path: dir.path().to_owned(), ..StoreSettings::default() };
        let store = Store::open(&settings).unwrap();
        Self { dir, store, now: SystemTime::now(), boots: 0, incidents: 0 }
    }

    fn at(&self, hours_ago: f64) -> SystemTime {
        self.now - Duration::from_secs_f64(hours_ago * 3600.0)
    }

    fn ms(&self, hours_ago: f64) -> i64 {
        let since = self.at(hours_ago).duration_since(SystemTime::UNIX_EPOCH).unwrap();
        i64::try_from(since.as_millis()).unwrap()
    }

    fn boot(&mut self, from: f64, to: f64) {
        self.boots += 1;
        let (booted_ms, to_ms) = (self.ms(from), self.ms(to));
        let boot_id = format!("{:032x}", self.boots);
        let period = Watched { host: "db1".into(), boot_id, booted_ms, from_ms: booted_ms, to_ms };
        self.store.watched([period].iter()).unwrap();
    }

    fn lockup(&mut self, hours_ago: f64) {
        self.incidents += 1;
        let time = |at: SystemTime| humantime::format_rfc3339_millis(at).to_string();
        let mut incident: Incident = serde_json::from_str(LOCKUP).unwrap();
        incident.id = format!("id-{:06}", self.incidents);
        incident.started_at = time(self.at(hours_ago));
        incident.ended_at = Some(time(self.at(hours_ago) + Duration::from_secs(15)));
        incident.verdict.class = Class::TimerLockup;
        let cpu = Some(self.incidents % 2);
        incident.verdict.subject = Subject { host: Some("db1".into()), cpu, ..Subject::default() };
        incident.evidence.clear();
        self.store.put(&incident).unwrap();
    }

    /// Four boots, the first lock-up about 40 h after each, then one a minute for half an hour until a cold boot of 8 min; the
    /// change in the last of these, and `quiet` hours after it.
    fn incident_a(quiet: f64) -> Self {
        let mut past = Self::new();
        let (onsets, burst, down) = ([38.0, 41.0, 43.5, 39.5], 0.5, 8.0 / 60.0);
        let mut ago = quiet + onsets.iter().map(|onset| onset + burst + down).sum::<f64>();
        for onset in onsets {
            past.boot(ago, ago - onset - burst);
            for minute in 0..30 {
                past.lockup(ago - onset - f64::from(minute) / 60.0);
            }
            ago -= onset + burst + down;
        }
        past.boot(quiet, 0.0);
        past.store.mark(MARK, past.at(quiet + down)).unwrap();
        past
    }

    /// What the command says with `--json`, once no agent has the store.
    fn report(self, more: &[&str]) -> (tempfile::TempDir, Report) {
        let Self { dir, store, .. } = self;
        drop(store);
        let report = report(dir.path(), more);
        (dir, report)
    }
}

fn report(store: &Path, more: &[&str]) -> Report {
    let words = [&["report", "--json", "--store", store.to_str().unwrap()], more].concat();
    let told = lacuna(&words);
    assert_eq!((told.status.code(), err(&told).as_str()), (Some(0), ""));
    serde_json::from_str(&out(&told)).unwrap()
}

fn recurrence(report: &Report) -> &Recurrence {
    assert_eq!(report.series.len(), 1, "both CPUs are one series");
    report.series[0].recurrence.as_ref().unwrap()
}

#[test]
fn sixteen_quiet_hours_prove_nothing_where_earlier_restarts_were_quiet_for_forty() {
    let (dir, told) = Past::incident_a(16.0).report(&[]);
    assert_eq!(told.mark.as_ref().unwrap().text, MARK);
    assert_eq!(told.series[0].incidents, 120);
    let recurrence = recurrence(&told);
    assert_eq!(recurrence.belief, Belief::TooEarly);
    let quiet = recurrence.quiet.as_ref().unwrap();
    assert_eq!(quiet.clock, Clock::SinceBoot);
    assert!((0.9997..0.9999).contains(&quiet.chance.unwrap()), "{quiet:?}");
    assert!((quiet.chance_at_most.unwrap() - 1.0).abs() < 1e-9);
    assert!((37.0..37.5).contains(&quiet.hours_needed.unwrap()), "{quiet:?}");
    assert!(quiet.at_constant_rate.chance < 1e-4, "{quiet:?}");
    let text = out(&lacuna(&["report", "--store", dir.path().to_str().unwrap()]));
    println!("{text}");
    for said in ["too early to tell", "the clock is the time since boot", "99.98 %", "at most 100 %", "37.2 h more"] {
        assert!(text.contains(said), "{said} not in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no colour in a pipe");
}

#[test]
fn a_report_is_a_page_as_well() {
    let (dir, _) = Past::incident_a(16.0).report(&[]);
    let (store, page) = (dir.path().to_str().unwrap(), dir.path().join("report.html"));
    let saved = lacuna(&["report", "--store", store, "--html", page.to_str().unwrap()]);
    assert_eq!((saved.status.code(), out(&saved).as_str()), (Some(0), ""), "{}", err(&saved));
    assert!(err(&saved).contains(&format!("bytes in {}", page.display())), "{}", err(&saved));
    let text = std::fs::read_to_string(&page).unwrap();
    for said in [MARK, "too early to tell", "the clock is the time since boot", "99.98 %", "37.2 h more"] {
        assert!(text.contains(said), "{said} not in\n{text}");
    }
    assert!(!text.contains("<a ") && !text.contains("://"), "it needs nothing else");
    let nowhere = lacuna(&["report", "--store", store, "--html", "/nowhere/report.html"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(err(&nowhere).contains("cannot write /nowhere/report.html"), "{}", err(&nowhere));
    let both = lacuna(&["report", "--store", store, "--json", "--html", page.to_str().unwrap()]);
    assert_eq!(both.status.code(), Some(2), "{}", err(&both));
}

#[test]
fn a_hundred_quiet_hours_tell() {
    let (dir, told) = Past::incident_a(100.0).report(&[]);
    let recurrence = recurrence(&told);
    assert_eq!(recurrence.belief, Belief::Gone);
    let quiet = recurrence.quiet.as_ref().unwrap();
    assert!((0.0021..0.0023).contains(&quiet.chance.unwrap()), "{quiet:?}");
    assert!((quiet.chance_at_most.unwrap() - 0.2).abs() < 1e-9);
    let text = out(&lacuna(&["report", "--store", dir.path().to_str().unwrap()]));
    println!("{text}");
    for said in ["gone, with 95 % confidence where the model below holds", "0.22 % (at most 20 %)", "at most 20 %"] {
        assert!(text.contains(said), "{said} not in\n{text}");
    }
}

/// The agent ended with the change and was started 84 h later: it watched 16 h.
#[test]
fn hours_without_an_agent_are_not_quiet() {
    let mut past = Past::incident_a(100.0);
    let booted_ms = past.ms(100.0);
    let (from_ms, to_ms) = (past.ms(16.0), past.ms(0.0));
    let period = Watched { host: "db1".into(), boot_id: "another".into(), booted_ms, from_ms, to_ms };
    past.store.watched([period].iter()).unwrap();
    let Past { dir, store, .. } = past;
    drop(store);
    // Without the period that incident_a has for the last boot.
    let database = rusqlite::Connection::open(dir.path().join("incidents.db")).unwrap();
    database.execute("DELETE FROM watched WHERE boot_id = ?1", [format!("{:032x}", 5)]).unwrap();
    drop(database);
    let told = report(dir.path(), &[]);
    let recurrence = recurrence(&told);
    assert_eq!(recurrence.belief, Belief::TooEarly, "{recurrence:#?}");
    assert!((recurrence.quiet.as_ref().unwrap().hours - 16.0).abs() < 0.1);
}

#[test]
fn a_mark_is_chosen_by_its_text_and_an_unknown_one_is_refused() {
    let mut past = Past::incident_a(16.0);
    past.store.mark("a later one", past.at(1.0)).unwrap();
    let (dir, told) = past.report(&["--mark", "apic parameters"]);
    assert_eq!(told.mark.as_ref().unwrap().text, MARK);
    assert_eq!(told.marks.len(), 2);
    let store = dir.path().to_str().unwrap();
    let unknown = lacuna(&["report", "--store", store, "--mark", "cable"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(err(&unknown).contains(&format!("known: \"{MARK}\", \"a later one\"")), "{}", err(&unknown));
    let outside = lacuna(&["report", "--store", store, "--mark", MARK, "--since", "2h"]);
    assert_eq!(outside.status.code(), Some(2), "{}", err(&outside));
    assert!(err(&outside).contains("outside of --since"), "{}", err(&outside));
    let wrong = lacuna(&["report", "--store", store, "--since", "yesterday"]);
    assert_eq!(wrong.status.code(), Some(2));
    let none = lacuna(&["report", "--store", "/nowhere"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(err(&none).contains("there is no store"), "{}", err(&none));
}

#[test]
fn a_mark_without_an_agent_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    let refused = lacuna(&["mark", "a change", "--socket", socket.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("start one with `lacuna agent"), "{}", err(&refused));
    for text in ["", "two\nlines", &"x".repeat(201)] {
        let wrong = lacuna(&["mark", text, "--socket", socket.to_str().unwrap()]);
        assert_eq!(wrong.status.code(), Some(2), "{}", err(&wrong));
        assert!(err(&wrong).contains("1 to 200 printable characters"), "{}", err(&wrong));
    }
}

/// Marks until the agent takes one.
fn marked(config: &str, text: &str) -> Output {
    (0..200)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(100));
            lacuna(&["mark", text, "--config", config])
        })
        .find(|marked| marked.status.success())
        .unwrap()
}

#[test]
fn a_running_agent_takes_marks_and_one_that_was_killed_leaves_nothing_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let (store, socket) = (dir.path().join("store"), dir.path().join("run/control.sock"));
    let config = dir.path().join("agent.toml");
    let text = format!(
        "host = \"db1\"\n[http]\nlisten = \"127.0.0.1:19480\"\n[store]\npath = {:?}\n[control]\nsocket = {:?}\n",
        store.display().to_string(),
        socket.display().to_string()
    );
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let agent = Running::start(config);
    let first = marked(config, "before it was killed");
    assert!(out(&first).starts_with("mark 1 at 20"), "{}", out(&first));
    assert!(out(&first).ends_with(": before it was killed\n"), "{}", out(&first));
    agent.end(Signal::SIGKILL);
    assert!(socket.exists(), "it could not take it along");
    let agent = Running::start(config);
    marked(config, "after it");
    agent.end(Signal::SIGTERM);
    assert!(!socket.exists());
    let told = report(&store, &[]);
    let texts: Vec<_> = told.marks.iter().map(|mark| mark.text.as_str()).collect();
    assert_eq!(texts, ["before it was killed", "after it"]);
    assert!(told.watched_hours > 0.0 && told.watched_hours < 0.1, "{told:?}");
}
