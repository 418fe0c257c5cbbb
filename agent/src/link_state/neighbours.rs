//! The link-layer addresses of peers and of the default gateway.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};

/// Most neighbours that are remembered; only peers and the gateway are.
const MAX_KNOWN: usize = 2048;

/// A neighbour with another link-layer address than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) index: u32,
    pub(super) address: IpAddr,
    /// In hexadecimal; absent where there was none.
    pub(super) before: Option<String>,
    /// Absent where it does not answer.
    pub(super) now: Option<String>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    known: BTreeMap<IpAddr, Option<String>>,
}

impl Neighbours {
    /// Takes a message about a neighbour that matters; what it changes. The first word on one is no change. That an entry
    /// is removed is none either: the kernel forgets what it does not need.
    pub(super) fn is_there(&mut self, message: &NeighbourMessage) -> Option<Change> {
        let address = address(message)?;
        let now = match message.header.state {
            NeighbourState::Failed => None,
            NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent => Some(link_layer(message)?),
            _ => return None,
        };
        if self.known.len() == MAX_KNOWN && !self.known.contains_key(&address) {
            return None;
        }
        let before = self.known.insert(address, now.clone())?;
        let index = message.header.ifindex;
        (before != now).then_some(Change { index, address, before, now })
    }
}

/// Whom the message is about.
pub(super) fn address(message: &NeighbourMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })
}

/// As `ip neighbour` writes it: bytes in hexadecimal with colons.
fn link_layer(message: &NeighbourMessage) -> Option<String> {
    let bytes = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => Some(bytes),
        _ => None,
    })?;
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(digits.join(":"))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);

    fn message(state: NeighbourState, last: Option<u8>) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 2;
        message.header.state = state;
        message.attributes = vec![NeighbourAttribute::Destination(NeighbourAddress::Inet(PEER))];
        message.attributes.extend(last.map(|last| NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, last])));
        message
    }

    fn change(before: Option<&str>, now: Option<&str>) -> Option<Change> {
        let (before, now) = (before.map(str::to_owned), now.map(str::to_owned));
        Some(Change { index: 2, address: PEER.into(), before, now })
    }

    #[test]
    fn another_address_and_the_loss_of_it_are_changes_and_ageing_is_none() {
        let mut neighbours = Neighbours::default();
        let mut told = |state, last| neighbours.is_there(&message(state, last));
        assert_eq!(told(NeighbourState::Reachable, Some(1)), None, "the first word");
        assert_eq!(told(NeighbourState::Stale, Some(1)), None);
        assert_eq!(
            told(NeighbourState::Reachable, Some(0xab)),
            change(Some("02:00:00:00:00:01"), Some("02:00:00:00:00:ab"))
        );
        assert_eq!(told(NeighbourState::Incomplete, None), None, "it is only asked for");
        assert_eq!(told(NeighbourState::Failed, None), change(Some("02:00:00:00:00:ab"), None));
        assert_eq!(told(NeighbourState::Failed, None), None);
        assert_eq!(told(NeighbourState::Reachable, Some(0xab)), change(None, Some("02:00:00:00:00:ab")));
    }
}
