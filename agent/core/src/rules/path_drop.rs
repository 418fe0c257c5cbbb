//! `path-drop`: two hosts that both run lost each other's packets.
//!
//! Confirms: heartbeats that left one of them and did not arrive (missing numbers), in either direction; while the
//! silence lasts, another host that still hears the peer, or this host's own kernel, which drops what the peer sends. Where
//! the packets were last seen follows from what both kernels dropped. Rules out: all numbers arrived; the peer did not send;
//! the peer's kernel answered that nobody listens. Cannot tell: as much as is missing came in and was refused, at either end.

use std::time::Duration;

use super::host_isolated::{Standing, standing};
use super::packet_loss::may_be_a_part;
use super::{Case, Context, Finding, Opinion, holds_with, path_to, time};
use crate::evidence::Way;
use crate::gap::{FOUND_ANEW, Gap, times};
use crate::incident::{Class, Detail, Direction, LastSeen, Reason};
use crate::last_seen;
use crate::loss::{CUT, follows_within};

pub(super) fn judge(context: &Context<'_>, case: Case<'_>) -> Opinion {
    match case {
        Case::Gap(gap) if gap.new_boot.is_some() => {
            Opinion::RuledOut(format!("{} was booted anew, it did not run all along", gap.peer))
        }
        Case::Gap(gap) if gap.silent && !gap.heard_again => while_silent(context, gap),
        Case::Gap(gap) => one_path(context, gap),
        Case::Io(_) | Case::Vip(_) => Opinion::NotConcerned,
        Case::Loss(_) => Opinion::RuledOut("heartbeats get through all the time".into()),
        Case::Hole(_) => Opinion::RuledOut("small heartbeats get through all the time".into()),
        Case::Own(_) | Case::Cpu(_) | Case::Load(_) => {
            Opinion::RuledOut("it is this host itself that stood still, whatever it did not hear".into())
        }
    }
}

/// A host that sends and does not hear may have lost the CPU that its network card interrupts. It notices that within a
/// second: half of one for the threshold, a few ticks to look. By then it also shows whether it hears others.
const ACCOUNT_PATIENCE: Duration = Duration::from_millis(1200);

/// Whom others heard they have all said by then: their next words are an interval old at most.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// Numbers prove what was lost before; that the present silence is the same is likely, not proven.
const SILENT_AGAIN: f64 = 0.7;

/// The peer is not back: only others can say that it runs.
fn while_silent(context: &Context<'_>, gap: &Gap) -> Opinion {
    if gap.is_refused(context.settings.interval, context.now) {
        return Opinion::CannotTell(refused(gap));
    }
    if drops_what_comes(context, gap) {
        return dropped_here(context, gap);
    }
    let witness = gap.witnesses.iter().find(|witness| witness.hears && gap.heard_by_others);
    if witness.is_some() && gap.silence(context.now) < times(context.settings.interval, CUT) {
        return Opinion::CannotTell(format!("so short a silence of {} may be a part of a steady loss", gap.peer));
    }
    if let Some(witness) = witness {
        let summary = format!(
            "{} has not heard {} for {}, though {} hears it",
            context.me(),
            gap.peer,
            time(gap.length(context.now)),
            witness.name
        );
        return holds_with(0.65, path_to(context, &gap.peer), summary, Detail::default());
    }
    if gap.port_unreachable {
        return Opinion::RuledOut(format!(
            "the kernel of {} received a heartbeat and answered that nobody listens",
            gap.peer
        ));
    }
    if let (Some(_), Opinion::Holds(finding)) = (gap.direction(), by_numbers(context, gap)) {
        return Opinion::Holds(Box::new(Finding { confidence: SILENT_AGAIN, ..*finding }));
    }
    Opinion::CannotTell(format!("no other host hears {}, and it is not back to say what it sent", gap.peer))
}

/// Whether this host's own kernel drops most of what the silent peer alone would have sent: then it sends.
fn drops_what_comes(context: &Context<'_>, gap: &Gap) -> bool {
    let dropped = gap.dropped_in_silence;
    let alone = gap.scope.together.is_empty() && !gap.scope.hears_none;
    alone && dropped >= CUT && times(context.settings.interval, dropped.saturating_mul(2)) >= gap.silence(context.now)
}

/// Whether the peer hears this host is not known yet.
fn dropped_here(context: &Context<'_>, gap: &Gap) -> Opinion {
    let (me, peer) = (context.me(), &gap.peer);
    let reason = gap.dropped_here(Way::In).and_then(|dropped| dropped.reason);
    let why = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let summary = format!("the kernel of {me} drops the heartbeats of {peer}{why}, {} so far", gap.dropped_in_silence);
    let detail =
        Detail { last_seen: Some(LastSeen::ThisKernel), reason: reason.map(Reason::Drop), ..Detail::default() };
    holds_with(0.9, path_to(context, peer), summary, detail)
}

