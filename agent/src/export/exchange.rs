//! What was exchanged with a peer, by size and direction: the same rows for the API and for `/metrics`.

use serde::{Deserialize, Serialize};

use crate::shared::PeerStatus;

/// What became of the heartbeats of one size in one direction. A figure that is not known is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Way {
    /// `small`, `mtu` or `fragmented`.
    pub size: String,
    /// `to-peer`, which is by the peer's own account, or `from-peer`.
    pub direction: String,
    /// How many left; of those from the peer as its numbers tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<u64>,
    /// How many came in at this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
    /// How many did not arrive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// How many came in again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicates: Option<u64>,
    /// How many were overtaken by later ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reordered: Option<u64>,
    /// How much the time on the way varies from one to the next (RFC 3550, 6.4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variation_seconds: Option<f64>,
}

/// All sizes that were exchanged, both ways.
pub(super) fn ways(peer: &PeerStatus) -> Vec<Way> {
    // What a peer sent that was never heard is not known.
    let heard = peer.received > 0;
    let mut all = vec![
        Way { sent: Some(peer.sent), lost: peer.lost_to_peer, ..way(peer, "small", false) },
        Way {
            sent: heard.then(|| peer.received.saturating_add(peer.lost_from_peer)),
            received: Some(peer.received),
            lost: heard.then_some(peer.lost_from_peer),
            ..way(peer, "small", true)
        },
    ];
    for of_size in &peer.large {
        let (sent, lost) = (Some(of_size.sent), Some(of_size.lost_to_peer));
        all.push(Way { sent, lost, ..way(peer, of_size.size, false) });
        if let Some((sent, received)) = of_size.from_peer {
            let lost = Some(sent.saturating_sub(received));
            all.push(Way { sent: Some(sent), received: Some(received), lost, ..way(peer, of_size.size, true) });
        }
    }
    all
}

/// How they came in, which is all of it that goes the same way for every size.
fn way(peer: &PeerStatus, size: &str, from_peer: bool) -> Way {
    let flow = peer.flows.iter().find(|flow| (flow.size, flow.from_peer) == (size, from_peer));
    Way {
        size: size.to_owned(),
        direction: if from_peer { "from-peer" } else { "to-peer" }.to_owned(),
        duplicates: flow.map(|flow| flow.duplicates),
        reordered: flow.map(|flow| flow.reordered),
        variation_seconds: flow.and_then(|flow| flow.variation_seconds),
        ..Way::default()
    }
}
