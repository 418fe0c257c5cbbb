//! What the kernel counts in maps, read as differences: retransmits to peers and their sizes, fragments of peers, drops, and
//! which of these were heartbeats.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lacuna_core::evidence::{Evidence, Fact, FragmentLoss, RetransmitCause, Way};
use lacuna_core::time::Nanos;

use super::Network;
use crate::probes::{FragmentKind, HeartbeatDrops, ProbeMetrics, Sizes};

/// The kernel gives every echo reply to the raw socket and then drops its own copy for this reason, so it counts what
/// the agent itself asks for (`ping_rcv`, Linux 6.18). It stays in the metrics, and is no evidence.
const OWN_ECHOES: &str = "NO_SOCKET";

/// See the module's documentation.
pub(super) struct KernelCounters {
    metrics: Option<Arc<dyn ProbeMetrics>>,
    retransmits: BTreeMap<(String, RetransmitCause), (u64, u64)>,
    fragments: BTreeMap<(IpAddr, FragmentKind), u64>,
    drops: BTreeMap<String, u64>,
    heartbeat_drops: HeartbeatDrops,
    /// The peers whose heartbeats are counted where they are dropped.
    counted: BTreeSet<SocketAddr>,
    /// Of these, for whom that was told.
    told: BTreeSet<SocketAddr>,
    read_at: Option<Nanos>,
    peers: BTreeSet<String>,
    /// Peers that joined since the last reading: what the kernel counted before is not of now.
    joined: BTreeSet<String>,
}

impl KernelCounters {
    pub(super) fn new(metrics: Option<Arc<dyn ProbeMetrics>>) -> Self {
        Self {
            metrics,
            retransmits: BTreeMap::new(),
            fragments: BTreeMap::new(),
            drops: BTreeMap::new(),
            heartbeat_drops: HeartbeatDrops::new(),
            counted: BTreeSet::new(),
            told: BTreeSet::new(),
            read_at: None,
            peers: BTreeSet::new(),
            joined: BTreeSet::new(),
        }
    }

    /// Goes on with other peers, and forgets those that are gone.
    pub(super) fn set_peers(&mut self, network: &Network) {
        let peers: BTreeSet<String> = network.peers().iter().map(|(name, _)| name.clone()).collect();
        self.joined.retain(|name| peers.contains(name));
        self.joined.extend(peers.difference(&self.peers).cloned());
        self.retransmits.retain(|(name, _), _| peers.contains(name));
        self.fragments.retain(|(address, _), _| network.name_of(*address).is_some());
        self.peers = peers;
        let addresses: Vec<SocketAddr> = network.peers().iter().map(|(_, address)| *address).collect();
        self.counted = self.metrics.as_ref().map(|metrics| metrics.watch_heartbeats(&addresses)).unwrap_or_default();
        self.told.retain(|address| addresses.contains(address));
        self.heartbeat_drops.retain(|(address, ..), _| addresses.contains(address));
    }

    /// What was added since the last reading; the first one only begins to count.
    pub(super) fn read(&mut self, host: &str, network: &Network, now: Nanos) -> Vec<Evidence> {
        let Some(metrics) = self.metrics.clone() else { return Vec::new() };
        let from = self.read_at.replace(now);
        let mut seen = Vec::new();
        let mut tell = |peer: &str, fact| seen.extend(from.map(|from| Evidence::during(peer, from, now, fact)));
        self.read_retransmits(metrics.as_ref(), network, &mut tell);
        self.read_fragments(metrics.as_ref(), network, &mut tell);
        self.read_heartbeat_drops(metrics.as_ref(), network, from.unwrap_or(now), now, &mut seen);
        self.joined.clear();
        for (reason, count) in metrics.drops().unwrap_or_default() {
            let before = self.drops.insert(reason.clone(), count).unwrap_or(0);
            let count = grown(before, count);
            if let Some(from) = from.filter(|_| count > 0 && reason != OWN_ECHOES) {
                seen.push(Evidence::during(host, from, now, Fact::Drops { reason, count }));
            }
        }
        seen
    }

