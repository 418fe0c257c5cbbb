//! `/metrics`: read at the moment of the scrape, from what the driver publishes and what the kernel counts.
//!
//! A figure that could not be measured is absent, never 0. Labels come from the configuration or from a fixed set.

mod exchange;
mod families;
mod histogram;
mod incidents;
mod network;
pub mod process;
#[cfg(test)]
mod tests;
mod traces;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use lacuna_core::evidence::RetransmitCause;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::export::json::Health;
use crate::probes::{Log2Histogram, ProbeMetrics};
use crate::shared::{Counters, DiscoveryFigures, PeerStatus, Shared};
use families::{Families, labels};
use histogram::{Buckets, LATENCY_BOUNDS};
use process::Process;

/// Why TCP sends a segment again.
const CAUSES: [RetransmitCause; 5] = [
    RetransmitCause::Syn,
    RetransmitCause::Timeout,
    RetransmitCause::Fast,
    RetransmitCause::LossProbe,
    RetransmitCause::Other,
];

/// What `/metrics` answers with.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of the agent, with those of the process from the `/proc` under `root`.
///
/// # Errors
/// The encoder's own, which a `String` has none of.
pub fn render(shared: &Arc<Shared>, root: &Path) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { shared: Arc::clone(shared), process: Process::read(root) }));
    let mut text = String::with_capacity(64 * 1024);
    encode(&mut text, &registry)?;
    Ok(text)
}

struct Scrape {
    shared: Arc<Shared>,
    process: Process,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Families::new(encoder);
        let peers = self.shared.peers.read();
        agent(&mut out, &self.shared)?;
        incidents::incidents(&mut out, &self.shared)?;
        reachability(&mut out, &peers)?;
        exchange::exchange(&mut out, &peers)?;
        cpus(&mut out, &self.shared)?;
        if let Some(kernel) = &self.shared.probe_metrics {
            kernel_times(&mut out, kernel.as_ref())?;
            kernel_network(&mut out, kernel.as_ref(), &peers)?;
        }
        network::network(&mut out, &self.shared.network.read(), self.shared.probe_metrics.as_deref(), &peers)?;
        counters(&mut out, &self.shared.counters.read())?;
        discovery(&mut out, &self.shared.counters.read().discovery)?;
        traces::traces(&mut out, &self.shared.counters.read())?;
        process(&mut out, &self.process)
    }
}

fn agent(out: &mut Families<'_>, shared: &Shared) -> fmt::Result {
    let identity = &shared.identity;
    let build = labels([("version", &identity.version), ("kernel", &identity.kernel)]);
    out.info("lacuna_build", "The agent and the kernel it runs on", &build)?;
    let probes = shared.probes.read();
    out.gauges(
        "lacuna_probe_attached",
        "1 where the probe is attached to the hook",
        probes.iter().map(|one| {
            let attached = if one.attached { 1.0 } else { 0.0 };
            (labels([("probe", &one.probe), ("hook", &one.hook)]), attached)
        }),
    )?;
    let health = Health::of(shared);
    out.gauges(
        "lacuna_degraded",
        "1 for each part that does not do all it should; /healthz says why",
        health.degraded.keys().map(|part| (labels([("part", part)]), 1.0)),
    )
}

fn reachability(out: &mut Families<'_>, peers: &[PeerStatus]) -> fmt::Result {
    out.gauges(
        "lacuna_peer_up",
        "1 where the peer is heard; absent where it never was",
        peers.iter().filter_map(|peer| {
            let up = if peer.up? { 1.0 } else { 0.0 };
            Some((labels([("peer", &peer.name)]), up))
        }),
    )?;
    out.gauges(
        "lacuna_peer_path_mtu_bytes",
        "The smaller MTU that a router on the way to the peer told of; absent where none did",
        peers.iter().filter_map(|peer| Some((labels([("peer", &peer.name)]), f64::from(peer.path_mtu_bytes?)))),
    )
}

