//! Gaps with peers: opening, closing, and what is known of them as time passes.

use std::time::Duration;

use super::groups::Groups;
use super::own::TOGETHER;
use super::{Engine, FIRST_BEATS, FIRST_TURNS, SETTLE, Tracked};
use crate::gap::{Gap, NO_ROOM, Scope, Witness};
use crate::incident::{Class, Direction};
use crate::loss::follows_within;
use crate::peer::{Baseline, Kernel, Peer};
use crate::time::{Nanos, covered};

/// A gap closes after this many quiet intervals: time for the peer's account to arrive, and for a path that flaps
/// to stay one incident.
const SETTLE_INTERVALS: u32 = 10;

/// A steady loss of 5 % has shown by then.
const SHOWS_STEADY: Duration = Duration::from_secs(10);

/// For how long the last word of a peer about its own stall may be on its way.
pub(super) const TELL: Duration = Duration::from_millis(500);

/// Whoever is well is asked by echo once in this time.
const ASKED_EVERY: Duration = Duration::from_secs(1);

/// Of hosts that fell silent at the same moment so many are named.
const MOST_NAMED: usize = 5;

/// A witness that does not hear a peer must have heard it this shortly before, as with echo replies.
const HEARD_BEFORE: Duration = Duration::from_secs(10);

impl Engine {
    /// The stalls of this host, from when to when, that ended about then.
    pub(super) fn woke_at(&self, then: Nanos) -> impl Iterator<Item = (Nanos, Nanos)> {
        self.own_stalls.iter().copied().filter(move |(_, to)| to.is_near(then, self.settings.interval))
    }

    /// A gap whose directions both work is back; one that fails again is not, and counts once more.
    pub(super) fn settle_or_resume(&mut self, name: &str) {
        let Some(Tracked { gap, .. }) = self.gaps.get_mut(name) else { return };
        match (gap.goes_on(), gap.back) {
            (false, None) => gap.back = Some(gap.ended()),
            (true, Some(_)) => {
                gap.back = None;
                gap.occurrences += 1;
            }
            _ => {}
        }
    }

    pub(super) fn open_gap(
        &mut self,
        name: &str,
        before: Baseline,
        since: Nanos,
        now: Nanos,
        kind: impl FnOnce(&mut Gap),
    ) {
        let mut gap = Gap::new(name, before, since, now, self.settings.interval);
        kind(&mut gap);
        gap.own_stall = self.own_overlap(since, now);
        if self.clock_stood.is_some_and(|(when, _)| when >= since) {
            gap.note_own_clock();
        }
        self.recent_of(name, since).for_each(|evidence| gap.citations.add(evidence.clone()));
        let identity = self.identity(name, gap.started, now);
        self.gaps.insert(name.to_owned(), Tracked { gap, identity, said: None, joined: false });
    }

    /// When the silence of a peer becomes a gap. Time that this host slept through does not count, and after it a
    /// heartbeat gets an interval to come in; one in all, or a host that is late at every tick would see nothing.
    pub(super) fn deadline(&self, name: &str, peer: &Peer) -> Option<Nanos> {
        let last = peer.last.as_ref().filter(|_| !peer.left)?;
        let due = last.at.plus(self.patience(name, peer, Direction::FromPeer, peer.received));
        let slept = self.own_overlap(last.at, self.now);
        let due = due.plus(slept);
        let Some((_, woke)) = self.own_stalls.back().filter(|(_, to)| *to > last.at) else { return Some(due) };
        // A host of the same hypervisor may have slept with this one, and wakes when it is its turn.
        let patience = if self.is_neighbour(peer) { TOGETHER } else { self.settings.interval };
        Some(due.max(woke.plus(patience.max(self.settings.interval))).min(due.plus(patience)))
    }