    fn read_retransmits(&mut self, metrics: &dyn ProbeMetrics, network: &Network, tell: &mut impl FnMut(&str, Fact)) {
        let mut sums: BTreeMap<(String, RetransmitCause), (u64, u64)> = BTreeMap::new();
        for (address, cause, count, failed) in metrics.retransmits().unwrap_or_default() {
            let Some(peer) = network.name_of(address) else { continue };
            let sum = sums.entry((peer.to_owned(), cause)).or_default();
            *sum = (sum.0 + count, sum.1 + failed);
        }
        let mut lost: BTreeMap<String, u64> = BTreeMap::new();
        for ((peer, cause), now) in sums {
            let before = self.retransmits.insert((peer.clone(), cause), now).unwrap_or_default();
            let (count, failed) = (grown(before.0, now.0), grown(before.1, now.1));
            if count + failed > 0 && !self.joined.contains(&peer) {
                tell(&peer, Fact::Retransmits { cause, count, failed });
            }
            if tells_of_size(cause) && !self.joined.contains(&peer) {
                *lost.entry(peer).or_default() += count;
            }
        }
        lost.retain(|_, count| *count > 0);
        // A look costs as much as that above, and without a loss there is nothing to see.
        let sizes = if lost.is_empty() { BTreeMap::new() } else { sizes(metrics, network) };
        for (peer, Sizes { smallest, largest }) in sizes {
            if let Some(count) = lost.remove(&peer) {
                tell(&peer, Fact::RetransmitSizes { count, smallest, largest });
            }
        }
    }

    /// That a peer's are counted is told once, before the first of them.
    fn read_heartbeat_drops(
        &mut self,
        metrics: &dyn ProbeMetrics,
        network: &Network,
        from: Nanos,
        now: Nanos,
        seen: &mut Vec<Evidence>,
    ) {
        let Some(found) = metrics.heartbeat_drops() else { return };
        for (name, address) in network.peers().iter().filter(|(_, address)| self.counted.contains(address)) {
            if self.told.insert(*address) {
                seen.push(Evidence::at(name, now, Fact::HeartbeatDropsCounted));
            }
        }
        for (key, now_counted) in found {
            let before = self.heartbeat_drops.insert(key.clone(), now_counted).unwrap_or(0);
            let (address, direction, reason) = key;
            let count = grown(before, now_counted);
            let peer = network.peers().iter().find(|(_, known)| *known == address).filter(|_| count > 0);
            let fact = Fact::HeartbeatDrops { direction, reason, count };
            seen.extend(peer.map(|(name, _)| Evidence::during(name, from, now, fact)));
        }
    }

    /// Those that did not get through; what was fragmented and put together is in the metrics.
    fn read_fragments(&mut self, metrics: &dyn ProbeMetrics, network: &Network, tell: &mut impl FnMut(&str, Fact)) {
        for ((address, kind), found) in metrics.fragments().unwrap_or_default() {
            let Some(peer) = network.name_of(address) else { continue };
            let before = self.fragments.insert((address, kind), found.count).unwrap_or(0);
            let (count, mtu) = (grown(before, found.count), found.mtu);
            let fact = match kind {
                FragmentKind::Expired => Fact::Fragments { direction: Way::In, result: FragmentLoss::Expired, count },
                FragmentKind::NeededIn => Fact::FragNeeded { direction: Way::In, mtu, count },
                FragmentKind::NeededOut => Fact::FragNeeded { direction: Way::Out, mtu, count },
                FragmentKind::In | FragmentKind::Out => continue,
            };
            if count > 0 && !self.joined.contains(peer) {
                tell(peer, fact);
            }
        }
    }
}

/// Whether the size of what is sent again tells which sizes are lost: a SYN has none, and a loss probe is sent before a loss
/// is known.
fn tells_of_size(cause: RetransmitCause) -> bool {
    !matches!(cause, RetransmitCause::Syn | RetransmitCause::LossProbe)
}

/// The sizes of what was lost on the way to each peer since the last call.
fn sizes(metrics: &dyn ProbeMetrics, network: &Network) -> BTreeMap<String, Sizes> {
    let mut found: BTreeMap<String, Sizes> = BTreeMap::new();
    let all = metrics.retransmit_sizes().unwrap_or_default().into_iter();
    for ((address, _), sizes) in all.filter(|((_, cause), _)| tells_of_size(*cause)) {
        let Some(peer) = network.name_of(address) else { continue };
        let known = found.entry(peer.to_owned()).or_insert(sizes);
        *known = Sizes { smallest: known.smallest.min(sizes.smallest), largest: known.largest.max(sizes.largest) };
    }
    found
}

/// A counter that went down began anew: the map had no room for it any more, and later had again.
fn grown(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

#[cfg(test)]
#[path = "counters_tests.rs"]
mod tests;
