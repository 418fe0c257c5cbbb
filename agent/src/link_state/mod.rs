//! Interfaces, addresses and neighbours of this host, as the kernel tells of them by netlink: changes as they come, counters
//! once a second. The sockets are of the network namespace of the thread that opens them, and nothing waits for them.

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod interfaces;
mod neighbours;
mod path_mtu;
mod socket;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};

use lacuna_core::evidence::{Evidence, Fact};
use lacuna_core::time::Nanos;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::tc::TcMessage;

use crate::clock;
use interfaces::Interfaces;
pub use interfaces::{Interface, MAX_WATCHED};
use neighbours::Neighbours;
use path_mtu::PathMtus;
use socket::{Drained, Netlink};

/// `RTNLGRP_*` (`include/uapi/linux/rtnetlink.h`): links, neighbours, addresses of both versions of IP.
const GROUPS: [u32; 4] = [1, 3, 5, 9];
/// Most addresses of this host that are remembered.
const MAX_ADDRESSES: usize = 4096;

/// Whose addresses matter.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// This host's name.
    pub host: &'a str,
    /// The peers.
    pub peers: &'a [(String, SocketAddr)],
    /// The default gateway.
    pub gateway: Option<IpAddr>,
}

impl Around<'_> {
    fn peer(&self, address: IpAddr) -> Option<&str> {
        self.peers.iter().find(|(_, addr)| addr.ip() == address).map(|(name, _)| name.as_str())
    }
}

/// What is refused, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Messages of the kernel that could not be understood.
    pub messages: u64,
    /// Times that the kernel had more changes than the socket had room for; everything was looked at anew then.
    pub overflows: u64,
    /// Interfaces beyond those that are watched, at the last look.
    pub interfaces: u64,
}

/// See the module's documentation.
pub struct InterfaceWatch {
    changes: Netlink,
    answers: Netlink,
    interfaces: Interfaces,
    addresses: BTreeSet<(u32, IpAddr)>,
    neighbours: Neighbours,
    path_mtus: PathMtus,
    refused: Refused,
    /// The first look at everything is over: what comes from now on is a change.
    begun: bool,
    /// Everything has to be looked at (again): at first, and where changes were lost.
    stale: bool,
    looked: Nanos,
}

impl InterfaceWatch {
    /// Watches these interfaces, or all that are up but the loopback where there are none. What the first call of
    /// [`Self::changes`] finds is no change.
    ///
    /// # Errors
    /// What the kernel says to a netlink socket.
    pub fn open(interfaces: &[String]) -> io::Result<Self> {
        let mut watch = Self {
            changes: Netlink::open(&GROUPS)?,
            answers: Netlink::open(&[])?,
            interfaces: Interfaces::default(),
            addresses: BTreeSet::new(),
            neighbours: Neighbours::default(),
            path_mtus: PathMtus::default(),
            refused: Refused::default(),
            begun: false,
            stale: true,
            looked: clock::boot(),
        };
        watch.want(interfaces);
        Ok(watch)
    }

    /// Takes other interfaces while it runs.
    pub fn want(&mut self, interfaces: &[String]) {
        if self.interfaces.want(interfaces) {
            (self.stale, self.begun) = (true, false);
        }
    }

    /// The interfaces that are watched, at most [`MAX_WATCHED`].
    pub fn watched(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.watched()
    }

    /// What was refused so far.
    #[must_use]
    pub fn refused(&self) -> Refused {
        Refused { interfaces: self.interfaces.beyond, ..self.refused }
    }

    /// An ICMP message came in that may have brought another path MTU.
    pub fn suspect_path_mtu(&mut self, around: &Around<'_>) {
        self.path_mtus.suspect(around.peers.len());
    }

    /// What changed since the last call.
    pub fn changes(&mut self, around: &Around<'_>, now: Nanos) -> Vec<Evidence> {
        let mut facts = Vec::new();
        let mut messages = Vec::new();
        let drained = self.changes.drain(|message| messages.push(message));
        messages.iter().for_each(|message| self.take(message, around, &mut facts));
        self.count(drained);
        if self.stale {
            self.stale = false;
            self.look_at_all(around, &mut facts).unwrap_or_else(|error| log(&error));
        }
        if !std::mem::replace(&mut self.begun, true) {
            facts.clear();
        }
        self.told(facts, now)
    }

    /// Once a second: counters of interfaces and queues, path MTUs, and changes that were not told.
    pub fn counters(&mut self, around: &Around<'_>, now: Nanos) -> Vec<Evidence> {
        let mut facts = Vec::new();
        let peers: Vec<IpAddr> = around.peers.iter().map(|(_, addr)| addr.ip()).collect();
        self.ask_for_counters(around, &mut facts)
            .and_then(|()| self.path_mtus.ask(&mut self.answers, &peers))
            .unwrap_or_else(|error| log(&error));
        self.take_answers(around, &mut facts);
        self.told(facts, now)
    }

