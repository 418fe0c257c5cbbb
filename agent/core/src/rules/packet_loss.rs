//! `packet-loss`: a part of the packets on a path is lost, steadily.
//!
//! Confirms: numbers of small heartbeats that are missing here and there, in several short runs, at a rate that is above
//! 1 % for sure (see `loss`). The rate is stated with the interval that holds the true one in 99.9 % of all cases. Rules
//! out: nothing is missing, or all of it in one piece.

use super::{Case, Context, Opinion, holds_with, path_to};
use crate::gap::Gap;
use crate::incident::{Detail, Direction};
use crate::loss::{Loss, LossRate, MEASURED};

pub(super) fn judge(context: &Context<'_>, case: Case<'_>) -> Opinion {
    match case {
        Case::Loss(loss) => steady(context, loss),
        Case::Gap(gap) => of_gap(context, gap),
        _ => Opinion::NotConcerned,
    }
}

fn of_gap(context: &Context<'_>, gap: &Gap) -> Opinion {
    if gap.may_be_steady_loss(context.settings.interval) {
        return Opinion::CannotTell(may_be_a_part(gap));
    }
    match gap.direction() {
        Some(_) => Opinion::RuledOut("all that is missing is missing in one piece".into()),
        None => Opinion::NotConcerned,
    }
}

/// Why a few that are missing in a row are no cut yet.
pub(super) fn may_be_a_part(gap: &Gap) -> String {
    format!("so few heartbeats of {} in a row may be a part of a steady loss", gap.peer)
}

fn steady(context: &Context<'_>, loss: &Loss) -> Opinion {
    let Some(direction) = loss.direction() else {
        return Opinion::CannotTell("the rate is not known".into());
    };
    let measured = loss.directions().all(|(_, rate)| rate.packets as usize == MEASURED);
    let ways: Vec<String> = loss.directions().map(|(way, rate)| words(context, loss, way, rate)).collect();
    let summary = format!("the network loses {}", ways.join(", and "));
    let detail = Detail {
        direction: Some(direction),
        loss_from_peer: loss.from_peer,
        loss_to_peer: loss.to_peer,
        ..Detail::default()
    };
    holds_with(if measured { 0.97 } else { 0.95 }, path_to(context, &loss.peer), summary, detail)
}

fn words(context: &Context<'_>, loss: &Loss, way: Direction, rate: LossRate) -> String {
    let (me, peer) = (context.me(), loss.peer.as_str());
    let (from, to) = if way == Direction::FromPeer { (peer, me) } else { (me, peer) };
    let [percent, low, high] = [rate.rate, rate.low, rate.high].map(|part| part * 100.0);
    // Until it is measured over its fixed number of packets, it is the rate at which it was noticed: no interval holds for that.
    if rate.packets as usize != MEASURED {
        return format!("about {percent:.0} % of the heartbeats from {from} to {to}");
    }
    format!("{percent:.1} % ({low:.1} to {high:.1} %) of the heartbeats from {from} to {to}")
}