fn cpus(out: &mut Families<'_>, shared: &Shared) -> fmt::Result {
    let cpus = shared.cpus.read();
    out.counters(
        "lacuna_steal_seconds",
        "Time that the hypervisor gave to others, since boot",
        cpus.iter().filter_map(|cpu| {
            let steal = cpu.steal_seconds_total?;
            Some((labels([("cpu", &cpu.cpu.to_string())]), steal))
        }),
    )?;
    out.gauges(
        "lacuna_cpu_watched",
        "1 where stalls of the CPU are seen, 0 where it is isolated and left alone",
        cpus.iter().map(|cpu| (labels([("cpu", &cpu.cpu.to_string())]), f64::from(u8::from(cpu.watched)))),
    )
}

fn kernel_times(out: &mut Families<'_>, kernel: &dyn ProbeMetrics) -> fmt::Result {
    let mut times = |name: &str, help: &str, cpus: Option<Vec<(u32, Log2Histogram)>>| {
        let samples = cpus.unwrap_or_default().into_iter().map(|(cpu, counts)| {
            let buckets = Buckets::of_log2(&counts);
            (labels([("cpu", &cpu.to_string())]), buckets)
        });
        out.histograms(name, help, samples)
    };
    times("lacuna_timer_lateness_seconds", "How late timers expired", kernel.timer_lateness())?;
    times(
        "lacuna_timer_interrupt_gap_seconds",
        "Time between two local timer interrupts; an idle CPU lawfully has none",
        kernel.timer_gaps(),
    )?;
    times("lacuna_runqueue_delay_seconds", "How long tasks were runnable before they ran", kernel.runqueue_delay())
}

fn kernel_network(out: &mut Families<'_>, kernel: &dyn ProbeMetrics, peers: &[PeerStatus]) -> fmt::Result {
    let told = kernel.retransmit_failures_told();
    let mut retransmits = BTreeMap::<_, u64>::new();
    let mut add = |peer: &str, kind: &str, count: u64| {
        let sum = retransmits.entry(labels([("peer", peer), ("kind", kind)])).or_default();
        *sum = sum.saturating_add(count);
    };
    let found = kernel.retransmits();
    // From the first scrape on, or the first one of a kind would be no increase.
    for peer in peers.iter().filter(|peer| found.is_some() && peer.role == "peer") {
        CAUSES.iter().for_each(|cause| add(&peer.name, kind(*cause), 0));
    }
    for (address, cause, sent, failed) in found.unwrap_or_default() {
        let peer = peer_of(address, peers);
        add(peer, kind(cause), sent);
        if told {
            add(peer, "failed", failed);
        }
    }
    out.counters(
        "lacuna_tcp_retransmits",
        "TCP segments sent again; kind failed: attempts that this host's own stack could not carry out",
        retransmits,
    )?;
    let drops = kernel.drops().unwrap_or_default();
    out.counters(
        "lacuna_packet_drops",
        "Packets that the kernel dropped in the agent's network namespace, by its own name for the reason",
        drops.into_iter().map(|(reason, count)| (labels([("reason", &reason)]), count)),
    )?;
    out.counters(
        "lacuna_events_lost",
        "Events of the probes that found the ring buffer full",
        kernel.events_lost().map(|lost| (labels([]), lost)),
    )?;
    out.counters(
        "lacuna_probe_entries_refused",
        "Counts that had no room in the bounded maps of the probes",
        kernel.entries_refused().map(|refused| (labels([]), refused)),
    )
}

/// The configured peer with that address; `other` where there is none, or more than one on it.
fn peer_of(address: IpAddr, peers: &[PeerStatus]) -> &str {
    let mut here = peers.iter().filter(|peer| peer.addr.ip() == address.to_canonical());
    match (here.next(), here.next()) {
        (Some(peer), None) => &peer.name,
        _ => "other",
    }
}

