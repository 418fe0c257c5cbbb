//! The interfaces of this host: which are watched, what changed of them, and what they count against themselves.

use std::collections::BTreeMap;

use lacuna_core::evidence::{Fact, InterfaceTrouble};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, Stats64};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcStats2};

/// Most interfaces that are watched: a host of many containers has hundreds, and those with the lowest numbers are its own.
pub const MAX_WATCHED: usize = 16;
/// Most interfaces that are known by name.
const MAX_KNOWN: usize = 4096;

/// An interface that is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// It is up and has a carrier.
    pub carrier: bool,
    /// In bytes; absent where it was not told.
    pub mtu: Option<u32>,
    /// What it counted since it was made; what it does not count is absent.
    pub trouble: BTreeMap<InterfaceTrouble, u64>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    /// The configured names; empty: all that are up, except the loopback.
    wanted: Vec<String>,
    names: BTreeMap<u32, String>,
    watched: BTreeMap<u32, Interface>,
    /// Interfaces beyond [`MAX_WATCHED`] at the last look at all of them.
    pub(super) beyond: u64,
}

impl Interfaces {
    /// Takes other names; those that are not wanted any more are forgotten. Whether they are others: then everything has to
    /// be looked at again.
    pub(super) fn want(&mut self, names: &[String]) -> bool {
        let others = self.wanted != names;
        self.wanted = names.to_vec();
        let wanted = &self.wanted;
        self.watched.retain(|_, interface| wanted.is_empty() || wanted.contains(&interface.name));
        others
    }

    pub(super) fn watched(&self) -> impl Iterator<Item = &Interface> {
        self.watched.values()
    }

    /// The name of the interface, where it is watched.
    pub(super) fn watched_name(&self, index: u32) -> Option<&str> {
        self.watched.get(&index).map(|interface| interface.name.as_str())
    }

    /// The name of any interface.
    pub(super) fn name(&self, index: u32) -> Option<&str> {
        self.names.get(&index).map(String::as_str)
    }

    /// The numbers of those that are watched.
    pub(super) fn indices(&self) -> Vec<u32> {
        self.watched.keys().copied().collect()
    }

    /// A look at all interfaces begins.
    pub(super) fn begin_look(&mut self) {
        self.beyond = 0;
    }

    /// An interface is there, perhaps new, perhaps changed.
    pub(super) fn is_there(&mut self, message: &LinkMessage, tell: &mut impl FnMut(Fact)) {
        // What a bridge says of its ports comes the same way.
        if message.header.interface_family != AddressFamily::Unspec {
            return;
        }
        let index = message.header.index;
        let seen = Seen::of(message);
        let Some(name) = seen.name.clone().or_else(|| self.names.get(&index).cloned()) else { return };
        if self.names.contains_key(&index) || self.names.len() < MAX_KNOWN {
            self.names.insert(index, name.clone());
        }
        if let Some(known) = self.watched.get_mut(&index) {
            known.name = name;
            known.follow(&seen, tell);
        } else if self.is_wanted(&name, &seen) {
            self.watch(index, name, &seen, tell);
        }
    }

    fn is_wanted(&self, name: &str, seen: &Seen) -> bool {
        if self.wanted.is_empty() { seen.is_up && !seen.is_loopback } else { self.wanted.iter().any(|it| it == name) }
    }

    fn watch(&mut self, index: u32, name: String, seen: &Seen, tell: &mut impl FnMut(Fact)) {
        if self.watched.len() == MAX_WATCHED {
            self.beyond += 1;
            return;
        }
        let interface = Interface { name, carrier: seen.carrier, mtu: seen.mtu, trouble: seen.trouble.clone() };
        if seen.carrier {
            tell(Fact::Carrier { interface: interface.name.clone(), up: true });
        }
        self.watched.insert(index, interface);
    }

