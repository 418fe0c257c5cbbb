//! Values that the tests of several modules share; the same files feed the tests of the commands.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hdrhistogram::Histogram;
use lacuna_core::evidence::{InterfaceTrouble, RetransmitCause};
use lacuna_core::incident::{Class, Incident};
use lacuna_core::recurrence::{self, History, Mark, Occurrence, Report, Watched, Window};
use lacuna_core::time::{Nanos, nanos};

use crate::host::snmp::ProtocolCounters;
use crate::host::softnet::Softnet;
use crate::link_state::{Interface, Refused};
use crate::probes::{FragmentCount, FragmentKind, Log2Histogram, ProbeMetrics, ProbeStatus};
use crate::recent::{Recent, SLOT, SLOTS};
use crate::shared::{
    Cell, Counters, CpuStatus, DiscoveryFigures, EchoCounts, FlowCounts, Identity, LargeCounts, NetworkStatus,
    OtlpFigures, PeerClock, PeerStatus, Shared,
};

const HOUR_MS: i64 = 3_600_000;

/// A closed incident with evidence, rulings and a witness.
pub(crate) fn path_drop() -> Incident {
    serde_json::from_str(include_str!("../tests/data/path-drop.json")).unwrap()
}

/// An open, provisional incident that came back twice.
pub(crate) fn host_down() -> Incident {
    serde_json::from_str(include_str!("../tests/data/host-down.json")).unwrap()
}

/// What came back in ten hours that were watched, with a change of that text after six.
pub(crate) fn recurred(incidents: Vec<Occurrence>, mark: Option<&str>) -> Report {
    let watched = Watched { host: "db1".into(), boot_id: "7c".into(), booted_ms: 0, from_ms: 0, to_ms: 10 * HOUR_MS };
    let history = History { watched: vec![watched], incidents };
    let marks: Vec<Mark> = mark.map(|text| Mark { id: 1, at_ms: 6 * HOUR_MS, text: text.into() }).into_iter().collect();
    recurrence::report(&history, Window { since_ms: 0, until_ms: 12 * HOUR_MS }, marks.first(), &marks)
}

/// That of `subject` on db1 in that hour, for 15 s.
pub(crate) fn occurrence(class: Class, subject: &str, hour: i64) -> Occurrence {
    let (subject, host, started_ms) = (subject.into(), Some("db1".into()), hour * HOUR_MS);
    Occurrence { class, subject, host, started_ms, ended_ms: Some(started_ms + 15_000), times: 1, peer: None }
}

/// When somebody looks at the samples: 42 s after the open one began.
pub(crate) fn now() -> std::time::SystemTime {
    humantime::parse_rfc3339(&host_down().started_at).unwrap() + std::time::Duration::from_secs(42)
}

/// Closed incident number `i`: one a minute.
pub(crate) fn numbered(i: u32) -> Incident {
    let at = |seconds: u32| {
        let since = std::time::Duration::from_secs(1_795_000_000 + u64::from(i * 60 + seconds));
        humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since).to_string()
    };
    Incident { id: format!("id-{i:06}"), started_at: at(0), ended_at: Some(at(15)), ..path_drop() }
}

/// A running agent without probes.
pub(crate) fn shared() -> Arc<Shared> {
    let identity = Identity {
        host: "db1".into(),
        version: "0.1.0".into(),
        kernel: "6.18.0".into(),
        boot_id: "0123456789abcdef0123456789abcdef".into(),
        incarnation: 7,
        started_at: "2026-11-22T20:00:00.000Z".into(),
        ..Identity::default()
    };
    Arc::new(Shared::new(identity, Vec::new(), None))
}

