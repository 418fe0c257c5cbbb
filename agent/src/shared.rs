//! What the driver publishes and the readers (web, metrics, status) show. Written by the driver, the store and
//! discovery only.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::time::SystemTime;

use hdrhistogram::Histogram;
use lacuna_core::incident::{Incident, State};
use lacuna_core::rules::classes;
use lacuna_core::time::nanos;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::host::snmp::ProtocolCounters;
use crate::host::softnet::Softnet;
use crate::link_state::{Interface, Refused};
use crate::probes::{ProbeMetrics, ProbeStatus};
use crate::recent::Recent;
use crate::sights::Matrix;

/// Closed incidents that are kept in memory, for readers when the store is not usable.
pub const RECENT_INCIDENTS: usize = 256;

/// Changes of incidents that a slow listener may be behind before it loses the oldest.
pub const CHANGES: usize = 256;

/// How often a writer lets others run before it sleeps: some milliseconds.
const AWAKE: u32 = 10_000;

/// A lock whose poison is ignored: the values behind it are plain data, whole after every statement.
#[derive(Debug, Default)]
pub struct Cell<T>(RwLock<T>);

impl<T> Cell<T> {
    /// A cell with that content.
    pub fn new(value: T) -> Self {
        Self(RwLock::new(value))
    }

    /// To look at it.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To change it. Whoever waits for a reader stays awake for that long, since readers only copy: a sleeper may be woken on a
    /// CPU that stands still, which seems idle, and until that goes on nobody can move it.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        for _ in 0..AWAKE {
            match self.0.try_write() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        }
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running agent as its readers see it.
pub struct Shared {
    /// This host and how it is watched; set once.
    pub identity: Identity,
    /// Every peer and anchor, replaced as a whole on each turn of the driver.
    pub peers: Cell<Vec<PeerStatus>>,
    /// Who hears whom, replaced once a second.
    pub sights: Cell<Matrix>,
    /// This host's CPUs, replaced once a second.
    pub cpus: Cell<Vec<CpuStatus>>,
    /// What this host's kernel says of its network, replaced once a second.
    pub network: Cell<NetworkStatus>,
    /// What is wrong, by the part it is wrong with (`store`, `icmp`, `probes`); empty where all is well.
    pub degraded: Cell<BTreeMap<String, String>>,
    /// True once every probe is attached or has said why not and the sockets are open.
    pub ready: Cell<bool>,
    /// Why the main job cannot be done; absent where it can.
    pub failed: Cell<Option<String>>,
    /// Every probe and what became of it; set once.
    pub probes: Cell<Vec<ProbeStatus>>,
    /// Reads the kernel's histograms and counters at the moment of a scrape.
    pub probe_metrics: Option<Arc<dyn ProbeMetrics>>,
    /// Incidents that are open or recent.
    pub incidents: Cell<Book>,
    /// Each change of an incident, for server-sent events; slow readers lose the oldest.
    pub changes: broadcast::Sender<Arc<Incident>>,
    /// Figures of the agent itself.
    pub counters: Cell<Counters>,
}

impl Shared {
    /// An agent that just started: not ready, nothing seen.
    #[must_use]
    pub fn new(identity: Identity, probes: Vec<ProbeStatus>, probe_metrics: Option<Arc<dyn ProbeMetrics>>) -> Self {
        Self {
            identity,
            peers: Cell::default(),
            sights: Cell::default(),
            cpus: Cell::default(),
            network: Cell::default(),
            degraded: Cell::default(),
            ready: Cell::default(),
            failed: Cell::default(),
            probes: Cell::new(probes),
            probe_metrics,
            incidents: Cell::default(),
            changes: broadcast::channel(CHANGES).0,
            counters: Cell::new(Counters::from_zero()),
        }
    }

    /// Says that `part` does not do all it should, and why.
    pub fn degrade(&self, part: &str, because: String) {
        self.degraded.write().insert(part.to_owned(), because);
    }

    /// Takes back what [`Shared::degrade`] said of `part`.
    pub fn restore(&self, part: &str) {
        if self.degraded.read().contains_key(part) {
            self.degraded.write().remove(part);
        }
    }
}

