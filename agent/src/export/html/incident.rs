//! `/incidents/{id}` and `lacuna explain --html`: one incident, whole.

use std::mem::discriminant;
use std::time::Duration;

use lacuna_core::incident::{Cited, Detail, Incident, State};
use lacuna_core::recurrence::{Mark, MarkNote};
use maud::{Markup, html};
use serde_json::Value;

use super::Place;
use super::frame::{self, Follow};
use super::parts::{list, moment, part};
use super::timeline::{self, Timeline};
use crate::export::origin::origin;
use crate::export::words;
use crate::store::millis;

/// What is known beside the document itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// Evidence that only earlier versions of it cited.
    pub earlier: &'a [Cited],
    /// Changes that were noted until its end, oldest first.
    pub marks: &'a [Mark],
}

/// Of what earlier versions cited, what the incident does not have in a newer form.
#[must_use]
pub fn only_earlier(mut earlier: Vec<Cited>, incident: &Incident) -> Vec<Cited> {
    earlier.retain(|old| !incident.evidence.iter().any(|newer| same_thing(newer, old)));
    earlier
}

/// Both tell the same thing of the same host; the newer one has the newer figures.
fn same_thing(newer: &Cited, older: &Cited) -> bool {
    newer.host == older.host && discriminant(&newer.fact) == discriminant(&older.fact)
}

/// The whole page.
#[must_use]
pub fn incident(incident: &Incident, beside: Beside<'_>, place: Place) -> String {
    let body = html! {
        @if place == Place::Served {
            nav aria-label="Pages" {
                a href="/" { "All incidents" } " " a href={ "/api/v1/incidents/" (incident.id) } { "JSON" }
            }
            p class="dim" role="status" id="live" { "" }
        }
        main {
            div id="top" data-part="" { (top(incident)) }
            (part("timeline", "Timeline", &timeline_part(incident, beside.marks)))
            (part("evidence", "Evidence", &evidence(incident)))
            (part("earlier", "Cited by earlier versions only", &or_none(list(beside.earlier.iter().map(words::evidence)))))
            (part("ruled-out", "Ruled out", &ruled_out(incident)))
            (part("looked-at", "Looked at", &or_none(list(words::looked_at(&incident.completeness)))))
            (part("not-known", "What was not known", &or_none(list(incident.missing.iter()))))
            (part("facts", "Facts", &facts(incident)))
        }
    };
    let follow = if incident.state == State::Open { Follow::One(&incident.id) } else { Follow::None };
    frame::page(&incident.verdict.summary, place, follow, &body)
}

fn or_none(list: Markup) -> Markup {
    if list.0.is_empty() {
        html! { p class="dim" { "none" } }
    } else {
        list
    }
}

fn top(incident: &Incident) -> Markup {
    let class = incident.verdict.class;
    let took = words::span(Duration::from_millis(incident.duration_ms));
    html! {
        h1 { (incident.verdict.summary) }
        p { b { (class.name()) } " (" (words::standing(incident)) "): " (class.meaning()) }
        p {
            (moment(&incident.started_at)) " "
            @match &incident.ended_at {
                Some(ended) => { "to " (moment(ended)) " UTC, " (took) },
                None => { "UTC, still going on, " (took) " so far" },
            }
        }
    }
}

fn timeline_part(incident: &Incident, marks: &[Mark]) -> Markup {
    let Some(timeline) = Timeline::of(incident, marks) else {
        return html! { p class="dim" { "the begin of this incident cannot be read: " (incident.started_at) } };
    };
    html! {
        p class="first" { (timeline::first(&timeline)) }
        div id="drawing" tabindex="0" role="region" aria-label="Timeline: plus and minus zoom, arrow keys move" {
            (timeline::draw(&timeline, incident))
        }
        p {
            button type="button" data-zoom="2" hidden { "+" }
            button type="button" data-zoom="0.5" hidden { "−" }
            button type="button" data-zoom="0" hidden { "all" }
        }
        (timeline::legend(&timeline))
        @for (number, (ms, text)) in timeline.changes.iter().enumerate() {
            p { "◆" (number + 1) " " (moment(&noted_at(*ms))) " " (text) }
        }
        @if let Some(words) = change_before(incident, marks) { p class="dim" { (words) } }
    }
}

