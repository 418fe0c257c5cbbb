//! The web page: one file, no script, nothing from another host; every value is escaped by the template.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use lacuna_core::incident::Incident;

use super::json::{Incidents, Peer, Status};
use super::{text, words};

const STYLE: &str = include_str!("page.css");
/// Seconds after which the page loads itself again.
const REFRESH: u32 = 5;

/// `/`: how the agent is, what goes on and what went on lately.
#[must_use]
pub fn overview(status: &Status, recent: &Incidents) -> String {
    let agent = &status.agent;
    let health = &status.health;
    let body = html! {
        h1 { "Lacuna on " (agent.host) " " span class={ "badge " (health.status.name()) } { (health.status.name()) } }
        @if let Some(reason) = &health.reason { p class="bad" { (reason) } }
        @if !health.degraded.is_empty() {
            ul { @for (part, because) in &health.degraded { li { b { (part) } ": " (because) } } }
        }
        h2 { "Open incidents" }
        (incident_table(&status.open_incidents))
        h2 { "Recent incidents" }
        @if let Some(error) = &recent.store_error { p class="bad" { (error) } }
        (incident_table(&newest_first(recent)))
        h2 { "Peers" }
        (peer_table(&status.peers))
        h2 { "Probes" }
        (probe_table(status))
        footer {
            "lacuna " (agent.version) ", kernel " (agent.kernel) ", since " (agent.started_at) ". "
            a href="/metrics" { "metrics" } " " a href="/api/v1/status" { "status" } " "
            a href="/api/v1/incidents" { "incidents" }
        }
    };
    page(&format!("Lacuna on {}", agent.host), Some(REFRESH), &body)
}

fn newest_first(recent: &Incidents) -> Vec<Incident> {
    recent.incidents.iter().rev().cloned().collect()
}

fn page(title: &str, refresh: Option<u32>, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(seconds) = refresh { meta http-equiv="refresh" content=(seconds); }
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

fn incident_table(incidents: &[Incident]) -> Markup {
    html! {
        @if incidents.is_empty() { p class="dim" { "none" } } @else {
            div class="wide" { table {
                tr { th { "Started" } th { "Length" } th { "Class" } th { "Sure" } th { "Summary" } }
                @for one in incidents { (incident_row(one)) }
            } }
        }
    }
}

fn incident_row(one: &Incident) -> Markup {
    let length = words::span(std::time::Duration::from_millis(one.duration_ms));
    html! {
        tr {
            td { a href={ "/incidents/" (one.id) } { (one.started_at) } }
            td { (length) }
            td { b { (one.verdict.class.name()) } @if one.provisional { " ?" } }
            td { (format!("{:.0} %", one.verdict.confidence * 100.0)) }
            td { (one.verdict.summary) }
        }
    }
}

fn peer_table(peers: &[Peer]) -> Markup {
    html! {
        @if peers.is_empty() { p class="dim" { "none configured" } } @else {
            div class="wide" { table {
                tr { th { "Name" } th { "Address" } th { "Role" } th { "State" } th { "Heard ago" } th { "Echo ago" } }
                @for peer in peers {
                    tr {
                        td { b { (peer.name) } }
                        td { (peer.addr) }
                        td { (peer.role) }
                        td { (text::peer_state(peer).0) }
                        td { (words::seconds(peer.last_heard_seconds)) }
                        td { (words::seconds(peer.last_echo_seconds)) }
                    }
                }
            } }
        }
    }
}

fn probe_table(status: &Status) -> Markup {
    html! {
        div class="wide" { table {
            tr { th { "Probe" } th { "Hook" } th { "State" } }
            @for probe in &status.probes {
                tr {
                    td { b { (probe.probe) } }
                    td { (probe.hook) }
                    td {
                        @if probe.attached { "attached" } @else { span class="bad" { "not attached" } }
                        @if let Some(because) = &probe.because { ": " (because) }
                    }
                }
            }
        } }
    }
}

/// `/incidents/{id}` and `lacuna explain --html`: one incident, whole.
#[must_use]
pub fn incident(incident: &Incident) -> String {
    let verdict = &incident.verdict;
    let body = html! {
        h1 { (verdict.summary) }
        p { b { (verdict.class.name()) } " (" (words::standing(incident)) "): " (verdict.class.meaning()) }
        dl {
            dt { "Incident" } dd { (incident.id) }
            dt { "When" } dd { (incident.started_at) " to " (incident.ended_at.as_deref().unwrap_or("now")) }
            dt { "Subject" } dd { (words::subject(&verdict.subject)) }
            dt { "Seen by" } dd { (incident.observer) }
            @if !incident.witnesses.is_empty() { dt { "Witnesses" } dd { (incident.witnesses.join(", ")) } }
            dt { "Kernel" } dd { (incident.host.kernel) " (" (incident.host.command_line) ")" }
            dt { "Trace" } dd { (incident.trace_id) }
        }
        h2 { "Evidence" }
        ul { @for cited in &incident.evidence {
            li { span class="dim" { (cited.from) } " " (words::evidence(cited)) }
        } }
        h2 { "Ruled out" }
        ul { @for one in &incident.ruled_out { li { b { (one.class.name()) } ": " (one.because) } } }
        @if !incident.missing.is_empty() {
            h2 { "What was not known" }
            ul { @for missing in &incident.missing { li { (missing) } } }
        }
    };
    page(&verdict.summary, None, &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let mut evil = samples::path_drop();
        evil.verdict.summary = "<script>alert(1)</script>".into();
        evil.id = "\"><img src=x>".into();
        evil.missing = vec!["<b>".into()];
        let mut status = Status::of(&samples::busy(), samples::now());
        status.agent.host = "<i>db1".into();
        let recent = Incidents { incidents: vec![evil.clone()], ..Incidents::default() };
        for page in [overview(&status, &recent), incident(&evil)] {
            assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
            assert!(!page.contains("<i>db1"));
            assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        }
    }

    #[test]
    fn the_page_needs_no_other_host() {
        let page = overview(&Status::of(&samples::busy(), samples::now()), &Incidents::default());
        assert!(!page.contains("http://") && !page.contains("https://"));
        for word in ["host-down", "lb1", "never heard", "no BTF in this kernel", "read-only"] {
            assert!(page.contains(word), "{word} not in {page}");
        }
    }
}
