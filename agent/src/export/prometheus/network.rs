//! What this host's kernel counts of its network.

use std::collections::BTreeMap;
use std::fmt;

use super::families::{Families, Labels, labels};
use super::peer_of;
use crate::host::snmp::ProtocolCounters;
use crate::link_state::Interface;
use crate::probes::{FragmentKind, ProbeMetrics};
use crate::shared::{NetworkStatus, PeerStatus};

/// What was read of the network, with what the probes tell of fragments where there are any.
pub(super) fn network(
    out: &mut Families<'_>,
    status: &NetworkStatus,
    kernel: Option<&dyn ProbeMetrics>,
    peers: &[PeerStatus],
) -> fmt::Result {
    fragments(out, &status.protocols)?;
    protocols(out, &status.protocols, kernel)?;
    fragments_of_peers(out, kernel, peers)?;
    interfaces(out, &status.interfaces)?;
    let one = |count: Option<u64>| count.map(|count| (labels([]), count));
    out.counters(
        "lacuna_softnet_drops",
        "Packets of the whole kernel that the backlog of their CPU had no room for",
        one(status.softnet.map(|softnet| softnet.dropped)),
    )?;
    out.counters(
        "lacuna_softnet_squeezes",
        "Times that a CPU of the whole kernel stopped with packets left, as its time or budget was used up",
        one(status.softnet.map(|softnet| softnet.squeezed)),
    )?;
    let refused = status.refused.iter();
    out.counters(
        "lacuna_netlink_refused",
        "Messages of the kernel about interfaces that were not understood, and times that there were too many of them",
        refused.flat_map(|it| [("not-understood", it.messages), ("overflow", it.overflows)].map(by("reason"))),
    )?;
    out.gauges(
        "lacuna_interfaces_unwatched",
        "Interfaces beyond the most that are watched",
        status.refused.map(|it| (labels([]), it.interfaces as f64)),
    )
}

/// Turns a value of the label and a figure into a sample.
fn by<V>(label: &'static str) -> impl Fn((&str, V)) -> (Labels, V) {
    move |(value, figure)| (labels([(label, value)]), figure)
}

fn fragments(out: &mut Families<'_>, counters: &ProtocolCounters) -> fmt::Result {
    let expired = counters.reassembly_timeouts;
    // The kernel counts those that expired among those that failed.
    let failed = || Some(counters.reassembly_fails?.saturating_sub(expired?));
    let all = [
        ("out", "fragmented", counters.fragmented),
        ("out", "created", counters.fragments_made),
        ("out", "failed", counters.fragment_fails),
        ("in", "received", counters.fragments_received),
        ("in", "reassembled", counters.reassembled),
        ("in", "failed", failed()),
        ("in", "expired", expired),
    ];
    out.counters(
        "lacuna_ip_fragments",
        "Fragments that were created and received, and datagrams that were fragmented and reassembled, or were not",
        all.into_iter().filter_map(|(direction, result, count)| {
            Some((labels([("direction", direction), ("result", result)]), count?))
        }),
    )
}

fn protocols(out: &mut Families<'_>, counters: &ProtocolCounters, kernel: Option<&dyn ProbeMetrics>) -> fmt::Result {
    let sides = |out: Option<u64>, come_in: Option<u64>| {
        let all = [("out", out), ("in", come_in)].into_iter();
        all.filter_map(|(direction, count)| Some(by("direction")((direction, count?))))
    };
    out.counters(
        "lacuna_tcp_zero_windows",
        "Out: times that TCP began to say that it has no room; in: times that it asked a peer which had said so",
        sides(counters.zero_windows_told, counters.window_probes),
    )?;
    out.counters(
        "lacuna_udp_receive_overflows",
        "Datagrams that found no room in the buffers of UDP sockets",
        counters.receive_overflows.map(|count| (labels([]), count)),
    )?;
    out.counters(
        "lacuna_icmp_frag_needed",
        "ICMP messages that a packet is too big, in and out; absent where those of IPv4 cannot be told from others",
        sides(
            frag_needed(kernel, FragmentKind::NeededOut, counters.too_big_sent),
            frag_needed(kernel, FragmentKind::NeededIn, counters.too_big_received),
        ),
    )
}

/// IPv4 by the probes, IPv6 by them as well or by the kernel's own counter.
fn frag_needed(kernel: Option<&dyn ProbeMetrics>, kind: FragmentKind, ipv6: Option<u64>) -> Option<u64> {
    let kernel = kernel?;
    let total = kernel.fragment_total(kind)?;
    Some(if kernel.counts_ipv6(kind) { total } else { total.saturating_add(ipv6.unwrap_or(0)) })
}

fn fragments_of_peers(out: &mut Families<'_>, kernel: Option<&dyn ProbeMetrics>, peers: &[PeerStatus]) -> fmt::Result {
    let found = kernel.and_then(ProbeMetrics::fragments).unwrap_or_default();
    let mut sums = BTreeMap::<_, u64>::new();
    for ((address, kind), found) in found {
        let (direction, result) = match kind {
            FragmentKind::Out => ("out", "fragmented"),
            FragmentKind::In => ("in", "received"),
            FragmentKind::Expired => ("in", "expired"),
            FragmentKind::NeededIn | FragmentKind::NeededOut => continue,
        };
        let key = labels([("peer", peer_of(address, peers)), ("direction", direction), ("result", result)]);
        let sum = sums.entry(key).or_default();
        *sum = sum.saturating_add(found.count);
    }
    out.counters(
        "lacuna_peer_fragments",
        "Datagrams to the peer that were fragmented, fragments from it, and datagrams from it that were given up",
        sums,
    )
}

fn interfaces(out: &mut Families<'_>, all: &[Interface]) -> fmt::Result {
    let of = |interface: &Interface| labels([("interface", &interface.name)]);
    out.gauges(
        "lacuna_interface_carrier",
        "1 where the interface is up and has a carrier",
        all.iter().map(|interface| (of(interface), f64::from(u8::from(interface.carrier)))),
    )?;
    out.gauges(
        "lacuna_interface_mtu_bytes",
        "Largest packet that the interface takes",
        all.iter().filter_map(|interface| Some((of(interface), f64::from(interface.mtu?)))),
    )?;
    out.counters(
        "lacuna_interface_errors",
        "What the interface counts against itself; received packets that are dropped may be of a protocol that nobody speaks here",
        all.iter().flat_map(|interface| {
            let sample = |(kind, count): (&lacuna_core::evidence::InterfaceTrouble, &u64)| {
                (labels([("interface", &interface.name), ("kind", kind.name())]), *count)
            };
            interface.trouble.iter().map(sample)
        }),
    )
}
