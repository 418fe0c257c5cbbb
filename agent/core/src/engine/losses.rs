//! Steady losses between this host and its peers: opening, measuring, closing.

use super::Engine;
use crate::document::{Citations, Draft, Identity};
use crate::evidence::{Evidence, Fact};
use crate::incident::Incident;
use crate::loss::{Loss, LossMeasure, LossRate, LossTrack};
use crate::peer::{Arrival, Peer};
use crate::rules::Case;
use crate::time::Nanos;

/// So many of those that were missing come in after all between two words of a peer, at most.
const MAX_LATE: u64 = 64;

/// A steady loss and the incident that it became.
pub(super) struct TrackedLoss {
    pub(super) loss: Loss,
    identity: Identity,
    said: Option<Incident>,
    from: LossMeasure,
    to: LossMeasure,
    /// When something was lost last.
    last: Nanos,
}

impl TrackedLoss {
    /// Takes a heartbeat of the peer, and what it says that it heard.
    fn record(&mut self, arrival: &Arrival, at: Nanos) {
        let (missing, (missing_to, heard)) = (arrival.missing, arrival.heard_step.unwrap_or_default());
        if arrival.reordered {
            self.from.fill(1);
        } else {
            self.from.record(missing, 1);
        }
        self.to.record(missing_to, heard);
        self.to.fill(arrival.heard_late.min(MAX_LATE));
        if missing > 0 || missing_to > 0 {
            self.last = at;
        }
    }

    /// What is stated of each direction: measured over a fixed number of packets, or, until that is there, as it was when it
    /// was found. A direction that loses only later joins.
    fn state(&mut self, peer: &Peer) {
        let stated = |known: Option<LossRate>, measure: &LossMeasure, track: &LossTrack| match known {
            Some(known) => Some(measure.rate().unwrap_or(known)),
            None => track.steady(),
        };
        self.loss.from_peer = stated(self.loss.from_peer, &self.from, &peer.loss_from);
        self.loss.to_peer = stated(self.loss.to_peer, &self.to, &peer.loss_to);
    }

    fn is_over(&self) -> bool {
        let over = |rate: Option<LossRate>, measure: &LossMeasure| rate.is_none() || measure.is_over();
        over(self.loss.from_peer, &self.from) && over(self.loss.to_peer, &self.to)
    }
}

impl Engine {
    /// A heartbeat came in, or the peer said what it heard: a steady loss begins, goes on or is over.
    pub(super) fn follow_loss(&mut self, name: &str, peer: &mut Peer, arrival: &Arrival, at: Nanos) {
        if arrival.counts_anew() {
            return self.close_loss(name, peer, at);
        }
        if !self.losses.contains_key(name) && !self.is_silent(name) {
            self.open_loss(name, peer, at);
        }
        let Some(tracked) = self.losses.get_mut(name) else { return };
        tracked.record(arrival, at);
        tracked.state(peer);
        if tracked.is_over() {
            return self.close_loss(name, peer, at);
        }
        self.say_loss(name, at, false);
    }

    fn open_loss(&mut self, name: &str, peer: &Peer, now: Nanos) {
        let (from_peer, to_peer) = (peer.loss_from.steady(), peer.loss_to.steady());
        let begun = [
            peer.loss_from.since().filter(|_| from_peer.is_some()),
            peer.loss_to.since().filter(|_| to_peer.is_some()),
        ];
        let Some(since) = begun.into_iter().flatten().min() else { return };
        // A short gap that the loss explains was its first sign: it is the same incident.
        let interval = self.settings.interval;
        let gap = self.gaps.get(name).is_some_and(|open| open.gap.may_be_steady_loss(interval));
        let taken = if gap { self.gaps.remove(name) } else { None };
        let (identity, said) = taken
            .map(|open| (open.identity, open.said))
            .unwrap_or_else(|| (self.identity(&format!("{name} loss"), since, now), None));
        let loss =
            Loss { peer: name.to_owned(), since, back: None, from_peer, to_peer, citations: Citations::default() };
        let (from, to) = (LossMeasure::since(from_peer), LossMeasure::since(to_peer));
        self.losses.insert(name.to_owned(), TrackedLoss { loss, identity, said, from, to, last: now });
    }

    /// It is over, or nobody can say any more: it ended with the last loss.
    pub(super) fn close_loss(&mut self, name: &str, peer: &mut Peer, now: Nanos) {
        let Some(tracked) = self.losses.get_mut(name) else { return };
        tracked.loss.back = Some(tracked.last);
        self.say_loss(name, now, true);
        self.losses.remove(name);
        peer.forget_losses();
    }

    fn say_loss(&mut self, name: &str, now: Nanos, closed: bool) {
        let Some(tracked) = self.losses.get(name) else { return };
        let loss = &tracked.loss;
        let until = loss.back.unwrap_or(now);
        let lost = |(direction, rate)| Evidence::during(name, loss.since, until, Fact::Loss { direction, rate });
        let mut evidence: Vec<Evidence> = loss.directions().map(lost).collect();
        let (cited, dropped) = loss.citations.parts();
        evidence.extend_from_slice(cited);
        let draft =
            Draft { identity: &tracked.identity, ended: loss.back, closed, now, occurrences: 1, evidence, dropped };
        let (document, times) = (self.write(Case::Loss(loss), draft), (loss.since, loss.back));
        let Some(mut said) = self.losses.get_mut(name).map(|tracked| tracked.said.take()) else { return };
        self.say_of_story(&mut said, document, times);
        if let Some(tracked) = self.losses.get_mut(name) {
            tracked.said = said;
        }
    }
}
