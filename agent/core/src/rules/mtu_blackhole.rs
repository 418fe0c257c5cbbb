//! `mtu-blackhole`: small packets pass, large ones vanish.
//!
//! Confirms: the peer says that it hears small heartbeats of this host, and of the large ones that left in the same time
//! none; or the peer says the same of its own. Which sizes vanish tells why, and a search tells the largest that passes.
//! Rules out: a router's word about its MTU, which arrived (then path MTU discovery works as it should), and small ones
//! that are lost as well.

use super::{Case, Context, Opinion, holds_with, path_to};
use crate::evidence::{HoleReason, HoleReport};
use crate::hole::Hole;
use crate::incident::{Detail, Reason, Subject};

/// Bytes of the headers of IPv4 and TCP without options (RFC 791, RFC 9293): every segment has more than its payload by that at least.
const LEAST_HEADERS: u64 = 40;

pub(super) fn judge(context: &Context<'_>, case: Case<'_>) -> Opinion {
    match case {
        Case::Hole(hole) => large_ones_vanish(context, hole),
        Case::Gap(gap) if gap.direction().is_some() => Opinion::RuledOut("small heartbeats were lost as well".into()),
        Case::Loss(_) => Opinion::RuledOut("small heartbeats are lost as well".into()),
        _ => Opinion::NotConcerned,
    }
}

fn large_ones_vanish(context: &Context<'_>, hole: &Hole) -> Opinion {
    let Some(report) = hole.report() else {
        return Opinion::CannotTell("which sizes pass is not known".into());
    };
    let subject = Subject { mtu: report.passes, ..path_to(context, &hole.peer) };
    let detail =
        Detail { direction: Some(hole.direction()), reason: Some(Reason::Hole(report.reason)), ..Detail::default() };
    holds_with(0.95, subject, summary(context.me(), hole, report) + &resent(hole), detail)
}

/// Both ways at once where they do the same.
fn summary(me: &str, hole: &Hole, report: HoleReport) -> String {
    let peer = &hole.peer;
    let (there, back) = (format!("from {me} to {peer}"), format!("from {peer} to {me}"));
    match (hole.to_peer, hole.from_peer) {
        (Some(to), Some(from)) if to != from => format!("{}; {}", words(to, &there), words(from, &back)),
        (Some(_), Some(_)) => words(report, &format!("between {me} and {peer}")),
        (None, _) => words(report, &back),
        (_, None) => words(report, &there),
    }
}

/// What TCP has to send again of the way to the peer, where all of that is too large.
fn resent(hole: &Hole) -> String {
    let passes = hole.to_peer.and_then(|report| report.passes).map(u64::from);
    let all_too_large = hole.least_resent().zip(passes).is_some_and(|(least, passes)| least + LEAST_HEADERS > passes);
    if all_too_large {
        format!("; every TCP segment that was sent again to {} is larger", hole.peer)
    } else {
        String::new()
    }
}

fn words(report: HoleReport, way: &str) -> String {
    match (report.reason, report.passes) {
        (HoleReason::FragmentsLost, Some(mtu)) => {
            format!("packets of up to {mtu} bytes pass {way}, fragments of larger ones vanish")
        }
        (HoleReason::FragmentsLost, None) => format!("fragments of packets vanish {way}, whole ones pass"),
        (HoleReason::DfDropped, passes) => format!("packets {} vanish {way}, and nobody says so", above(passes)),
        (HoleReason::FragNeededLost, passes) => format!(
            "packets {} that must not be fragmented vanish {way}: a router has a smaller MTU, and its word about that does \
             not arrive",
            above(passes)
        ),
    }
}

fn above(passes: Option<u16>) -> String {
    passes.map_or_else(|| "of the MTU".to_owned(), |passes| format!("above {passes} bytes"))
}
