//! Where the heartbeats were last seen that two hosts lost: what each of their kernels dropped of them, against what is
//! missing.
//!
//! A kernel that dropped as many as are missing is where they ended. Where both kernels count their drops and dropped none,
//! they were lost in between. Everything else is not known: a part of them here and a part there, or a kernel that counts
//! nothing.

use std::time::Duration;

use crate::evidence::{Fact, Way, named};
use crate::gap::Gap;
use crate::incident::{Detail, Direction, LastSeen, Reason};
use crate::loss::CUT;
use crate::rules::Context;
use crate::time::Nanos;

/// So many may be on their way while it is counted.
const SLACK: u64 = 2;

/// One of so many may have been lost otherwise, such as in the moment that a rule took effect.
const OTHERWISE: u64 = 10;

/// A peer that is heard again has told by then what its kernel dropped meanwhile.
const TOLD_SINCE_BACK: Duration = Duration::from_millis(500);

/// And one that goes on sending, where what it does not hear began so long ago.
const TOLD_SINCE_BEGUN: Duration = Duration::from_secs(3);

/// What one kernel dropped of the heartbeats that are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many.
    pub count: u64,
    /// The kernel's own name for the reason, where it is known.
    pub reason: Option<String>,
}

/// The heartbeats that are missing one way, and what the kernels at its ends dropped of them; absent where that is not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// How many.
    pub lost: u64,
    /// This host's kernel dropped so many.
    pub here: Option<Dropped>,
    /// The peer's kernel dropped so many, by its account.
    pub there: Option<Dropped>,
    /// Both had the time to say so, and it was long enough for each to look: what they do not tell did not happen.
    pub all_told: bool,
}

/// Where packets were last seen, and why they went no further.
type Place = (LastSeen, Option<String>);

impl Missing {
    /// Where these were last seen; absent where nothing tells.
    #[must_use]
    pub fn last_seen(&self) -> Option<Place> {
        let by = |dropped: &Option<Dropped>| dropped.clone().filter(|dropped| accounts_for(dropped.count, self.lost));
        let none = |dropped: &Option<Dropped>| dropped.as_ref().is_some_and(|dropped| dropped.count == 0);
        match (by(&self.here), by(&self.there)) {
            (Some(dropped), None) => Some((LastSeen::ThisKernel, dropped.reason)),
            (None, Some(dropped)) => Some((LastSeen::PeerKernel, dropped.reason)),
            (None, None) if self.all_told && none(&self.here) && none(&self.there) => Some((LastSeen::Between, None)),
            _ => None,
        }
    }
}

/// Whether `dropped` are those that are missing.
#[must_use]
pub fn accounts_for(dropped: u64, lost: u64) -> bool {
    dropped > 0 && dropped >= lost.div_ceil(2) && dropped >= lost.saturating_sub(SLACK.max(lost / OTHERWISE))
}

/// Adds to the detail of a loss in that direction where the packets were last seen.
pub(crate) fn add(context: &Context<'_>, gap: &Gap, direction: Direction, detail: Detail) -> Detail {
    let to = (direction != Direction::FromPeer).then(|| missing_to(context, gap).last_seen());
    let from = (direction != Direction::ToPeer).then(|| missing_from(context, gap).last_seen());
    match (to, from) {
        (Some(one), None) | (None, Some(one)) => with_one(detail, one),
        (to, from) => with_both(detail, to.flatten(), from.flatten()),
    }
}

fn with_one(detail: Detail, place: Option<Place>) -> Detail {
    let Some((last_seen, reason)) = place else { return detail };
    Detail { last_seen: Some(last_seen), reason: reason.map(Reason::Drop), ..detail }
}

/// The reason of both ways, where it is one; where only one has a reason, that.
fn common(of_to: Option<String>, of_from: Option<String>) -> Option<String> {
    match (of_to, of_from) {
        (Some(to), Some(from)) => Some(to).filter(|to| *to == from),
        (to, from) => to.or(from),
    }
}

/// Both directions: in one place, or each in its own, or one of them is not known.
fn with_both(detail: Detail, to: Option<Place>, from: Option<Place>) -> Detail {
    let place = |place: &Option<Place>| place.as_ref().map(|(place, _)| *place);
    let (to_place, from_place) = (place(&to), place(&from));
    let reason = common(to.and_then(|(_, reason)| reason), from.and_then(|(_, reason)| reason));
    if to_place == from_place {
        return with_one(detail, to_place.map(|place| (place, reason)));
    }
    let (last_seen_to_peer, last_seen_from_peer) = (to_place, from_place);
    Detail { last_seen_to_peer, last_seen_from_peer, reason: reason.map(Reason::Drop), ..detail }
}