    /// How long a silence must be: single losses in a row are none, nor is it one that an agent begins slowly.
    /// `received` is how many heartbeats of that start of its agent had come in before.
    pub(super) fn patience(&self, name: &str, peer: &Peer, direction: Direction, received: u64) -> Duration {
        let track = if direction == Direction::FromPeer { &peer.loss_from } else { &peer.loss_to };
        let stated = self.losses.get(name).map_or(0, |tracked| tracked.loss.misses_of_a_gap(direction));
        let first = if received < FIRST_BEATS { FIRST_TURNS } else { Duration::ZERO };
        self.settings.gap.max(first).max(self.settings.interval * stated.max(track.misses_of_a_gap()))
    }

    /// Whether the peer runs on the same hypervisor.
    pub(super) fn is_neighbour(&self, peer: &Peer) -> bool {
        peer.hypervisor.is_some() && peer.hypervisor == self.hypervisor()
    }

    pub(super) fn check_gaps(&mut self, now: Nanos) {
        // As a rule nobody is overdue, which needs no look at how patient to be, and no gap is open.
        let quiet = |peer: &Peer| peer.last.as_ref().is_some_and(|last| last.at.plus(self.settings.gap) <= now);
        let overdue = |name: &str, peer: &Peer| self.deadline(name, peer).is_some_and(|deadline| deadline <= now);
        let concerned = self.peers.iter().filter_map(|(name, peer)| {
            let falls_silent = quiet(peer) && !self.is_silent(name) && overdue(name, peer);
            (falls_silent || self.gaps.contains_key(name)).then(|| (name.clone(), falls_silent))
        });
        for (name, falls_silent) in concerned.collect::<Vec<_>>() {
            if falls_silent {
                self.fall_silent(&name, now);
            }
            self.refresh_gap(&name, now);
        }
    }

    fn fall_silent(&mut self, name: &str, now: Nanos) {
        let Some(peer) = self.peers.get(name) else { return };
        let since = peer.last.as_ref().map_or(now, |last| last.at);
        if !self.gaps.contains_key(name) {
            self.open_gap(name, peer.baseline(), since, now, |_| {});
        }
        if let Some(open) = self.gaps.get_mut(name) {
            open.gap.fall_silent(since);
        }
        self.settle_or_resume(name);
    }

    fn refresh_gap(&mut self, name: &str, now: Nanos) {
        let Some(open) = self.gaps.get(name) else { return };
        let closes = self.closes_at(&open.gap).is_some_and(|at| at <= now);
        let is_lossy = self.losses.contains_key(name);
        let witnesses = self.witnesses(name, &open.gap);
        let neighbours = self.neighbours_in(name, &open.gap);
        let slept = self.own_overlap(open.gap.since, open.gap.back.unwrap_or(now));
        let woke = self.woke_at(open.gap.since).any(|(from, to)| to.since(from) >= NO_ROOM);
        let scope = self.scope(name, &open.gap, now);
        if let (Some(open), Some(peer)) = (self.gaps.get_mut(name), self.peers.get(name)) {
            open.gap.own_stall = open.gap.own_stall.max(slept);
            open.gap.woke_before |= woke;
            open.gap.neighbours = neighbours;
            open.gap.set_scope(scope);
            open.gap.refresh(peer, witnesses, now, self.settings.interval);
            open.gap.suspicious |= is_lossy;
        }
        // What was heard while this host slept counts before it closes.
        if closes { self.close_gap(name, now) } else { self.say(name, now) }
    }

