//! Between namespaces that are joined by cables: they need the programs `ip` and `nft`, which guests do not have.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use lacuna::host::HostFiles;
use lacuna::host::snmp::ProtocolCounters;
use lacuna::link_state::{Around, InterfaceWatch};
use lacuna::probes::{FragmentKind, Probes, Sizes};
use lacuna_core::evidence::{Evidence, Fact, RetransmitCause};

use super::support::{Cable, FAR, NEAR, Namespace, Routed};
use super::{boot_clock, connect, metrics, to_far, wait_for, within};

/// The sizes of what was lost on the way to the far end, as the driver takes them.
fn lost_sizes(probes: &Probes) -> Option<Sizes> {
    let far: IpAddr = FAR.parse().unwrap();
    let all: BTreeMap<_, Sizes> = metrics(probes).retransmit_sizes().unwrap();
    let lost = all.into_iter().filter(|((address, cause), _)| {
        *address == far && !matches!(cause, RetransmitCause::Syn | RetransmitCause::LossProbe)
    });
    lost.map(|(_, sizes)| sizes).reduce(|one, other| Sizes {
        smallest: one.smallest.min(other.smallest),
        largest: one.largest.max(other.largest),
    })
}

#[test]
fn only_large_segments_are_sent_again_where_only_large_packets_are_lost() {
    let cable = Cable::new();
    let near = within(cable.near.inum());
    let (mut stream, _peer, port) = connect(&cable);
    stream.set_nodelay(true).unwrap();
    cable.far.drop_large(port, 1000);
    for _ in 0..5 {
        stream.write_all(&[7; 200]).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    stream.write_all(&[7; 20_000]).unwrap();
    let mut found = None;
    wait_for("lost segments", || {
        found = lost_sizes(&near);
        found.is_some()
    });
    let found = found.unwrap();
    // 20 bytes of IP, 32 of TCP with its timestamps.
    assert!(found.smallest + 52 > 1000 && found.largest <= 1448, "{found:?}");
}

#[test]
fn a_size_is_that_of_a_segment_although_many_are_sent_again_at_once() {
    let cable = Cable::new();
    let near = within(cable.near.inum());
    let (mut stream, mut peer, port) = connect(&cable);
    // A virtual cable carries segments by the dozen: one that is dropped is sent again as such in fast recovery.
    cable.far.drop_some(port, 5);
    let reader = thread::spawn(move || std::io::copy(&mut peer, &mut std::io::sink()).unwrap());
    stream.write_all(&vec![7; 8 << 20]).unwrap();
    drop(stream);
    assert_eq!(reader.join().unwrap(), 8 << 20);
    assert!(to_far(&near, |cause| cause == RetransmitCause::Fast).0 > 0);
    assert_eq!(lost_sizes(&near).map(|sizes| sizes.largest), Some(1448));
}

#[test]
fn small_segments_are_sent_again_where_all_packets_are_lost_and_a_window_forgets_the_one_before() {
    let cable = Cable::new();
    let near = within(cable.near.inum());
    let (mut stream, _peer, port) = connect(&cable);
    cable.far.drop_incoming(port);
    stream.write_all(&[7; 200]).unwrap();
    let mut found = None;
    wait_for("a lost segment", || {
        found = lost_sizes(&near);
        found.is_some()
    });
    assert_eq!(found, Some(Sizes { smallest: 200, largest: 200 }));
    assert!(to_far(&near, |cause| cause == RetransmitCause::LossProbe).0 > 0, "the first one asks whether it is lost");
    assert!(to_far(&near, |cause| cause == RetransmitCause::Timeout).0 > 0);
    // The time between two of them doubles, so the next one does not come at once.
    assert_eq!(lost_sizes(&near), None);
}

/// What the watch of the near end tells until something that `is` it is among it.
fn told(watch: &mut InterfaceWatch, around: &Around<'_>, what: &str, is: impl Fn(&Fact) -> bool) -> Vec<Evidence> {
    let mut all = Vec::new();
    wait_for(what, || {
        all.extend(watch.changes(around, boot_clock()));
        all.iter().any(|evidence: &Evidence| is(&evidence.fact))
    });
    all
}

fn peers() -> Vec<(String, SocketAddr)> {
    vec![("far".into(), SocketAddr::new(FAR.parse().unwrap(), 9479))]
}

/// A watch of the near end that has had its first look.
fn watch(cable: &Cable, around: &Around<'_>) -> InterfaceWatch {
    let mut watch = cable.near.within(|| InterfaceWatch::open(&[]).unwrap());
    assert_eq!(watch.changes(around, boot_clock()), [], "what is found at first is no change");
    assert_eq!(watch.counters(around, boot_clock()), []);
    assert_eq!(watch.watched().map(|interface| interface.name.as_str()).collect::<Vec<_>>(), ["eth0"]);
    watch
}

#[test]
fn a_carrier_an_mtu_and_an_address_that_change_are_evidence_of_this_host() {
    let cable = Cable::new();
    let peers = peers();
    let around = Around { host: "me", peers: &peers, gateway: None };
    let mut watch = watch(&cable, &around);
    let begin = boot_clock();

    cable.near.ip("link set eth0 mtu 1280");
    let mtu = Fact::MtuChanged { interface: "eth0".into(), before: 1500, now: 1280 };
    told(&mut watch, &around, "another MTU", |fact| *fact == mtu);

    cable.far.ip("link set eth0 down");
    let carrier = |up| Fact::Carrier { interface: "eth0".into(), up };
    let seen = told(&mut watch, &around, "a lost carrier", |fact| *fact == carrier(false));
    let lost = seen.iter().find(|evidence| evidence.fact == carrier(false)).unwrap();
    assert!(&*lost.host == "me" && lost.from <= lost.to && lost.to >= begin && lost.to <= boot_clock(), "{lost:?}");
    assert!(!watch.watched().next().unwrap().carrier);
    cable.far.ip("link set eth0 up");
    told(&mut watch, &around, "a carrier again", |fact| *fact == carrier(true));

    let address: IpAddr = "10.99.7.9".parse().unwrap();
    cable.near.ip("addr add 10.99.7.9/24 dev eth0");
    let changed = |added| Fact::AddressChanged { interface: "eth0".into(), address, added };
    told(&mut watch, &around, "an address", |fact| *fact == changed(true));
    cable.near.ip("addr del 10.99.7.9/24 dev eth0");
    told(&mut watch, &around, "an address that is gone", |fact| *fact == changed(false));

    cable.near.ip("link del eth0");
    told(&mut watch, &around, "an interface that is gone", |fact| *fact == carrier(false));
    assert_eq!((watch.watched().count(), watch.refused()), (0, Default::default()));
}

#[test]
fn another_link_layer_address_is_evidence_of_the_peer() {
    let cable = Cable::new();
    cable.near.ip(&format!("neigh replace {FAR} lladdr 02:00:00:00:00:01 dev eth0 nud reachable"));
    let peers = peers();
    let around = Around { host: "me", peers: &peers, gateway: Some("10.99.7.3".parse().unwrap()) };
    let mut watch = watch(&cable, &around);
    // Nobody's business: neither peer nor gateway.
    cable.near.ip("neigh replace 10.99.7.4 lladdr 02:00:00:00:00:04 dev eth0 nud reachable");
    cable.near.ip("neigh replace 10.99.7.4 lladdr 02:00:00:00:00:05 dev eth0 nud reachable");
    cable.near.ip(&format!("neigh replace {FAR} lladdr 02:00:00:00:00:02 dev eth0 nud reachable"));
    let seen = told(&mut watch, &around, "another neighbour", |fact| matches!(fact, Fact::NeighbourChanged { .. }));
    let seen: Vec<_> = seen.into_iter().map(|evidence| (evidence.host.to_string(), evidence.fact)).collect();
    let changed = Fact::NeighbourChanged {
        interface: "eth0".into(),
        address: FAR.parse().unwrap(),
        gateway: false,
        before: Some("02:00:00:00:00:01".into()),
        now: Some("02:00:00:00:00:02".into()),
    };
    assert_eq!(seen, [("far".to_owned(), changed)]);
}

#[test]
fn an_interface_that_is_not_configured_is_left_alone() {
    let cable = Cable::new();
    let around = Around { host: "me", peers: &[], gateway: None };
    let mut watch = cable.near.within(|| InterfaceWatch::open(&["eth7".to_owned()]).unwrap());
    watch.changes(&around, boot_clock());
    assert_eq!(watch.watched().count(), 0);
    cable.near.ip("link set eth0 mtu 1280");
    thread::sleep(Duration::from_millis(100));
    assert_eq!(watch.changes(&around, boot_clock()), []);
}

fn counters(namespace: &Namespace) -> ProtocolCounters {
    namespace.within(|| HostFiles::default().protocol_counters())
}

#[test]
fn a_large_ping_is_fragmented_and_expires_at_the_far_end_where_a_fragment_is_lost() {
    let cable = Cable::new();
    let (near, far) = (within(cable.near.inum()), within(cable.far.inum()));
    let count = |probes: &Probes, remote: &str, kind| {
        let found = metrics(probes).fragments().unwrap_or_default();
        found.get(&(remote.parse().unwrap(), kind)).map_or(0, |found| found.count)
    };
    let by = |probes: &Probes, hook: &str, count| if has(probes, hook) { count } else { 0 };

    assert!(cable.near.ping(FAR, 4000), "fragments pass");
    let (here, there) = (counters(&cable.near), counters(&cable.far));
    assert_eq!((here.fragmented, here.fragments_made), (Some(1), Some(3)), "the question");
    assert_eq!((here.fragments_received, here.reassembled), (Some(3), Some(1)), "the answer");
    assert_eq!((there.fragments_received, there.reassembly_timeouts), (Some(3), Some(0)));
    assert_eq!(count(&near, FAR, FragmentKind::Out), by(&near, "ip_do_fragment", 1));
    assert_eq!(count(&far, NEAR, FragmentKind::In), by(&far, "ip_defrag", 3));

    cable.far.within(|| std::fs::write("/proc/sys/net/ipv4/ipfrag_time", "1").unwrap());
    cable.far.drop_later_fragments();
    assert!(!cable.near.ping(FAR, 4000), "only the first fragment passes");
    wait_for("a reassembly that expires", || counters(&cable.far).reassembly_timeouts == Some(1));
    assert_eq!(counters(&cable.near).reassembly_timeouts, Some(0));
    assert_eq!(count(&far, NEAR, FragmentKind::Expired), by(&far, "ip_expire", 1));
}

/// Whether the hook is attached, in either form.
fn has(probes: &Probes, hook: &str) -> bool {
    probes.status.iter().any(|status| status.attached && status.hook.ends_with(&format!("/{hook}")))
}

#[test]
fn a_router_with_a_smaller_mtu_says_so_and_the_kernel_takes_it_for_the_path() {
    let routed = Routed::new(1300);
    let (near, router) = (within(routed.near.inum()), within(routed.router.inum()));
    let peers = vec![("far".to_owned(), SocketAddr::new(Routed::FAR.parse().unwrap(), 9479))];
    let around = Around { host: "me", peers: &peers, gateway: None };
    let mut watch = routed.near.within(|| InterfaceWatch::open(&[]).unwrap());
    watch.changes(&around, boot_clock());
    assert_eq!(watch.counters(&around, boot_clock()), []);

    routed.near.within(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        // What fits the interface must not be fragmented: so it is by default (`IP_PMTUDISC_WANT`).
        socket.send_to(&[7; 1400], (Routed::FAR, 9)).unwrap();
    });
    let learned = Fact::PathMtu { before: None, now: Some(1300) };
    let mut seen = Vec::new();
    wait_for("another path MTU", || {
        watch.suspect_path_mtu(&around);
        seen.extend(watch.counters(&around, boot_clock()));
        seen.iter().any(|evidence: &Evidence| evidence.fact == learned)
    });
    assert!(seen.iter().all(|evidence| &*evidence.host == "far"), "{seen:?}");

    let count = |probes: &Probes, remote: &str, kind| {
        let remote: IpAddr = remote.parse().unwrap();
        let found = metrics(probes).fragments().unwrap_or_default();
        found.get(&(remote, kind)).map(|found| (found.count, found.mtu))
    };
    let told = has(&router, "icmp_send").then_some((1, None));
    assert_eq!(count(&router, NEAR, FragmentKind::NeededOut), told, "whom the router told");
    let drops = metrics(&router).drops().unwrap();
    assert!(drops.iter().any(|(reason, count)| reason == "PKT_TOO_BIG" && *count == 1), "{drops:?}");
    let was_told = has(&near, "icmp_unreach").then_some((1, Some(1300)));
    assert_eq!(count(&near, Routed::FAR, FragmentKind::NeededIn), was_told, "what the near end was told");
    assert_eq!(count(&near, Routed::FAR, FragmentKind::NeededOut), None);
}
