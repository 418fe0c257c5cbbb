//! What the kernel counts in maps, read as differences: retransmits to peers, and drops.

use std::collections::BTreeMap;
use std::sync::Arc;

use lacuna_core::evidence::{Evidence, Fact, RetransmitCause};
use lacuna_core::time::Nanos;

use super::Network;
use crate::probes::ProbeMetrics;

/// The kernel gives every echo reply to the raw socket and then drops its own copy for this reason, so it counts what
/// the agent itself asks for (`ping_rcv`, Linux 6.18). It stays in the metrics, and is no evidence.
const OWN_ECHOES: &str = "NO_SOCKET";

/// See the module's documentation.
pub(super) struct KernelCounters {
    metrics: Option<Arc<dyn ProbeMetrics>>,
    retransmits: BTreeMap<(String, RetransmitCause), (u64, u64)>,
    drops: BTreeMap<String, u64>,
    read_at: Option<Nanos>,
}

impl KernelCounters {
    pub(super) fn new(metrics: Option<Arc<dyn ProbeMetrics>>) -> Self {
        Self { metrics, retransmits: BTreeMap::new(), drops: BTreeMap::new(), read_at: None }
    }

    /// What was added since the last reading; the first one only begins to count.
    pub(super) fn read(&mut self, host: &str, network: &Network, now: Nanos) -> Vec<Evidence> {
        let Some(metrics) = self.metrics.clone() else { return Vec::new() };
        let from = self.read_at.replace(now);
        let mut seen = Vec::new();
        self.read_retransmits(metrics.as_ref(), network, |peer, fact| {
            seen.extend(from.map(|from| Evidence::during(peer, from, now, fact)));
        });
        for (reason, count) in metrics.drops().unwrap_or_default() {
            let before = self.drops.insert(reason.clone(), count).unwrap_or(0);
            let count = grown(before, count);
            if let Some(from) = from.filter(|_| count > 0 && reason != OWN_ECHOES) {
                seen.push(Evidence::during(host, from, now, Fact::Drops { reason, count }));
            }
        }
        seen
    }

    fn read_retransmits(&mut self, metrics: &dyn ProbeMetrics, network: &Network, mut each: impl FnMut(&str, Fact)) {
        let mut sums: BTreeMap<(String, RetransmitCause), (u64, u64)> = BTreeMap::new();
        for (address, cause, count, failed) in metrics.retransmits().unwrap_or_default() {
            let Some(peer) = network.name_of(address) else { continue };
            let sum = sums.entry((peer.to_owned(), cause)).or_default();
            *sum = (sum.0 + count, sum.1 + failed);
        }
        for ((peer, cause), now) in sums {
            let before = self.retransmits.insert((peer.clone(), cause), now).unwrap_or_default();
            let (count, failed) = (grown(before.0, now.0), grown(before.1, now.1));
            if count + failed > 0 {
                each(&peer, Fact::Retransmits { cause, count, failed });
            }
        }
    }
}

/// A counter that went down began anew: the map had no room for it any more, and later had again.
fn grown(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}
