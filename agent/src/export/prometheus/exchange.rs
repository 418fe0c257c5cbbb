//! What is measured with each peer: heartbeats by size and direction, round trips, clocks, echo requests.

use std::fmt;

use hdrhistogram::Histogram;

use super::families::{Families, Labels, labels};
use super::histogram::{Buckets, LATENCY_BOUNDS};
use crate::export::exchange::{Way, ways};
use crate::export::json::micros;
use crate::shared::PeerStatus;

/// The quantiles that a round trip is told by, as their label has them.
const QUANTILES: [(&str, f64); 5] = [("0.5", 0.5), ("0.9", 0.9), ("0.99", 0.99), ("0.999", 0.999), ("1", 1.0)];

pub(super) fn exchange(out: &mut Families<'_>, all: &[PeerStatus]) -> fmt::Result {
    clocks(out, all)?;
    heartbeats(out, all)?;
    round_trips(out, all)?;
    echoes(out, all)
}

fn clocks(out: &mut Families<'_>, all: &[PeerStatus]) -> fmt::Result {
    let rows = |of: fn(&PeerStatus) -> Option<f64>| {
        all.iter().filter_map(move |peer| Some((labels([("peer", &peer.name)]), of(peer)?)))
    };
    out.gauges(
        "lacuna_clock_offset_seconds",
        "The peer's wall clock minus this host's",
        rows(|peer| peer.clock.offset_seconds),
    )?;
    out.gauges(
        "lacuna_clock_offset_error_seconds",
        "The true offset of the peer's wall clock is no further from the stated one",
        rows(|peer| peer.clock.offset_error_seconds),
    )?;
    out.gauges(
        "lacuna_clock_drift_ratio",
        "By how much the peer's boot clock gains on this host's, as a part of the time that passes",
        rows(|peer| peer.clock.drift_ratio),
    )?;
    out.gauges(
        "lacuna_clock_drift_error_ratio",
        "The true drift, where it was steady for ten minutes, is no further from the stated one",
        rows(|peer| peer.clock.drift_error_ratio),
    )
}

/// All carry the same labels, so that ratios can be formed.
fn heartbeats(out: &mut Families<'_>, all: &[PeerStatus]) -> fmt::Result {
    let of_peer = |peer: &PeerStatus| ways(peer).into_iter().map(|way| (labelled(&peer.name, &way), way)).collect();
    let rows: Vec<(Labels, Way)> = peers(all).flat_map(|peer| -> Vec<_> { of_peer(peer) }).collect();
    let counts =
        |of: fn(&Way) -> Option<u64>| rows.iter().filter_map(move |(labels, way)| Some((labels.clone(), of(way)?)));
    out.counters(
        "lacuna_heartbeats_sent",
        "Heartbeats sent to the peer, and by the peer as its numbers tell",
        counts(|way| way.sent),
    )?;
    out.counters("lacuna_heartbeats_received", "Heartbeats received from the peer", counts(|way| way.received))?;
    out.counters(
        "lacuna_heartbeats_lost",
        "Heartbeats that did not arrive; to the peer by its own account, absent where it gave none",
        counts(|way| way.lost),
    )?;
    out.counters(
        "lacuna_heartbeats_duplicated",
        "Heartbeats that came in again; to the peer by its own account",
        counts(|way| way.duplicates),
    )?;
    out.counters(
        "lacuna_heartbeats_reordered",
        "Heartbeats that were overtaken by later ones; to the peer by its own account",
        counts(|way| way.reordered),
    )?;
    out.gauges(
        "lacuna_heartbeat_delay_variation_seconds",
        "How much the time on the way varies from one heartbeat to the next (RFC 3550, 6.4.1); to the peer by its own account",
        rows.iter().filter_map(|(labels, way)| Some((labels.clone(), way.variation_seconds?))),
    )
}

fn labelled(peer: &str, way: &Way) -> Labels {
    labels([("peer", peer), ("size", &way.size), ("direction", &way.direction)])
}

fn round_trips(out: &mut Families<'_>, all: &[PeerStatus]) -> fmt::Result {
    let histograms = |of: fn(&PeerStatus) -> &Histogram<u64>| {
        let buckets = move |peer: &PeerStatus| Buckets::of_hdr(of(peer), 1e-6, &LATENCY_BOUNDS);
        peers(all).map(move |peer| (labels([("peer", &peer.name)]), buckets(peer)))
    };
    out.histograms(
        "lacuna_heartbeat_rtt_seconds",
        "Round trips of heartbeats, without the time at the peer",
        histograms(|peer| &peer.rtt_us),
    )?;
    let measured = peers(all).filter(|peer| !peer.rtt_us.is_empty());
    out.gauges(
        "lacuna_heartbeat_rtt_quantile_seconds",
        "So large a part of all round trips since the agent started was no longer",
        measured.flat_map(|peer| {
            let at = |quantile| micros(peer.rtt_us.value_at_quantile(quantile));
            QUANTILES.map(|(label, quantile)| (labels([("peer", &peer.name), ("quantile", label)]), at(quantile)))
        }),
    )?;
    out.histograms(
        "lacuna_peer_gap_seconds",
        "Time between two heartbeats of the peer",
        histograms(|peer| &peer.gap_us),
    )
}

fn echoes(out: &mut Families<'_>, all: &[PeerStatus]) -> fmt::Result {
    let rows = |answered: bool| {
        all.iter().flat_map(move |peer| {
            peer.echoes.iter().map(move |echoes| {
                let count = if answered { echoes.answered } else { echoes.sent };
                (labels([("peer", &peer.name), ("size", &echoes.size)]), count)
            })
        })
    };
    out.counters("lacuna_echo_requests", "Echo requests (ICMP) sent to the peer or the gateway", rows(false))?;
    out.counters("lacuna_echo_replies", "Echo requests that its kernel answered whole", rows(true))
}

/// Those that heartbeats are exchanged with.
fn peers(all: &[PeerStatus]) -> impl Iterator<Item = &PeerStatus> {
    all.iter().filter(|peer| peer.role == "peer")
}