    /// How far it reaches: a path, a host, or more.
    fn scope(&self, name: &str, gap: &Gap, now: Nanos) -> Scope {
        let others = self.settings.peers.iter().filter(|peer| *peer != name);
        let told = |other: &String| {
            self.gaps.get(other).is_some_and(|open| {
                open.joined || open.said.is_none() && open.gap.silent && open.gap.since.is_near(gap.since, TOGETHER)
            })
        };
        let fell = |other: &&String| self.gaps.get(*other).is_some_and(|open| fell_together(&open.gap, gap));
        let (gateway_gone, gateway_fell_together) = self.gateway(gap, now);
        let (groups, unclear) = match gap.scope.groups.clone().map_or_else(|| self.groups(gap), Groups::Known) {
            Groups::Known(groups) => (Some(groups), false),
            Groups::Unclear => (None, true),
            Groups::Untold => (None, false),
        };
        let until = if gap.silent { now } else { gap.resumed.plus(self.settings.interval * 2) };
        let soon = gap.silent_since.plus(self.settings.interval * 2);
        Scope {
            together: others.clone().filter(|other| told(other)).cloned().collect(),
            fell_together: others.clone().filter(fell).take(MOST_NAMED).cloned().collect(),
            hears_none: self.of_all_peers(|gap| gap.silent),
            heard_by_none: self.of_all_peers(|gap| gap.unheard && !gap.silent),
            hears_nobody: self.peers.get(name).is_some_and(|peer| self.hears_nobody(peer)),
            gateway_gone,
            gateway_fell_together,
            groups,
            unclear,
            others_missed: self.others_missed(name, |(_, found)| found > gap.since && found <= until),
            others_missed_first: self.others_missed(name, |(from, found)| from < soon && found > gap.silent_since),
            others_may_tell: others.count() > 0,
        }
    }

    /// Whether the gateway does not answer since the silence began, and whether it has not from that very moment on.
    fn gateway(&self, gap: &Gap, now: Nanos) -> (bool, bool) {
        let echoes =
            self.settings.anchors.iter().filter_map(|anchor| self.peers.get(anchor)).map(|anchor| &anchor.echo);
        let mut gone = echoes.filter(|echo| echo.kernel(gap.silent_since, now) == Kernel::Silent).peekable();
        let is_gone = gone.peek().is_some();
        (
            is_gone,
            gone.filter_map(|echo| echo.last_reply).any(|at| at.is_near(gap.silent_since, TOGETHER + ASKED_EVERY)),
        )
    }

    /// Whether heartbeats of half of the others or more were last missing in such a time.
    fn others_missed(&self, name: &str, when: impl Fn((Nanos, Nanos)) -> bool) -> bool {
        let others =
            self.settings.peers.iter().filter(|other| *other != name).filter_map(|other| self.peers.get(other));
        let heard = others.filter(|other| other.last.is_some() && !other.left);
        let all = heard.clone().count();
        let missed = heard.filter_map(|other| other.missing).filter(|missing| when(*missing)).count();
        all > 0 && missed * 2 >= all
    }

    /// When a gap that is back will be closed.
    pub(super) fn closes_at(&self, gap: &Gap) -> Option<Nanos> {
        let back = gap.back?;
        // A peer follows its own stall for longer, in case it comes back, and both shall say the same.
        Some(back.plus(match gap.account {
            Some(told) if told.is_of_the_host() || told.report.class == Class::Unknown => SETTLE + TELL,
            _ if gap.may_be_steady_loss(self.settings.interval) => SHOWS_STEADY,
            _ if gap.is_short() && gap.direction().is_some() => follows_within(gap.longest_run),
            _ => self.settings.interval * SETTLE_INTERVALS,
        }))
    }

    /// The gap ends whatever its state, since the peer is not watched any more.
    pub(super) fn end_gap(&mut self, name: &str, now: Nanos) {
        if let Some(open) = self.gaps.get_mut(name) {
            open.gap.back.get_or_insert(now);
        }
    }

    /// The gap is over. What the peer cannot name yet is followed aside, so that what comes next is a case of its own.
    pub(super) fn close_gap(&mut self, name: &str, now: Nanos) {
        let Some(mut closed) = self.gaps.remove(name) else { return };
        let awaits_name = closed.gap.awaits_name();
        if !awaits_name {
            self.say_of(&mut closed, now, true);
        }
        self.join_neighbours(&closed);
        self.settle_with(name, &closed);
        if awaits_name {
            self.set_aside(closed, now);
        }
    }

