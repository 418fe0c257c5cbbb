//! Which link-layer addresses answer for whose own address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use lacuna_core::evidence::LinkAddress;
use lacuna_core::time::Nanos;

/// Link-layer addresses of one neighbour that are remembered: a host may answer with each of its cards.
const MAX_LINKS: usize = 4;
/// One that was not seen for longer is forgotten.
const FORGET: Duration = Duration::from_secs(60);

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(BTreeMap<Ipv4Addr, Neighbour>);

#[derive(Clone, Debug)]
struct Neighbour {
    name: String,
    /// Its place in the list: of several that are one host, the first gives the name.
    place: usize,
    links: BTreeMap<LinkAddress, Nanos>,
}

impl Neighbour {
    fn has(&self, link: LinkAddress, now: Nanos) -> bool {
        self.links.get(&link).is_some_and(|seen| seen.plus(FORGET) > now)
    }

    fn has_another(&self, link: LinkAddress, now: Nanos) -> bool {
        self.links.iter().any(|(other, seen)| *other != link && seen.plus(FORGET) > now)
    }
}

impl Table {
    /// Takes other neighbours; of those that stay it remembers what it knows.
    pub(super) fn set(&mut self, neighbours: &[(String, Ipv4Addr)]) {
        let mut before = std::mem::take(&mut self.0);
        for (place, (name, address)) in neighbours.iter().enumerate() {
            let links = before.remove(address).map(|known| known.links).unwrap_or_default();
            self.0.insert(*address, Neighbour { name: name.clone(), place, links });
        }
    }

    /// `link` says that it has that address.
    pub(super) fn learn(&mut self, address: Ipv4Addr, link: LinkAddress, at: Nanos) {
        let Some(neighbour) = self.0.get_mut(&address) else { return };
        if neighbour.links.len() == MAX_LINKS && !neighbour.links.contains_key(&link) {
            let oldest = neighbour.links.iter().min_by_key(|(_, seen)| **seen).map(|(link, _)| *link);
            oldest.map(|oldest| neighbour.links.remove(&oldest));
        }
        neighbour.links.insert(link, at);
    }

    /// Whose address it is.
    pub(super) fn name(&self, address: Ipv4Addr) -> Option<&str> {
        self.0.get(&address).map(|neighbour| neighbour.name.as_str())
    }

    /// The link-layer address that was last seen to have that address, since then.
    pub(super) fn link_of(&self, address: Ipv4Addr, since: Nanos) -> Option<LinkAddress> {
        let links = self.0.get(&address)?.links.iter().filter(|(_, seen)| **seen >= since);
        links.max_by_key(|(_, seen)| **seen).map(|(link, _)| *link)
    }

    /// Whose it is, by the own addresses that it answers for; nobody's that stands in for others. The gateway is told last,
    /// and may be one of the peers: then the peer's name counts.
    pub(super) fn owner(&self, link: LinkAddress, now: Nanos) -> Option<&str> {
        if link.is_virtual() || self.is_proxy(link, now) {
            return None;
        }
        let of = self.0.values().filter(|one| one.has(link, now));
        of.min_by_key(|one| one.place).map(|one| one.name.as_str())
    }

    /// Whether it answers for several hosts, for one of them beside another that does: a router that stands in for others
    /// (proxy ARP, RFC 1027).
    pub(super) fn is_proxy(&self, link: LinkAddress, now: Nanos) -> bool {
        let stands_in = self.0.values().any(|one| one.has(link, now) && one.has_another(link, now));
        stands_in && self.names(link, now).len() > 1
    }

    fn names(&self, link: LinkAddress, now: Nanos) -> BTreeSet<&str> {
        self.0.values().filter(|one| one.has(link, now)).map(|one| one.name.as_str()).collect()
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
        table.set(&[("a".into(), address(11)), ("b".into(), address(12)), ("gateway".into(), address(1))]);
        answers.iter().for_each(|(last, link)| table.learn(address(*last), *link, Nanos(1)));
        [A, B, ROUTER].map(|link| table.owner(link, Nanos(2)).map(str::to_owned))
    }

    fn names(names: [&str; 3]) -> [Option<String>; 3] {
        names.map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()))
    }

    #[test]
    fn a_link_address_is_his_for_whom_it_answers() {
        assert_eq!(owners(&[(11, A), (12, B), (1, ROUTER)]), names(["a", "b", "gateway"]));
        assert_eq!(owners(&[(11, A), (11, B)]), names(["a", "a", ""]), "one host with two cards");
        assert_eq!(owners(&[(11, A), (1, A)]), names(["a", "", ""]), "a peer that is the gateway as well");
    }

    #[test]
    fn who_stands_in_for_others_is_nobody() {
        assert_eq!(owners(&[(11, A), (12, B), (11, ROUTER), (12, ROUTER)]), names(["a", "b", ""]));
        assert_eq!(owners(&[(11, A), (11, ROUTER), (1, ROUTER)]), names(["a", "", ""]));
    }

    #[test]
    fn what_was_not_seen_for_long_is_forgotten_and_room_is_bounded() {
        let mut table = Table::default();
        table.set(&[("a".into(), address(11))]);
        table.learn(address(11), A, Nanos(0));
        assert_eq!(table.owner(A, Nanos(0).plus(FORGET)), None);
        assert_eq!(table.link_of(address(11), Nanos(1)), None);
        for i in 0..100 {
            table.learn(address(11), LinkAddress([2, 1, 1, 1, 1, i]), Nanos(u64::from(i) + 1));
        }
        assert_eq!(table.0[&address(11)].links.len(), MAX_LINKS);
        table.learn(address(99), A, Nanos(1));
        assert_eq!(table.0.len(), 1);
    }
}
