//! A black hole between this host and one peer: small packets pass, large ones vanish.

use crate::document::Citations;
use crate::evidence::{Evidence, Fact, HoleReason, HoleReport, Size};
use crate::incident::Direction;
use crate::sizes::{LargeTrack, Sizes};
use crate::time::Nanos;

/// The facts of one black hole, as the rules see them.
#[derive(Clone, Debug)]
pub struct Hole {
    /// The other end.
    pub peer: String,
    /// When the first packet left that vanished; where only the peer tells of it, when the first of its was due.
    pub since: Nanos,
    /// When the first one passed again, once all do.
    pub back: Option<Nanos>,
    /// What vanishes on the way to the peer.
    pub to_peer: Option<HoleReport>,
    /// Large packets still vanish on the way to the peer.
    pub to_peer_lasts: bool,
    /// What vanishes on the way from the peer, by its account.
    pub from_peer: Option<HoleReport>,
    /// What the incident cites.
    pub citations: Citations,
    /// Large heartbeats to the peer before it: sent and heard, of the MTU and fragmented.
    before: [(u64, u64); 2],
}

impl Hole {
    /// A hole on the way to or from `peer`, of which nothing is known yet but since when.
    #[must_use]
    pub fn new(peer: &str, since: Nanos, sizes: &Sizes) -> Self {
        let citations = Citations::default();
        Self {
            peer: peer.to_owned(),
            since,
            back: None,
            to_peer: None,
            to_peer_lasts: false,
            from_peer: None,
            citations,
            before: counts(sizes),
        }
    }

    /// Which way large packets vanish.
    #[must_use]
    pub fn direction(&self) -> Direction {
        match (self.from_peer, self.to_peer) {
            (Some(_), Some(_)) => Direction::Both,
            (Some(_), None) => Direction::FromPeer,
            _ => Direction::ToPeer,
        }
    }

    /// Why, and the largest that passes: of the way that lets less pass, so that both ends say the same, or of the one that is not
    /// measured yet.
    #[must_use]
    pub fn report(&self) -> Option<HoleReport> {
        let ways = [self.to_peer, self.from_peer].into_iter().flatten();
        ways.min_by_key(|way| (way.passes, way.reason))
    }

    /// The payload in bytes of the smallest TCP segment that was lost on the way to the peer meanwhile, and sent again; absent where
    /// none was seen.
    #[must_use]
    pub fn least_resent(&self) -> Option<u64> {
        let smallest = |cited: &Evidence| match cited.fact {
            Fact::RetransmitSizes { smallest, .. } => Some(smallest),
            _ => None,
        };
        self.citations.parts().0.iter().filter_map(smallest).min()
    }

    /// What the incident cites beyond what was collected: what became of each size, and the peer's word.
    #[must_use]
    pub fn evidence(&self, sizes: &Sizes, now: Nanos) -> Vec<Evidence> {
        let until = self.back.unwrap_or(now);
        let during = |fact| Evidence::during(&self.peer, self.since, until, fact);
        let tracks = [(Size::Mtu, &sizes.mtu), (Size::Fragmented, &sizes.fragmented)];
        let of_size = |((size, track), (sent, heard)): ((Size, &LargeTrack), (u64, u64))| {
            let (sent, heard) = (track.sent.saturating_sub(sent), track.heard.saturating_sub(heard));
            (sent > 0).then(|| during(Fact::Sizes { size, bytes: track.bytes, sent, heard: heard.min(sent) }))
        };
        let mut all: Vec<Evidence> = tracks.into_iter().zip(self.before).filter_map(of_size).collect();
        all.extend(self.from_peer.map(|report| during(Fact::Hole(report))));
        all.extend(self.citations.parts().0.iter().cloned());
        all
    }

    /// Takes what is seen of the way to the peer now.
    pub fn see(&mut self, reason: HoleReason, sizes: &Sizes) {
        self.to_peer = Some(sizes.report(reason));
    }
}

fn counts(sizes: &Sizes) -> [(u64, u64); 2] {
    [&sizes.mtu, &sizes.fragmented].map(|track| (track.sent, track.heard))
}