/// A running agent with two peers, an anchor, an open incident, and probes of which one is blind.
pub(crate) fn busy() -> Arc<Shared> {
    let probe = |probe: &str, hook: &str, because: Option<&str>| ProbeStatus {
        probe: probe.into(),
        hook: hook.into(),
        attached: because.is_none(),
        because: because.map(str::to_owned),
        instead: None,
    };
    let probes = vec![
        probe("sched", "raw_tp/sched_switch", None),
        probe("tcp", "tp_btf/tcp_retransmit_skb", Some("no BTF in this kernel")),
    ];
    let metrics: Arc<dyn ProbeMetrics> = Arc::new(Kernel);
    let mut shared = Shared::new(shared().identity.clone(), probes, Some(metrics));
    *shared.peers.write() = vec![heard("lb1"), unheard("lb2"), anchor()];
    *shared.cpus.write() = vec![
        CpuStatus { cpu: 0, busy: Some(0.25), steal_seconds_total: Some(12.5), watched: true },
        CpuStatus { cpu: 1, ..CpuStatus::default() },
    ];
    shared.degrade("probes", "not attached: tcp (tp_btf/tcp_retransmit_skb)".into());
    shared.degrade("store", "the store is read-only".into());
    *shared.network.write() = network();
    *shared.ready.write() = true;
    shared.incidents.write().put(Arc::new(host_down()));
    shared.incidents.write().put(Arc::new(path_drop()));
    shared.counters = Cell::new(counters());
    Arc::new(shared)
}

/// A host without IPv6 whose kernel is too old to count window probes, with one interface.
fn network() -> NetworkStatus {
    let protocols = ProtocolCounters {
        fragmented: Some(5),
        fragments_made: Some(10),
        fragment_fails: Some(1),
        reassembly_fails: Some(3),
        reassembly_timeouts: Some(2),
        zero_windows_told: Some(4),
        receive_overflows: Some(6),
        ..ProtocolCounters::default()
    };
    let trouble = [(InterfaceTrouble::RxErrors, 0), (InterfaceTrouble::QueueDropped, 7)].into();
    let interface = Interface { name: "eth0".into(), carrier: true, mtu: Some(1500), trouble };
    NetworkStatus {
        protocols,
        softnet: Some(Softnet { dropped: 0, squeezed: 12 }),
        interfaces: vec![interface],
        refused: Some(Refused::default()),
    }
}

fn counters() -> Counters {
    let mut lengths = Histogram::new(3).unwrap();
    lengths.record(15_840).unwrap();
    Counters {
        incidents_closed: [("path-drop".into(), 1), ("host-down".into(), 0)].into(),
        packets_refused: [("version".into(), 3)].into(),
        vip_claims: [("10.77.0.100".into(), [("self".into(), 40), ("lb1".into(), 2)].into())].into(),
        link_refused: [("short".into(), 1)].into(),
        agent_late_us: Some(histogram(&[120, 90])),
        recent_lateness: recent(|slot| if slot == 50 { 400 } else { 1 }),
        incident_ms: [("path-drop".into(), lengths)].into(),
        otlp: Some(OtlpFigures {
            up: Some(true),
            sent: 41,
            waiting_spans: 3,
            waiting_bytes: 900,
            ..OtlpFigures::default()
        }),
        incidents_opened: 2,
        newest_incident: Some(Arc::new(host_down())),
        newest_mark_ms: Some(1_795_000_000_500),
        discovery: DiscoveryFigures {
            peers: [("static".into(), 1), ("file".into(), 1), ("dns".into(), 0)].into(),
            errors: [("file".into(), 0), ("dns".into(), 2)].into(),
            refused: [("duplicate".into(), 1)].into(),
        },
        ..Counters::default()
    }
}

fn histogram(us: &[u64]) -> Histogram<u64> {
    let mut histogram = Histogram::new(3).unwrap();
    for value in us {
        histogram.record(*value).unwrap();
    }
    histogram
}

fn heard(name: &str) -> PeerStatus {
    PeerStatus {
        large: vec![LargeCounts { size: "mtu", sent: 100, lost_to_peer: 3, from_peer: Some((90, 88)) }],
        flows: vec![flow("small", true, 4), flow("small", false, 2), flow("mtu", true, 0)],
        echoes: [("small", 99), ("mtu", 9)].into_iter().map(echoes).collect(),
        name: name.into(),
        addr: "10.77.0.12:9479".parse().unwrap(),
        role: "peer",
        up: Some(true),
        left: false,
        last_heard_seconds: Some(0.04),
        last_echo_seconds: Some(0.7),
        clock: PeerClock {
            offset_seconds: Some(-0.0125),
            offset_error_seconds: Some(0.000_09),
            drift_ratio: Some(12.5e-6),
            drift_error_ratio: Some(0.4e-6),
        },
        sent: 1000,
        received: 838,
        lost_from_peer: 158,
        lost_to_peer: Some(160),
        path_mtu_bytes: Some(1400),
        rtt_us: histogram(&[180, 210, 240]),
        gap_us: histogram(&[100_000, 15_840_000]),
        recent_gaps: recent(|slot| if slot == 40 { 15_840 } else { 100 + slot }),
    }
}

