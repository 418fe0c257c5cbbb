//! `host-isolated`: one running host lost all of its peers.
//!
//! Confirms: afterwards, all others heard each other throughout, and none of them that host, whose numbers show that it
//! sent all along. While it lasts: no peer hears this host, by their own words; or all of them and the gateway, which
//! answered before, are silent at once; or the peer itself says that it hears nobody. Rules out: somebody who heard it
//! throughout.

use super::{Case, Context, Opinion, holds_with, host, path_drop, time};
use crate::gap::{Gap, times};
use crate::incident::{Detail, Direction};
use crate::loss::CUT;

/// A host that slept through a smaller part than one in so many of what did not reach it was awake for the rest.
const SLEPT_THROUGH: u64 = 3;

pub(super) fn judge(context: &Context<'_>, case: Case<'_>) -> Opinion {
    let Case::Gap(gap) = case else { return Opinion::NotConcerned };
    if let Some(groups) = &gap.scope.groups {
        return match path_drop::by_numbers(context, gap) {
            Opinion::Holds(_) => by_groups(context, gap, groups),
            other => other,
        };
    }
    if gap.silent {
        return while_silent(context, gap);
    }
    // Whoever lost it both ways is heard by one a moment before the others.
    let one_way =
        gap.unheard && !path_drop::is_young(context, gap) && (gap.scope.heard_by_none || gap.scope.hears_nobody);
    match path_drop::by_numbers(context, gap) {
        Opinion::Holds(_) if one_way => unheard(context, gap),
        _ => Opinion::NotConcerned,
    }
}

/// How this host and the peer stand to each other, by who went on hearing whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing<'a> {
    /// Others heard both throughout.
    Together,
    /// This one alone was cut off from all others, which went on hearing each other but for others that were alone.
    Alone(&'a str),
    /// Neither.
    Apart,
}

/// That of the two ends of the gap, which are `me` and its peer.
pub(super) fn standing<'a>(groups: &'a [Vec<String>], me: &str, peer: &str) -> Standing<'a> {
    let of = |name: &str| groups.iter().find(|group| group.iter().any(|one| one == name));
    let single = |group: Option<&'a Vec<String>>| group.filter(|group| group.len() == 1)?.first();
    let (mine, theirs) = (of(me), of(peer));
    let others_are_together = groups.iter().filter(|group| group.len() > 1).count() == 1;
    match single(mine).or_else(|| single(theirs)) {
        Some(alone) if others_are_together => Standing::Alone(alone),
        // Who stood still meanwhile is in no group, and the others say nothing against its path.
        _ if theirs.is_none() || mine == theirs => Standing::Together,
        _ => Standing::Apart,
    }
}

fn by_groups(context: &Context<'_>, gap: &Gap, groups: &[Vec<String>]) -> Opinion {
    let alone = match standing(groups, context.me(), &gap.peer) {
        Standing::Together => return Opinion::RuledOut("others heard both ends throughout".into()),
        Standing::Apart => return Opinion::RuledOut("no single host was cut off".into()),
        Standing::Alone(alone) => alone,
    };
    if alone == context.me() && gap.missed.saturating_mul(SLEPT_THROUGH) > gap.lost_from {
        return Opinion::CannotTell(format!("{alone} stood still itself for a part of it, which nobody heard either"));
    }
    let others = groups.iter().map(Vec::len).max().unwrap_or_default();
    let summary = format!(
        "{alone} ran, and exchanged nothing with any of {others} other hosts for {}, which went on hearing each other",
        time(gap.length(context.now))
    );
    isolated(alone, 0.97, summary, gap.direction())
}

/// Nobody hears this host, or the peer hears nobody.
fn unheard(context: &Context<'_>, gap: &Gap) -> Opinion {
    let (me, peer, length) = (context.me(), gap.peer.as_str(), time(gap.length(context.now)));
    let direction = Some(Direction::ToPeer);
    if gap.scope.heard_by_none {
        return isolated(me, 0.96, format!("{me} runs, and none of its peers has heard it for {length}"), direction);
    }
    isolated(peer, 0.96, format!("{peer} hears none of its peers for {length}; what it sends arrives"), direction)
}

/// Where all are silent, the gateway tells whether it is this host.
fn while_silent(context: &Context<'_>, gap: &Gap) -> Opinion {
    let (me, length) = (context.me(), gap.length(context.now));
    if !gap.scope.hears_none || length < times(context.settings.interval, CUT) {
        return Opinion::NotConcerned;
    }
    if !gap.scope.gateway_gone {
        return Opinion::CannotTell(format!("{me} hears none of its peers: they may be gone, as no gateway tells"));
    }
    let summary = format!("{me} runs, and has heard neither its peers nor its gateway for {}", time(length));
    isolated(me, 0.8, summary, None)
}

fn isolated(name: &str, confidence: f64, summary: String, direction: Option<Direction>) -> Opinion {
    holds_with(confidence, host(name), summary, Detail { direction, ..Detail::default() })
}
