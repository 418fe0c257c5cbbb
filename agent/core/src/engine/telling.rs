//! What is said of gaps: when, with whose, and whether it is anything new.

use std::collections::VecDeque;

use super::own::TOGETHER;
use super::{Engine, Tracked};
use crate::document::{Draft, incident};
use crate::incident::{Class, Incident, State};
use crate::rules::{Case, Context, judge};
use crate::time::Nanos;

impl Engine {
    /// What is not yet said of other hosts was said with what is of several.
    pub(super) fn join_neighbours(&mut self, closed: &Tracked) {
        let gap = &closed.gap;
        let Some(said) = closed.said.as_ref().filter(|said| is_of_several(said.verdict.class)) else { return };
        let subject = &said.verdict.subject;
        let isolated = subject.host.as_deref();
        let named = |name: &String| match said.verdict.class {
            Class::HypervisorStall => subject.hosts.contains(name),
            // One that is cut off from all loses each of them; another one is lost by itself.
            Class::HostIsolated => isolated == Some(&self.settings.host) || isolated == Some(name),
            _ => true,
        };
        let unsaid = self.gaps.iter_mut().filter(|(name, open)| open.said.is_none() && named(name));
        for (_, open) in unsaid.filter(|(_, open)| open.gap.since.is_near(gap.since, TOGETHER)) {
            open.joined = true;
        }
    }

    pub(super) fn say(&mut self, name: &str, now: Nanos) {
        let Some((key, mut open)) = self.gaps.remove_entry(name) else { return };
        self.say_of(&mut open, now, false);
        self.gaps.insert(key, open);
    }

    /// Judges the gap anew and puts the document out, if it says anything else than before.
    pub(super) fn say_of(&mut self, open: &mut Tracked, now: Nanos, closed: bool) {
        let Some(document) = self.document(open, now, closed) else { return };
        if !self.is_told_of_another(open, &document) {
            let times = (self.awake_since(open.identity.started()), open.gap.back);
            self.say_of_story(&mut open.said, document, times);
        }
    }

    /// Hosts that fall silent together are one incident, that of the first, as long as nothing tells them apart: it names
    /// them. In the end only what is of several hosts is.
    fn is_told_of_another(&self, tracked: &Tracked, document: &Incident) -> bool {
        let Tracked { gap, said: None, joined, .. } = tracked else { return false };
        let open = document.state == State::Open;
        let may_become = |class: Class| matches!(class, Class::Unknown | Class::VmPause);
        let alike = |class: Class| is_of_several(class) || may_become(class) && open;
        if *joined || !alike(document.verdict.class) {
            return alike(document.verdict.class);
        }
        let hypervisor = self.peers.get(&gap.peer).and_then(|peer| peer.hypervisor);
        let may_belong = |other: &str| {
            let theirs = self.peers.get(other).and_then(|peer| peer.hypervisor);
            document.verdict.class != Class::VmPause || hypervisor.is_some() && theirs == hypervisor
        };
        self.gaps.iter().filter(|(other, _)| **other != gap.peer && may_belong(other)).any(|(_, open)| {
            let together = open.gap.since.is_near(gap.since, TOGETHER);
            together && open.said.as_ref().is_some_and(|said| alike(said.verdict.class) && !are_of_two(said, document))
        })
    }

    fn document(&self, tracked: &Tracked, now: Nanos, closed: bool) -> Option<Incident> {
        let Tracked { gap, identity, .. } = tracked;
        let peer = self.peers.get(&gap.peer)?;
        let judgement = judge(&Context { now, ..self.context() }, Case::Gap(gap));
        let (cited, dropped) = gap.citations.parts();
        let sent = peer.sent_between(gap.since, gap.back.unwrap_or(now));
        let mut evidence = gap.standing_evidence(peer, sent, self.settings.interval, now);
        evidence.extend_from_slice(cited);
        let draft = Draft { identity, ended: gap.back, closed, now, occurrences: gap.occurrences, evidence, dropped };
        Some(incident(draft, judgement, &self.settings.host, &self.me.facts))
    }
}

/// Classes of which the incident with one peer is that of several.
fn is_of_several(class: Class) -> bool {
    matches!(class, Class::HypervisorStall | Class::HostIsolated | Class::Partition)
}

/// Whether two hosts are isolated, each by itself.
fn are_of_two(one: &Incident, other: &Incident) -> bool {
    let isolated = |incident: &Incident| incident.verdict.class == Class::HostIsolated;
    isolated(one) && isolated(other) && one.verdict.subject.host != other.verdict.subject.host
}

/// Puts a document out where it says anything else than the last one.
pub(super) fn say_if_new(said: &mut Option<Incident>, document: Incident, out: &mut VecDeque<Incident>) {
    if said.as_ref().is_none_or(|said| changed(said, &document)) {
        *said = Some(document.clone());
        out.push_back(document);
    }
}

/// Whether a reader learns anything new. A length goes on by itself, so it is said again only once it has doubled.
fn changed(said: &Incident, now: &Incident) -> bool {
    let kinds =
        |incident: &Incident| incident.evidence.iter().map(|e| std::mem::discriminant(&e.fact)).collect::<Vec<_>>();
    let classes = |incident: &Incident| incident.ruled_out.iter().map(|out| out.class).collect::<Vec<_>>();
    said.state != now.state
        || said.ended_at.is_some() != now.ended_at.is_some()
        || now.duration_ms >= 2 * said.duration_ms.max(1)
        || said.verdict.class != now.verdict.class
        || said.verdict.subject != now.verdict.subject
        || said.verdict.detail.without_running_figures() != now.verdict.detail.without_running_figures()
        || (said.verdict.confidence - now.verdict.confidence).abs() > 0.01
        || said.occurrences != now.occurrences
        || said.trace_id != now.trace_id
        || said.links != now.links
        || kinds(said) != kinds(now)
        || classes(said) != classes(now)
}