/// This host and how it is watched.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// Its name.
    pub host: String,
    /// Its free labels.
    pub labels: BTreeMap<String, String>,
    /// Version of the agent.
    pub version: String,
    /// Kernel release.
    pub kernel: String,
    /// Boot id in hexadecimal.
    pub boot_id: String,
    /// Which start of the agent this is.
    pub incarnation: u64,
    /// When the agent started, RFC 3339.
    pub started_at: String,
}

/// One peer (or anchor) as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct PeerStatus {
    /// Its name.
    pub name: String,
    /// Where its heartbeats come from; an anchor has port 0.
    pub addr: SocketAddr,
    /// `peer` exchanges heartbeats, `anchor` only answers echo requests.
    pub role: &'static str,
    /// Whether it is heard; absent where it never was.
    pub up: Option<bool>,
    /// It said goodbye.
    pub left: bool,
    /// Seconds since its last heartbeat reached this kernel; absent where none did.
    pub last_heard_seconds: Option<f64>,
    /// Seconds since its kernel last answered an echo request; absent where it never did.
    pub last_echo_seconds: Option<f64>,
    /// How its clocks are beside this host's.
    #[serde(flatten)]
    pub clock: PeerClock,
    /// Heartbeats sent to it.
    pub sent: u64,
    /// Heartbeats received from it.
    pub received: u64,
    /// Heartbeats from it that did not arrive.
    pub lost_from_peer: u64,
    /// Heartbeats to it that did not arrive, by its own account; absent where it gave none.
    pub lost_to_peer: Option<u64>,
    /// What a router said of its MTU on the way to it, in bytes, while that holds; absent where none did.
    pub path_mtu_bytes: Option<u16>,
    /// Large heartbeats, by size.
    #[serde(skip)]
    pub large: Vec<LargeCounts>,
    /// How heartbeats came in, by size and direction.
    #[serde(skip)]
    pub flows: Vec<FlowCounts>,
    /// Echo requests, by size.
    #[serde(skip)]
    pub echoes: Vec<EchoCounts>,
    /// Round trips of heartbeats, in microseconds.
    #[serde(skip)]
    pub rtt_us: Histogram<u64>,
    /// Gaps between heartbeats, in microseconds.
    #[serde(skip)]
    pub gap_us: Histogram<u64>,
    /// The longest gaps of the last minutes, also one that goes on; empty for an anchor, and for a peer that left.
    #[serde(skip)]
    pub recent_gaps: Recent,
}

/// How the clocks of a peer are beside this host's. What is not known yet is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerClock {
    /// Its wall clock minus this one's, in seconds.
    #[serde(rename = "clock_offset_seconds", skip_serializing_if = "Option::is_none")]
    pub offset_seconds: Option<f64>,
    /// The true offset is no further from that than this.
    #[serde(rename = "clock_offset_error_seconds", skip_serializing_if = "Option::is_none")]
    pub offset_error_seconds: Option<f64>,
    /// By how much its boot clock gains on this one's, as a part of the time that passes (0.000 001 is one in a million).
    #[serde(rename = "clock_drift_ratio", skip_serializing_if = "Option::is_none")]
    pub drift_ratio: Option<f64>,
    /// The true drift, where it was steady for the last ten minutes, is no further from that than this.
    #[serde(rename = "clock_drift_error_ratio", skip_serializing_if = "Option::is_none")]
    pub drift_error_ratio: Option<f64>,
}

/// How heartbeats of one size came in, one way.
#[derive(Clone, Debug)]
pub struct FlowCounts {
    /// `small`, `mtu` or `fragmented`.
    pub size: &'static str,
    /// Whether they came from the peer; else they went to it, by its account.
    pub from_peer: bool,
    /// Came in again.
    pub duplicates: u64,
    /// Were overtaken by later ones.
    pub reordered: u64,
    /// How much the time on the way varies (RFC 3550, 6.4.1); absent before the second one.
    pub variation_seconds: Option<f64>,
}

/// Echo requests of one size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EchoCounts {
    /// `small`, `mtu` or `fragmented`.
    pub size: Cow<'static, str>,
    /// Sent.
    pub sent: u64,
    /// Answered whole.
    pub answered: u64,
}

/// Large heartbeats of one size. A figure that is not known is absent.
#[derive(Clone, Debug)]
pub struct LargeCounts {
    /// `mtu` or `fragmented`.
    pub size: &'static str,
    /// Sent to the peer.
    pub sent: u64,
    /// Of these lost, by its account.
    pub lost_to_peer: u64,
    /// Sent by the peer since the first that came in, and of these received.
    pub from_peer: Option<(u64, u64)>,
}

