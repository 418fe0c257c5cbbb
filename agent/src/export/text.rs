//! What the commands print for people.

use std::fmt::Write as _;

use lacuna_core::incident::{Cited, Incident, State};

use super::json::{Health, HealthStatus, Incidents, Peer, Status};
use super::origin::origin;
use super::table::{Look, Paint, Table, plain};
use super::words;

/// `lacuna incidents`: a line each, newest last.
#[must_use]
pub fn incidents(found: &Incidents, paint: Paint) -> String {
    rows(&found.incidents, paint, "")
}

fn rows(incidents: &[Incident], paint: Paint, indent: &str) -> String {
    let mut table = Table::new(&["ID", "STARTED (UTC)", "LENGTH", "STATE", "CLASS", "SURE", "SUMMARY"]);
    for one in incidents {
        let state = match one.state {
            State::Open => ("open", Look::Bad),
            State::Closed => ("closed", Look::Dim),
        };
        let provisional = if one.provisional { "?" } else { "" };
        table.row([
            plain(one.id.clone()),
            plain(short_time(&one.started_at)),
            plain(words::span(std::time::Duration::from_millis(one.duration_ms))),
            (state.0.into(), state.1),
            (format!("{}{provisional}", one.verdict.class.name()), Look::Bold),
            plain(format!("{:.0} %", one.verdict.confidence * 100.0)),
            plain(one.verdict.summary.clone()),
        ]);
    }
    table.render(paint, indent)
}

/// "2026-11-22 21:36:04" of an RFC 3339 time.
pub(super) fn short_time(rfc3339: &str) -> String {
    let seconds = rfc3339.get(..19).unwrap_or(rfc3339);
    seconds.replace('T', " ")
}

/// "21:36:04.120" of an RFC 3339 time.
fn clock_time(rfc3339: &str) -> &str {
    let time = rfc3339.split_once('T').map_or(rfc3339, |(_, time)| time);
    time.trim_end_matches('Z')
}

/// `lacuna explain`: one incident, whole. `earlier` is evidence that only earlier versions of it cited.
#[must_use]
pub fn explain(incident: &Incident, earlier: &[Cited], paint: Paint) -> String {
    let verdict = &incident.verdict;
    let class = format!("{} ({}): {}", verdict.class.name(), words::standing(incident), verdict.class.meaning());
    let mut text = paint.paragraph("", &verdict.summary, Look::Bold);
    text.push_str(&paint.paragraph("", &class, Look::Dim));
    text.push('\n');
    text.push_str(&facts(incident).render(paint, ""));
    section(&mut text, "Timeline", &timeline(incident).render(paint, "  "), paint);
    section(&mut text, "Evidence", &evidence(incident, paint), paint);
    section(&mut text, "Cited by earlier versions only", &list(earlier.iter().map(words::evidence), paint), paint);
    let ruled_out = incident.ruled_out.iter();
    let ruled_out = ruled_out.map(|one| format!("{}: {}", one.class.name(), one.because));
    section(&mut text, "Ruled out", &list(ruled_out, paint), paint);
    section(&mut text, "Looked at", &list(words::looked_at(&incident.completeness), paint), paint);
    section(&mut text, "What was not known", &list(incident.missing.iter().cloned(), paint), paint);
    text
}

pub(super) fn section(text: &mut String, heading: &str, body: &str, paint: Paint) {
    if !body.is_empty() {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "\n{}\n{body}", paint.paint(heading, Look::Bold));
    }
}

pub(super) fn list(items: impl Iterator<Item = String>, paint: Paint) -> String {
    items.map(|item| paint.paragraph("  - ", &item, Look::Plain)).collect()
}

fn facts(incident: &Incident) -> Table {
    let mut table = Table::bare();
    let mut fact = |name: &str, value: String| table.row([(name.into(), Look::Dim), plain(value)]);
    fact("Incident", incident.id.clone());
    fact("When", when(incident));
    if let Some(after) = words::length(&incident.started_at, &incident.detected_at) {
        fact("Noticed", format!("{} after it began", words::span(after)));
    }
    fact("Subject", words::subject(&incident.verdict.subject));
    for (name, value) in detail(incident) {
        fact(name, value);
    }
    origin(incident).into_iter().for_each(|(name, value)| fact(name, value));
    table
}

fn when(incident: &Incident) -> String {
    let took = words::span(std::time::Duration::from_millis(incident.duration_ms));
    match &incident.ended_at {
        Some(ended) => format!("{} to {ended} ({took})", incident.started_at),
        None => format!("since {} ({took} so far)", incident.started_at),
    }
}

