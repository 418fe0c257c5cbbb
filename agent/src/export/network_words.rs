//! In words: what a host's own kernel says of its network.

use lacuna_core::evidence::{Fact, FragmentLoss, InterfaceTrouble, Way};

/// What a piece of evidence about the host's network says; absent where it is of another kind.
pub(super) fn of_network(host: &str, fact: &Fact) -> Option<String> {
    Some(match fact {
        Fact::Carrier { interface, up: true } => format!("{} of {host} has a carrier", quoted(interface)),
        Fact::Carrier { interface, up: false } => format!("{} of {host} lost its carrier", quoted(interface)),
        Fact::MtuChanged { interface, before, now } => {
            format!("the MTU of {} of {host} changed from {before} to {now} bytes", quoted(interface))
        }
        Fact::AddressChanged { interface, address, added } => {
            let verb = if *added { "was added to" } else { "was removed from" };
            format!("address {address} {verb} {} of {host}", quoted(interface))
        }
        Fact::NeighbourChanged { interface, address, gateway, before, now } => {
            let who = if *gateway { format!("the default gateway {address}") } else { format!("{host} ({address})") };
            neighbour(&who, &quoted(interface), before.as_deref(), now.as_deref())
        }
        Fact::Fragments { direction, result, count } => fragments(host, *direction, *result, *count),
        Fact::FragNeeded { direction, mtu, count } => frag_needed(host, *direction, *mtu, *count),
        Fact::PathMtu { before, now } => path_mtu(host, *before, *now),
        Fact::RetransmitSizes { count, smallest, largest } => format!(
            "the {count} TCP segments that were lost on the way to {host} and sent again had from {smallest} to {largest} bytes of payload"
        ),
        Fact::InterfaceErrors { interface, what, count } => {
            format!("{} of {host}: {count} {}", quoted(interface), trouble(*what))
        }
        Fact::ZeroWindows { direction: Way::Out, count } => {
            format!("TCP on {host} told {count} times that it had no room for more")
        }
        Fact::ZeroWindows { direction: Way::In, count } => {
            format!("TCP on {host} asked {count} times whether a peer without room had room again")
        }
        Fact::ReceiveOverflow { count } => {
            format!("{count} datagrams found no room in the buffers of sockets on {host}")
        }
        Fact::SoftnetDrops { count } => {
            format!("the kernel of {host} dropped {count} packets between card and protocols: the backlog was full")
        }
        Fact::TransmitTimeout { interface, queue } => {
            format!("queue {queue} of {} of {host} did not transmit for too long", quoted(interface))
        }
        _ => return None,
    })
}

/// The kernel lets a name have any character but slash, space and colon.
fn quoted(interface: &str) -> String {
    format!("interface {}", interface.escape_debug())
}

fn neighbour(who: &str, interface: &str, before: Option<&str>, now: Option<&str>) -> String {
    match (before, now) {
        (Some(before), Some(now)) => {
            format!("the link-layer address of {who} on {interface} changed from {before} to {now}")
        }
        (Some(before), None) => {
            format!("{who} does not answer on {interface} any more, its link-layer address was {before}")
        }
        (None, Some(now)) => format!("{who} answers on {interface} again, its link-layer address is {now}"),
        (None, None) => format!("{who} does not answer on {interface}"),
    }
}

fn fragments(host: &str, direction: Way, result: FragmentLoss, count: u64) -> String {
    match (direction, result) {
        (Way::Out, _) => format!("{count} datagrams of {host} were too big and must not be fragmented"),
        (Way::In, FragmentLoss::Failed) => format!("the fragments of {count} datagrams did not fit together ({host})"),
        (Way::In, FragmentLoss::Expired) => {
            format!("{count} datagrams were given up as not all of their fragments came in time ({host})")
        }
    }
}

fn frag_needed(host: &str, direction: Way, mtu: Option<u32>, count: u64) -> String {
    let mtu = mtu.map(|mtu| format!(", no more than {mtu} bytes pass")).unwrap_or_default();
    match direction {
        Way::In => format!("ICMP said {count} times that packets were too big for the way ({host}){mtu}"),
        Way::Out => {
            format!("this host said by ICMP {count} times that packets were too big for the way on ({host}){mtu}")
        }
    }
}

fn path_mtu(host: &str, before: Option<u32>, now: Option<u32>) -> String {
    let bytes = |mtu: Option<u32>| mtu.map_or_else(|| "that of the interface".to_owned(), |mtu| format!("{mtu} bytes"));
    format!("the path MTU to {host} changed from {} to {}", bytes(before), bytes(now))
}

fn trouble(what: InterfaceTrouble) -> &'static str {
    match what {
        InterfaceTrouble::RxErrors => "bad packets received",
        InterfaceTrouble::RxMissed => "packets that the card had no room for",
        InterfaceTrouble::RxDropped => "received packets dropped",
        InterfaceTrouble::TxErrors => "packets that could not be sent",
        InterfaceTrouble::TxDropped => "packets dropped on their way out",
        InterfaceTrouble::TxCarrier => "packets lost for want of a carrier",
        InterfaceTrouble::QueueDropped => "packets dropped by its queue",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fact: &Fact, expected: &str) {
        assert_eq!(of_network("lb1", fact).as_deref(), Some(expected));
    }

    #[test]
    fn every_kind_is_a_sentence_with_its_figures() {
        let interface = || "eth0".to_owned();
        check(&Fact::Carrier { interface: interface(), up: true }, "interface eth0 of lb1 has a carrier");
        check(&Fact::Carrier { interface: interface(), up: false }, "interface eth0 of lb1 lost its carrier");
        check(
            &Fact::MtuChanged { interface: interface(), before: 1500, now: 1280 },
            "the MTU of interface eth0 of lb1 changed from 1500 to 1280 bytes",
        );
        check(
            &Fact::NeighbourChanged {
                interface: interface(),
                address: "10.0.0.1".parse().unwrap(),
                gateway: true,
                before: Some("02:00:00:00:00:01".into()),
                now: None,
            },
            "the default gateway 10.0.0.1 does not answer on interface eth0 any more, its link-layer address was 02:00:00:00:00:01",
        );
        check(
            &Fact::Fragments { direction: Way::In, result: FragmentLoss::Expired, count: 3 },
            "3 datagrams were given up as not all of their fragments came in time (lb1)",
        );
        check(
            &Fact::FragNeeded { direction: Way::In, mtu: Some(1280), count: 2 },
            "ICMP said 2 times that packets were too big for the way (lb1), no more than 1280 bytes pass",
        );
        check(
            &Fact::PathMtu { before: None, now: Some(1280) },
            "the path MTU to lb1 changed from that of the interface to 1280 bytes",
        );
        check(
            &Fact::RetransmitSizes { count: 4, smallest: 1200, largest: 1448 },
            "the 4 TCP segments that were lost on the way to lb1 and sent again had from 1200 to 1448 bytes of payload",
        );
        check(
            &Fact::InterfaceErrors { interface: "a\u{1b}".into(), what: InterfaceTrouble::QueueDropped, count: 9 },
            "interface a\\u{1b} of lb1: 9 packets dropped by its queue",
        );
        check(
            &Fact::TransmitTimeout { interface: interface(), queue: 2 },
            "queue 2 of interface eth0 of lb1 did not transmit for too long",
        );
        assert_eq!(of_network("lb1", &Fact::EchoSent), None);
    }
}
