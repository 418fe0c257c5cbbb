//! What the loop tells its readers.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use lacuna_core::engine::Engine;
use lacuna_core::evidence::{FlowReport, Heartbeat, Size};
use lacuna_core::incident::{Incident, State};
use lacuna_core::peer::Peer;
use lacuna_core::time::{Nanos, WallNanos};

use super::Network;
use super::network::GATEWAY;
use super::offset::{ClockEstimate, Exchange};
use crate::cpus::CpuWatch;
use crate::link::LinkWatch;
use crate::recent::Recent;
use crate::shared::{CpuStatus, EchoCounts, FlowCounts, LargeCounts, NetworkStatus, PeerClock, PeerStatus, Shared};
use crate::sights::Matrix;

/// Longest duration that a histogram tells apart, in microseconds: a minute.
const LONGEST_US: u64 = 60_000_000;
/// Longest incident that a histogram tells apart, in milliseconds: a week.
const LONGEST_MS: u64 = 7 * 24 * 3600 * 1000;

/// The sizes beside the small one.
const LARGE: [Size; 2] = [Size::Mtu, Size::Fragmented];

/// See the module's documentation.
pub(super) struct Publisher {
    shared: Arc<Shared>,
    clocks: HashMap<String, ClockEstimate>,
    /// Where each peer stands in what is shared.
    places: HashMap<String, usize>,
}

impl Publisher {
    pub(super) fn new(shared: Arc<Shared>, network: &Network) -> Self {
        let mut publisher = Self { shared, clocks: HashMap::new(), places: HashMap::new() };
        publisher.set_peers(network);
        publisher
    }

    /// Incidents that were open when an earlier run ended; the store put them into the book.
    pub(super) fn take_adopted(&self) -> Vec<Incident> {
        self.shared.incidents.read().open().map(|incident| Incident::clone(incident)).collect()
    }

    pub(super) fn set_peers(&mut self, network: &Network) {
        self.clocks.retain(|name, _| network.peers().iter().any(|(known, _)| known == name));
        let mut statuses = self.shared.peers.write();
        let mut known: HashMap<String, PeerStatus> = statuses.drain(..).map(|old| (old.name.clone(), old)).collect();
        let peers = network.peers().iter().map(|(name, addr)| (name.clone(), *addr, "peer"));
        let gateway = network.gateway().map(|ip| (GATEWAY.to_owned(), SocketAddr::from((ip, 0)), "anchor"));
        statuses.extend(peers.chain(gateway).map(|(name, addr, role)| {
            let same = known.remove(&name).filter(|old| old.addr == addr && old.role == role);
            same.unwrap_or_else(|| status(name, addr, role))
        }));
        self.places = statuses.iter().enumerate().map(|(place, status)| (status.name.clone(), place)).collect();
    }

    /// A heartbeat came in at `at`, when this host's wall clock showed `wall`; the engine has not seen it yet.
    pub(super) fn heartbeat(&mut self, engine: &Engine, name: &str, beat: &Heartbeat, at: Nanos, wall: WallNanos) {
        let Some(peer) = engine.peer(name) else { return };
        let round_trip = beat.heard.as_ref().and_then(|heard| peer.round_trip(heard, at));
        let mut statuses = self.shared.peers.write();
        let Some(status) = self.places.get(name).and_then(|place| statuses.get_mut(*place)) else { return };
        if let Some(last) = &peer.last {
            let gap = at.since(last.at);
            record(&mut status.gap_us, gap);
            status.recent_gaps.note(at, gap);
        }
        let clock = self.clocks.entry(name.to_owned()).or_default();
        if peer.last.as_ref().is_some_and(|last| last.boot_id != beat.boot_id) {
            clock.begin_anew();
        }
        if let Some(round_trip) = round_trip {
            record(&mut status.rtt_us, round_trip);
            clock.add(&Exchange { at, wall, sent_at: beat.sent_at, sent_wall: beat.sent_wall, round_trip });
        }
    }

    /// The state of every peer after a turn; with `details`, what nobody needs at every turn.
    pub(super) fn peers(&self, engine: &Engine, network: &Network, now: Nanos, details: bool) {
        let mut statuses = self.shared.peers.write();
        debug_assert!(statuses.len() >= network.peers().len());
        for status in statuses.iter_mut() {
            let Some(peer) = engine.peer(&status.name) else { continue };
            update(status, peer, engine.is_silent(&status.name), now);
            if details {
                status.clock = self.clocks.get(&status.name).map(clock).unwrap_or_default();
                status.large = LARGE.into_iter().filter_map(|size| large(peer, size)).collect();
                status.flows = Size::ALL.into_iter().flat_map(|(size, _)| flows(peer, size)).flatten().collect();
                status.echoes = echoes(peer, &status.name, network);
            }
        }
    }

