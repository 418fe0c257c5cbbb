//! Gaps with peers: opening, following, closing.

use std::collections::VecDeque;
use std::time::Duration;

use super::own::TOGETHER;
use super::{Engine, SETTLE, Tracked};
use crate::account::Account;
use crate::document::{Draft, incident};
use crate::evidence::{Heard, Heartbeat};
use crate::gap::{Gap, NO_ROOM, Scope, Slept, Witness, quiet};
use crate::incident::{Class, Direction, Incident, State};
use crate::loss::follows_within;
use crate::peer::{Arrival, Baseline, Kernel, Peer};
use crate::rules::{Case, Context, judge};
use crate::time::{Nanos, covered};

/// A gap closes after this many quiet intervals: time for the peer's account to arrive, and for a path that flaps
/// to stay one incident.
const SETTLE_INTERVALS: u32 = 10;

/// A steady loss of 5 % has shown by then.
const SHOWS_STEADY: Duration = Duration::from_secs(10);

/// For how long the last word of a peer about its own stall may be on its way.
pub(super) const TELL: Duration = Duration::from_millis(500);

/// An account that is older is history, such as what a peer tells an agent that was just started.
const NEWS: Duration = Duration::from_secs(5);

/// A witness that does not hear a peer must have heard it this shortly before, as with echo replies.
const HEARD_BEFORE: Duration = Duration::from_secs(10);

impl Engine {
    pub(super) fn on_heartbeat(&mut self, name: &str, beat: &Heartbeat, at: Nanos) {
        if !self.is_peer(name) {
            return;
        }
        let Some((key, mut peer)) = self.peers.remove_entry(name) else { return };
        let before = peer.baseline();
        let arrival = peer.on_heartbeat(beat, at, self.me.incarnation);
        let first = peer.received_total == 1 || arrival.counts_anew();
        if first || !quiet(&arrival, self.settings.interval).is_zero() {
            peer.resumed = at;
        }
        // A peer that sent nothing was not lost.
        let lost = || {
            let slept = self.own_overlap(at.minus(arrival.silence), at);
            arrival.silence.saturating_sub(slept) >= self.patience(name, &peer, Direction::FromPeer)
        };
        if first || arrival.counts_anew() || arrival.missing > 0 && lost() {
            peer.heard_since = Some(at);
        }
        if !arrival.duplicate {
            self.stories.hear(name, &beat.stories, at);
            self.release_adopted(name, at);
            if arrival.new_boot.is_some() {
                self.told.remove(name);
            }
            self.follow_silence(name, before, &peer, &arrival, at);
            self.follow_loss(name, &mut peer, &arrival, at);
            self.follow_hole(name, &mut peer, &arrival, at);
            if !arrival.reordered {
                self.follow_unheard(name, before, &peer, beat, at);
                self.follow_account(name, before, &peer, at);
            }
            self.settle_or_resume(name);
        }
        self.peers.insert(key, peer);
    }

    /// A heartbeat after a silence that nobody had noticed yet opens a gap as well: it is over already.
    fn follow_silence(&mut self, name: &str, before: Baseline, peer: &Peer, arrival: &Arrival, at: Nanos) {
        let since = at.minus(arrival.silence);
        let slept = self.own_overlap(since, at);
        // Neighbours that sleep together do not wake at the same moment.
        let together = self.is_neighbour(peer) && slept * 2 > arrival.silence;
        let gap = self.patience(name, peer, Direction::FromPeer);
        let least = if together { gap + TOGETHER } else { gap };
        let long = arrival.silence.saturating_sub(slept) >= least;
        let unexplained = arrival.new_boot.is_some() || long && !before.left;
        if unexplained && !arrival.reordered && !self.gaps.contains_key(name) {
            self.open_gap(name, before, since, at, |gap| gap.silent = true);
        }
        if !self.gaps.contains_key(name) {
            return;
        }
        let slept = Slept { seen: slept, besides: self.slept_besides(since, at) };
        let interval = self.settings.interval;
        if let Some(open) = self.gaps.get_mut(name) {
            open.gap.on_arrival(peer, arrival, at, slept, interval);
        }
    }

    /// The stalls of this host, from when to when, that ended about then.
    fn woke_at(&self, then: Nanos) -> impl Iterator<Item = (Nanos, Nanos)> {
        self.own_stalls.iter().copied().filter(move |(_, to)| to.is_near(then, self.settings.interval))
    }

    /// For how long this host slept beside the time between two arrivals: where the first one had waited for this host to go on,
    /// others that came before may have found no room; and while its clock stood still.
    fn slept_besides(&self, since: Nanos, at: Nanos) -> Duration {
        let from = self.woke_at(since).map(|(from, _)| from).min().map_or(since, |from| from.min(since));
        let stood = self.clock_stood.filter(|(when, _)| *when >= since && *when <= at);
        self.own_overlap(from, since) + stood.map(|(_, length)| length).unwrap_or_default()
    }

