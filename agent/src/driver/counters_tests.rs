//! Counters of a kernel that is made up, as evidence.

use std::sync::Mutex;

use super::*;
use crate::config::{Config, Peer};
use crate::probes::{FragmentCount, Log2Histogram};
use crate::samples;

const PEER: &str = "10.0.0.7";
const OTHER: &str = "10.0.0.8";

/// What the kernel counted so far, and the sizes since the last look.
#[derive(Clone, Debug, Default)]
struct Counted {
    retransmits: Vec<(IpAddr, RetransmitCause, u64, u64)>,
    sizes: BTreeMap<(IpAddr, RetransmitCause), Sizes>,
    fragments: BTreeMap<(IpAddr, FragmentKind), FragmentCount>,
    heartbeats: Option<HeartbeatDrops>,
}

#[derive(Default)]
struct Kernel(Mutex<Counted>);

impl ProbeMetrics for Kernel {
    fn timer_lateness(&self) -> Option<Vec<(u32, Log2Histogram)>> {
        None
    }
    fn timer_gaps(&self) -> Option<Vec<(u32, Log2Histogram)>> {
        None
    }
    fn runqueue_delay(&self) -> Option<Vec<(u32, Log2Histogram)>> {
        None
    }
    fn retransmits(&self) -> Option<Vec<(IpAddr, RetransmitCause, u64, u64)>> {
        Some(self.0.lock().unwrap().retransmits.clone())
    }
    fn retransmit_sizes(&self) -> Option<BTreeMap<(IpAddr, RetransmitCause), Sizes>> {
        Some(std::mem::take(&mut self.0.lock().unwrap().sizes))
    }
    fn fragments(&self) -> Option<BTreeMap<(IpAddr, FragmentKind), FragmentCount>> {
        Some(self.0.lock().unwrap().fragments.clone())
    }
    fn watch_heartbeats(&self, peers: &[SocketAddr]) -> BTreeSet<SocketAddr> {
        peers.iter().copied().collect()
    }
    fn heartbeat_drops(&self) -> Option<HeartbeatDrops> {
        self.0.lock().unwrap().heartbeats.clone()
    }
    fn drops(&self) -> Option<Vec<(String, u64)>> {
        None
    }
    fn events_lost(&self) -> Option<u64> {
        None
    }
}

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

/// What the kernel counts, and what is made of it.
struct Story {
    kernel: Arc<Kernel>,
    counters: KernelCounters,
    network: Network,
    now: Nanos,
}

impl Story {
    fn begin(counted: &Counted) -> Self {
        let kernel = Arc::new(Kernel::default());
        let mut config = Config::without_file("me");
        config.peers = vec![Peer { name: "lb1".into(), addr: (ip(PEER), 9479).into() }];
        let network = Network::alone(&config);
        let counters = KernelCounters::new(Some(Arc::clone(&kernel) as Arc<dyn ProbeMetrics>));
        let mut story = Self { kernel, counters, network, now: Nanos(1) };
        assert_eq!(story.told(counted), [], "the first reading only begins to count");
        story
    }

    fn told(&mut self, counted: &Counted) -> Vec<(String, Fact)> {
        self.kernel.0.lock().unwrap().clone_from(counted);
        self.now = Nanos(self.now.0 + 1);
        let seen = self.counters.read("me", &self.network, self.now);
        seen.into_iter().map(|evidence| (evidence.host.to_string(), evidence.fact)).collect()
    }
}

fn sizes(smallest: u64, largest: u64) -> Sizes {
    Sizes { smallest, largest }
}

#[test]
fn sizes_are_of_what_was_lost_and_of_peers_only() {
    use RetransmitCause::{Fast, LossProbe, Syn, Timeout};
    let before = Counted { retransmits: vec![(ip(PEER), Timeout, 5, 0)], ..Counted::default() };
    let mut story = Story::begin(&before);
    let row = |cause, count| (ip(PEER), cause, count, 0);
    let now = Counted {
        retransmits: vec![row(Timeout, 7), row(Fast, 1), row(LossProbe, 4), row(Syn, 3), (ip(OTHER), Timeout, 9, 0)],
        sizes: [
            ((ip(PEER), Timeout), sizes(1300, 1400)),
            ((ip(PEER), Fast), sizes(1200, 1448)),
            ((ip(PEER), LossProbe), sizes(10, 10)),
            ((ip(OTHER), Timeout), sizes(1, 1)),
        ]
        .into(),
        ..Counted::default()
    };
    let told = story.told(&now);
    let of_sizes: Vec<_> = told.iter().filter(|(_, fact)| matches!(fact, Fact::RetransmitSizes { .. })).collect();
    let expected = ("lb1".to_owned(), Fact::RetransmitSizes { count: 3, smallest: 1200, largest: 1448 });
    assert_eq!(of_sizes, [&expected]);
    assert_eq!(told.len(), 5, "a fact for each of the four causes as well: {told:?}");
    assert_eq!(story.told(&now), [], "nothing grew");
}

