//! Incidents, open and over, and when something was changed.

use std::collections::BTreeMap;
use std::fmt;

use lacuna_core::incident::Subject;

use super::by_label;
use super::families::{Families, labels};
use super::histogram::{Buckets, INCIDENT_BOUNDS};
use crate::shared::{Counters, Shared};

/// Hosts that a label names; of more it says how many they are.
const NAMED: usize = 8;

pub(super) fn incidents(out: &mut Families<'_>, shared: &Shared) -> fmt::Result {
    open(out, shared)?;
    let counters = shared.counters.read();
    opened(out, &counters)?;
    out.counters(
        "lacuna_incidents",
        "Incidents that are over, by their final class",
        by_label("class", &counters.incidents_closed),
    )?;
    out.histograms(
        "lacuna_incident_duration_seconds",
        "Lengths of incidents that are over, by their final class",
        counters.incident_ms.iter().map(|(class, lengths)| {
            let buckets = Buckets::of_hdr(lengths, 1e-3, &INCIDENT_BOUNDS);
            (labels([("class", class)]), buckets)
        }),
    )?;
    marks(out, &counters)
}

fn open(out: &mut Families<'_>, shared: &Shared) -> fmt::Result {
    let mut open = BTreeMap::<_, f64>::new();
    for incident in shared.incidents.read().open() {
        let verdict = &incident.verdict;
        let name = |host: &Option<String>| host.clone().unwrap_or_default();
        let key = labels([
            ("class", verdict.class.name()),
            ("host", &name(&verdict.subject.host)),
            ("peer", &name(&verdict.subject.peer)),
            ("subject", &subject(&verdict.subject)),
        ]);
        *open.entry(key).or_default() += 1.0;
    }
    out.gauges(
        "lacuna_incident_open",
        "Incidents that still go on; every host that sees one has the same subject",
        open,
    )
}

/// Whom an incident is about, in the same words whoever saw it and whatever its class: of a path both ends, in order of their
/// names, and of several hosts their names. Alerts go by it.
fn subject(subject: &Subject) -> String {
    let Subject { host, peer, hosts, vip, .. } = subject;
    if let Some(vip) = vip {
        return vip.clone();
    }
    if let (Some(host), Some(peer)) = (host, peer) {
        return format!("{} - {}", host.min(peer), host.max(peer));
    }
    if hosts.is_empty() {
        return host.as_ref().or(peer.as_ref()).cloned().unwrap_or_default();
    }
    let named = hosts.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match hosts.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// The trace of the newest one stands beside the figure as an exemplar: as a label it would make a series of each incident.
fn opened(out: &mut Families<'_>, counters: &Counters) -> fmt::Result {
    let newest = counters.newest_incident.as_ref().map(|incident| incident.trace_id.to_string());
    out.counted(
        "lacuna_incidents_opened",
        "Incidents that were opened, whatever their class became; the exemplar is the trace of the newest one",
        counters.incidents_opened,
        newest.map(|trace| labels([("trace_id", &trace)])),
    )
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 stay far below 2^53")]
fn marks(out: &mut Families<'_>, counters: &Counters) -> fmt::Result {
    out.gauges(
        "lacuna_mark_timestamp_seconds",
        "When the newest mark was noted, since 1970; absent where there is none",
        counters.newest_mark_ms.map(|ms| (labels([]), ms as f64 / 1e3)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(host: Option<&str>, peer: Option<&str>, hosts: &[&str]) -> Subject {
        let own = |name: Option<&str>| name.map(str::to_owned);
        let hosts = hosts.iter().map(|&name| name.to_owned()).collect();
        Subject { host: own(host), peer: own(peer), hosts, ..Subject::default() }
    }

    #[test]
    fn both_ends_of_a_path_name_it_alike() {
        let (a, b) = (of(Some("a"), Some("b"), &[]), of(Some("b"), Some("a"), &[]));
        assert_eq!((&*subject(&a), &*subject(&b)), ("a - b", "a - b"));
    }

    #[test]
    fn a_subject_is_what_all_that_see_it_have_in_common() {
        let pause = of(Some("db1"), None, &["db1", "db2"]);
        let vip = Subject { vip: Some("10.77.0.100".into()), ..of(None, None, &["a", "b"]) };
        for (given, expected) in [
            (of(Some("db1"), None, &[]), "db1"),
            (Subject { cpu: Some(1), ..of(Some("db1"), None, &[]) }, "db1"),
            (of(Some("a"), Some("c"), &["b", "c"]), "a - c"),
            (pause, "db1, db2"),
            (vip, "10.77.0.100"),
        ] {
            assert_eq!(subject(&given), expected);
        }
    }

    #[test]
    fn the_names_in_a_label_are_bounded() {
        let names: Vec<String> = (0..1000).map(|i| format!("h{i}")).collect();
        let many: Vec<&str> = names.iter().map(String::as_str).collect();
        let all = |count: usize| subject(&of(None, None, &many[..count]));
        assert!(all(NAMED).ends_with("h7"));
        assert_eq!(all(NAMED + 1), format!("{} and 1 more", all(NAMED)));
        assert!(all(1000).ends_with("h7 and 992 more"));
    }
}
