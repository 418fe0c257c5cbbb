//! Incidents: those that are open, then the last ones.

use std::time::Duration;

use lacuna_core::incident::{Incident, State as Standing};

use super::super::state::{Contact, Focus, State};
use super::columns::{Column, fit};
use super::{Row, place, shown, title};
use crate::export::table::{Cell, Look, clean, plain};
use crate::export::width::shorten;
use crate::export::words;

/// Least room for a summary before other columns give way.
const SUMMARY: usize = 30;

/// Title, headings and a row each.
pub(super) fn wants(state: &State) -> usize {
    2 + state.book.all().len().max(1)
}

pub(super) fn rows(state: &State, width: usize, height: usize) -> Vec<Row> {
    let all = state.book.all();
    if height == 0 {
        return Vec::new();
    }
    if all.is_empty() {
        let none = if state.listed { "  none" } else { "  asking …" };
        return vec![title("Incidents", &note(state, None), width), Row::one(none, Look::Plain)];
    }
    let chosen = state.chosen_incident();
    let range = shown(all.len(), height.saturating_sub(2), chosen);
    let mut rows = vec![title("Incidents", &note(state, place(&range, all.len())), width)];
    let seen = &all[range.clone()];
    let fitted = fit(columns(seen), width.saturating_sub(2), SUMMARY);
    let mut headings = vec![plain("  ")];
    headings.extend(fitted.headings);
    headings.push(("SUMMARY".to_owned(), Look::Bold));
    rows.push(Row::of(headings));
    for ((number, one), cells) in range.zip(seen).zip(fitted.rows) {
        let chosen = number == chosen && state.focus == Focus::Incidents;
        let mut row = vec![plain(if chosen { "> " } else { "  " })];
        row.extend(cells);
        row.push(plain(shorten(&clean(&one.verdict.summary), fitted.rest)));
        rows.push(Row { cells: row, chosen });
    }
    rows.truncate(height);
    rows
}

fn note(state: &State, place: Option<String>) -> String {
    let open = state.book.all().iter().filter(|one| one.state == Standing::Open).count();
    let mut notes = vec![format!("{open} open, {} ended", state.book.all().len() - open)];
    notes.extend(place);
    if state.book.forgotten() > 0 {
        notes.push(format!("{} older ones: `lacuna incidents`", state.book.forgotten()));
    }
    if let (Some(why), Contact::Answers) = (&state.follows_not, &state.contact) {
        notes.push(format!("not live: {why}"));
    }
    notes.join(", ")
}

fn columns(incidents: &[&Incident]) -> Vec<Column> {
    let column = |name, rank, cell: fn(&Incident) -> Cell| Column {
        name,
        cells: incidents.iter().map(|one| cell(one)).collect(),
        rank,
    };
    vec![
        column("STATE", 0, |one| match one.state {
            Standing::Open => ("open".into(), Look::Bad),
            Standing::Closed => ("ended".into(), Look::Dim),
        }),
        column("CLASS", 0, |one| {
            let provisional = if one.provisional { "?" } else { "" };
            (format!("{}{provisional}", one.verdict.class.name()), Look::Bold)
        }),
        column("BEGAN (UTC)", 2, |one| plain(began(&one.started_at))),
        column("LENGTH", 1, |one| plain(words::span(Duration::from_millis(one.duration_ms)))),
    ]
}

/// "11-22 21:36:04" of an RFC 3339 time.
fn began(rfc3339: &str) -> String {
    rfc3339.get(5..19).unwrap_or(rfc3339).replace('T', " ")
}