/// The numbers prove a loss; whom the others heard, that it is of one path.
fn one_path(context: &Context<'_>, gap: &Gap) -> Opinion {
    let lost = by_numbers(context, gap);
    let Opinion::Holds(_) = lost else { return lost };
    match &gap.scope.groups {
        Some(groups) if standing(groups, context.me(), &gap.peer) != Standing::Together => {
            Opinion::RuledOut("others lost each other as well: it is more than one path".into())
        }
        None if gap.scope.others_may_tell && is_young(context, gap) && !gap.heard_by_others => {
            Opinion::CannotTell("whom the other hosts heard is not known yet".into())
        }
        None if gap.own_clock_stood && gap.scope.others_may_tell => Opinion::CannotTell(format!(
            "the clock of {} stood still meanwhile: whom the others heard then does not fit to it",
            context.me()
        )),
        _ if held_up_here(gap) => Opinion::CannotTell(format!(
            "heartbeats of others are missing of the same moment: {} may have been held up, for too short to notice",
            context.me()
        )),
        None if gap.scope.unclear && !gap.heard_by_others => {
            Opinion::CannotTell("whom the other hosts heard is not known".into())
        }
        None if lost_by_all(gap) => {
            Opinion::CannotTell(format!("the others who tell lost {} as well, and not whom they heard", gap.peer))
        }
        _ => lost,
    }
}

/// Whether so few are missing, of others as well, that this host may not have taken them: a stall of up to half an interval
/// more than one is not told, as the agent is late for less than half of one then, and two leave a peer in that time.
fn held_up_here(gap: &Gap) -> bool {
    gap.scope.others_missed && gap.lost_from <= 2 && gap.direction() == Some(Direction::FromPeer)
}

/// Whether no other host that tells of the peer heard it either.
fn lost_by_all(gap: &Gap) -> bool {
    !gap.witnesses.is_empty() && !gap.heard_by_others && gap.witnesses.iter().all(|witness| !witness.hears)
}

/// The peer is heard: the numbers say what was sent and what arrived.
pub(super) fn by_numbers(context: &Context<'_>, gap: &Gap) -> Opinion {
    let Some(direction) = gap.direction() else {
        let what = if gap.new_incarnation {
            return Opinion::CannotTell(format!("the agent of {} was started anew, its numbers too", gap.peer));
        } else if gap.rewound {
            return Opinion::CannotTell(format!("the numbers of {} went back", gap.peer));
        } else if gap.missed > 0 {
            format!("the heartbeats of {} that are missing fell into a stall of {}", gap.peer, context.me())
        } else if gap.unsent.is_zero() {
            "every heartbeat arrived in the end, late".to_owned()
        } else {
            format!("{} sent nothing for {}, and {}", gap.peer, time(gap.unsent), gap.arrived())
        };
        return Opinion::RuledOut(what);
    };
    if gap.is_refused(context.settings.interval, context.now) {
        return Opinion::CannotTell(refused(gap));
    }
    if direction != Direction::FromPeer && gap.is_refused_by_peer(context.settings.interval, context.now) {
        return Opinion::CannotTell(refused_by_peer(context, gap));
    }
    if may_be_steady(context, gap) {
        return Opinion::CannotTell(may_be_a_part(gap));
    }
    if direction == Direction::FromPeer && !gap.lost_more_than_unsent(context.settings.interval) {
        return Opinion::RuledOut(format!(
            "{} sent nothing for {}, only {} heartbeats were lost",
            gap.peer,
            time(gap.unsent),
            gap.lost_from
        ));
    }
    if direction == Direction::ToPeer && gap.unheard && is_found_anew(context, gap) {
        return Opinion::CannotTell(format!(
            "{} stood still and was heard again just now: it may have been moved, and is found anew",
            gap.peer
        ));
    }
    if direction == Direction::ToPeer && !gap.unheard && gap.lost_while_it_stood(context.settings.interval) {
        return Opinion::RuledOut(format!(
            "nothing came in of {} for {} and nothing of it is missing: it could not take what was sent to it",
            gap.peer,
            time(gap.quiet)
        ));
    }
    if direction == Direction::ToPeer && gap.lost_while_deaf(context.settings.interval, context.now) {
        return Opinion::RuledOut(format!("{} itself says that it stood still and may have been deaf", gap.peer));
    }
    if direction == Direction::ToPeer && context.now.since(gap.started) < ACCOUNT_PATIENCE {
        return Opinion::CannotTell(format!(
            "{} may have been deaf for reasons of its own, and may still say so",
            gap.peer
        ));
    }
    let told = gap.told().is_some_and(|report| report.class != Class::Unknown);
    if !gap.quiet.is_zero() && !told && gap.back.is_none_or(|back| context.now < back.plus(TOLD_WITHIN)) {
        return Opinion::CannotTell(format!(
            "{} stood still as well, or all of it was late, and has not said which",
            gap.peer
        ));
    }
    let detail = Detail { direction: Some(direction), ..Detail::default() };
    let detail = if gap.silent { detail } else { last_seen::add(context, gap, direction, detail) };
    let summary = summary(context, gap, direction, &detail);
    // Where the peer stood still as well, the loss is the longer of the two.
    let confidence = if gap.quiet.is_zero() { 0.95 } else { 0.96 };
    holds_with(confidence, path_to(context, &gap.peer), summary, detail)
}