/// Five minutes with so many milliseconds in each slot.
fn recent(ms: impl Fn(u64) -> u64) -> Recent {
    let mut recent = Recent::default();
    for slot in 0..u64::try_from(SLOTS).unwrap() {
        recent.note(Nanos((slot + 1) * nanos(SLOT) - 1), std::time::Duration::from_millis(ms(slot)));
    }
    recent
}

fn flow(size: &'static str, from_peer: bool, duplicates: u64) -> FlowCounts {
    FlowCounts { size, from_peer, duplicates, reordered: 1, variation_seconds: Some(0.000_035) }
}

fn echoes((size, answered): (&'static str, u64)) -> EchoCounts {
    EchoCounts { size: size.into(), sent: answered + 1, answered }
}

fn unheard(name: &str) -> PeerStatus {
    PeerStatus {
        name: name.into(),
        addr: "10.77.0.13:9479".parse().unwrap(),
        up: None,
        last_heard_seconds: None,
        last_echo_seconds: None,
        clock: PeerClock::default(),
        large: Vec::new(),
        flows: Vec::new(),
        echoes: Vec::new(),
        received: 0,
        lost_from_peer: 0,
        lost_to_peer: None,
        path_mtu_bytes: None,
        rtt_us: histogram(&[]),
        gap_us: histogram(&[]),
        recent_gaps: Recent::default(),
        ..heard(name)
    }
}

fn anchor() -> PeerStatus {
    PeerStatus { name: "gateway".into(), addr: "10.77.0.1:0".parse().unwrap(), role: "anchor", ..unheard("gateway") }
}

/// A kernel that measures lateness and retransmits and nothing else.
struct Kernel;

impl ProbeMetrics for Kernel {
    fn timer_lateness(&self) -> Option<Vec<(u32, Log2Histogram)>> {
        let mut counts = vec![0; 64];
        (counts[11], counts[31]) = (1000, 1);
        let sum_seconds = 3.25;
        Some(vec![(0, Log2Histogram { counts, sum_seconds })])
    }
    fn timer_gaps(&self) -> Option<Vec<(u32, Log2Histogram)>> {
        None
    }
    fn runqueue_delay(&self) -> Option<Vec<(u32, Log2Histogram)>> {
        None
    }
    fn retransmits(&self) -> Option<Vec<(IpAddr, RetransmitCause, u64, u64)>> {
        let to = |ip: &str| ip.parse().unwrap();
        Some(vec![
            (to("10.77.0.12"), RetransmitCause::Timeout, 12, 1),
            (to("::ffff:10.77.0.12"), RetransmitCause::Timeout, 1, 0),
            (to("192.0.2.7"), RetransmitCause::Syn, 2, 0),
            (to("192.0.2.8"), RetransmitCause::Syn, 3, 0),
        ])
    }
    fn retransmit_failures_told(&self) -> bool {
        true
    }
    fn fragments(&self) -> Option<BTreeMap<(IpAddr, FragmentKind), FragmentCount>> {
        let of_peer = |kind, count| (("10.77.0.12".parse().unwrap(), kind), FragmentCount { count, mtu: None });
        Some([of_peer(FragmentKind::Out, 5), of_peer(FragmentKind::NeededIn, 1)].into())
    }
    fn fragment_total(&self, kind: FragmentKind) -> Option<u64> {
        (kind == FragmentKind::NeededIn).then_some(1)
    }
    fn drops(&self) -> Option<Vec<(String, u64)>> {
        None
    }
    fn events_lost(&self) -> Option<u64> {
        Some(0)
    }
}