    /// An interface is gone.
    pub(super) fn is_gone(&mut self, message: &LinkMessage, tell: &mut impl FnMut(Fact)) {
        if message.header.interface_family != AddressFamily::Unspec {
            return;
        }
        self.names.remove(&message.header.index);
        if let Some(gone) = self.watched.remove(&message.header.index).filter(|gone| gone.carrier) {
            tell(Fact::Carrier { interface: gone.name, up: false });
        }
    }

    /// What an interface's queueing discipline counts: the outermost one, which adds up those within.
    pub(super) fn queue(&mut self, message: &TcMessage, tell: &mut impl FnMut(Fact)) {
        let index = u32::try_from(message.header.index).ok();
        let Some(interface) = index.and_then(|index| self.watched.get_mut(&index)) else { return };
        let drops = message.attributes.iter().find_map(queue_drops);
        if let Some(drops) = drops.filter(|_| message.header.parent == TcHandle::ROOT) {
            interface.count(InterfaceTrouble::QueueDropped, drops, tell);
        }
    }
}

fn queue_drops(attribute: &TcAttribute) -> Option<u64> {
    let TcAttribute::Stats2(parts) = attribute else { return None };
    parts.iter().find_map(|part| match part {
        TcStats2::Queue(queue) => Some(u64::from(queue.drops)),
        _ => None,
    })
}

impl Interface {
    fn follow(&mut self, seen: &Seen, tell: &mut impl FnMut(Fact)) {
        if std::mem::replace(&mut self.carrier, seen.carrier) != seen.carrier {
            tell(Fact::Carrier { interface: self.name.clone(), up: seen.carrier });
        }
        if let (Some(before), Some(now)) = (self.mtu, seen.mtu)
            && before != now
        {
            tell(Fact::MtuChanged { interface: self.name.clone(), before, now });
        }
        self.mtu = seen.mtu.or(self.mtu);
        for (what, count) in &seen.trouble {
            self.count(*what, *count, tell);
        }
    }

    fn count(&mut self, what: InterfaceTrouble, now: u64, tell: &mut impl FnMut(Fact)) {
        let Some(before) = self.trouble.insert(what, now) else { return };
        // A counter that went down began anew, as the 32 bits of a queue's do.
        let count = now.checked_sub(before).unwrap_or(now);
        // Every network has packets that nobody wants: they are counted, and no evidence.
        if count > 0 && what != InterfaceTrouble::RxDropped {
            tell(Fact::InterfaceErrors { interface: self.name.clone(), what, count });
        }
    }
}

/// What a message says of an interface.
#[derive(Debug, Default)]
struct Seen {
    name: Option<String>,
    is_up: bool,
    is_loopback: bool,
    carrier: bool,
    mtu: Option<u32>,
    trouble: BTreeMap<InterfaceTrouble, u64>,
}

impl Seen {
    fn of(message: &LinkMessage) -> Self {
        let has = |flag: LinkFlags| message.header.flags.contains(flag);
        let mut seen = Self {
            is_up: has(LinkFlags::Up),
            is_loopback: has(LinkFlags::Loopback),
            carrier: has(LinkFlags::Up) && has(LinkFlags::LowerUp),
            ..Self::default()
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => seen.name = Some(name.clone()),
                LinkAttribute::Mtu(mtu) => seen.mtu = Some(*mtu),
                LinkAttribute::Stats64(stats) => seen.trouble = trouble(stats),
                _ => {}
            }
        }
        seen
    }
}

fn trouble(stats: &Stats64) -> BTreeMap<InterfaceTrouble, u64> {
    BTreeMap::from([
        (InterfaceTrouble::RxErrors, stats.rx_errors),
        (InterfaceTrouble::RxMissed, stats.rx_missed_errors),
        (InterfaceTrouble::RxDropped, stats.rx_dropped),
        (InterfaceTrouble::TxErrors, stats.tx_errors),
        (InterfaceTrouble::TxDropped, stats.tx_dropped),
        (InterfaceTrouble::TxCarrier, stats.tx_carrier_errors),
    ])
}

#[cfg(test)]
#[path = "interfaces_tests.rs"]
mod tests;