/// One CPU as it is now. A figure that could not be read is absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuStatus {
    /// Its number.
    pub cpu: u32,
    /// The part of the last second that it was not idle, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy: Option<f64>,
    /// Steal since boot, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steal_seconds_total: Option<f64>,
    /// A thread of the agent watches it; isolated CPUs are left alone, and their stalls are not seen.
    pub watched: bool,
}

/// This host's network as its kernel has it. A figure that could not be read is absent.
#[derive(Clone, Debug, Default)]
pub struct NetworkStatus {
    /// What the protocols count of themselves.
    pub protocols: ProtocolCounters,
    /// What happens between card and protocols.
    pub softnet: Option<Softnet>,
    /// The interfaces that are watched, at most [`crate::link_state::MAX_WATCHED`].
    pub interfaces: Vec<Interface>,
    /// What the watch of interfaces refused; absent where there is none.
    pub refused: Option<Refused>,
}

/// Figures of the agent itself; all count from its start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Incidents opened, by class (the final one once closed).
    pub incidents_closed: BTreeMap<String, u64>,
    /// Packets on the heartbeat port that were not accepted, by reason.
    pub packets_refused: BTreeMap<String, u64>,
    /// Claims of virtual addresses, by address and by whose they were: `self`, a peer's name, or `other`.
    pub vip_claims: BTreeMap<String, BTreeMap<String, u64>>,
    /// Frames of the link level that were not taken, by reason.
    pub link_refused: BTreeMap<String, u64>,
    /// Datagrams that the heartbeat socket's buffer had no room for (`SO_RXQ_OVFL`).
    pub socket_overflow: u64,
    /// Incident documents that the store did not take.
    pub store_refused: u64,
    /// Closed incidents that left the store early, since `store.max_size` was reached.
    pub store_evicted: u64,
    /// Evidence that the recorder had no room for.
    pub recorder_refused: u64,
    /// Requests on the control socket that were refused.
    pub control_refused: u64,
    /// Stalls of CPUs whose report found no room.
    pub cpu_reports_refused: u64,
    /// Where the peers come from.
    pub discovery: DiscoveryFigures,
    /// What became of traces; absent where there is no collector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<OtlpFigures>,
    /// Stories of peers and links of incidents that found no room.
    pub stories_refused: u64,
    /// The agent's longest lateness at its ticks in the last minutes.
    #[serde(skip_serializing_if = "Recent::is_empty")]
    pub recent_lateness: Recent,
    /// The agent's own lateness at its ticks, in microseconds.
    #[serde(skip)]
    pub agent_late_us: Option<Histogram<u64>>,
    /// Lengths of closed incidents in milliseconds, by class.
    #[serde(skip)]
    pub incident_ms: BTreeMap<String, Histogram<u64>>,
    /// Incidents that were opened.
    #[serde(skip)]
    pub incidents_opened: u64,
    /// What was last said of the newest of them.
    #[serde(skip)]
    pub newest_incident: Option<Arc<Incident>>,
    /// When the newest mark was noted, in milliseconds since 1970; absent where there is none.
    #[serde(skip)]
    pub newest_mark_ms: Option<i64>,
}

/// Where the peers come from, by source: `static`, `file`, `dns`; a source that is not configured is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiscoveryFigures {
    /// The peers that are watched.
    pub peers: BTreeMap<String, u64>,
    /// Times that a source could not be read or asked since the agent started.
    pub errors: BTreeMap<String, u64>,
    /// Entries that the sources have now and that are no peers, by reason.
    pub refused: BTreeMap<String, u64>,
}

/// What became of traces since the agent started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OtlpFigures {
    /// Whether the collector took the last request; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// Spans that the collector took.
    pub sent: u64,
    /// Spans that it refused.
    pub rejected: u64,
    /// Requests that nobody answered, or that may be taken later.
    pub failures: u64,
    /// Spans that wait on the disk.
    pub waiting_spans: u64,
    /// Bytes of the files that they wait in.
    pub waiting_bytes: u64,
    /// Spans that had to make room for newer ones.
    pub full: u64,
    /// Spans that the disk did not take.
    pub disk: u64,
    /// Spans in files that were damaged.
    pub damaged: u64,
    /// Versions of incidents that the thread had no time for.
    pub refused: u64,
}