fn missing_to(context: &Context<'_>, gap: &Gap) -> Missing {
    // As long as the peer hears nothing, its numbers do not show how many are missing: as many as left.
    let left = if gap.unheard { left_since(context, gap) } else { 0 };
    let lost = gap.lost_to.unwrap_or(0).max(left);
    missing(context, gap, lost, (Way::Out, Way::In))
}

fn missing_from(context: &Context<'_>, gap: &Gap) -> Missing {
    missing(context, gap, gap.lost_from, (Way::In, Way::Out))
}

fn missing(context: &Context<'_>, gap: &Gap, lost: u64, (here, there): (Way, Way)) -> Missing {
    let all_told = lost >= CUT && gap.drops_are_told(context.now);
    Missing { lost, here: gap.dropped_here(here), there: gap.dropped_there(there), all_told }
}

/// How many heartbeats leave a host in the length of the gap.
fn left_since(context: &Context<'_>, gap: &Gap) -> u64 {
    let interval = context.settings.interval.as_nanos().max(1);
    u64::try_from(gap.length(context.now).as_nanos() / interval).unwrap_or(u64::MAX)
}

impl Gap {
    /// What this host's kernel dropped of the heartbeats with the peer since the gap began; what it refused to send is dropped,
    /// also where no packet was made. Absent where that is not counted, or not all of it is remembered.
    #[must_use]
    pub fn dropped_here(&self, way: Way) -> Option<Dropped> {
        let (cited, forgotten) = self.citations.parts();
        let (mut dropped, mut refused, mut most) = (Dropped::default(), 0, 0);
        for evidence in cited {
            match &evidence.fact {
                Fact::SendRefused { count, .. } if way == Way::Out => refused += *count,
                Fact::HeartbeatDrops { direction, reason, count } if *direction == way => {
                    dropped.count += count;
                    if *count > most {
                        (most, dropped.reason) = (*count, named(reason).map(str::to_owned));
                    }
                }
                _ => {}
            }
        }
        let known = self.drops_counted && forgotten == 0;
        dropped.count = dropped.count.max(refused);
        (known || dropped.count > 0).then_some(dropped)
    }

    /// What the peer's kernel dropped, by its account: of the heartbeats to it (in), or of its own (out).
    #[must_use]
    pub fn dropped_there(&self, way: Way) -> Option<Dropped> {
        let drops = self.peer_drops.as_ref()?;
        let count = drops.count(way);
        Some(Dropped { count, reason: drops.reason(way).map(str::to_owned) })
    }

    /// Whether both kernels had the time to tell what they dropped: they are read once a second, and each turn while there is
    /// an incident.
    #[must_use]
    pub fn drops_are_told(&self, now: Nanos) -> bool {
        let again = self.back.is_some_and(|back| now.since(back) >= TOLD_SINCE_BACK);
        again || self.unheard && !self.silent && now.since(self.started) >= TOLD_SINCE_BEGUN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lost: u64, here: Option<u64>, there: Option<u64>, all_told: bool) -> Option<LastSeen> {
        let dropped = |count: u64| Dropped { count, reason: None };
        let missing = Missing { lost, here: here.map(dropped), there: there.map(dropped), all_told };
        missing.last_seen().map(|(place, _)| place)
    }

    #[test]
    fn a_kernel_that_dropped_what_is_missing_is_where_it_ended() {
        assert_eq!(of(50, Some(50), Some(0), true), Some(LastSeen::ThisKernel));
        assert_eq!(of(50, Some(46), None, false), Some(LastSeen::ThisKernel), "one in ten by chance");
        assert_eq!(of(50, Some(0), Some(48), true), Some(LastSeen::PeerKernel));
        assert_eq!(of(50, None, Some(60), false), Some(LastSeen::PeerKernel), "it counts from a little before");
        assert_eq!(of(3, Some(2), Some(0), true), Some(LastSeen::ThisKernel));
    }

    #[test]
    fn both_kernels_must_say_that_it_was_in_between() {
        assert_eq!(of(50, Some(0), Some(0), true), Some(LastSeen::Between));
        assert_eq!(of(50, Some(0), Some(0), false), None, "they may still say so");
        assert_eq!(of(50, None, Some(0), true), None);
        assert_eq!(of(50, Some(0), None, true), None);
    }

    #[test]
    fn what_is_lost_in_several_places_is_not_told() {
        assert_eq!(of(50, Some(25), Some(0), true), None);
        assert_eq!(of(50, Some(25), Some(25), true), None);
        assert_eq!(of(50, Some(50), Some(50), true), None, "they contradict each other");
        assert_eq!(of(3, Some(0), None, true), None, "nothing was dropped here");
    }
}
