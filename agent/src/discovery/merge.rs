//! One list of peers out of several: the configuration's own first, then what was found, in the order of the sources.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use super::refusals::{Reason, Refusals};
use super::{Family, Found};
use crate::config::{Config, MAX_PEERS, Peer, host_label};

/// The one list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    pub(super) peers: Vec<Peer>,
    /// How many of them came from where.
    pub(super) by_source: BTreeMap<&'static str, u64>,
    /// What is no peer, and why.
    pub(super) refused: Refusals,
}

/// Merges what was found into the peers of the configuration; `own` are the addresses of this host. Each list comes with
/// the kind of its source. Whoever has a name or an address first keeps it.
pub(super) fn merge<'a>(
    config: &Config,
    own: &[IpAddr],
    lists: impl Iterator<Item = (&'static str, &'a Found)>,
) -> Merged {
    let mut merge = Merge {
        config,
        own,
        names: config.peers.iter().map(|peer| peer.name.clone()).collect(),
        addresses: config.peers.iter().map(|peer| peer.addr).collect(),
        merged: Merged { peers: config.peers.clone(), ..Merged::default() },
    };
    let configured = u64::try_from(config.peers.len()).unwrap_or(u64::MAX);
    merge.merged.by_source.insert("static", configured);
    for (kind, found) in lists {
        merge.merged.refused.extend(&found.refused);
        let taken: u64 = found.peers.iter().map(|peer| u64::from(merge.take(peer))).sum();
        *merge.merged.by_source.entry(kind).or_default() += taken;
    }
    merge.merged
}

struct Merge<'a> {
    config: &'a Config,
    own: &'a [IpAddr],
    names: HashSet<String>,
    addresses: HashSet<SocketAddr>,
    merged: Merged,
}

impl Merge<'_> {
    /// True where it became a peer.
    fn take(&mut self, peer: &Peer) -> bool {
        if self.is_self(peer) {
            return false;
        }
        if let Some(reason) = self.objection(peer) {
            self.merged.refused.add(&format!("{} at {}", peer.name, peer.addr), reason);
            return false;
        }
        self.names.insert(peer.name.clone());
        self.addresses.insert(peer.addr);
        self.merged.peers.push(peer.clone());
        true
    }

    /// All hosts may be given the same list, so that this one finds itself in it.
    fn is_self(&self, peer: &Peer) -> bool {
        let here = self.own.contains(&peer.addr.ip()) && peer.addr.port() == self.config.heartbeat.listen.port();
        here || peer.name == self.config.host
    }

    fn objection(&self, peer: &Peer) -> Option<Reason> {
        let ip = peer.addr.ip();
        let objections = [
            (host_label(&peer.name).is_err(), Reason::Name),
            (ip.is_unspecified() || ip.is_multicast() || peer.addr.port() == 0, Reason::Address),
            (Family::of(peer.addr) != Family::of(self.config.heartbeat.listen), Reason::Family),
            (self.names.contains(&peer.name) || self.addresses.contains(&peer.addr), Reason::Duplicate),
            (self.merged.peers.len() >= MAX_PEERS, Reason::TooMany),
        ];
        objections.into_iter().find_map(|(holds, reason)| holds.then_some(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peers: &[(&str, &str)]) -> Found {
        let peers = peers.iter().map(|(name, addr)| Peer { name: (*name).into(), addr: addr.parse().unwrap() });
        Found { peers: peers.collect(), ..Found::default() }
    }

    fn config(peers: &[(&str, &str)]) -> Config {
        Config { peers: found(peers).peers, ..Config::without_file("db1") }
    }

    fn names(merged: &Merged) -> Vec<&str> {
        merged.peers.iter().map(|peer| peer.name.as_str()).collect()
    }

    #[test]
    fn static_peers_win_then_the_first() {
        let config = config(&[("lb1", "10.77.0.12:9479")]);
        let file = found(&[("lb1", "10.77.0.99:9479"), ("x", "10.77.0.12:9479"), ("lb2", "10.77.0.13:9479")]);
        let dns = found(&[("lb2", "10.77.0.14:9479"), ("lb3", "10.77.0.15:9479")]);
        let merged = merge(&config, &[], [("file", &file), ("dns", &dns)].into_iter());
        assert_eq!(names(&merged), ["lb1", "lb2", "lb3"]);
        assert_eq!(merged.peers[0].addr.to_string(), "10.77.0.12:9479");
        assert_eq!(merged.by_source, [("static", 1), ("file", 1), ("dns", 1)].into());
        assert_eq!(merged.refused.counts(), [("duplicate".to_owned(), 3)].into());
    }

    #[test]
    fn this_host_is_left_out_by_name_and_by_address_and_is_no_mistake() {
        let own = ["10.77.0.11".parse().unwrap()];
        let file = found(&[("db1", "10.77.0.50:9479"), ("other", "10.77.0.11:9479"), ("beside", "10.77.0.11:9000")]);
        let merged = merge(&config(&[]), &own, [("file", &file)].into_iter());
        assert_eq!(names(&merged), ["beside"], "another agent of this host has another port");
        assert!(merged.refused.is_empty(), "{}", merged.refused.said());
    }

    #[test]
    fn what_no_host_can_be_is_refused() {
        let long = "x".repeat(65);
        let file = found(&[
            ("a b", "10.77.0.1:9479"),
            ("", "10.77.0.2:9479"),
            (&long, "10.77.0.3:9479"),
            ("any", "0.0.0.0:9479"),
            ("group", "224.0.0.1:9479"),
            ("zero", "10.77.0.4:0"),
            ("six", "[fd00::1]:9479"),
        ]);
        let merged = merge(&config(&[]), &[], [("file", &file)].into_iter());
        assert_eq!(names(&merged), [""; 0]);
        let expected = [("address".to_owned(), 3), ("family".to_owned(), 1), ("name".to_owned(), 3)];
        assert_eq!(merged.refused.counts(), expected.into());
        assert_eq!(merged.by_source["file"], 0);
    }

    #[test]
    fn there_are_never_more_than_the_tables_hold() {
        let many = |count: usize| {
            let peer = |i: usize| Peer { name: format!("p{i}"), addr: ([10, 77, 0, 1], 1 + i as u16).into() };
            Found { peers: (0..count).map(peer).collect(), ..Found::default() }
        };
        let merged = merge(&config(&[("lb1", "10.77.0.12:9479")]), &[], [("dns", &many(MAX_PEERS + 9))].into_iter());
        assert_eq!(merged.peers.len(), MAX_PEERS);
        assert_eq!(merged.refused.counts(), [("too-many".to_owned(), 10)].into());
    }
}