    /// The peer says how old its news of us is. It counts only where we did send in that time, and the peer ran. One
    /// that leaves will never say that it hears us again: what it did not hear by then is lost.
    fn follow_unheard(&mut self, name: &str, before: Baseline, peer: &Peer, beat: &Heartbeat, at: Nanos) {
        let heard = match beat.heard {
            Some(heard) => heard,
            None if beat.goodbye => Heard::default(),
            None => return,
        };
        let known = heard.incarnation == self.me.incarnation;
        let (seq, since) = if known { (heard.seq, at.minus(heard.age)) } else { (0, Nanos(0)) };
        let since = since.max(peer.resumed);
        // What left within the last interval may still be on its way, or wait for the peer's next tick.
        let interval = self.settings.interval;
        let sent = peer.sent_beyond(seq, since.plus(interval / 10), at.minus(interval));
        let overflow = peer.overflow.saturating_sub(before.overflow);
        let old = !beat.goodbye
            && at.since(since) >= self.patience(name, peer, Direction::ToPeer)
            && sent.saturating_sub(overflow) >= 2;
        if old && !self.gaps.contains_key(name) {
            self.open_gap(name, before, since.max(peer.first_sent().unwrap_or(since)), at, |gap| gap.unheard = true);
        }
        if let Some(open) = self.gaps.get_mut(name) {
            if open.gap.unheard && beat.goodbye {
                open.gap.lost_to = open.gap.lost_to.max(Some(sent));
            }
            if open.gap.unheard && !old {
                // It works since the peer heard us, not since it said so.
                let heard_at = if beat.goodbye { at } else { since.min(at) };
                open.gap.resumed = open.gap.resumed.max(heard_at);
            }
            open.gap.unheard = old;
        }
    }

    /// A host that goes on sending may tell of a stall of its kernel or hypervisor all the same. It opens a case of its
    /// own, once, unless this host stood still with it.
    fn follow_account(&mut self, name: &str, before: Baseline, peer: &Peer, at: Nanos) {
        if self.gaps.contains_key(name) {
            return;
        }
        let news = Account::all(peer).filter(|told| told.is_of_the_host() && self.is_news(name, told, at));
        let Some(told) = news.max_by_key(|told| told.to.since(told.from)) else { return };
        if self.may_have_stood_with(&told, at) {
            return;
        }
        if self.stood_still_with(&told) {
            self.told.insert(name.to_owned(), told.report.from);
            return;
        }
        let since = told.from.minus(self.settings.interval);
        self.open_gap(name, before, since, at, |gap| {
            gap.heard_again = true;
            gap.resumed = gap.since;
            gap.account = Some(told);
        });
    }

    /// Whether an account is of now, and not told before.
    fn is_news(&self, name: &str, told: &Account, at: Nanos) -> bool {
        let known = self.told.get(name).is_some_and(|until| told.report.from <= *until);
        told.to.plus(NEWS) > at && !known
    }

