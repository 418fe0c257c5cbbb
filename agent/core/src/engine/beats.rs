//! What this host tells its peers in heartbeats.

use std::time::Duration;

use super::Engine;
use crate::evidence::{Heartbeat, PeerView, StallReport, name_hash};
use crate::time::Nanos;
use crate::views::Telling;

/// A stall is told to the peers for this long.
const TELL_STALLS: Duration = Duration::from_secs(60);

/// The heartbeats of a moment: what every peer is told is put together once.
pub struct Beats<'a> {
    engine: &'a Engine,
    stalls: Vec<StallReport>,
    /// What this host sees of its peers.
    views: Telling,
    hypervisor: Option<u64>,
}

impl Beats<'_> {
    /// The one to `peer` that leaves at `sent_at`, the moment or not long after it; absent for a host that is not a peer.
    #[must_use]
    pub fn to(&self, peer: &str, sent_at: Nanos) -> Option<Heartbeat> {
        let Engine { peers, hashes, wall, me, overflow, stories, .. } = self.engine;
        let to = peers.get(peer).filter(|_| self.engine.is_peer(peer))?;
        let (large, probe) = to.large_for();
        let seq = to.sent_seq + 1;
        let (views, others) = self.views.part(seq, hashes.get(peer).copied());
        Some(Heartbeat {
            seq,
            sent_at,
            sent_wall: wall.at(sent_at),
            boot_id: me.boot_id,
            incarnation: me.incarnation,
            goodbye: false,
            heard: to.heard_for(sent_at),
            overflow: overflow.saturating_add(to.refused),
            stalls: self.stalls.clone(),
            views,
            others: Some(others),
            hypervisor: self.hypervisor,
            large,
            flows: to.flows_for(),
            probe,
            hole: self.engine.hole_to(peer),
            drops: to.drops_for(),
            stories: stories.to_tell(seq, sent_at),
        })
    }
}

impl Engine {
    /// What to send to the peers at `now`.
    #[must_use]
    pub fn beats(&self, now: Nanos) -> Beats<'_> {
        let (stalls, views) = (self.stalls(now), self.views(now));
        Beats { engine: self, stalls, views, hypervisor: self.hypervisor() }
    }

    /// What to send to `peer` at `now`; absent for a host that is not a peer.
    #[must_use]
    pub fn heartbeat(&self, peer: &str, now: Nanos) -> Option<Heartbeat> {
        self.beats(now).to(peer, now)
    }

    /// Whether heartbeats are exchanged with that host. All others that are known are anchors, of which there are few.
    pub(super) fn is_peer(&self, name: &str) -> bool {
        self.peers.contains(name) && !self.is_anchor_only(name)
    }

    /// Whether that host is only asked for echoes.
    pub(super) fn is_anchor_only(&self, name: &str) -> bool {
        let is_in = |names: &[String]| names.iter().any(|known| known == name);
        is_in(&self.settings.anchors) && !is_in(&self.settings.peers)
    }

    /// What this host tells of its own stalls; what is open goes on until now.
    fn stalls(&self, now: Nanos) -> Vec<StallReport> {
        let until_now = |stall: &StallReport| StallReport { to: if stall.open { now } else { stall.to }, ..*stall };
        self.reports.iter().map(until_now).filter(|stall| stall.to.plus(TELL_STALLS) > now).collect()
    }

    /// The hypervisor that this host runs on, by the hash of its label.
    pub(super) fn hypervisor(&self) -> Option<u64> {
        self.settings.labels.get("hypervisor").map(|label| name_hash(label))
    }

    /// What this host sees of its peers.
    fn views(&self, now: Nanos) -> Telling {
        let view = |name: &String| {
            let peer = self.peers.get(name)?;
            let heard_age = peer.last.as_ref().map(|last| now.since(last.at));
            let heard_for = peer.heard_since.map(|since| now.since(since));
            let kernel_answers = peer.echo.lately(now).filter(|_| !peer.link.is_taken_over());
            Some(PeerView { peer: *self.hashes.get(name)?, heard_age, kernel_answers, heard_for })
        };
        Telling::new(self.settings.peers.iter().filter_map(view), self.settings.interval)
    }
}
