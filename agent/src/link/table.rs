//! Which link-layer addresses answer for whose own address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use lacuna_core::evidence::LinkAddress;
use lacuna_core::time::Nanos;

use super::plan::Neighbour;

/// Link-layer addresses of one neighbour that are remembered: a host may answer with each of its cards.
const MAX_LINKS: usize = 4;
/// Link-layer addresses that answer for this host's own address.
const MAX_STAND_INS: usize = 16;
/// One that was not seen for longer is forgotten.
const FORGET: Duration = Duration::from_secs(60);

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    known: BTreeMap<Ipv4Addr, Known>,
    /// Who answers for this host's own address, and when last.
    stand_ins: BTreeMap<LinkAddress, Nanos>,
}

#[derive(Clone, Debug)]
struct Known {
    name: String,
    gateway: bool,
    links: BTreeMap<LinkAddress, Nanos>,
}

impl Known {
    fn has(&self, link: LinkAddress, now: Nanos) -> bool {
        self.links.get(&link).is_some_and(|seen| seen.plus(FORGET) > now)
    }

    fn has_another(&self, link: LinkAddress, now: Nanos) -> bool {
        self.links.iter().any(|(other, seen)| *other != link && seen.plus(FORGET) > now)
    }
}

impl Table {
    /// Takes other neighbours; of those that stay it remembers what it knows.
    pub(super) fn set(&mut self, neighbours: &[Neighbour]) {
        let mut before = std::mem::take(&mut self.known);
        for Neighbour { name, address, gateway } in neighbours {
            let links = before.remove(address).map(|known| known.links).unwrap_or_default();
            self.known.insert(*address, Known { name: name.clone(), gateway: *gateway, links });
        }
    }

    /// `link` says that it has that address.
    pub(super) fn learn(&mut self, address: Ipv4Addr, link: LinkAddress, at: Nanos) {
        let Some(neighbour) = self.known.get_mut(&address) else { return };
        if neighbour.links.len() == MAX_LINKS && !neighbour.links.contains_key(&link) {
            let oldest = neighbour.links.iter().min_by_key(|(_, seen)| **seen).map(|(link, _)| *link);
            oldest.map(|oldest| neighbour.links.remove(&oldest));
        }
        neighbour.links.insert(link, at);
    }

    /// `link` says that it has this host's own address.
    pub(super) fn learn_stand_in(&mut self, link: LinkAddress, at: Nanos) {
        if self.stand_ins.len() < MAX_STAND_INS || self.stand_ins.contains_key(&link) {
            self.stand_ins.insert(link, at);
        }
        self.stand_ins.retain(|_, seen| seen.plus(FORGET) > at);
    }

    /// Whose address it is.
    pub(super) fn name(&self, address: Ipv4Addr) -> Option<&str> {
        self.known.get(&address).map(|neighbour| neighbour.name.as_str())
    }

    /// The link-layer address that was last seen to have that address, since then.
    pub(super) fn link_of(&self, address: Ipv4Addr, since: Nanos) -> Option<LinkAddress> {
        let links = self.known.get(&address)?.links.iter().filter(|(_, seen)| **seen >= since);
        links.max_by_key(|(_, seen)| **seen).map(|(link, _)| *link)
    }

    /// Whose it is, by the own addresses that it answers for: a peer's, also where that is the gateway; nobody's where it is
    /// several peers', or stands in for others.
    pub(super) fn owner(&self, link: LinkAddress, now: Nanos) -> Option<&str> {
        if link.is_virtual() || self.is_proxy(link, now) {
            return None;
        }
        let mut owners = self.names(link, now);
        if let Some(gateway) = self.known.values().find(|one| one.gateway).filter(|_| owners.len() > 1) {
            owners.remove(gateway.name.as_str());
        }
        owners.pop_first().filter(|_| owners.is_empty())
    }

    /// Whether it stands in for others (proxy ARP, RFC 1027): it answers for this host's own address, or for several hosts
    /// and for one of them beside another that does.
    pub(super) fn is_proxy(&self, link: LinkAddress, now: Nanos) -> bool {
        let for_this_host = self.stand_ins.get(&link).is_some_and(|seen| seen.plus(FORGET) > now);
        let beside = self.known.values().any(|one| one.has(link, now) && one.has_another(link, now));
        for_this_host || beside && self.names(link, now).len() > 1
    }

    fn names(&self, link: LinkAddress, now: Nanos) -> BTreeSet<&str> {
        self.known.values().filter(|one| one.has(link, now)).map(|one| one.name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LinkAddress = LinkAddress([2, 0, 0, 0, 0, 0xa]);
    const B: LinkAddress = LinkAddress([2, 0, 0, 0, 0, 0xb]);
    const ROUTER: LinkAddress = LinkAddress([2, 0, 0, 0, 0, 1]);

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, last)
    }

    /// The owners of A, B and the router, where these answered for these addresses.
    fn owners(answers: &[(u8, LinkAddress)]) -> [Option<String>; 3] {
        let mut table = Table::default();
        table.set(&[neighbour("a", 11, false), neighbour("b", 12, false), neighbour("gateway", 1, true)]);
        answers.iter().for_each(|(last, link)| table.learn(address(*last), *link, Nanos(1)));
        [A, B, ROUTER].map(|link| table.owner(link, Nanos(2)).map(str::to_owned))
    }

    fn neighbour(name: &str, last: u8, gateway: bool) -> Neighbour {
        Neighbour { name: name.into(), address: address(last), gateway }
    }

    fn names(names: [&str; 3]) -> [Option<String>; 3] {
        names.map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()))
    }

    #[test]
    fn a_link_address_is_his_for_whom_it_answers() {
        assert_eq!(owners(&[(11, A), (12, B), (1, ROUTER)]), names(["a", "b", "gateway"]));
        assert_eq!(owners(&[(11, A), (11, B)]), names(["a", "a", ""]), "one host with two cards");
        assert_eq!(owners(&[(11, A), (1, A)]), names(["a", "", ""]), "a peer that is the gateway as well");
        assert_eq!(owners(&[(11, A), (12, A)]), names(["", "", ""]), "two peers behind one card");
    }

    #[test]
    fn who_stands_in_for_others_is_nobody() {
        assert_eq!(owners(&[(11, A), (12, B), (11, ROUTER), (12, ROUTER)]), names(["a", "b", ""]));
        assert_eq!(owners(&[(11, A), (11, ROUTER), (1, ROUTER)]), names(["a", "", ""]));
    }

    #[test]
    fn what_was_not_seen_for_long_is_forgotten_and_room_is_bounded() {
        let mut table = Table::default();
        table.set(&[neighbour("a", 11, false)]);
        table.learn(address(11), A, Nanos(0));
        assert_eq!(table.owner(A, Nanos(0).plus(FORGET)), None);
        assert_eq!(table.link_of(address(11), Nanos(1)), None);
        for i in 0..100 {
            table.learn(address(11), LinkAddress([2, 1, 1, 1, 1, i]), Nanos(u64::from(i) + 1));
        }
        assert_eq!(table.known[&address(11)].links.len(), MAX_LINKS);
        table.learn(address(99), A, Nanos(1));
        assert_eq!(table.known.len(), 1);
        (0..100).for_each(|i| table.learn_stand_in(LinkAddress([2, 1, 1, 1, 1, i]), Nanos(1)));
        assert_eq!(table.stand_ins.len(), MAX_STAND_INS);
        table.learn_stand_in(A, Nanos(0).plus(FORGET * 2));
        assert_eq!(table.stand_ins.len(), 0, "there was no room, and now there is");
    }
}