/// Why nothing of the peer counts, though packets arrive. Anybody may send those, so it proves nothing.
pub(super) fn refused(gap: &Gap) -> String {
    format!(
        "{} packets from the address of {} arrived and were refused: it may have another key, name or version, or \
         somebody else sends them",
        gap.refused, gap.peer
    )
}

/// The same at the other end.
pub(super) fn refused_by_peer(context: &Context<'_>, gap: &Gap) -> String {
    format!(
        "{} says that it had {} packets from the address of {} and did not take them: it had no room, or refused them \
         for another key, name or version",
        gap.peer,
        gap.not_taken,
        context.me()
    )
}

/// A few in a row may be the first sign of a steady loss, which shows in what follows.
fn may_be_steady(context: &Context<'_>, gap: &Gap) -> bool {
    let just_silent = gap.silent && gap.silence(context.now) < times(context.settings.interval, CUT);
    let just_back = heard_again_for(context, gap).is_some_and(|time| time < follows_within(gap.longest_run));
    gap.may_be_steady_loss(context.settings.interval) || gap.is_short() && (just_back || just_silent)
}

/// Whether the peer stood still and goes on since so short a time that what is sent to it may still go where it was before.
fn is_found_anew(context: &Context<'_>, gap: &Gap) -> bool {
    let just_now = context.now.since(gap.resumed.max(gap.since)) < FOUND_ANEW;
    let all_of_it = gap.lost_to.is_none() || gap.lost_while_it_stood(context.settings.interval);
    !gap.quiet.is_zero() && just_now && all_of_it
}

/// It is heard again for less than a second.
pub(super) fn is_young(context: &Context<'_>, gap: &Gap) -> bool {
    heard_again_for(context, gap).is_some_and(|time| time < TOLD_WITHIN)
}

/// Absent while it is not.
fn heard_again_for(context: &Context<'_>, gap: &Gap) -> Option<Duration> {
    let resumed = Some(gap.resumed).filter(|resumed| *resumed > gap.since);
    gap.back.or(resumed).map(|back| context.now.since(back))
}

fn summary(context: &Context<'_>, gap: &Gap, direction: Direction, detail: &Detail) -> String {
    let (me, peer, length) = (context.me(), &gap.peer, time(gap.length(context.now)));
    let (from, who) = (gap.lost_from, who_lost(me, peer, detail.last_seen));
    let differ = detail.last_seen_to_peer.or(detail.last_seen_from_peer).is_some();
    let lost = match (direction, gap.lost_to.filter(|lost| *lost > 0)) {
        (Direction::FromPeer, _) => {
            format!("{who} {from} heartbeats from {peer} to {me} in {length}; {peer} ran all along")
        }
        (Direction::ToPeer, Some(to)) => {
            format!("{who} {to} heartbeats from {me} to {peer} in {length}; what {peer} sends arrives")
        }
        (Direction::ToPeer, None) => {
            format!("{peer} has heard nothing of {me} for {length}, though {me} sent; what {peer} sends arrives")
        }
        (Direction::Both, to) => {
            let to = to.map_or_else(|| "all".to_owned(), |lost| lost.to_string());
            let lost = if differ { "packets were lost".to_owned() } else { format!("{who} packets") };
            format!("{lost} both ways between {me} and {peer} for {length}: {from} heartbeats from {peer}, {to} to it")
        }
    };
    let reason = match &detail.reason {
        Some(Reason::Drop(reason)) => format!(" ({reason})"),
        _ => String::new(),
    };
    format!("{lost}{}{reason}", where_each_ended(me, peer, detail))
}

fn who_lost(me: &str, peer: &str, place: Option<LastSeen>) -> String {
    match place {
        Some(LastSeen::ThisKernel) => format!("the kernel of {me} dropped"),
        Some(LastSeen::PeerKernel) => format!("the kernel of {peer} dropped"),
        Some(LastSeen::Between) | None => "the network lost".to_owned(),
    }
}

/// Where both directions ended, if not in the same place.
fn where_each_ended(me: &str, peer: &str, detail: &Detail) -> String {
    let place = |place: LastSeen| match place {
        LastSeen::ThisKernel => format!("in the kernel of {me}"),
        LastSeen::PeerKernel => format!("in the kernel of {peer}"),
        LastSeen::Between => "between the two".to_owned(),
    };
    let ways = [("to", detail.last_seen_to_peer), ("from", detail.last_seen_from_peer)];
    let ways = ways.into_iter().filter_map(|(way, seen)| Some(format!("; those {way} {peer} ended {}", place(seen?))));
    ways.collect()
}
