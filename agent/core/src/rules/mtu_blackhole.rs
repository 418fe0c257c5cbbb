//! `mtu-blackhole`: small packets pass, large ones vanish.
//!
//! Confirms: the peer says that it hears small heartbeats of this host, and of the large ones that left in the same time
//! none; or the peer says the same of its own. Which sizes vanish tells why, and a search tells the largest that passes.
//! Rules out: a router's word about its MTU, which arrived (then path MTU discovery works as it should), and small ones
//! that are lost as well.

use super::{Case, Context, Opinion, holds_with, path_to};
use crate::evidence::{HoleReason, HoleReport};
use crate::hole::Hole;
use crate::incident::{Detail, Direction, Reason, Subject};

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
    let direction = hole.direction();
    let (me, peer) = (context.me(), hole.peer.as_str());
    let way = match direction {
        Direction::ToPeer => format!("from {me} to {peer}"),
        Direction::FromPeer => format!("from {peer} to {me}"),
        Direction::Both => format!("between {me} and {peer}"),
    };
    let subject = Subject { mtu: report.passes, ..path_to(context, &hole.peer) };
    let detail = Detail { direction: Some(direction), reason: Some(Reason::Hole(report.reason)), ..Detail::default() };
    holds_with(0.95, subject, words(report, &way), detail)
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