/// The verdict's detail as names and values, in the public words.
fn detail(incident: &Incident) -> Vec<(&'static str, String)> {
    let detail = &incident.verdict.detail;
    let name =
        |value: serde_json::Result<serde_json::Value>| value.ok().and_then(|value| value.as_str().map(str::to_owned));
    let pairs = [
        ("Direction", detail.direction.and_then(|d| name(serde_json::to_value(d)))),
        ("Reason", detail.reason.as_ref().and_then(|reason| name(serde_json::to_value(reason)))),
        ("Last seen", detail.last_seen.and_then(|place| name(serde_json::to_value(place)))),
        ("To the peer", detail.last_seen_to_peer.and_then(|place| name(serde_json::to_value(place)))),
        ("From the peer", detail.last_seen_from_peer.and_then(|place| name(serde_json::to_value(place)))),
        ("Agent was", detail.state.and_then(|s| name(serde_json::to_value(s)))),
        ("Steal", detail.steal_seconds.map(|s| format!("{s:.2} s"))),
        ("Claimed from", Some(detail.links.join(", ")).filter(|links| !links.is_empty())),
        ("Runnable tasks", detail.runnable_per_cpu.map(|n| format!("{n:.1} for each CPU"))),
    ];
    pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// When what began and ended, in order.
fn timeline(incident: &Incident) -> Table {
    let mut moments = vec![
        (incident.started_at.clone(), 0, "the stall begins".to_owned()),
        (incident.detected_at.clone(), 1, "the incident is opened".to_owned()),
    ];
    for cited in &incident.evidence {
        let lasted = words::length(&cited.from, &cited.to).filter(|lasted| !lasted.is_zero());
        let lasted = lasted.map(|lasted| format!(", for {}", words::span(lasted))).unwrap_or_default();
        moments.push((cited.from.clone(), 2, format!("{} ({}){lasted}", words::kind(&cited.fact), cited.host)));
    }
    if let Some(ended) = &incident.ended_at {
        moments.push((ended.clone(), 4, "the stall is over".to_owned()));
    }
    moments.sort();
    let mut table = Table::bare();
    for (at, _, what) in moments {
        let since = offset(&incident.started_at, &at);
        table.row([(clock_time(&at).into(), Look::Dim), plain(since), plain(what)]);
    }
    table
}

/// "+0.311 s" or "-0.050 s".
fn offset(start: &str, at: &str) -> String {
    let seconds = |duration: std::time::Duration| duration.as_secs_f64();
    match (words::length(start, at), words::length(at, start)) {
        (Some(after), _) => format!("{:+.3} s", seconds(after)),
        (None, Some(before)) => format!("{:+.3} s", -seconds(before)),
        (None, None) => String::new(),
    }
}

fn evidence(incident: &Incident, paint: Paint) -> String {
    let mut text = list(incident.evidence.iter().map(words::evidence), paint);
    if incident.evidence_dropped > 0 {
        let more = format!("{} more pieces did not fit", incident.evidence_dropped);
        text.push_str(&list([more].into_iter(), paint));
    }
    text
}

/// `lacuna status`.
#[must_use]
pub fn status(status: &Status, paint: Paint) -> String {
    let agent = &status.agent;
    let mut text = format!(
        "{} on {}, kernel {}, agent {} since {}\n",
        health(&status.health, paint),
        paint.paint(&agent.host, Look::Bold),
        paint.paint(&agent.kernel, Look::Plain),
        paint.paint(&agent.version, Look::Plain),
        paint.paint(&agent.started_at, Look::Plain),
    );
    for (part, because) in &status.health.degraded {
        text.push_str(&list([format!("{part}: {because}")].into_iter(), paint));
    }
    section(&mut text, "Open incidents", &open(status, paint), paint);
    section(&mut text, "Peers", &peers(&status.peers, paint), paint);
    section(&mut text, "CPUs", &cpus(status, paint), paint);
    section(&mut text, "Probes", &probes(status, paint), paint);
    text
}

fn health(health: &Health, paint: Paint) -> String {
    let look = match health.status {
        HealthStatus::Ok => Look::Good,
        HealthStatus::Degraded | HealthStatus::Starting => Look::Warning,
        HealthStatus::Failed => Look::Bad,
    };
    let name = paint.paint(health.status.name(), look);
    match &health.reason {
        Some(reason) => format!("{name} ({})", paint.paint(reason, Look::Plain)),
        None => name,
    }
}

fn open(status: &Status, paint: Paint) -> String {
    if status.open_incidents.is_empty() {
        return "  none\n".to_owned();
    }
    rows(&status.open_incidents, paint, "  ")
}

fn peers(peers: &[Peer], paint: Paint) -> String {
    if peers.is_empty() {
        return "  none configured\n".to_owned();
    }
    let mut table = Table::new(&[
        "NAME",
        "ADDRESS",
        "ROLE",
        "STATE",
        "HEARD AGO",
        "ECHO AGO",
        "RTT",
        "OFFSET",
        "DRIFT",
        "LOST FROM",
        "LOST TO",
    ]);
    for peer in peers {
        let beats = peer.heartbeats.as_ref();
        table.row([
            (peer.name.clone(), Look::Bold),
            plain(peer.addr.clone()),
            plain(peer.role.clone()),
            peer_state(peer),
            plain(words::seconds(peer.last_heard_seconds)),
            plain(words::seconds(peer.last_echo_seconds)),
            plain(figure(beats.and_then(|b| b.rtt_median_seconds), |s| format!("{:.2} ms", s * 1e3))),
            plain(within(peer.clock.offset_seconds, peer.clock.offset_error_seconds, 1e3, "ms")),
            plain(within(peer.clock.drift_ratio, peer.clock.drift_error_ratio, 1e6, "ppm")),
            plain(beats.map_or("-".into(), |b| b.lost_from_peer.to_string())),
            plain(beats.and_then(|b| b.lost_to_peer).map_or("-".into(), |lost| lost.to_string())),
        ]);
    }
    table.render(paint, "  ")
}

/// A figure with its error, in a unit of which there are `units` to one.
fn within(value: Option<f64>, error: Option<f64>, units: f64, unit: &str) -> String {
    let error = error.map(|error| format!(" ±{:.2}", error * units)).unwrap_or_default();
    figure(value, |value| format!("{:+.2}{error} {unit}", value * units))
}

/// The state of a peer in one word.
#[must_use]
pub fn peer_state(peer: &Peer) -> (String, Look) {
    match (peer.left, peer.up) {
        (true, _) => ("left".into(), Look::Dim),
        (_, Some(true)) => ("up".into(), Look::Good),
        (_, Some(false)) => ("silent".into(), Look::Bad),
        (_, None) => ("never heard".into(), Look::Warning),
    }
}

fn figure(value: Option<f64>, words: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), words)
}