/// Why packets on the heartbeat port are refused: by `Refusal::reason`, and what comes from no peer's address.
const REFUSALS: [&str; 12] = [
    "duplicate",
    "foreign-address",
    "foreign-name",
    "long",
    "magic",
    "name",
    "range",
    "replay",
    "short",
    "tag",
    "unproven",
    "version",
];

impl Counters {
    /// A class that can be concluded and was not is 0, and so is a reason to refuse a packet, so that a rate can be formed over the
    /// first one.
    fn from_zero() -> Self {
        let incidents_closed = classes().map(|class| (class.name().to_owned(), 0)).collect();
        let packets_refused = REFUSALS.map(|reason| (reason.to_owned(), 0)).into();
        Self { incidents_closed, packets_refused, ..Self::default() }
    }
}

/// Incidents that are open, and the last closed ones.
#[derive(Debug, Default)]
pub struct Book {
    open: BTreeMap<String, Arc<Incident>>,
    closed: VecDeque<Arc<Incident>>,
}

impl Book {
    /// Takes a new version of an incident; forgets the oldest closed one beyond [`RECENT_INCIDENTS`].
    pub fn put(&mut self, incident: Arc<Incident>) {
        if incident.state == State::Open {
            self.open.insert(incident.id.clone(), incident);
            return;
        }
        self.open.remove(&incident.id);
        self.closed.push_back(incident);
        if self.closed.len() > RECENT_INCIDENTS {
            self.closed.pop_front();
        }
    }

    /// All that it holds, oldest first; what goes on is as long as it is `now`.
    #[must_use]
    pub fn all(&self, now: SystemTime) -> Vec<Arc<Incident>> {
        let open = self.open.values().map(|incident| lengthened(incident, now));
        let mut all: Vec<_> = self.closed.iter().cloned().chain(open).collect();
        all.sort_by(|a, b| (&a.started_at, &a.id).cmp(&(&b.started_at, &b.id)));
        all
    }

    /// The open ones, by id.
    pub fn open(&self) -> impl Iterator<Item = &Arc<Incident>> {
        self.open.values()
    }
}

/// An open incident with its length until `now`, where it is not known to be over.
fn lengthened(incident: &Arc<Incident>, now: SystemTime) -> Arc<Incident> {
    if incident.ended_at.is_some() {
        return Arc::clone(incident);
    }
    let started = humantime::parse_rfc3339(&incident.started_at).ok();
    let length = started.and_then(|started| now.duration_since(started).ok());
    let mut longer = Incident::clone(incident);
    longer.duration_ms = length.map_or(longer.duration_ms, |length| nanos(length) / 1_000_000);
    Arc::new(longer)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// How often this thread went to sleep (`/proc/thread-self/status`).
    fn sleeps() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse().unwrap()
    }

    #[test]
    fn only_what_goes_on_becomes_longer() {
        let (goes_on, over) = (crate::samples::host_down(), crate::samples::numbered(1));
        let over = Incident { state: State::Open, ..over };
        let mut book = Book::default();
        for incident in [&goes_on, &over] {
            book.put(Arc::new(incident.clone()));
        }
        let lengths: BTreeMap<_, _> =
            book.all(crate::samples::now()).iter().map(|one| (one.id.clone(), one.duration_ms)).collect();
        assert_eq!(lengths[&goes_on.id], 42_000);
        assert_eq!(lengths[&over.id], over.duration_ms);
    }

    #[test]
    fn whoever_waits_for_a_reader_does_not_sleep() {
        let cell = Arc::new(Cell::new(0));
        // Others may keep the reader from its CPU for long; once is proof enough.
        let awake = (0..20).any(|_| {
            let (reading, begun) = std::sync::mpsc::channel();
            let of_reader = Arc::clone(&cell);
            let reader = std::thread::spawn(move || {
                let _guard = of_reader.read();
                reading.send(()).unwrap();
                let began = std::time::Instant::now();
                while began.elapsed() < Duration::from_millis(2) {}
            });
            begun.recv().unwrap();
            let before = sleeps();
            *cell.write() += 1;
            let slept = sleeps() - before;
            reader.join().unwrap();
            slept == 0
        });
        assert!(awake);
        assert!(*cell.read() > 0);
    }
}
