//! Packets on the heartbeat port that do not count: each is counted by its reason, and each reason is said once, of a peer
//! once for that peer. So a flood costs a few lines, and still shows which host has the wrong key or the wrong name. What
//! comes from a peer's address is evidence as well: that peer is not silent.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use lacuna_core::evidence::{Evidence, Fact, Size};
use lacuna_core::time::Nanos;

use crate::heartbeat::seal::Refusal;

/// The reason of what comes from an address that is no peer's.
const STRANGER: &str = "foreign-address";

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    counts: BTreeMap<&'static str, u64>,
    of_peers: BTreeMap<String, OfPeer>,
}

/// What came from the address of a peer and did not count.
#[derive(Debug, Default)]
struct OfPeer {
    /// What was said of it, and how many came since the last evidence; there are as many reasons as [`Refusal`] has.
    reasons: BTreeMap<&'static str, u64>,
    /// Those since the last evidence that had counted before, by the place of their size.
    again: [u64; 3],
}

impl Refusals {
    /// How many there were, by reason.
    pub(super) fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// A packet came from an address that is no peer's.
    pub(super) fn stranger(&mut self, from: SocketAddr) {
        if self.count(STRANGER) == 1 {
            tracing::warn!(
                reason = STRANGER,
                "a packet from {from} was refused: that is no peer's address; further ones are only counted"
            );
        }
    }

    /// A packet from the address of `peer` does not count.
    pub(super) fn of_peer(&mut self, peer: &str, from: SocketAddr, refusal: &Refusal) {
        let reason = refusal.reason();
        self.count(reason);
        if self.is_new(peer, reason) {
            tracing::warn!(reason, peer, "{}; further ones are only counted", said(peer, from, refusal));
        }
        let Some(of_peer) = self.of_peers.get_mut(peer) else { return };
        // What was sent before counted then, or never will.
        if let Refusal::Again { size, .. } = refusal {
            size.iter().for_each(|size| of_peer.again[size.place()] += 1);
        } else if let Some(fresh) = of_peer.reasons.get_mut(reason) {
            *fresh += 1;
        }
    }

    /// What came from the addresses of peers since the last call, in that time.
    pub(super) fn evidence(&mut self, from: Nanos, to: Nanos) -> Vec<Evidence> {
        let mut seen = Vec::new();
        for (peer, OfPeer { reasons, again }) in &mut self.of_peers {
            let again = std::mem::take(again);
            let doubled =
                Size::ALL.into_iter().map(|(size, _)| (size, again[size.place()])).filter(|(_, count)| *count > 0);
            seen.extend(doubled.map(|(size, count)| Evidence::at(peer, to, Fact::Duplicates { size, count })));
            for (reason, fresh) in reasons.iter_mut().filter(|(_, fresh)| **fresh > 0) {
                let fact = Fact::Refused { reason: (*reason).to_owned(), count: std::mem::take(fresh) };
                seen.push(Evidence::during(peer, from, to, fact));
            }
        }
        seen
    }

    /// Forgets what was said of those that are no peers any more.
    pub(super) fn keep(&mut self, known: impl Fn(&str) -> bool) {
        self.of_peers.retain(|name, _| known(name));
    }

    fn count(&mut self, reason: &'static str) -> u64 {
        let count = self.counts.entry(reason).or_default();
        *count += 1;
        *count
    }

    /// Whether that is said for the first time; a flood makes no new strings.
    fn is_new(&mut self, peer: &str, reason: &'static str) -> bool {
        match self.of_peers.get_mut(peer) {
            Some(known) if known.reasons.contains_key(reason) => false,
            Some(known) => known.reasons.insert(reason, 0).is_none(),
            None => self.of_peers.entry(peer.to_owned()).or_default().reasons.insert(reason, 0).is_none(),
        }
    }
}

/// What a person can do something about. A name from a packet is shown with its controls escaped.
fn said(peer: &str, from: SocketAddr, refusal: &Refusal) -> String {
    match refusal {
        Refusal::ForeignName(name) => format!(
            "the peer at {from} calls itself {name:?}; its name here is {peer:?}, and its heartbeats are refused until both agree"
        ),
        other => format!("a packet from {from} was refused: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use lacuna_core::guard;

    use super::*;
    use crate::heartbeat::wire::WireError;
    use crate::shared::{Identity, Shared};

    const FROM: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9479);

    #[test]
    fn every_reason_is_counted_from_zero() {
        let wire = [
            WireError::Magic,
            WireError::Version(9),
            WireError::Short,
            WireError::Long,
            WireError::Name,
            WireError::Range,
        ];
        let again = [guard::Refusal::Duplicate, guard::Refusal::Replay, guard::Refusal::Unproven];
        let others = [Refusal::Short, Refusal::Tag, Refusal::ForeignName("x".into())];
        let all = wire.map(Refusal::Wire).into_iter().chain(again.map(|why| Refusal::Again { why, size: None }));
        let reasons = all.chain(others).map(|refusal| refusal.reason()).chain([STRANGER]);
        let expected: BTreeMap<String, u64> = reasons.map(|reason| (reason.to_owned(), 0)).collect();
        let shared = Shared::new(Identity::default(), Vec::new(), None);
        assert_eq!(shared.counters.read().packets_refused, expected);
    }

    #[test]
    fn every_packet_is_counted_by_its_reason() {
        let mut refusals = Refusals::default();
        (0..3).for_each(|_| refusals.stranger(FROM));
        (0..2).for_each(|_| refusals.of_peer("b", FROM, &Refusal::Tag));
        refusals.of_peer("c", FROM, &Refusal::Wire(WireError::Version(9)));
        let expected = BTreeMap::from([("foreign-address", 3), ("tag", 2), ("version", 1)]);
        assert_eq!(refusals.counts(), &expected);
    }

    #[test]
    fn a_reason_is_said_once_for_each_peer_until_it_has_left() {
        let mut refusals = Refusals::default();
        assert!(refusals.is_new("b", "tag") && !refusals.is_new("b", "tag"));
        assert!(refusals.is_new("b", "version") && refusals.is_new("c", "tag"));
        refusals.keep(|name| name == "b");
        assert!(!refusals.is_new("b", "tag") && refusals.is_new("c", "tag"));
    }

    #[test]
    fn what_comes_from_a_peers_address_is_evidence_once() {
        let mut refusals = Refusals::default();
        refusals.stranger(FROM);
        (0..3).for_each(|_| refusals.of_peer("b", FROM, &Refusal::Tag));
        let again = |why, size| Refusal::Again { why, size };
        refusals.of_peer("b", FROM, &again(guard::Refusal::Replay, None));
        (0..2).for_each(|_| refusals.of_peer("b", FROM, &again(guard::Refusal::Duplicate, Some(Size::Mtu))));
        let fact = Fact::Refused { reason: "tag".into(), count: 3 };
        let doubled = Evidence::at("b", Nanos(2), Fact::Duplicates { size: Size::Mtu, count: 2 });
        let refused = Evidence::during("b", Nanos(1), Nanos(2), fact);
        assert_eq!(refusals.evidence(Nanos(1), Nanos(2)), [doubled, refused]);
        assert_eq!(refusals.evidence(Nanos(2), Nanos(3)), []);
    }

    #[test]
    fn a_peer_under_another_name_is_told_with_both_names_and_harmless_to_a_terminal() {
        let text = said("lb1", FROM, &Refusal::ForeignName("db\u{1b}[31m".into()));
        assert!(text.contains(r#"calls itself "db\u{1b}[31m"; its name here is "lb1""#), "{text}");
        assert!(text.contains("127.0.0.1:9479"), "{text}");
    }
}