fn cpus(status: &Status, paint: Paint) -> String {
    if status.cpus.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["CPU", "BUSY", "STEAL SINCE BOOT", "STALLS SEEN"]);
    for cpu in &status.cpus {
        table.row([
            plain(cpu.cpu.to_string()),
            plain(figure(cpu.busy, |busy| format!("{:.0} %", busy * 100.0))),
            plain(figure(cpu.steal_seconds_total, |s| format!("{s:.1} s"))),
            plain(if cpu.watched { "yes" } else { "no: isolated or offline" }.to_owned()),
        ]);
    }
    table.render(paint, "  ")
}

fn probes(status: &Status, paint: Paint) -> String {
    let mut table = Table::bare();
    for probe in &status.probes {
        let (state, look) = if probe.attached { ("attached", Look::Good) } else { ("not attached", Look::Warning) };
        let because = probe.because.clone().unwrap_or_default();
        table.row([(probe.probe.clone(), Look::Bold), plain(probe.hook.clone()), (state.into(), look), plain(because)]);
    }
    table.render(paint, "  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    const PLAIN: Paint = Paint::PLAIN;

    #[test]
    fn explain_says_it_all() {
        let incident = samples::path_drop();
        let earlier = &samples::host_down().evidence;
        insta::assert_snapshot!(explain(&incident, earlier, PLAIN));
    }

    #[test]
    fn explain_of_an_open_incident() {
        insta::assert_snapshot!(explain(&samples::host_down(), &[], PLAIN));
    }

    #[test]
    fn incidents_are_a_table() {
        let found = Incidents { incidents: vec![samples::path_drop(), samples::host_down()], ..Incidents::default() };
        insta::assert_snapshot!(incidents(&found, PLAIN));
    }

    #[test]
    fn status_shows_what_is_and_what_is_not_known() {
        insta::assert_snapshot!(status(&Status::of(&samples::busy(), samples::now()), PLAIN));
    }

    #[test]
    fn nothing_from_outside_steers_the_terminal() {
        let mut incident = samples::path_drop();
        incident.verdict.summary = "\u{1b}[2Jgone".into();
        incident.missing = vec!["\u{7}".into()];
        incident.host.command_line = "quiet\u{1b}[0m".into();
        assert!(!explain(&incident, &[], PLAIN).contains(['\u{1b}', '\u{7}']));
    }
}
