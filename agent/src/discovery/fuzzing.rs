//! What fuzz targets feed.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use hickory_resolver::proto::op::Message;

use super::file::Targets;
use super::merge::merge;
use super::{Found, dns};
use crate::config::{Config, Peer};

/// The peers that a file with this text gives; absent where it is no list of targets.
#[must_use]
pub fn file(text: &[u8]) -> Option<Vec<Peer>> {
    let targets = Targets::parse(text).ok()?;
    let known = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 12));
    let found = targets.found(&HashMap::from([("lb1.example.internal".to_owned(), known)]));
    Some(merged(&found))
}

/// The peers that an answer of a name server gives; absent where it is none.
#[must_use]
pub fn answer(bytes: &[u8]) -> Option<Vec<Peer>> {
    let answer = Message::from_vec(bytes).ok()?;
    let services = answer.answers.iter().filter_map(dns::service);
    let services = services.map(|service| Peer { name: service.target, addr: ([10, 77, 0, 12], service.port).into() });
    let addresses = answer.answers.iter().filter_map(dns::address);
    let addresses = addresses.map(|ip| Peer { name: dns::name_of(ip), addr: (ip, 9479).into() });
    Some(merged(&Found { peers: services.chain(addresses).collect(), ..Found::default() }))
}

fn merged(found: &Found) -> Vec<Peer> {
    let me = Config::without_file("me");
    merge(&me, &[Ipv4Addr::new(10, 77, 0, 11).into()], [("file", found)].into_iter()).peers
}
