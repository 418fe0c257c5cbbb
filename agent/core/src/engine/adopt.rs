//! Incidents that were open when an earlier run of this agent ended: every one of them closes in the end.

use std::time::Duration;

use super::Engine;
use crate::incident::{Incident, State};
use crate::stories::Plot;
use crate::time::Nanos;

impl Engine {
    /// Takes over an open incident of an earlier run. One about a peer that is still configured stays open until
    /// the peer is heard; any other closes now, since nobody watched how it ended.
    pub fn adopt(&mut self, mut incident: Incident, now: Nanos) {
        self.place_adopted(&mut incident, None, now);
        let subject = &incident.verdict.subject;
        let peer = subject.peer.as_ref().or(subject.host.as_ref()).filter(|name| self.peers.contains(name));
        match peer.cloned() {
            Some(name) => {
                if let Some(earlier) = self.adopted.insert(name, incident) {
                    self.close_adopted(earlier, now);
                }
            }
            None => self.close_adopted(incident, now),
        }
    }

    /// The peer is heard: what an earlier run had open about it is over.
    pub(super) fn release_adopted(&mut self, name: &str, now: Nanos) {
        if let Some(incident) = self.adopted.remove(name) {
            self.close_adopted(incident, now);
        }
    }

    fn close_adopted(&mut self, mut incident: Incident, now: Nanos) {
        if incident.ended_at.is_none() {
            let ended = self.wall.text(now);
            incident.duration_ms = milliseconds_between(&incident.started_at, &ended).unwrap_or(incident.duration_ms);
            incident.ended_at = Some(ended);
            let lacking = "this host's agent was restarted while it went on; its end is when it was next looked at";
            incident.missing.push(lacking.into());
        }
        incident.state = State::Closed;
        incident.provisional = false;
        self.place_adopted(&mut incident, Some(now), now);
        self.out.push_back(incident);
    }

    /// What this run sees of it shall be in the same trace.
    fn place_adopted(&mut self, incident: &mut Incident, until: Option<Nanos>, now: Nanos) {
        let age = milliseconds_between(&incident.started_at, &self.wall.text(now)).map(Duration::from_millis);
        let plot = Plot::of(incident, now.minus(age.unwrap_or_default()), until);
        let said = incident.clone();
        self.stories.place(incident, Some(&said), plot, now);
    }
}

fn milliseconds_between(from: &str, to: &str) -> Option<u64> {
    let parse = |text: &str| humantime::parse_rfc3339(text).ok();
    u64::try_from(parse(to)?.duration_since(parse(from)?).ok()?.as_millis()).ok()
}
