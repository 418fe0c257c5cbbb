//! Fragments: what the kernel counts of itself on every kernel, and what the probes add where they can be had.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lacuna::driver::OwnNetwork;
use lacuna::host::HostFiles;
use lacuna::host::snmp::ProtocolCounters;
use lacuna::link_state::Around;
use lacuna::probes::{FragmentKind, Options, Probes};
use lacuna_core::evidence::{Fact, FragmentLoss, Way};
use lacuna_core::time::Nanos;
use pnet_packet::icmp::{IcmpPacket, checksum};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::support::island::Island;
use super::{QUIET, metrics, probes, wait_for, within};

const HERE: &str = "127.0.0.1";
const HERE6: &str = "::1";
/// What the loopback of the island takes; the least that IPv6 allows.
const MTU: u32 = 1280;

fn counters(island: &Island) -> ProtocolCounters {
    island.within(|| HostFiles::default().protocol_counters())
}

/// Whether the hook is attached, in either form. Where it is not, it has to say what counts instead.
fn has(probes: &Probes, hook: &str) -> bool {
    let named = |status: &&lacuna::probes::ProbeStatus| status.hook.rsplit('/').next() == Some(hook);
    let status = probes.status.iter().find(named).unwrap_or_else(|| panic!("{hook} is not told of"));
    if !status.attached {
        assert!(status.because.is_some() && status.instead.is_some(), "{status:?}");
        eprintln!("{hook}: {}", status.instead.as_deref().unwrap());
    }
    status.attached
}

fn of_remote(probes: &Probes, remote: &str, kind: FragmentKind) -> u64 {
    let remote: IpAddr = remote.parse().unwrap();
    metrics(probes).fragments().unwrap_or_default().get(&(remote, kind)).map_or(0, |found| found.count)
}

/// A large datagram of the island to itself: by the kernel's counters, and by the hooks that there are.
fn check_large(address: &'static str, out: &str, come_in: &str) {
    let island = Island::new(MTU);
    let probes = within(island.inum());
    check_counts(&island, &probes, address, out, come_in);
}

fn check_counts(island: &Island, probes: &Probes, address: &'static str, out: &str, come_in: &str) {
    let before = counters(island);
    island.talk_to_itself(address, 100);
    assert_eq!(counters(island).fragments_made, before.fragments_made, "a small one is not fragmented");
    island.talk_to_itself(address, 4000);
    let now = counters(island);
    let grown = |of: fn(&ProtocolCounters) -> Option<u64>| of(&now).unwrap() - of(&before).unwrap();
    assert_eq!((grown(|it| it.fragmented), grown(|it| it.reassembled)), (1, 1), "{now:?}");
    assert_eq!((grown(|it| it.fragments_made), grown(|it| it.fragments_received)), (4, 4), "{now:?}");
    assert_eq!((grown(|it| it.fragment_fails), grown(|it| it.reassembly_fails)), (0, 0), "{now:?}");
    for (hook, kind, count) in [(out, FragmentKind::Out, 1), (come_in, FragmentKind::In, 4)] {
        let expected = if has(probes, hook) { count } else { 0 };
        assert_eq!(of_remote(probes, address, kind), expected, "{hook}");
    }
}

#[test]
fn a_large_datagram_is_fragmented_and_put_together() {
    check_large(HERE, "ip_do_fragment", "ip_defrag");
}

#[test]
fn a_large_datagram_of_ipv6_is_fragmented_and_put_together() {
    check_large(HERE6, "ip6_fragment", "ipv6_frag_rcv");
}

#[test]
fn kprobes_count_the_same_where_there_is_no_fentry() {
    let island = Island::new(MTU);
    let probes = probes(&Options { netns_inum: island.inum(), fentry: false, ..QUIET });
    assert!(probes.status.iter().all(|status| !status.attached || !status.hook.starts_with("fentry/")));
    let functions = probes.status.iter().filter(|status| status.hook.starts_with("kprobe/")).count();
    let perf = std::path::Path::new("/sys/bus/event_source/devices/kprobe/type");
    assert_eq!(functions, if perf.exists() { 9 } else { 0 }, "{:#?}", probes.status);
    check_counts(&island, &probes, HERE, "ip_do_fragment", "ip_defrag");
    check_counts(&island, &probes, HERE6, "ip6_fragment", "ipv6_frag_rcv");
    island.set("net/ipv4/ipfrag_time", "1");
    let first = [header(MORE_FRAGMENTS, UDP), vec![7; 64]].concat();
    raw(&island, Domain::IPV4, WITH_HEADER).send_to(&first, &here()).unwrap();
    wait_for("a reassembly that expires", || counters(&island).reassembly_timeouts == Some(1));
    assert_eq!(of_remote(&probes, HERE, FragmentKind::Expired), u64::from(has(&probes, "ip_expire")));
}