fn noted_at(ms: i64) -> String {
    MarkNote::from(&Mark { id: 0, at_ms: ms, text: String::new() }).at
}

/// The last change before it began, whether or not the timeline goes back so far.
fn change_before(incident: &Incident, marks: &[Mark]) -> Option<String> {
    let began = millis(humantime::parse_rfc3339_weak(&incident.started_at).ok()?);
    let last = marks.iter().rfind(|mark| mark.at_ms <= began)?;
    let before = Duration::from_millis(u64::try_from(began - last.at_ms).ok()?);
    Some(format!("The last change that was noted before it: \"{}\", {} before", last.text, words::span(before)))
}

/// The table says in words what is drawn, and each bar leads to its row.
fn evidence(incident: &Incident) -> Markup {
    html! {
        @if incident.evidence.is_empty() { p class="dim" { "none" } } @else {
            table class="rows" {
                thead { tr { th { "From the begin" } th { "Lane" } th { "What" } } }
                tbody { @for (number, cited) in incident.evidence.iter().enumerate() {
                    tr id={ "e" (number) } {
                        td { time datetime=(cited.from) { (offset(&incident.started_at, &cited.from)) } }
                        td { b { (lane_of(cited, &incident.observer)) } }
                        td class="text" { (words::evidence(cited)) }
                    }
                } }
            }
        }
        @if incident.evidence_dropped > 0 { p class="dim" { (incident.evidence_dropped) " more pieces did not fit" } }
    }
}

fn lane_of(cited: &Cited, observer: &str) -> String {
    let placed = timeline::place(cited, observer);
    placed.cpu.map_or_else(|| placed.host.clone(), |cpu| format!("{} CPU {cpu}", placed.host))
}

/// "+0.311 s" or "-0.050 s"; the time itself where one of both cannot be read.
fn offset(begin: &str, at: &str) -> String {
    let seconds = |duration: Duration| duration.as_secs_f64();
    match (words::length(begin, at), words::length(at, begin)) {
        (Some(after), _) => format!("{:+.3} s", seconds(after)),
        (None, Some(before)) => format!("{:+.3} s", -seconds(before)),
        (None, None) => at.to_owned(),
    }
}

fn ruled_out(incident: &Incident) -> Markup {
    html! {
        @if incident.ruled_out.is_empty() { p class="dim" { "none" } } @else {
            ul { @for one in &incident.ruled_out { li { b { (one.class.name()) } ": " (one.because) } } }
        }
    }
}

fn facts(incident: &Incident) -> Markup {
    let mut facts = vec![
        ("Incident".to_owned(), incident.id.clone()),
        ("Subject".to_owned(), words::subject(&incident.verdict.subject)),
    ];
    let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
    if let Some(mtu) = incident.verdict.subject.mtu {
        fact("Largest that passes", format!("{mtu} bytes"));
    }
    details(&incident.verdict.detail).into_iter().for_each(|(name, value)| fact(&name, value));
    if let Some(after) = words::length(&incident.started_at, &incident.detected_at) {
        fact("Noticed", format!("{} after it began", words::span(after)));
    }
    origin(incident).into_iter().for_each(|(name, value)| fact(name, value));
    html! { dl { @for (name, value) in &facts { dt { (name) } dd { (value) } } } }
}

/// What the verdict says beyond its class, in the words of the document.
fn details(detail: &Detail) -> Vec<(String, String)> {
    let Ok(Value::Object(members)) = serde_json::to_value(detail) else { return Vec::new() };
    let named = |(name, value): (String, Value)| {
        let mut words = name.replace('_', " ");
        if let Some(first) = words.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        (words, in_words(&value))
    };
    members.into_iter().map(named).collect()
}

fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) if list.iter().any(Value::is_array) => {
            list.iter().map(in_words).collect::<Vec<_>>().join(" | ")
        }
        Value::Array(list) => list.iter().map(in_words).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            members.iter().map(|(name, value)| format!("{name} {}", in_words(value))).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use lacuna_core::incident::Direction;

    use super::*;
    use crate::samples;

    fn page(one: &Incident, place: Place) -> String {
        incident(one, Beside::default(), place)
    }

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let mut evil = samples::path_drop();
        evil.verdict.summary = "<script>alert(1)</script>".into();
        evil.id = "\"><img src=x>".into();
        evil.missing = vec!["<img src=m>".into()];
        evil.observer = "<img src=o>".into();
        evil.evidence[0].host = "<img src=h>".into();
        evil.host.command_line = "<img src=c>".into();
        evil.verdict.detail.stack = vec!["<img src=s>".into()];
        let marks = [Mark { id: 1, at_ms: 1_795_383_364_000, text: "<img src=k>".into() }];
        let earlier = samples::host_down().evidence;
        for place in [Place::Served, Place::Saved] {
            let page = incident(&evil, Beside { earlier: &earlier, marks: &marks }, place);
            assert_eq!(page.matches("<script").count(), 1, "our own");
            assert!(!page.contains("<img"), "{page}");
            for escaped in
                ["&lt;script&gt;alert(1)&lt;/script&gt;", "&lt;img src=h&gt;", "&lt;img src=s&gt;", "&lt;img src=c&gt;"]
            {
                assert!(page.contains(escaped), "{escaped}");
            }
        }
    }

    #[test]
    fn it_says_all_that_explain_says() {
        let page = page(&samples::path_drop(), Place::Served);
        for word in [
            "db1 and lb1 both ran and lost",
            "closed, 97 % sure",
            "158 heartbeats that it went on sending did not arrive",
            "NETFILTER_DROP",
            "2 more pieces did not fit",
            "lb1 has the same boot id as before",
            "no probe for drops on lb1 itself",
            "<dt>Direction</dt><dd>both</dd>",
            "<dt>Witnesses</dt><dd>lb2</dd>",
            "5f0c0000000000000000000000000001",
            "311 ms after it began",
        ] {
            assert!(page.contains(word), "{word} not in {page}");
        }
    }

    #[test]
    fn each_bar_leads_to_a_row_of_the_table() {
        let page = page(&samples::path_drop(), Place::Served);
        for number in 0..samples::path_drop().evidence.len() {
            assert!(page.contains(&format!("href=\"#e{number}\"")) && page.contains(&format!("id=\"e{number}\"")));
        }
    }

    #[test]
    fn a_file_leads_nowhere_else_and_a_closed_incident_is_not_followed() {
        let saved = page(&samples::host_down(), Place::Saved);
        assert!(!saved.contains("href=\"/") && !saved.contains("://") && !saved.contains("data-follow=\""), "{saved}");
        let open = page(&samples::host_down(), Place::Served);
        assert!(open.contains("data-follow=\"01JD6RBBBB0000000000000002\""));
        assert!(!page(&samples::path_drop(), Place::Served).contains("data-follow=\""));
    }

    #[test]
    fn the_last_change_before_it_is_named() {
        let mut one = samples::path_drop();
        one.started_at = "2026-11-22T21:36:00.000Z".into();
        let at = |text: &str| millis(humantime::parse_rfc3339(text).unwrap());
        let mark = |time: &str, text: &str| Mark { id: 1, at_ms: at(time), text: text.into() };
        let marks = [
            mark("2026-11-20T00:00:00Z", "older"),
            mark("2026-11-22T19:36:00Z", "noapictimer"),
            mark("2026-11-22T21:36:10Z", "while it went on"),
        ];
        let said = change_before(&one, &marks).unwrap();
        assert_eq!(said, "The last change that was noted before it: \"noapictimer\", 2.0 h before");
        let page = incident(&one, Beside { earlier: &[], marks: &marks }, Place::Saved);
        assert!(page.contains(
            "<p>◆1 <time datetime=\"2026-11-22T21:36:10.000Z\">2026-11-22 21:36:10</time> while it went on</p>"
        ));
    }

    #[test]
    fn details_are_in_words() {
        let detail = Detail {
            direction: Some(Direction::Both),
            groups: vec![vec!["a".into(), "c".into()], vec!["b".into()]],
            steal_seconds: Some(4.5),
            ..Detail::default()
        };
        let expected = [("Direction", "both"), ("Groups", "a, c | b"), ("Steal seconds", "4.5")];
        let expected: Vec<_> = expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(details(&detail), expected);
    }
}
