//! Who it is, how it is, and what is open.

use std::time::Duration;

use lacuna_core::incident::Incident;

use super::super::state::{Contact, State};
use super::Row;
use crate::export::json::{Health, HealthStatus, Status};
use crate::export::table::{Cell, Look, clean, plain};
use crate::export::width::{break_lines, shorten};
use crate::export::words;

/// Lines that one trouble may fill while there is something else to show.
const LINES: usize = 2;
/// Classes that are named in the first line.
const CLASSES: usize = 3;
/// An answer that is older than that is said to be old.
const OLD: Duration = Duration::from_secs(3);

/// The first line, and below it what is wrong.
pub(super) fn rows(state: &State, width: usize) -> Vec<Row> {
    let mut cells = vec![("lacuna watch  ".to_owned(), Look::Dim)];
    match &state.status {
        Some(status) => cells.extend(who(status, &state.contact)),
        None => cells.push(plain(state.agent.clone())),
    }
    let mut rows = vec![Row::of(cells)];
    for (trouble, look) in troubles(state) {
        rows.extend(lines(&trouble, width, state.status.is_some()).into_iter().map(|line| Row::one(line, look)));
    }
    rows
}

/// The trouble in as many lines as it may fill.
fn lines(trouble: &str, width: usize, short: bool) -> Vec<String> {
    let mut lines = break_lines(&clean(trouble), width);
    if short && lines.len() > LINES {
        let last = lines.split_off(LINES - 1).join(" ");
        lines.push(shorten(&last, width));
    }
    lines
}

fn who(status: &Status, contact: &Contact) -> Vec<Cell> {
    let agent = &status.agent;
    let answers = !matches!(contact, Contact::Silent(_));
    let health = if answers { health(&status.health) } else { ("no answer".to_owned(), Look::Bad) };
    let (open, look) = open(&status.open_incidents);
    vec![
        (agent.host.clone(), Look::Bold),
        plain("  "),
        health,
        plain("  "),
        if answers { (open, look) } else { (format!("was: {open}"), Look::Dim) },
        (format!("  lacuna {}  kernel {}", agent.version, agent.kernel), Look::Dim),
    ]
}

fn health(health: &Health) -> Cell {
    let look = match health.status {
        HealthStatus::Ok => Look::Good,
        HealthStatus::Degraded | HealthStatus::Starting => Look::Warning,
        HealthStatus::Failed => Look::Bad,
    };
    (health.status.name().to_owned(), look)
}

/// "2 open: path-drop, host-down?"
fn open(incidents: &[Incident]) -> Cell {
    if incidents.is_empty() {
        return ("nothing open".to_owned(), Look::Good);
    }
    let class = |one: &Incident| format!("{}{}", one.verdict.class.name(), if one.provisional { "?" } else { "" });
    let mut classes: Vec<_> = incidents.iter().map(class).collect();
    classes.sort();
    classes.dedup();
    let more = if classes.len() > CLASSES { ", …" } else { "" };
    classes.truncate(CLASSES);
    (format!("{} open: {}{more}", incidents.len(), classes.join(", ")), Look::Bad)
}

/// What is wrong, the worst first.
fn troubles(state: &State) -> Vec<(String, Look)> {
    let mut troubles = Vec::new();
    match (&state.contact, &state.status) {
        (Contact::Silent(why), None) => {
            troubles.push((format!("no answer yet, asking again each second: {why}"), Look::Bad));
        }
        (Contact::Silent(why), Some(_)) => {
            let age = words::span(state.age());
            troubles.push((format!("what is below is {age} old, asking again each second: {why}"), Look::Bad));
        }
        (Contact::Asking, _) => troubles.push(("asking the agent …".to_owned(), Look::Plain)),
        (Contact::Answers, _) if state.age() > OLD => {
            let age = words::span(state.age());
            troubles.push((format!("the agent takes long to answer: what is below is {age} old"), Look::Warning));
        }
        (Contact::Answers, _) => (),
    }
    let health = state.status.as_ref().map(|status| &status.health);
    if let Some(reason) = health.and_then(|health| health.reason.as_ref()) {
        troubles.push((reason.clone(), Look::Bad));
    }
    let degraded = health.iter().flat_map(|health| &health.degraded);
    let degraded: Vec<_> = degraded.map(|(part, because)| format!("{part}: {because}")).collect();
    if !degraded.is_empty() {
        troubles.push((degraded.join("; "), Look::Warning));
    }
    troubles
}
