//! The path MTU that the kernel holds for each peer. Nobody is told when it learns another one, so it is asked: all peers
//! when an ICMP message came in that may have brought one, and otherwise one after the other, since what it learned is
//! forgotten after a while (10 min by default, `net.ipv4.route.mtu_expires`).

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::socket::Netlink;

/// Most peers that are asked about in one go.
const AT_ONCE: usize = 64;

/// A peer with another path MTU than before, in bytes; absent where the kernel has none but the interface's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) address: IpAddr,
    pub(super) before: Option<u32>,
    pub(super) now: Option<u32>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct PathMtus {
    known: BTreeMap<IpAddr, Option<u32>>,
    /// Whom it was last asked for.
    peers: Vec<IpAddr>,
    /// How many are still to be asked in a hurry.
    pending: usize,
    /// Who is next.
    next: usize,
}

impl PathMtus {
    /// A message came in that may have brought another path MTU: all peers are asked.
    pub(super) fn suspect(&mut self, peers: usize) {
        self.pending = peers;
    }

    /// Asks for those whose turn it is. Those that are no peers any more are forgotten, and of other peers all are asked:
    /// what they have is what changes are measured from.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn ask(&mut self, netlink: &mut Netlink, peers: &[IpAddr]) -> io::Result<()> {
        if self.peers != peers {
            self.known.retain(|address, _| peers.contains(address));
            self.peers = peers.to_vec();
            self.pending = peers.len();
        }
        let count = self.pending.clamp(1, AT_ONCE).min(peers.len());
        self.pending = self.pending.saturating_sub(count);
        for step in 0..count {
            let Some(address) = peers.get((self.next + step) % peers.len()) else { break };
            netlink.ask_for_one(RouteNetlinkMessage::GetRoute(question(*address)))?;
        }
        self.next = self.next.wrapping_add(count) % peers.len().max(1);
        Ok(())
    }

    /// Takes an answer; what changed, where it is not the first one.
    pub(super) fn is_there(&mut self, message: &RouteMessage) -> Option<Change> {
        let (address, now) = (destination(message)?, mtu(message));
        let before = self.known.insert(address, now)?;
        (before != now).then_some(Change { address, before, now })
    }
}

/// The route that a packet to the address would take.
fn question(address: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    (message.header.address_family, message.header.destination_prefix_length) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.attributes = vec![RouteAttribute::Destination(RouteAddress::from(address))];
    message
}

fn destination(message: &RouteMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })
}

fn mtu(message: &RouteMessage) -> Option<u32> {
    let metrics = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Metrics(metrics) => Some(metrics),
        _ => None,
    })?;
    metrics.iter().find_map(|metric| match metric {
        RouteMetric::Mtu(mtu) => Some(*mtu),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(address: IpAddr, mtu: Option<u32>) -> RouteMessage {
        let mut message = question(address);
        message.attributes.extend(mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
        message
    }

    #[test]
    fn what_is_learned_and_forgotten_is_told_and_the_first_answer_is_not() {
        let address: IpAddr = "10.0.0.7".parse().unwrap();
        let mut mtus = PathMtus::default();
        assert_eq!(mtus.is_there(&answer(address, None)), None);
        let learned = Change { address, before: None, now: Some(1280) };
        assert_eq!(mtus.is_there(&answer(address, Some(1280))), Some(learned));
        assert_eq!(mtus.is_there(&answer(address, Some(1280))), None);
        assert_eq!(mtus.is_there(&answer(address, None)), Some(Change { before: Some(1280), now: None, ..learned }));
    }

    #[test]
    fn the_way_to_oneself_is_known_in_either_version_of_ip() {
        let peers: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()];
        let (mut mtus, mut netlink) = (PathMtus::default(), Netlink::open(&[]).unwrap());
        mtus.ask(&mut netlink, &peers).unwrap();
        netlink.drain(|message| {
            if let RouteNetlinkMessage::NewRoute(route) = message {
                assert_eq!(mtus.is_there(&route), None);
            }
        });
        assert_eq!(mtus.known.keys().copied().collect::<Vec<_>>(), peers, "both answered at once");
        mtus.ask(&mut netlink, &peers[..1]).unwrap();
        assert_eq!(mtus.known.len(), 1, "who is no peer any more is forgotten");
        mtus.ask(&mut netlink, &[]).unwrap();
    }
}
