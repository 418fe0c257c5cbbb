//! Evidence that incidents cite: of those that are open, and of those that are noticed only later.

use std::time::Duration;

use super::Engine;
use crate::evidence::{Evidence, Fact};
use crate::time::Nanos;

/// Evidence that may belong to a gap which is noticed only later is kept for this long.
const RECENT: Duration = Duration::from_secs(10);
/// Pieces of such evidence that are kept.
const MAX_RECENT: usize = 128;

impl Engine {
    /// Keeps evidence that an incident may cite, and hands it to those that are open.
    pub(super) fn remember(&mut self, evidence: Evidence) {
        self.cite(&evidence);
        let expired = |old: &Evidence| old.to.plus(RECENT) < evidence.to;
        while self.recent.len() == MAX_RECENT || self.recent.front().is_some_and(expired) {
            self.recent.pop_front();
        }
        self.recent.push_back(evidence);
    }

    /// What was kept of the time since `since`, as far as an incident about `peer` cites it.
    pub(super) fn recent_of<'a>(&'a self, peer: &'a str, since: Nanos) -> impl Iterator<Item = &'a Evidence> {
        let me = &self.settings.host;
        self.recent.iter().filter(move |old| old.to > since && concerns(old, peer, me))
    }

    /// Hands evidence to the incidents that are open and concerned.
    pub(super) fn cite(&mut self, evidence: &Evidence) {
        let gaps = self.gaps.values_mut().map(|open| (&open.gap.peer, &mut open.gap.citations));
        let losses = self.losses.values_mut().map(|open| (&open.loss.peer, &mut open.loss.citations));
        let holes = self.holes.values_mut().map(|open| (&open.hole.peer, &mut open.hole.citations));
        for (peer, citations) in gaps.chain(losses).chain(holes) {
            if concerns(evidence, peer, &self.settings.host) {
                citations.add(evidence.clone());
            }
        }
    }
}

/// Whether an incident about `peer`, seen by the host `me`, should cite it: what counts packets or changes their way, of
/// this host or of the peer.
fn concerns(evidence: &Evidence, peer: &str, me: &str) -> bool {
    let host = &*evidence.host;
    match evidence.fact {
        Fact::Retransmits { .. }
        | Fact::SendRefused { .. }
        | Fact::HeartbeatDrops { .. }
        | Fact::Refused { .. }
        | Fact::PathMtu { .. }
        | Fact::TooBig { .. }
        | Fact::RetransmitSizes { .. }
        | Fact::ArpReply { .. } => host == peer,
        // Of a peer where it is known of which one.
        Fact::Fragments { .. } | Fact::FragNeeded { .. } => host == peer || host == me,
        Fact::NeighbourChanged { gateway, .. } => gateway || host == peer,
        Fact::Drops { .. } | Fact::SocketOverflow { .. } | Fact::EventsLost { .. } => true,
        Fact::Carrier { .. }
        | Fact::MtuChanged { .. }
        | Fact::AddressChanged { .. }
        | Fact::InterfaceErrors { .. }
        | Fact::ZeroWindows { .. }
        | Fact::ReceiveOverflow { .. }
        | Fact::SoftnetDrops { .. }
        | Fact::TransmitTimeout { .. } => true,
        Fact::KernelMessage(ref message) => message.about == "netdev-watchdog",
        _ => false,
    }
}
