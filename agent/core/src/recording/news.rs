//! A heartbeat as it is told since version 4: by what is new in it. As a rule that is its number, its times, two of the hosts that
//! its sender watches, and how small packets came in.

use std::time::Duration;

use serde::Serialize;

use super::beat;
use super::fields::{self, Unreadable, difference, sum};
use super::tale::{self, Tale, tale};
use crate::evidence::{FlowReport, Heard, Heartbeat, LargeHeard, OtherViews, PeerView};
use crate::time::{Nanos, WallNanos, nanos};

/// Hosts that a sender's views were of and that have a place; others are named each time.
const MAX_SIGHTINGS: usize = 256;
/// A heartbeat with a longer time is told in full.
const LONGEST: Duration = Duration::from_nanos(u64::MAX);

/// Whom a sender has told of, and since when it had heard it without a gap, on its boot clock: the same on both sides.
#[derive(Default)]
pub(super) struct Sightings(Vec<(u64, u64)>);

impl Sightings {
    fn place(&self, peer: u64) -> Option<usize> {
        self.0.iter().position(|(known, _)| *known == peer)
    }

    /// A place for one that has none, where there is room.
    fn add(&mut self, peer: u64) -> Option<usize> {
        let place = self.0.len();
        (place < MAX_SIGHTINGS).then(|| self.0.push((peer, 0))).map(|()| place)
    }

    /// What was told of that place before; 0 where there is none.
    fn since(&self, place: Option<usize>) -> u64 {
        place.and_then(|place| self.0.get(place)).map_or(0, |(_, since)| *since)
    }

    fn keep(&mut self, place: Option<usize>, since: u64) {
        if let Some((_, known)) = place.and_then(|place| self.0.get_mut(place)) {
            *known = since;
        }
    }
}

/// Whom a view is of: a place among the [`Sightings`], or a name's hash.
#[derive(Serialize)]
enum Who {
    Known(u64),
    Other(u64),
}

/// Of whom, its age, whether the kernel answers, since when it was heard.
type View = (Who, Option<u64>, Option<bool>, Option<i64>);

/// See the module's documentation. [`restore`] reads it, field by field. Times are nanoseconds.
#[derive(Serialize)]
pub(super) struct News {
    seq_step: i64,
    sent_step: i64,
    /// By how much more the wall clock went on.
    wall_step: i64,
    heard: Option<(i64, i64, i64, u64)>,
    views: Vec<View>,
    others: Option<(u64, i64)>,
    /// Those that are not as before, by their place.
    large: Vec<(u64, i64, i64)>,
    flows: Vec<(u64, u64, u64, Option<u64>)>,
    stories: Vec<Tale>,
}

/// Whether the two differ only in what [`News`] tell.
pub(super) fn suffice(before: &Heartbeat, now: &Heartbeat) -> bool {
    let ages = now.views.iter().flat_map(|view| [view.heard_age, view.heard_for]).flatten();
    let ages = ages.chain(now.heard.map(|heard| heard.age)).chain(now.others.map(|others| others.heard_within));
    let mut times = ages.chain(now.flows.iter().filter_map(|flow| flow.variation));
    before.boot_id == now.boot_id
        && before.incarnation == now.incarnation
        && before.goodbye == now.goodbye
        && before.overflow == now.overflow
        && before.hypervisor == now.hypervisor
        && before.probe == now.probe
        && before.hole == now.hole
        && before.drops == now.drops
        && before.stalls == now.stalls
        && before.large.iter().map(|large| large.size).eq(now.large.iter().map(|large| large.size))
        && before.flows.iter().map(|flow| flow.size).eq(now.flows.iter().map(|flow| flow.size))
        && times.all(|time| time <= LONGEST)
}