    /// Of the interfaces that are watched only: a host of many containers has hundreds.
    fn ask_for_counters(&mut self, around: &Around<'_>, facts: &mut Vec<(String, Fact)>) -> io::Result<()> {
        for index in self.interfaces.indices() {
            let mut question = LinkMessage::default();
            question.header.index = index;
            self.answers.ask_for_one(RouteNetlinkMessage::GetLink(question))?;
        }
        self.take_answers(around, facts);
        self.ask_for_queues(around, facts)
    }

    fn told(&mut self, facts: Vec<(String, Fact)>, now: Nanos) -> Vec<Evidence> {
        let from = std::mem::replace(&mut self.looked, now);
        facts.into_iter().map(|(host, fact)| Evidence::during(&host, from, now, fact)).collect()
    }

    fn look_at_all(&mut self, around: &Around<'_>, facts: &mut Vec<(String, Fact)>) -> io::Result<()> {
        self.interfaces.begin_look();
        self.answers.ask_for_all(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        self.take_answers(around, facts);
        self.answers.ask_for_all(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        self.take_answers(around, facts);
        self.answers.ask_for_all(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()))?;
        self.take_answers(around, facts);
        self.ask_for_queues(around, facts)
    }

    fn ask_for_queues(&mut self, around: &Around<'_>, facts: &mut Vec<(String, Fact)>) -> io::Result<()> {
        self.answers.ask_for_all(RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()))?;
        self.take_answers(around, facts);
        Ok(())
    }

    fn take_answers(&mut self, around: &Around<'_>, facts: &mut Vec<(String, Fact)>) {
        let mut messages = Vec::new();
        let drained = self.answers.drain(|message| messages.push(message));
        messages.iter().for_each(|message| self.take(message, around, facts));
        self.count(drained);
    }

    fn count(&mut self, drained: Drained) {
        self.refused.messages += drained.refused;
        self.refused.overflows += u64::from(drained.lost);
        self.stale |= drained.lost;
    }

    fn take(&mut self, message: &RouteNetlinkMessage, around: &Around<'_>, facts: &mut Vec<(String, Fact)>) {
        let mut tell = |fact| facts.push((around.host.to_owned(), fact));
        match message {
            RouteNetlinkMessage::NewLink(link) => self.interfaces.is_there(link, &mut tell),
            RouteNetlinkMessage::DelLink(link) => self.interfaces.is_gone(link, &mut tell),
            RouteNetlinkMessage::NewQueueDiscipline(queue) => self.interfaces.queue(queue, &mut tell),
            RouteNetlinkMessage::NewAddress(address) => facts.extend(self.address(address, true, around)),
            RouteNetlinkMessage::DelAddress(address) => facts.extend(self.address(address, false, around)),
            RouteNetlinkMessage::NewNeighbour(neighbour) => facts.extend(self.neighbour(neighbour, around)),
            RouteNetlinkMessage::NewRoute(route) => facts.extend(self.path_mtus.is_there(route).and_then(|change| {
                let peer = around.peer(change.address)?;
                Some((peer.to_owned(), Fact::PathMtu { before: change.before, now: change.now }))
            })),
            _ => {}
        }
    }

    fn address(&mut self, message: &AddressMessage, added: bool, around: &Around<'_>) -> Option<(String, Fact)> {
        let (index, address) = (message.header.index, own_address(message)?);
        let changed = match added {
            true => self.addresses.len() < MAX_ADDRESSES && self.addresses.insert((index, address)),
            false => self.addresses.remove(&(index, address)),
        };
        let interface = self.interfaces.watched_name(index).filter(|_| changed)?;
        let fact = Fact::AddressChanged { interface: interface.to_owned(), address, added };
        Some((around.host.to_owned(), fact))
    }

    /// Only peers and the gateway matter: a network has many others.
    fn neighbour(&mut self, message: &NeighbourMessage, around: &Around<'_>) -> Option<(String, Fact)> {
        let address = neighbours::address(message)?;
        let gateway = around.gateway == Some(address);
        let host = match around.peer(address) {
            Some(peer) => peer,
            None if gateway => around.host,
            None => return None,
        };
        let change = self.neighbours.is_there(message)?;
        let interface = self.interfaces.name(change.index).unwrap_or_default().to_owned();
        let (before, now) = (change.before.map(Into::into), change.now.map(Into::into));
        Some((host.to_owned(), Fact::NeighbourChanged { interface, address, gateway, before, now }))
    }
}

/// It is tried again a second later; a kernel that refuses for good would fill the log.
fn log(error: &io::Error) {
    tracing::debug!("interfaces cannot be looked at: {error}");
}

/// The address of this host that a message is about; on a point-to-point interface the other one is the far end's.
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let find = |of: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(of);
    let local = find(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        find(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_host_has_no_changes() {
        let mut watch = InterfaceWatch::open(&[]).unwrap();
        let nobody = Around { host: "me", peers: &[], gateway: None };
        let now = clock::boot();
        // Other tests of this machine may change other things, but not the loopback.
        let seen = watch.changes(&nobody, now);
        assert!(seen.iter().all(|evidence| !format!("{evidence:?}").contains("\"lo\"")), "{seen:?}");
        assert!(watch.addresses.iter().any(|(_, address)| address.is_loopback()), "{:?}", watch.addresses);
        assert_eq!(watch.refused().messages, 0);
    }
}