    /// Who hears whom; `gap` is the threshold of an incident.
    pub(super) fn sights(&self, engine: &Engine, network: &Network, gap: Duration, now: Nanos) {
        let peers = network.peers().iter().map(|(name, _)| name.as_str());
        let matrix = Matrix::of(engine, &self.shared.identity.host, peers, gap, now);
        *self.shared.sights.write() = matrix;
    }

    pub(super) fn cpus(&self, mut cpus: Vec<CpuStatus>, watch: &CpuWatch) {
        for cpu in &mut cpus {
            cpu.watched = watch.watches(cpu.cpu);
        }
        *self.shared.cpus.write() = cpus;
        self.shared.counters.write().cpu_reports_refused = watch.refused();
    }

    pub(super) fn network(&self, network: NetworkStatus) {
        *self.shared.network.write() = network;
    }

    pub(super) fn refused(&self, (by_reason, overflow): (&BTreeMap<&'static str, u64>, u64)) {
        let mut counters = self.shared.counters.write();
        counters.socket_overflow = overflow;
        for (reason, count) in by_reason {
            // Without a new name for each turn.
            match counters.packets_refused.get_mut(*reason) {
                Some(known) => *known = *count,
                None => _ = counters.packets_refused.insert((*reason).to_owned(), *count),
            }
        }
    }

    /// What is seen at link level, and what does not work of it.
    pub(super) fn link(&self, link: &LinkWatch) {
        match link.notes() {
            [] => self.shared.restore("link"),
            notes => self.shared.degrade("link", notes.join("; ")),
        }
        let mut counters = self.shared.counters.write();
        for ((vip, owner), count) in &link.counters().claims {
            let of_vip = counters.vip_claims.entry(vip.to_string()).or_default();
            of_vip.insert(owner.clone(), *count);
        }
        let refused = link.counters().refused.iter();
        counters.link_refused = refused.map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
    }

    pub(super) fn stories(&self, engine: &Engine) {
        self.shared.counters.write().stories_refused = engine.stories().refused();
    }

    /// How late the turn that began at `at` was.
    pub(super) fn lateness(&self, at: Nanos, late: Duration) {
        let mut counters = self.shared.counters.write();
        counters.recent_lateness.note(at, late);
        record(counters.agent_late_us.get_or_insert_with(|| histogram(LONGEST_US)), late);
    }

    pub(super) fn incident(&self, incident: Arc<Incident>) {
        self.log(&incident);
        self.count(&incident);
        self.shared.incidents.write().put(Arc::clone(&incident));
        // Nobody may be listening.
        let _ = self.shared.changes.send(incident);
    }

    fn count(&self, incident: &Arc<Incident>) {
        let known = self.shared.incidents.read().open().any(|known| known.id == incident.id);
        let mut counters = self.shared.counters.write();
        counters.incidents_opened += u64::from(!known);
        if !known || counters.newest_incident.as_ref().is_some_and(|newest| newest.id == incident.id) {
            counters.newest_incident = Some(Arc::clone(incident));
        }
        if incident.state == State::Closed {
            let class = incident.verdict.class.name();
            *counters.incidents_closed.entry(class.to_owned()).or_default() += 1;
            let lengths = counters.incident_ms.entry(class.to_owned()).or_insert_with(|| histogram(LONGEST_MS));
            lengths.saturating_record(incident.duration_ms);
        }
    }

    /// The log says what is new: the opening, another class, the end; not every further piece of evidence.
    fn log(&self, incident: &Incident) {
        let (id, class, summary) = (&incident.id, incident.verdict.class, &incident.verdict.summary);
        if incident.state == State::Closed {
            tracing::info!(id, class = class.name(), duration_ms = incident.duration_ms, "closed: {summary}");
            return;
        }
        let known = self.shared.incidents.read().open().find(|known| known.id == *id).map(|known| known.verdict.class);
        if known != Some(class) {
            tracing::warn!(id, class = class.name(), provisional = incident.provisional, "open: {summary}");
        }
    }
}

fn status(name: String, addr: SocketAddr, role: &'static str) -> PeerStatus {
    PeerStatus {
        name,
        addr,
        role,
        up: None,
        left: false,
        last_heard_seconds: None,
        last_echo_seconds: None,
        clock: PeerClock::default(),
        sent: 0,
        received: 0,
        lost_from_peer: 0,
        lost_to_peer: None,
        path_mtu_bytes: None,
        large: Vec::new(),
        flows: Vec::new(),
        echoes: Vec::new(),
        rtt_us: histogram(LONGEST_US),
        gap_us: histogram(LONGEST_US),
        recent_gaps: Recent::default(),
    }
}

fn update(status: &mut PeerStatus, peer: &Peer, silent: bool, now: Nanos) {
    let heard = peer.last.as_ref().map(|last| now.since(last.at).as_secs_f64());
    let echo = peer.echo.last_reply.map(|at| now.since(at).as_secs_f64());
    match &peer.last {
        Some(last) if !peer.left => status.recent_gaps.note(now, now.since(last.at)),
        _ => status.recent_gaps.clear(),
    }
    status.left = peer.left;
    status.up = if status.role == "anchor" { peer.echo.lately(now) } else { heard.map(|_| !silent && !peer.left) };
    status.last_heard_seconds = heard;
    status.last_echo_seconds = echo;
    status.sent = peer.sent_seq;
    status.received = peer.received_total;
    status.lost_from_peer = peer.lost_from;
    status.lost_to_peer = peer.lost_to();
    status.path_mtu_bytes = peer.sizes.path_mtu(now);
}

fn clock(estimate: &ClockEstimate) -> PeerClock {
    let (offset, drift) = (estimate.offset(), estimate.drift());
    PeerClock {
        offset_seconds: offset.map(|offset| offset.value),
        offset_error_seconds: offset.map(|offset| offset.error),
        drift_ratio: drift.map(|drift| drift.value),
        drift_error_ratio: drift.map(|drift| drift.error),
    }
}

/// From the peer, and to it by its account. Absent where none came in.
fn flows(peer: &Peer, size: Size) -> [Option<FlowCounts>; 2] {
    let counts = |from_peer, report: FlowReport| {
        let FlowReport { duplicates, reordered, variation, .. } = report;
        let variation_seconds = variation.map(|variation| variation.as_secs_f64());
        FlowCounts { size: size.name(), from_peer, duplicates, reordered, variation_seconds }
    };
    let came_in = if size == Size::Small { peer.received_total > 0 } else { peer.large_from(size).is_some() };
    let flow = peer.flows[size.place()];
    let (duplicates, reordered, variation) = (flow.duplicates, flow.reordered, flow.variation());
    let from = came_in.then(|| counts(true, FlowReport { size, duplicates, reordered, variation }));
    [from, peer.flows_to[size.place()].map(|report| counts(false, report))]
}

/// Absent where none was sent.
fn echoes(peer: &Peer, name: &str, network: &Network) -> Vec<EchoCounts> {
    let counts = |size: Size, sent, answered| EchoCounts { size: size.name().into(), sent, answered };
    let small = (peer.echo.sent > 0).then(|| counts(Size::Small, peer.echo.sent, peer.echo.answered));
    let large = |size| network.large_echoes(name, size).map(|echoes| counts(size, echoes.sent, echoes.answered));
    small.into_iter().chain(LARGE.into_iter().filter_map(large)).collect()
}

/// Absent where none was exchanged.
fn large(peer: &Peer, size: Size) -> Option<LargeCounts> {
    let (track, from_peer) = (peer.sizes.track(size)?, peer.large_from(size));
    let counts = LargeCounts { size: size.name(), sent: track.sent, lost_to_peer: track.lost, from_peer };
    (track.sent > 0 || from_peer.is_some()).then_some(counts)
}

/// Two significant digits: enough to read, and 20 kB a histogram.
fn histogram(longest: u64) -> Histogram<u64> {
    Histogram::new_with_max(longest, 2).unwrap_or_else(|_| {
        // The bounds above are in the range that the crate allows, so this is never reached.
        Histogram::new_with_max(2, 1).unwrap_or_else(|_| unreachable!("2 and 1 are the smallest allowed bounds"))
    })
}

fn record(histogram: &mut Histogram<u64>, duration: Duration) {
    histogram.saturating_record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
}
