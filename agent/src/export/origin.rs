//! Who told an incident, of which machine, and in which trace: alike on the page and in the terminal.

use lacuna_core::incident::{Incident, Relation};

/// Names and values, in the order in which they are shown.
pub(super) fn origin(incident: &Incident) -> Vec<(&'static str, String)> {
    let host = &incident.host;
    let mut facts = vec![("Seen by", incident.observer.clone())];
    if !incident.witnesses.is_empty() {
        facts.push(("Witnesses", incident.witnesses.join(", ")));
    }
    facts.push(("Kernel", format!("{} ({})", host.kernel, host.command_line)));
    if !host.clock_source.is_empty() {
        facts.push(("Clock source", host.clock_source.clone()));
    }
    facts.push(("Agent", host.agent_version.clone()));
    facts.push(("Trace", incident.trace_id.to_string()));
    facts.extend(incident.links.iter().map(|link| (name(link.relation), link.trace_id.to_string())));
    facts
}

/// How an incident belongs with another trace.
fn name(relation: Relation) -> &'static str {
    match relation {
        Relation::Was => "Trace before",
        Relation::Follows => "Follows trace",
        Relation::FollowedBy => "Followed by",
    }
}
