//! What several pages are made of.

use std::time::Duration;

use lacuna_core::incident::Incident;
use lacuna_core::recurrence::MarkNote;
use maud::{Markup, Render, html};

use super::Place;
use crate::export::words;

/// Longest summary in a list, in characters; the incident's own page has it whole.
const SUMMARY: usize = 240;

/// A part of a page that is replaced alone when it changes.
pub(super) fn part(id: &str, heading: &str, body: &Markup) -> Markup {
    html! { section id=(id) data-part="" { h2 { (heading) } (body) } }
}

/// A point of time in RFC 3339 as people read it: "2026-11-22 21:36:04", with the time itself for machines.
pub(super) fn moment(rfc3339: &str) -> Markup {
    let seconds = rfc3339.get(..19).unwrap_or(rfc3339).replace('T', " ");
    html! { time datetime=(rfc3339) { (seconds) } }
}

/// A list of sentences; nothing where there are none.
pub(super) fn list<T: Render>(items: impl IntoIterator<Item = T>) -> Markup {
    let mut items = items.into_iter().peekable();
    html! { @if items.peek().is_some() { ul { @for item in items { li { (item) } } } } }
}

/// Incidents as rows, with links to their own pages where these are served.
pub(super) fn incidents<'a>(rows: impl IntoIterator<Item = &'a Incident>, place: Place) -> Markup {
    let mut rows = rows.into_iter().peekable();
    html! {
        @if rows.peek().is_none() { p class="dim" { "none" } } @else {
            table class="rows" {
                thead { tr { th { "Started (UTC)" } th { "Length" } th { "Class" } th { "Sure" } th { "Summary" } } }
                tbody { @for one in rows { (row(one, place)) } }
            }
        }
    }
}

fn row(one: &Incident, place: Place) -> Markup {
    let length = words::span(Duration::from_millis(one.duration_ms));
    let started = moment(&one.started_at);
    html! {
        tr {
            td { @if place == Place::Served { a href={ "/incidents/" (one.id) } { (started) } } @else { (started) } }
            td { (length) }
            td { b { (one.verdict.class.name()) @if one.provisional { "?" } } }
            td { (format!("{:.0} %", one.verdict.confidence * 100.0)) }
            td class="text" { (shortened(&one.verdict.summary)) }
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SUMMARY) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// Changes that were noted, as they are given.
pub(super) fn changes(marks: &[MarkNote]) -> Markup {
    html! {
        @if marks.is_empty() { p class="dim" { "none was noted" } } @else {
            ul { @for mark in marks { li { (moment(&mark.at)) " " (mark.text) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_summary_is_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let long = "ü".repeat(SUMMARY + 1);
        assert_eq!(shortened(&long), format!("{}…", "ü".repeat(SUMMARY)));
        assert_eq!(shortened(&"ü".repeat(SUMMARY)), "ü".repeat(SUMMARY));
    }

    #[test]
    fn a_time_is_for_people_and_for_machines() {
        let expected = "<time datetime=\"2026-11-22T21:36:04.120Z\">2026-11-22 21:36:04</time>";
        assert_eq!(moment("2026-11-22T21:36:04.120Z").into_string(), expected);
        assert_eq!(moment("<never>").into_string(), "<time datetime=\"&lt;never&gt;\">&lt;never&gt;</time>");
    }
}
