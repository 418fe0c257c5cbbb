//! Black holes between this host and its peers: opening, measuring, closing.

use super::{Engine, SETTLE};
use crate::document::{Draft, Identity};
use crate::evidence::HoleReport;
use crate::hole::Hole;
use crate::incident::Incident;
use crate::peer::{Arrival, Peer};
use crate::rules::Case;
use crate::time::Nanos;

/// A black hole and the incident that it became.
pub(super) struct TrackedHole {
    pub(super) hole: Hole,
    identity: Identity,
    said: Option<Incident>,
}

impl Engine {
    /// A heartbeat of the peer came in and said what it hears: a black hole begins, goes on or is over.
    pub(super) fn follow_hole(&mut self, name: &str, peer: &mut Peer, arrival: &Arrival, at: Nanos) {
        if arrival.counts_anew() {
            return self.close_hole(name, peer, at);
        }
        let until = peer.heard_up_to().map(|left| left.minus(self.settings.interval));
        if let Some(until) = until {
            peer.sizes.conclude(until);
        }
        let seen = until.and_then(|until| peer.sizes.holes(until, peer.loss_to.misses_of_a_hole()));
        let told = peer.hole.filter(|_| !peer.left);
        if !self.holes.contains_key(name) {
            let by_peer = |told: HoleReport| peer.large_vanish_since(told.reason).map_or(at, |since| since.min(at));
            let Some(since) = seen.map(|seen| seen.since).or_else(|| told.map(by_peer)) else { return };
            let mut hole = Hole::new(name, since, &peer.sizes);
            // What TCP sent again before three large heartbeats were missing belongs to it.
            self.recent_of(name, since).for_each(|evidence| hole.citations.add(evidence.clone()));
            let identity = self.identity(&format!("{name} sizes"), since, at);
            self.holes.insert(name.to_owned(), TrackedHole { hole, identity, said: None });
        }
        let Some(TrackedHole { hole, .. }) = self.holes.get_mut(name) else { return };
        if let Some(seen) = seen {
            peer.sizes.search();
            hole.see(seen.reason, &peer.sizes);
        } else if let Some(report) = hole.to_peer {
            hole.see(report.reason, &peer.sizes);
        }
        hole.from_peer = told.or(hole.from_peer);
        let told_up_to = until.unwrap_or(at);
        let passed = hole.to_peer.map(|report| peer.sizes.passed_since(report.reason, hole.since, told_up_to));
        hole.to_peer_lasts = passed == Some(None);
        let lasts = hole.to_peer_lasts || told.is_some();
        // Where only the peer told of it, it ended when the peer stopped to say so.
        let ended = passed.flatten().filter(|_| hole.from_peer.is_none()).unwrap_or(at);
        hole.back = if lasts { None } else { hole.back.or(Some(ended)) };
        if hole.back.is_some_and(|back| back.plus(SETTLE) <= at) {
            return self.close_hole(name, peer, at);
        }
        self.say_hole(name, peer, at, false);
    }

    /// It is over, or nobody can say any more.
    pub(super) fn close_hole(&mut self, name: &str, peer: &mut Peer, now: Nanos) {
        let Some(tracked) = self.holes.get_mut(name) else { return };
        tracked.hole.back.get_or_insert(now);
        self.say_hole(name, peer, now, true);
        self.holes.remove(name);
        peer.sizes.end_search();
    }

    fn say_hole(&mut self, name: &str, peer: &Peer, now: Nanos, closed: bool) {
        let Some(tracked) = self.holes.get(name) else { return };
        let hole = &tracked.hole;
        let evidence = hole.evidence(&peer.sizes, now);
        let dropped = hole.citations.parts().1;
        let draft =
            Draft { identity: &tracked.identity, ended: hole.back, closed, now, occurrences: 1, evidence, dropped };
        let (document, times) = (self.write(Case::Hole(hole), draft), (hole.since, hole.back));
        let Some(mut said) = self.holes.get_mut(name).map(|tracked| tracked.said.take()) else { return };
        self.say_of_story(&mut said, document, times);
        if let Some(tracked) = self.holes.get_mut(name) {
            tracked.said = said;
        }
    }

    /// What the peer is told of the way to it.
    pub(super) fn hole_to(&self, name: &str) -> Option<HoleReport> {
        let hole = &self.holes.get(name)?.hole;
        hole.to_peer.filter(|_| hole.to_peer_lasts)
    }
}