#[test]
fn loss_probes_alone_tell_nothing_of_sizes() {
    let mut story = Story::begin(&Counted::default());
    let cause = RetransmitCause::LossProbe;
    let now = Counted {
        retransmits: vec![(ip(PEER), cause, 2, 0)],
        sizes: [((ip(PEER), cause), sizes(9, 9))].into(),
        ..Counted::default()
    };
    assert_eq!(story.told(&now), [("lb1".to_owned(), Fact::Retransmits { cause, count: 2, failed: 0 })]);
}

#[test]
fn fragments_that_did_not_get_through_are_told_of_the_peer() {
    use FragmentKind::{Expired, In, NeededIn, NeededOut, Out};
    let of = |address: &str, kind, count, mtu| ((ip(address), kind), FragmentCount { count, mtu });
    let before = Counted { fragments: [of(PEER, Expired, 4, None)].into(), ..Counted::default() };
    let mut story = Story::begin(&before);
    let now = Counted {
        fragments: [
            of(PEER, Out, 100, None),
            of(PEER, In, 100, None),
            of(PEER, Expired, 6, None),
            of(PEER, NeededIn, 1, Some(1280)),
            of(PEER, NeededOut, 3, None),
            of(OTHER, Expired, 9, None),
        ]
        .into(),
        ..Counted::default()
    };
    let expected = [
        Fact::Fragments { direction: Way::In, result: FragmentLoss::Expired, count: 2 },
        Fact::FragNeeded { direction: Way::Out, mtu: None, count: 3 },
        Fact::FragNeeded { direction: Way::In, mtu: Some(1280), count: 1 },
    ];
    assert_eq!(story.told(&now), expected.map(|fact| ("lb1".to_owned(), fact)));
    assert_eq!(story.told(&now), []);
}

#[test]
fn heartbeats_that_are_dropped_are_told_of_their_peer_once_they_are_counted() {
    let of = |address: &str, port: u16, way, count| {
        let peer: SocketAddr = (ip(address), port).into();
        ((peer, way, "NETFILTER_DROP".to_owned()), count)
    };
    let mut story = Story::begin(&Counted::default());
    story.counters.set_peers(&story.network);
    assert_eq!(story.told(&Counted::default()), [], "they cannot be counted");
    let none = Counted { heartbeats: Some(HeartbeatDrops::new()), ..Counted::default() };
    assert_eq!(story.told(&none), [("lb1".to_owned(), Fact::HeartbeatDropsCounted)]);
    let drops = [
        of(PEER, 9479, Way::In, 3),
        of(PEER, 9479, Way::Out, 1),
        of(PEER, 9480, Way::In, 8),
        of(OTHER, 9479, Way::In, 9),
    ];
    let now = Counted { heartbeats: Some(drops.into()), ..Counted::default() };
    let fact = |direction, count| Fact::HeartbeatDrops { direction, reason: "NETFILTER_DROP".into(), count };
    let expected = [fact(Way::In, 3), fact(Way::Out, 1)];
    assert_eq!(story.told(&now), expected.map(|fact| ("lb1".to_owned(), fact)));
    assert_eq!(story.told(&now), [], "nothing grew");
}

#[test]
fn what_was_sent_to_a_peer_before_it_joined_is_not_of_now() {
    let mut config = Config::without_file("db1");
    let mut network = Network::alone(&config);
    let mut counters = KernelCounters::new(samples::busy().probe_metrics.clone());
    counters.set_peers(&network);
    counters.read("db1", &network, Nanos(1));
    config.peers = vec![Peer { name: "lb1".into(), addr: "10.77.0.12:9479".parse().unwrap() }];
    network.set_peers(&config);
    counters.set_peers(&network);
    let seen = counters.read("db1", &network, Nanos(2));
    assert!(seen.iter().all(|evidence| &*evidence.host == "db1"), "{seen:?}");
    assert!(!counters.retransmits.is_empty(), "the kernel does count some");
    network.set_peers(&Config::without_file("db1"));
    counters.set_peers(&network);
    assert!(counters.retransmits.is_empty() && counters.fragments.is_empty(), "a peer that left is forgotten");
}