    /// A gap whose directions both work is back; one that fails again is not, and counts once more.
    fn settle_or_resume(&mut self, name: &str) {
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

    fn open_gap(&mut self, name: &str, before: Baseline, since: Nanos, now: Nanos, kind: impl FnOnce(&mut Gap)) {
        let mut gap = Gap::new(name, before, since, now, self.settings.interval);
        kind(&mut gap);
        gap.own_stall = self.own_overlap(since, now);
        self.recent_of(name, since).for_each(|evidence| gap.citations.add(evidence.clone()));
        let identity = self.identity(name, gap.started, now);
        self.gaps.insert(name.to_owned(), Tracked { gap, identity, said: None, joined: false });
    }

    /// When the silence of a peer becomes a gap. Time that this host slept through does not count, and after it a
    /// heartbeat gets an interval to come in; one in all, or a host that is late at every tick would see nothing.
    pub(super) fn deadline(&self, name: &str, peer: &Peer) -> Option<Nanos> {
        let last = peer.last.as_ref().filter(|_| !peer.left)?;
        let due = last.at.plus(self.patience(name, peer, Direction::FromPeer));
        let slept = self.own_overlap(last.at, self.now);
        let due = due.plus(slept);
        let Some((_, woke)) = self.own_stalls.back().filter(|(_, to)| *to > last.at) else { return Some(due) };
        // A host of the same hypervisor may have slept with this one, and wakes when it is its turn.
        let patience = if self.is_neighbour(peer) { TOGETHER } else { self.settings.interval };
        Some(due.max(woke.plus(patience.max(self.settings.interval))).min(due.plus(patience)))
    }

    /// How long a silence must be: single losses in a row are none.
    fn patience(&self, name: &str, peer: &Peer, direction: Direction) -> Duration {
        let track = if direction == Direction::FromPeer { &peer.loss_from } else { &peer.loss_to };
        let stated = self.losses.get(name).map_or(0, |tracked| tracked.loss.misses_of_a_gap(direction));
        self.settings.gap.max(self.settings.interval * stated.max(track.misses_of_a_gap()))
    }

    /// Whether the peer runs on the same hypervisor.
    fn is_neighbour(&self, peer: &Peer) -> bool {
        self.hypervisor().is_some() && peer.hypervisor == self.hypervisor()
    }

    pub(super) fn check_gaps(&mut self, now: Nanos) {
        let names: Vec<String> = self.peers.keys().cloned().collect();
        for name in names {
            let Some(peer) = self.peers.get(&name) else { continue };
            let overdue = self.deadline(&name, peer).is_some_and(|deadline| deadline <= now) && !self.is_silent(&name);
            if overdue {
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
            open.gap.refresh(peer, witnesses, now);
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
        let gone = |anchor: &String| {
            self.peers.get(anchor).is_some_and(|anchor| anchor.echo.kernel(gap.silent_since, now) == Kernel::Silent)
        };
        Scope {
            together: others.clone().filter(|other| told(other)).cloned().collect(),
            hears_none: self.of_all_peers(|gap| gap.silent),
            heard_by_none: self.of_all_peers(|gap| gap.unheard && !gap.silent),
            hears_nobody: self.peers.get(name).is_some_and(|peer| self.hears_nobody(peer)),
            gateway_gone: self.settings.anchors.iter().any(gone),
            groups: gap.scope.groups.clone().or_else(|| self.groups(gap)),
            others_missed: self.others_missed(name, gap),
            others_may_tell: others.count() > 0,
        }
    }

    /// Whether heartbeats of half of the others or more are missing from the time of the gap as well.
    fn others_missed(&self, name: &str, gap: &Gap) -> bool {
        let until = if gap.silent { self.now } else { gap.resumed.plus(self.settings.interval * 2) };
        let others =
            self.settings.peers.iter().filter(|other| *other != name).filter_map(|other| self.peers.get(other));
        let heard = others.filter(|other| other.last.is_some() && !other.left);
        let all = heard.clone().count();
        let missed = heard.filter_map(|other| other.missing_at).filter(|at| *at > gap.since && *at <= until).count();
        all > 0 && missed * 2 >= all
    }

    /// When a gap that is back will be closed.
    pub(super) fn closes_at(&self, gap: &Gap) -> Option<Nanos> {
        let back = gap.back?;
        // A peer follows its own stall for longer, in case it comes back, and both shall say the same.
        Some(back.plus(match gap.account {
            Some(told) if told.is_of_the_host() || told.report.class == Class::Unknown => SETTLE + TELL,
            _ if gap.may_be_steady_loss() => SHOWS_STEADY,
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

    /// What is not yet said of other hosts was said with what is of several.
    fn join_neighbours(&mut self, closed: &Tracked) {
        let gap = &closed.gap;
        let Some(said) = closed.said.as_ref().filter(|said| is_of_several(said.verdict.class)) else { return };
        let subject = &said.verdict.subject;
        let isolated = subject.host.as_deref();
        let named = |name: &String| match said.verdict.class {
            Class::HypervisorStall => subject.hosts.contains(name),
            // One that is cut off from all loses each of them; another one is lost by itself.
            Class::HostIsolated => isolated == Some(&self.settings.host) || isolated == Some(name),
            _ => true,
        };
        let unsaid = self.gaps.iter_mut().filter(|(name, open)| open.said.is_none() && named(name));
        for (_, open) in unsaid.filter(|(_, open)| open.gap.since.is_near(gap.since, TOGETHER)) {
            open.joined = true;
        }
    }

    fn say(&mut self, name: &str, now: Nanos) {
        let Some((key, mut open)) = self.gaps.remove_entry(name) else { return };
        self.say_of(&mut open, now, false);
        self.gaps.insert(key, open);
    }

    /// Judges the gap anew and puts the document out, if it says anything else than before.
    pub(super) fn say_of(&mut self, open: &mut Tracked, now: Nanos, closed: bool) {
        let Some(document) = self.document(open, now, closed) else { return };
        if !self.is_told_of_another(open, &document) {
            let times = (self.awake_since(open.identity.started()), open.gap.back);
            self.say_of_story(&mut open.said, document, times);
        }
    }

    /// Hosts that fall silent together are one incident, that of the first, as long as nothing tells them apart: it names
    /// them. In the end only what is of several hosts is.
    fn is_told_of_another(&self, tracked: &Tracked, document: &Incident) -> bool {
        let Tracked { gap, said: None, joined, .. } = tracked else { return false };
        let open = document.state == State::Open;
        let may_become = |class: Class| matches!(class, Class::Unknown | Class::VmPause);
        let alike = |class: Class| is_of_several(class) || may_become(class) && open;
        if *joined || !alike(document.verdict.class) {
            return alike(document.verdict.class);
        }
        let hypervisor = self.peers.get(&gap.peer).and_then(|peer| peer.hypervisor);
        let may_belong = |other: &str| {
            let theirs = self.peers.get(other).and_then(|peer| peer.hypervisor);
            document.verdict.class != Class::VmPause || hypervisor.is_some() && theirs == hypervisor
        };
        self.gaps.iter().filter(|(other, _)| **other != gap.peer && may_belong(other)).any(|(_, open)| {
            let together = open.gap.since.is_near(gap.since, TOGETHER);
            together && open.said.as_ref().is_some_and(|said| alike(said.verdict.class) && !are_of_two(said, document))
        })
    }

    fn document(&self, tracked: &Tracked, now: Nanos, closed: bool) -> Option<Incident> {
        let Tracked { gap, identity, .. } = tracked;
        let peer = self.peers.get(&gap.peer)?;
        let judgement = judge(&Context { now, ..self.context() }, Case::Gap(gap));
        let (cited, dropped) = gap.citations.parts();
        let sent = peer.sent_between(gap.since, gap.back.unwrap_or(now));
        let mut evidence = gap.standing_evidence(peer, sent, self.settings.interval, now);
        evidence.extend_from_slice(cited);
        let draft = Draft { identity, ended: gap.back, closed, now, occurrences: gap.occurrences, evidence, dropped };
        Some(incident(draft, judgement, &self.settings.host, &self.me.facts))
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
            let hears = heard_at > fresh && age < self.settings.gap * 2;
            let lost_it = said_at > began.plus(self.settings.gap) && heard_at.plus(HEARD_BEFORE) > began;
            let kernel_answers = view.kernel_answers.filter(|_| said_at.since(began) > Duration::from_secs(2));
            (hears || lost_it).then(|| Witness { name: witness.to_owned(), hears, kernel_answers })
        };
        self.peers().filter(|(witness, _)| *witness != name).filter_map(word).collect()
    }

    /// Other hosts of the peer's hypervisor that stood still together with it, by their own accounts.
    fn neighbours_in(&self, name: &str, gap: &Gap) -> Vec<String> {
        let hypervisor = self.peers.get(name).and_then(|peer| peer.hypervisor);
        hypervisor.map(|label| self.neighbours(label, name, gap.since, gap.back)).unwrap_or_default()
    }

    /// The part of an interval that this host slept through.
    pub(super) fn own_overlap(&self, from: Nanos, to: Nanos) -> Duration {
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

/// Classes of which the incident with one peer is that of several.
fn is_of_several(class: Class) -> bool {
    matches!(class, Class::HypervisorStall | Class::HostIsolated | Class::Partition)
}

/// Classes that tell of lost heartbeats.
fn is_of_lost(class: Class) -> bool {
    matches!(class, Class::PathDrop | Class::HostIsolated | Class::Partition)
}

/// Whether two hosts are isolated, each by itself.
fn are_of_two(one: &Incident, other: &Incident) -> bool {
    let isolated = |incident: &Incident| incident.verdict.class == Class::HostIsolated;
    isolated(one) && isolated(other) && one.verdict.subject.host != other.verdict.subject.host
}

/// Puts a document out where it says anything else than the last one.
pub(super) fn say_if_new(said: &mut Option<Incident>, document: Incident, out: &mut VecDeque<Incident>) {
    if said.as_ref().is_none_or(|said| changed(said, &document)) {
        *said = Some(document.clone());
        out.push_back(document);
    }
}

/// Whether a reader learns anything new. A length goes on by itself, so it is said again only once it has doubled.
fn changed(said: &Incident, now: &Incident) -> bool {
    let kinds =
        |incident: &Incident| incident.evidence.iter().map(|e| std::mem::discriminant(&e.fact)).collect::<Vec<_>>();
    let classes = |incident: &Incident| incident.ruled_out.iter().map(|out| out.class).collect::<Vec<_>>();
    said.state != now.state
        || now.duration_ms >= 2 * said.duration_ms.max(1)
        || said.verdict.class != now.verdict.class
        || said.verdict.subject != now.verdict.subject
        || said.verdict.detail.without_running_figures() != now.verdict.detail.without_running_figures()
        || (said.verdict.confidence - now.verdict.confidence).abs() > 0.01
        || said.occurrences != now.occurrences
        || said.trace_id != now.trace_id
        || said.links != now.links
        || kinds(said) != kinds(now)
        || classes(said) != classes(now)
}