impl News {
    /// What is new in `now`, where that [`suffice`]s.
    pub(super) fn of(before: &Heartbeat, now: &Heartbeat, seen: &mut Sightings) -> Self {
        let heard_before = before.heard.unwrap_or_default();
        let heard = now.heard.map(|Heard { incarnation, seq, count, age }| {
            let incarnation = difference(incarnation, heard_before.incarnation);
            let (seq, count) = (difference(seq, heard_before.seq), difference(count, heard_before.count));
            (incarnation, seq, count, nanos(age))
        });
        let mut view = |view: &PeerView| {
            let known = seen.place(view.peer);
            let who = known.map_or(Who::Other(view.peer), |place| Who::Known(place as u64));
            let place = known.or_else(|| seen.add(view.peer));
            let since_step = view.heard_for.map(|heard_for| {
                let since = now.sent_at.0.wrapping_sub(nanos(heard_for));
                let step = difference(since, seen.since(place));
                seen.keep(place, since);
                step
            });
            (who, view.heard_age.map(nanos), view.kernel_answers, since_step)
        };
        let views = now.views.iter().map(&mut view).collect();
        let sum_before = before.others.unwrap_or_default().all;
        let large = before.large.iter().zip(&now.large).zip(0..).filter(|((before, now), _)| before != now);
        let flows = before.flows.iter().zip(&now.flows).zip(0..).filter(|((before, now), _)| before != now);
        let sent_step = difference(now.sent_at.0, before.sent_at.0);
        Self {
            seq_step: difference(now.seq, before.seq),
            sent_step,
            wall_step: difference(now.sent_wall.0, before.sent_wall.0).wrapping_sub(sent_step),
            heard,
            views,
            others: now.others.map(|others| (nanos(others.heard_within), difference(others.all, sum_before))),
            large: large
                .map(|((b, n), place)| (place, difference(n.seq, b.seq), difference(n.count, b.count)))
                .collect(),
            flows: flows
                .map(|((_, flow), place)| (place, flow.duplicates, flow.reordered, flow.variation.map(nanos)))
                .collect(),
            stories: now.stories.iter().map(tale).collect(),
        }
    }
}

/// Makes `before` what the next is told against: without new lists where they have room.
pub(super) fn adopt(before: &mut Heartbeat, now: &Heartbeat) {
    (before.seq, before.sent_at, before.sent_wall) = (now.seq, now.sent_at, now.sent_wall);
    (before.heard, before.others) = (now.heard, now.others);
    before.large.clone_from(&now.large);
    before.flows.clone_from(&now.flows);
}

/// Makes `before` the heartbeat that [`News`] in these bytes tell, in its place.
pub(super) fn restore(before: &mut Heartbeat, seen: &mut Sightings, bytes: &mut &[u8]) -> Result<(), Unreadable> {
    before.seq = sum(before.seq, fields::step(bytes)?);
    let sent_step = fields::step(bytes)?;
    before.sent_at = Nanos(sum(before.sent_at.0, sent_step));
    before.sent_wall = WallNanos(sum(before.sent_wall.0, fields::step(bytes)?.wrapping_add(sent_step)));
    before.heard = beat::heard(before.heard, fields::time, bytes)?;
    before.views.clear();
    for _ in 0..fields::number(bytes)? {
        before.views.push(view(before.sent_at, seen, bytes)?);
    }
    let all = before.others.unwrap_or_default().all;
    before.others = fields::optional(bytes, |bytes| {
        Ok(OtherViews { heard_within: fields::time(bytes)?, all: sum(all, fields::step(bytes)?) })
    })?;
    for _ in 0..fields::number(bytes)? {
        let LargeHeard { seq, count, .. } = at_place(&mut before.large, bytes)?;
        (*seq, *count) = (sum(*seq, fields::step(bytes)?), sum(*count, fields::step(bytes)?));
    }
    for _ in 0..fields::number(bytes)? {
        let FlowReport { duplicates, reordered, variation, .. } = at_place(&mut before.flows, bytes)?;
        (*duplicates, *reordered) = (fields::number(bytes)?, fields::number(bytes)?);
        *variation = fields::optional(bytes, fields::time)?;
    }
    before.stories.clear();
    tale::read(bytes, &mut before.stories)
}

fn view(sent_at: Nanos, seen: &mut Sightings, bytes: &mut &[u8]) -> Result<PeerView, Unreadable> {
    let is_other = fields::flag(bytes)?;
    let who = fields::number(bytes)?;
    let (place, peer) = if is_other {
        (seen.add(who), who)
    } else {
        let place = usize::try_from(who).ok().filter(|place| *place < seen.0.len());
        let place = place.ok_or_else(|| Unreadable(format!("nobody has the place {who}")))?;
        (Some(place), seen.0[place].0)
    };
    let heard_age = fields::optional(bytes, fields::time)?;
    let kernel_answers = fields::optional(bytes, fields::flag)?;
    let heard_for = fields::optional(bytes, |bytes| {
        let since = sum(seen.since(place), fields::step(bytes)?);
        seen.keep(place, since);
        Ok(Duration::from_nanos(sent_at.0.wrapping_sub(since)))
    })?;
    Ok(PeerView { peer, heard_age, kernel_answers, heard_for })
}

/// What is at the place that comes next.
fn at_place<'a, T>(list: &'a mut [T], bytes: &mut &[u8]) -> Result<&'a mut T, Unreadable> {
    let (place, length) = (fields::number(bytes)?, list.len());
    let found = usize::try_from(place).ok().and_then(|place| list.get_mut(place));
    found.ok_or_else(|| Unreadable(format!("there is no place {place} among {length}")))
}