    /// What was lost and told up to now belongs to the gap that is over, also the accounts that it did not take.
    fn settle_with(&mut self, name: &str, closed: &Tracked) {
        let Some(peer) = self.peers.get_mut(name) else { return };
        if closed.said.as_ref().is_some_and(|said| is_of_lost(said.verdict.class)) {
            peer.forget_losses();
        }
        let over = peer.stalls.iter().filter(|report| !report.open).map(|report| report.from);
        let told = over.chain(closed.gap.account.map(|told| told.report.from)).max();
        peer.clock.settle();
        if let Some(until) = told {
            self.told.insert(name.to_owned(), until);
        }
    }

    /// What the other peers say of `name` since it fell silent. A heartbeat takes up to an interval to leave and
    /// another to be told, so news counts as fresh only where it is two intervals younger than the silence. One that
    /// was deaf to `name` long before cannot say that it fell silent.
    fn witnesses(&self, name: &str, gap: &Gap) -> Vec<Witness> {
        let Some(&hash) = self.hashes.get(name) else { return Vec::new() };
        let began = gap.silent_since;
        let fresh = began.plus(self.settings.interval * 2);
        let until = gap.back.unwrap_or(self.now);
        let word = |(witness, peer): (&str, &Peer)| {
            let said_at = peer.last.as_ref().map(|last| last.at).filter(|at| *at <= until)?;
            let view = peer.views.of(hash)?;
            let age = view.heard_age?;
            let heard_at = said_at.minus(age);
            // One that slept, and its clock with it, heard everybody a moment before that.
            let dreams = heard_at > fresh && heard_at <= peer.resumed.plus(self.settings.interval);
            let hears = heard_at > fresh && age < self.settings.gap * 2;
            let lost_it = said_at > began.plus(self.settings.gap) && heard_at.plus(HEARD_BEFORE) > began;
            let kernel_answers = view.kernel_answers.filter(|_| said_at.since(began) > Duration::from_secs(2));
            (!dreams && (hears || lost_it)).then(|| Witness { name: witness.to_owned(), hears, kernel_answers })
        };
        self.peers().filter(|(witness, _)| *witness != name).filter_map(word).collect()
    }

    /// Other hosts of the peer's hypervisor that stood still together with it, by their own accounts.
    fn neighbours_in(&self, name: &str, gap: &Gap) -> Vec<String> {
        let hypervisor = self.peers.get(name).and_then(|peer| peer.hypervisor);
        let named = gap.told().is_none_or(|told| told.class != Class::Unknown);
        hypervisor.map(|label| self.neighbours(label, name, (gap.since, gap.back), named)).unwrap_or_default()
    }

    /// The part of an interval that this host slept through.
    pub(super) fn own_overlap(&self, from: Nanos, to: Nanos) -> Duration {
        if self.slept_until <= from && self.cpus.is_empty() {
            return Duration::ZERO;
        }
        // As a rule there are none, and nothing has to be put in order.
        covered(self.slept().filter(|(_, end)| *end > from).collect(), from, to)
    }

    /// From when to when this host itself stood still, or a CPU of it that made it deaf.
    pub(super) fn slept(&self) -> impl Iterator<Item = (Nanos, Nanos)> {
        let deaf = self.cpus.values().filter(|tracked| tracked.case.deaf());
        let deaf = deaf.map(|tracked| (tracked.case.from, tracked.case.to.unwrap_or(self.now)));
        self.own_stalls.iter().copied().chain(deaf)
    }
}

/// Whether another peer fell silent at the same moment, and shows no sign of life either.
fn fell_together(other: &Gap, gap: &Gap) -> bool {
    let lives = other.kernel == Kernel::Answers || other.port_unreachable || other.heard_by_others;
    other.silent && !lives && other.silent_since.is_near(gap.silent_since, TOGETHER)
}

/// Classes that tell of lost heartbeats.
fn is_of_lost(class: Class) -> bool {
    matches!(class, Class::PathDrop | Class::HostIsolated | Class::Partition)
}
