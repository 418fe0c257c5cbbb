//! What the kernel counts, read at the moment it is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use aya::maps::{Array, MapData, PerCpuArray, PerCpuHashMap};
use lacuna_abi::{DROP_REASONS, HISTOGRAM_WORDS, REFUSED_ENTRIES, REFUSED_EVENTS, RETRANSMIT_KEYS, RETRANSMIT_WORDS};
use lacuna_core::evidence::RetransmitCause;

use super::activity::CpuActivity;
use super::cpus::CpuMaps;
use super::decode::{self, KeyBytes, ReasonNames};
use super::fragments::{FragmentCount, FragmentKind, FragmentMaps};
use super::heartbeat_drops::{HeartbeatDrops, HeartbeatMaps};
use super::landing::RawLanding;
use super::{Log2Histogram, ProbeMetrics, Sizes};

/// A histogram for each CPU.
pub(super) type Histograms = PerCpuArray<MapData, [u64; HISTOGRAM_WORDS]>;
/// Retransmits and their sizes, for each CPU.
pub(super) type Retransmits = PerCpuHashMap<MapData, KeyBytes, [u64; RETRANSMIT_WORDS]>;
/// What each CPU counted of one key, as words.
type CountsOfCpus = Vec<[u64; RETRANSMIT_WORDS]>;
/// Drops by reason, for each CPU.
pub(super) type Drops = PerCpuHashMap<MapData, u32, u64>;
/// What found no room, for each CPU.
pub(super) type Refused = Arc<PerCpuArray<MapData, u64>>;

/// The maps of the probes that are attached; the others are absent.
#[derive(Default)]
pub(super) struct KernelMetrics {
    pub(super) timer_lateness: Option<Histograms>,
    pub(super) timer_gaps: Option<Histograms>,
    pub(super) runqueue_delay: Option<Histograms>,
    pub(super) retransmits: Option<Retransmits>,
    /// The number of the window that sizes are of.
    pub(super) size_window: Option<Mutex<Array<MapData, u64>>>,
    /// Whether the kernel tells retransmits that failed from those carried out.
    pub(super) failures_told: bool,
    pub(super) drops: Option<Drops>,
    pub(super) heartbeats: Option<HeartbeatMaps>,
    pub(super) fragments: FragmentMaps,
    pub(super) reasons: ReasonNames,
    pub(super) cpus: CpuMaps,
    pub(super) refused: Vec<Refused>,
}

impl ProbeMetrics for KernelMetrics {
    fn timer_lateness(&self) -> Option<Vec<(u32, Log2Histogram)>> {
        by_cpu(self.timer_lateness.as_ref()?)
    }

    fn timer_gaps(&self) -> Option<Vec<(u32, Log2Histogram)>> {
        by_cpu(self.timer_gaps.as_ref()?)
    }

    fn runqueue_delay(&self) -> Option<Vec<(u32, Log2Histogram)>> {
        by_cpu(self.runqueue_delay.as_ref()?)
    }

    fn retransmits(&self) -> Option<Vec<(IpAddr, RetransmitCause, u64, u64)>> {
        let row = |((address, cause), counts): (_, CountsOfCpus)| {
            let sum = |field: usize| counts.iter().map(|of_cpu| of_cpu[field]).sum();
            (address, cause, sum(0), sum(1))
        };
        Some(self.retransmits_by_key()?.into_iter().map(row).collect())
    }

    fn retransmit_sizes(&self) -> Option<BTreeMap<(IpAddr, RetransmitCause), Sizes>> {
        let mut map = self.size_window.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let window = map.get(&0, 0).ok()?;
        let found = self.retransmits_by_key()?;
        // What is sent again between the two belongs to no window: its size is lost, its count is not.
        map.set(0, window.wrapping_add(1), 0).ok()?;
        let sizes = found.into_iter().filter_map(|(key, counts)| Some((key, decode::sizes(&counts, window)?)));
        Some(sizes.collect())
    }

    fn retransmit_failures_told(&self) -> bool {
        self.failures_told
    }

    fn drops(&self) -> Option<Vec<(String, u64)>> {
        let map = self.drops.as_ref()?;
        let mut found = BTreeMap::new();
        for (reason, counts) in map.iter().take(DROP_REASONS).flatten() {
            found.insert(self.reasons.name(reason), counts.iter().sum());
        }
        Some(found.into_iter().collect())
    }

    fn watch_heartbeats(&self, peers: &[SocketAddr]) -> BTreeSet<SocketAddr> {
        self.heartbeats.as_ref().map(|maps| maps.watch(peers)).unwrap_or_default()
    }

    fn heartbeat_drops(&self) -> Option<HeartbeatDrops> {
        self.heartbeats.as_ref()?.read(&self.reasons)
    }

    fn fragments(&self) -> Option<BTreeMap<(IpAddr, FragmentKind), FragmentCount>> {
        self.fragments.by_remote()
    }

    fn fragment_total(&self, kind: FragmentKind) -> Option<u64> {
        self.fragments.total(kind)
    }

    fn counts_ipv6(&self, kind: FragmentKind) -> bool {
        self.fragments.ipv6.contains(&kind)
    }

    fn events_lost(&self) -> Option<u64> {
        refused(&self.refused, REFUSED_EVENTS)
    }

    fn entries_refused(&self) -> Option<u64> {
        refused(&self.refused, REFUSED_ENTRIES)
    }

    fn activity(&self) -> Option<BTreeMap<u32, CpuActivity>> {
        self.cpus.activity()
    }

    fn landing(&self, cpu: u32) -> Option<RawLanding> {
        self.cpus.landing(cpu)
    }

    fn passed(&self, address: u64) -> Option<u64> {
        self.cpus.passed(address)
    }

    fn sample(&self, cpu: u32) {
        self.cpus.sample(cpu);
    }
}

impl KernelMetrics {
    /// The counts of each CPU, by remote address and cause.
    fn retransmits_by_key(&self) -> Option<BTreeMap<(IpAddr, RetransmitCause), CountsOfCpus>> {
        let map = self.retransmits.as_ref()?;
        // An entry that makes room meanwhile lets the iteration begin again: hence the bound, and each key once.
        let entries = map.iter().take(2 * RETRANSMIT_KEYS).flatten();
        Some(entries.filter_map(|(key, counts)| Some((decode::retransmit_key(&key)?, counts.to_vec()))).collect())
    }
}

/// The histogram of every CPU that is online; what is offline has none.
fn by_cpu(map: &Histograms) -> Option<Vec<(u32, Log2Histogram)>> {
    let values = map.get(&0, 0).ok()?;
    let online = aya::util::online_cpus().ok()?;
    let of_cpu = |cpu: u32| {
        let words = values.get(usize::try_from(cpu).ok()?)?;
        Some((cpu, decode::histogram(words)))
    };
    Some(online.into_iter().filter_map(of_cpu).collect())
}

/// The sum over all CPUs and objects; absent where one cannot be read, or there is none.
pub(super) fn refused(counters: &[Refused], which: u32) -> Option<u64> {
    if counters.is_empty() {
        return None;
    }
    let of_object = |counter: &Refused| Some(counter.get(&which, 0).ok()?.iter().sum::<u64>());
    counters.iter().map(of_object).sum()
}