#[test]
fn fragments_of_another_namespace_are_not_counted() {
    let (island, other) = (Island::new(MTU), Island::new(MTU));
    let probes = within(other.inum());
    island.talk_to_itself(HERE, 4000);
    island.talk_to_itself(HERE6, 4000);
    assert_eq!(metrics(&probes).fragments().unwrap_or_default(), [].into());
    assert_eq!(counters(&other).fragments_made, Some(0));
}

/// A raw socket of the island, by which a packet with its IP header is sent to itself.
fn raw(island: &Island, domain: Domain, protocol: i32) -> Socket {
    island.within(move || Socket::new(domain, Type::RAW, Some(Protocol::from(protocol))).unwrap())
}

/// An IPv4 header from and to the island itself (RFC 791); the kernel fills in length and checksum.
fn header(flags_and_offset: u16, protocol: u8) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 0, 0, 7];
    header.extend(flags_and_offset.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(Ipv4Addr::LOCALHOST.octets());
    header.extend(Ipv4Addr::LOCALHOST.octets());
    header
}

fn here() -> SockAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()
}

/// `IPPROTO_RAW`: the packet has its IP header.
const WITH_HEADER: i32 = 255;
const UDP: u8 = 17;
const MORE_FRAGMENTS: u16 = 0x2000;
const DONT_FRAGMENT: u16 = 0x4000;

#[test]
fn a_datagram_whose_fragments_do_not_all_come_expires() {
    const NOBODY: Around<'_> = Around { host: "me", peers: &[], gateway: None };
    let island = Island::new(MTU);
    island.set("net/ipv4/ipfrag_time", "1");
    let probes = within(island.inum());
    let network = island.within(|| {
        let mut network = OwnNetwork::new(HostFiles::default(), None);
        assert_eq!(network.counters(&NOBODY, Nanos(1)), []);
        network
    });
    let first = [header(MORE_FRAGMENTS, UDP), vec![7; 64]].concat();
    raw(&island, Domain::IPV4, WITH_HEADER).send_to(&first, &here()).unwrap();
    wait_for("a reassembly that expires", || counters(&island).reassembly_timeouts == Some(1));
    let mut network = network;
    let told = island.within(move || network.counters(&NOBODY, Nanos(2)));
    let told: Vec<_> = told.into_iter().map(|evidence| evidence.fact).collect();
    assert_eq!(told, [Fact::Fragments { direction: Way::In, result: FragmentLoss::Expired, count: 1 }]);
    let expected = u64::from(has(&probes, "ip_expire"));
    assert_eq!(of_remote(&probes, HERE, FragmentKind::Expired), expected);
}

/// The begin of a datagram that was too big, as an ICMP message quotes it.
fn quoted() -> Vec<u8> {
    [header(DONT_FRAGMENT, UDP), vec![0; 8]].concat()
}

#[test]
fn that_a_packet_was_too_big_is_counted_with_the_mtu() {
    let island = Island::new(MTU);
    let probes = within(island.inum());
    let send = |code: u8| {
        let mut message = vec![3, code, 0, 0, 0, 0];
        message.extend(1000_u16.to_be_bytes());
        message.extend(quoted());
        let sum = checksum(&IcmpPacket::new(&message).unwrap());
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        raw(&island, Domain::IPV4, 1).send_to(&message, &here()).unwrap();
    };
    send(3);
    send(4);
    wait_for("both messages", || counters(&island).unreachable_received == Some(2));
    if !has(&probes, "icmp_unreach") {
        return;
    }
    let found = metrics(&probes).fragments().unwrap();
    let of_here = found[&(HERE.parse().unwrap(), FragmentKind::NeededIn)];
    assert_eq!((of_here.count, of_here.mtu), (1, Some(1000)), "an unreachable port is no black hole");
    assert_eq!(metrics(&probes).fragment_total(FragmentKind::NeededIn), Some(1));
}

#[test]
fn that_a_packet_of_ipv6_was_too_big_is_counted() {
    let island = Island::new(MTU);
    let probes = within(island.inum());
    let mut message = vec![2, 0, 0, 0];
    message.extend(1300_u32.to_be_bytes());
    // The header of the packet that was too big (RFC 8200): version, length, UDP, hop limit, source, destination.
    message.extend([0x60, 0, 0, 0, 0, 8, UDP, 64]);
    message.extend(Ipv6Addr::LOCALHOST.octets());
    message.extend(Ipv6Addr::LOCALHOST.octets());
    message.extend([0; 8]);
    let here = SocketAddr::from((Ipv6Addr::LOCALHOST, 0)).into();
    raw(&island, Domain::IPV6, 58).send_to(&message, &here).unwrap();
    wait_for("the message", || counters(&island).too_big_received == Some(1));
    let expected = u64::from(has(&probes, "icmpv6_notify"));
    assert_eq!(of_remote(&probes, HERE6, FragmentKind::NeededIn), expected);
}
