//! What no key can tell alone: names that meet, addresses that meet, thresholds below their interval.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::table::{At, Findings};
use super::{Heartbeat, MAX_PEERS, MAX_VIPS, Peer};

/// A gap of less than two intervals is no gap: one heartbeat that is a moment late would open an incident.
pub(super) fn gap(gap: &At<Duration>, interval: Duration, findings: &Findings) {
    let least = interval * 2;
    if gap.value < least {
        let words = humantime::format_duration;
        findings.add(
            gap.line,
            "thresholds.gap",
            format!("{} is below two intervals", words(gap.value)),
            &format!("at least {} with heartbeat.interval = {}", words(least), words(interval)),
        );
    }
}

/// Each virtual address once, and not too many.
pub(super) fn vips(vips: &[At<IpAddr>], findings: &Findings) {
    if let Some(beyond) = vips.get(MAX_VIPS) {
        let wrong = format!("{} are too many", vips.len());
        findings.add(beyond.line, "watch.vips", wrong, &format!("at most {MAX_VIPS}"));
    }
    let mut known = BTreeSet::new();
    for At { line, value } in vips {
        if !known.insert(*value) {
            findings.add(*line, "watch.vips", format!("\"{value}\" is there twice"), "each address once");
        }
    }
}

/// Everything that concerns the peers together; `insecure` is the line of that key where it is given, `source` the line
/// from which on further peers are to be discovered.
pub(super) fn peers(
    host: &str,
    heartbeat: &Heartbeat,
    insecure: Option<usize>,
    source: Option<usize>,
    peers: &[At<Peer>],
    findings: &Findings,
) {
    let first = peers.first().map(|peer| peer.line).or(source);
    authentication(heartbeat, insecure, first, findings);
    if let Some(beyond) = peers.get(MAX_PEERS) {
        let wrong = format!("{} are too many", peers.len());
        findings.add(beyond.line, "peers", wrong, &format!("at most {MAX_PEERS}"));
    }
    let (mut names, mut addresses) = (BTreeMap::new(), BTreeMap::new());
    for At { line, value: peer } in peers {
        if let Some(first) = names.insert(&peer.name, *line) {
            let wrong = format!("\"{}\" is also the peer of line {first}", peer.name);
            findings.add(*line, "peers.name", wrong, "a name for each peer");
        }
        if let Some(first) = addresses.insert(peer.addr, *line) {
            let wrong = format!("\"{}\" is also the peer of line {first}", peer.addr);
            findings.add(*line, "peers.addr", wrong, "an address for each peer");
        }
        one(host, heartbeat, peer, *line, findings);
    }
}

fn one(host: &str, heartbeat: &Heartbeat, peer: &Peer, line: usize, findings: &Findings) {
    if peer.name == host {
        let wrong = format!("\"{host}\" is this host itself");
        findings.add(line, "peers.name", wrong, "the other hosts only");
    }
    if peer.addr == heartbeat.listen {
        let wrong = format!("\"{}\" is heartbeat.listen itself", peer.addr);
        findings.add(line, "peers.addr", wrong, "the other hosts only");
    }
    if peer.addr.is_ipv4() != heartbeat.listen.is_ipv4() {
        let wrong = format!("\"{}\" cannot be reached from heartbeat.listen = \"{}\"", peer.addr, heartbeat.listen);
        findings.add(line, "peers.addr", wrong, "both IPv4 or both IPv6");
    }
}

/// Whoever can send a packet that nobody signed can lie: the operator must say that this is fine.
fn authentication(heartbeat: &Heartbeat, insecure: Option<usize>, first: Option<usize>, findings: &Findings) {
    let Some(first) = first else { return };
    if heartbeat.insecure || heartbeat.key_file.is_some() {
        return;
    }
    findings.add(
        insecure.unwrap_or(first),
        "heartbeat.key_file",
        "is not given although there are peers: forged packets could not be told from theirs".to_owned(),
        "key_file = \"FILE\" in [heartbeat], with a line by `head -c 32 /dev/urandom | base64`; or insecure = true there, on \
         a network whose hosts are trusted",
    );
}