fn kind(cause: RetransmitCause) -> &'static str {
    match cause {
        RetransmitCause::Syn => "syn",
        RetransmitCause::Timeout => "timeout",
        RetransmitCause::Fast => "fast",
        RetransmitCause::Other => "other",
        RetransmitCause::LossProbe => "loss-probe",
    }
}

fn counters(out: &mut Families<'_>, counters: &Counters) -> fmt::Result {
    out.counters(
        "lacuna_packets_refused",
        "Packets on the heartbeat port that were not accepted",
        by_label("reason", &counters.packets_refused),
    )?;
    let claims = counters.vip_claims.iter().flat_map(|(vip, owners)| {
        owners.iter().map(move |(owner, count)| (labels([("vip", vip), ("owner", owner)]), *count))
    });
    out.counters(
        "lacuna_vip_claims",
        "Claims of a watched virtual address, by whose they were: self, a peer, or other",
        claims,
    )?;
    out.counters(
        "lacuna_link_frames_refused",
        "ARP and neighbour advertisements that were not taken",
        by_label("reason", &counters.link_refused),
    )?;
    let own = [
        (
            "lacuna_heartbeat_socket_overflow",
            "Datagrams that the heartbeat socket had no room for",
            counters.socket_overflow,
        ),
        ("lacuna_store_refused", "Incident documents that the store did not take", counters.store_refused),
        ("lacuna_store_evicted", "Closed incidents that left the store early for want of room", counters.store_evicted),
        ("lacuna_cpu_reports_refused", "Stalls of CPUs whose report found no room", counters.cpu_reports_refused),
        ("lacuna_recorder_refused", "Evidence that the recorder had no room for", counters.recorder_refused),
        ("lacuna_control_refused", "Requests on the control socket that were refused", counters.control_refused),
    ];
    for (name, help, count) in own {
        out.counters(name, help, [(labels([]), count)])?;
    }
    let late = counters.agent_late_us.iter();
    out.histograms(
        "lacuna_agent_lateness_seconds",
        "How late the agent itself was at its ticks",
        late.map(|late| (labels([]), Buckets::of_hdr(late, 1e-6, &LATENCY_BOUNDS))),
    )
}

fn discovery(out: &mut Families<'_>, figures: &DiscoveryFigures) -> fmt::Result {
    let gauges = |label, counts: &BTreeMap<String, u64>| -> Vec<(families::Labels, f64)> {
        by_label(label, counts).map(|(labels, count)| (labels, count as f64)).collect()
    };
    out.gauges(
        "lacuna_discovery_peers",
        "Peers that are watched, by where they come from",
        gauges("source", &figures.peers),
    )?;
    out.counters(
        "lacuna_discovery_errors",
        "Times that a source of peers could not be read or asked",
        by_label("source", &figures.errors),
    )?;
    out.gauges(
        "lacuna_discovery_refused",
        "Entries that the sources have now and that are no peers",
        gauges("reason", &figures.refused),
    )
}

fn process(out: &mut Families<'_>, process: &Process) -> fmt::Result {
    out.counters(
        "process_cpu_seconds",
        "User and system CPU time of the agent",
        process.cpu_seconds.map(|seconds| (labels([]), seconds)),
    )?;
    let gauges = [
        ("process_resident_memory_bytes", "Resident memory of the agent", process.resident_bytes),
        ("process_virtual_memory_bytes", "Virtual memory of the agent", process.virtual_bytes),
        ("process_open_fds", "Open file descriptors of the agent", process.open_fds),
        ("process_max_fds", "Most file descriptors that the agent may open", process.max_fds),
        ("process_start_time_seconds", "Start of the agent since 1970", process.start_time_seconds),
    ];
    for (name, help, value) in gauges {
        out.gauges(name, help, value.map(|value| (labels([]), value)))?;
    }
    Ok(())
}

fn by_label<'a>(
    label: &'static str,
    counts: &'a BTreeMap<String, u64>,
) -> impl Iterator<Item = (families::Labels, u64)> + 'a {
    counts.iter().map(move |(value, count)| (labels([(label, value)]), *count))
}
