//! Stalls and load of this host itself.

use std::collections::BTreeMap;
use std::time::Duration;

use super::groups::TELLS_WITHIN;
use super::{Engine, FIRST_TURNS, MAX_OWN, SETTLE};
use crate::account::Account;
use crate::cpu::CpuCase;
use crate::document::{Draft, Identity, incident};
use crate::evidence::{AgentLate, CpuLoad, CpuStall, Evidence, Fact, IoStuck, StallReport};
use crate::gap::{FOUND_ANEW, Gap};
use crate::incident::{Class, Incident};
use crate::own::{Behind, OwnStall};
use crate::peer::Peer;
use crate::rules::{Case, Context, Judgement, is_paused, judge};
use crate::time::Nanos;

/// A sentinel whose CPU goes on has told so after this time, as a rule.
pub(super) const SENTINELS_TELL: Duration = Duration::from_millis(80);
/// And after this, where it was poked, sleeps once more until its timer, and its CPU has much to make up for.
const SENTINELS_LATE: Duration = Duration::from_millis(300);
/// An agent that is held again and again is judged after this long, whatever the sentinels have told by then.
const SENTINELS_HELD: Duration = Duration::from_secs(5);
/// After a CPU stood still it makes up for what waited: timers, callbacks, packets.
const AFTERMATH: Duration = Duration::from_millis(500);
/// After all of them stood still, again and again maybe, who waits has a debt to others that may be called in later: half a
/// second later it was, by the scheduler of Linux 6.12.
const AFTERMATH_OF_ALL: Duration = Duration::from_secs(1);
/// A step of the clock is as long as the longest that shows in this time: what waited comes in one burst.
const BURST: Duration = Duration::from_millis(150);
/// A cause counts when it explains at least this part of a stall.
const MOST: f64 = 0.5;
/// How far the ends of stalls of several hosts may lie apart that are one, heartbeats being an interval apart.
pub(super) const TOGETHER: Duration = Duration::from_secs(1);
/// A task that waits for storage for longer without running at all is an incident; a disk that is merely slow answers.
const IO_STALL: Duration = Duration::from_secs(2);

/// Stalls of different kinds that are followed at once: what is known of one is not complete just because the next one came.
const MAX_FOLLOWED: usize = 4;

/// A stall of this host as a whole, and the incident that it became.
pub(super) struct TrackedOwn {
    /// The occurrence that tells most, and the one that would without it: what its CPUs went on with, which is told later, may
    /// leave it without a name.
    stall: OwnStall,
    spare: Option<OwnStall>,
    /// When the last one ended.
    until: Nanos,
    identity: Identity,
    said: Option<Incident>,
}

impl TrackedOwn {
    /// The stall, where it was of all CPUs.
    fn pause(&self) -> Option<&OwnStall> {
        Some(&self.stall).filter(|stall| stall.all_timers_dead() == Some(true))
    }

    /// Whether waiting from then on for that long may be the price of a pause of all CPUs: it comes right after it, and is
    /// no longer.
    pub(super) fn is_paid_for(&self, from: Nanos, length: Duration) -> bool {
        self.was_paused_before(from) && length <= self.until.since(self.stall.since)
    }

    /// Whether a pause of all CPUs had just ended by then.
    fn was_paused_before(&self, from: Nanos) -> bool {
        self.pause().is_some() && from <= self.until.plus(AFTERMATH_OF_ALL)
    }

    fn occurrences(&mut self) -> impl Iterator<Item = &mut OwnStall> {
        std::iter::once(&mut self.stall).chain(&mut self.spare)
    }

    /// Takes what is new of a CPU that stood still with the host; whether it did.
    pub(super) fn take(&mut self, from: Nanos, to: Nanos, told: &CpuStall) -> bool {
        let same = |case: &&mut CpuCase| case.cpu == told.cpu && case.last(from).0 == from;
        if let Some(case) = self.occurrences().flat_map(|stall| &mut stall.cpus).find(same) {
            if told.over && told.has_names() {
                case.after = Some(told.clone());
            }
            return true;
        }
        if !told.over || self.pause().is_none() {
            return false;
        }
        let stood_with = |stall: &&mut OwnStall| {
            let together = to.min(stall.to).since(from.max(stall.from)) * 2 > to.since(from);
            together && !stall.cpus.iter().any(|case| case.cpu == told.cpu)
        };
        let Some(stall) = self.occurrences().find(stood_with) else { return false };
        let mut case = CpuCase::new(told.cpu, from);
        case.look(from, to, told.clone());
        stall.cpus.push(case);
        true
    }
}

impl Engine {
    /// A tick that came late by an interval or more is a stall to be judged; a shorter one only excuses others.
    pub(super) fn on_agent_late(&mut self, from: Nanos, to: Nanos, agent: AgentLate) {
        self.excuse(from, to);
        if to.since(from) >= self.settings.interval {
            self.pending.push(OwnStall::late(from, to, agent));
        }
    }

    /// Notes that this host cannot blame anybody for that interval.
    pub(super) fn excuse(&mut self, from: Nanos, to: Nanos) {
        if self.own_stalls.len() == MAX_OWN {
            self.own_stalls.pop_front();
        }
        self.own_stalls.push_back((from, to));
        self.slept_until = to.max(self.slept_until);
    }

    /// What came in since then and counts as lost on the way was so because this host slept for that long besides.
    fn excuse_gaps(&mut self, since: Nanos, length: Duration) {
        let interval = self.settings.interval;
        self.gaps_since(since).for_each(|gap| gap.excuse(since, length, interval));
    }

    /// The gaps that were not back by then.
    fn gaps_since(&mut self, since: Nanos) -> impl Iterator<Item = &mut Gap> {
        let gaps = self.gaps.values_mut().map(|open| &mut open.gap);
        gaps.filter(move |gap| gap.back.is_none_or(|back| back >= since))
    }

    /// Judges what stalled this host since the last turns; a long stall is an incident that is over already.
    pub(super) fn judge_own(&mut self, now: Nanos) {
        let last = self.pending.iter().map(|stall| stall.to).max().unwrap_or_default();
        let (ripe, pending) =
            std::mem::take(&mut self.pending).into_iter().partition(|stall| Self::is_told(stall, last, now));
        self.pending = pending;
        for stall in ripe {
            self.judge_stall(stall);
        }
    }

    /// Whether the sentinels have told what they know of it: what holds the agent again, up to `last`, holds them as well.
    fn is_told(stall: &OwnStall, last: Nanos, now: Nanos) -> bool {
        let told = last.plus(SENTINELS_LATE).min(stall.to.plus(SENTINELS_HELD));
        stall.agent.cpus_watched == 0 || told <= now
    }

    fn judge_stall(&mut self, mut stall: OwnStall) {
        stall.late_timers = self.late_timers(&stall);
        let stalled = self.cpus_in(stall.from, stall.to);
        stalled.iter().for_each(|cpu| self.note_probes(*cpu));
        if self.is_of_all_cpus(&stall, &stalled) || stall.all_timers_dead() == Some(true) {
            self.excuse(stall.to, stall.to.plus(FOUND_ANEW));
            self.excuse_gaps(stall.to, FOUND_ANEW);
            stall.cpus = stalled.iter().filter_map(|cpu| self.take_cpu(*cpu)).collect();
        } else if !stalled.is_empty() || self.follows_a_cpu(&stall) {
            // The agent stood still since its CPU did, until it was moved: the CPU is the incident.
            return;
        }
        let makes_up = self.follows_a_pause(&stall);
        if makes_up || self.stands_still_again(&stall) {
            match stall.up_to_late_timers() {
                Some(pause) => stall = pause,
                // The agent only made up for it, and waited until others had had as much time as it was charged for.
                None if makes_up => return,
                None => {}
            }
        }
        let least = self.settings.gap.min(self.settings.cpu_stall);
        let begins = self.watched_since.is_none_or(|since| stall.from < since.plus(FIRST_TURNS));
        if stall.length() < if begins { least.max(FIRST_TURNS) } else { least } {
            let judgement = judge(&self.context(), Case::Own(&stall));
            stall.since = self.held_since(&stall, &judgement);
            return self.report_own(&stall, stall.to, &judgement);
        }
        self.take_own(stall);
    }

    /// Since when the agent was held in that way, where it was held again before its turn was over: it sent nothing in between,
    /// and each part by itself may be too short to explain what a peer did not hear.
    fn held_since(&self, stall: &OwnStall, judgement: &Judgement) -> Nanos {
        let (class, state) = (judgement.verdict.class, judgement.verdict.detail.state);
        let part = |report: &&StallReport| (report.to, report.class, report.state) == (stall.from, class, state);
        self.reports.iter().rev().filter(|report| report.cpu.is_none()).find(part).map_or(stall.since, |part| part.from)
    }

    /// Whether the agent waited for a CPU or made up for lost time right after a pause of all CPUs, and no longer than that was.
    fn follows_a_pause(&self, stall: &OwnStall) -> bool {
        let soon = self.own.iter().any(|own| own.is_paid_for(stall.from, stall.length()));
        soon && stall.all_timers_dead() != Some(true) && stall.ran_or_waited() >= Some(MOST)
    }

    /// Whether a pause of all CPUs had just ended, and timers were late for most of this stall as well, if not those of all CPUs:
    /// one on which nothing was due shows none.
    fn stands_still_again(&self, stall: &OwnStall) -> bool {
        let soon = self.own.iter().any(|own| own.was_paused_before(stall.from));
        soon && stall.all_timers_dead() != Some(true) && stall.timers_late() >= Some(MOST)
    }

    /// Whether it is what a CPU had to make up for that had just stood still for longer.
    fn follows_a_cpu(&self, stall: &OwnStall) -> bool {
        let makes_up = |case: &CpuCase| {
            let soon = case.to.is_some_and(|to| to.plus(AFTERMATH) >= stall.from && to <= stall.to);
            soon && stall.length() < case.last_length(stall.to) && !self.is_of_load(case)
        };
        self.cpus.values().any(|tracked| makes_up(&tracked.case))
    }

    /// A stall that comes back before the one before could close is the same incident, unless it is of another kind.
    fn take_own(&mut self, stall: OwnStall) {
        if let Some(mut known) = self.own.pop() {
            if self.are_alike(&known.stall, &stall) {
                known.stall.occurrences += 1;
                known.until = stall.to;
                let before = known.spare.replace(stall);
                self.let_the_best_tell(&mut known);
                if let Some(before) =
                    before.filter(|before| known.spare.as_ref().is_none_or(|now| self.tells_less(now, before)))
                {
                    known.spare = Some(before);
                }
                self.own.push(known);
                return;
            }
            self.own.push(known);
        }
        if self.own.len() == MAX_FOLLOWED {
            let mut oldest = self.own.remove(0);
            self.say_own(&mut oldest, true);
        }
        let identity = self.identity(&self.settings.host, stall.from, self.now);
        self.own.push(TrackedOwn { until: stall.to, stall, spare: None, identity, said: None });
    }

    /// Whether two stalls are of one kind; whether all CPUs stood still is known before the names are of where they were.
    fn are_alike(&self, one: &OwnStall, other: &OwnStall) -> bool {
        let class = |stall: &OwnStall| judge(&self.context(), Case::Own(stall)).verdict.class;
        let of_all_cpus = |stall: &OwnStall| stall.all_timers_dead() == Some(true);
        other.behind.is_none() && (of_all_cpus(one) && of_all_cpus(other) || class(one) == class(other))
    }

    /// Lets the other occurrence tell, where the one that does tells less by now.
    fn let_the_best_tell(&self, known: &mut TrackedOwn) {
        let Some(spare) = known.spare.take_if(|spare| !self.tells_less(spare, &known.stall)) else { return };
        let (since, occurrences) = (known.stall.since, known.stall.occurrences);
        known.spare = Some(std::mem::replace(&mut known.stall, OwnStall { since, occurrences, ..spare }));
    }

    /// Whether one of two alike tells less: it cannot be named and the other can, since what a CPU went on with may be anything;
    /// or it is shorter, as what follows a pause is.
    fn tells_less(&self, one: &OwnStall, other: &OwnStall) -> bool {
        let is_named = |stall: &OwnStall| judge(&self.context(), Case::Own(stall)).verdict.class != Class::Unknown;
        (is_named(one), one.length()) < (is_named(other), other.length())
    }

    /// Says what is new of each stall, with what others tell meanwhile, and closes it in the end.
    pub(super) fn follow_own(&mut self, now: Nanos) {
        for known in std::mem::take(&mut self.own) {
            let open = self.follow(known, now);
            self.own.extend(open);
        }
    }

    /// The same of one of them, which is given back while it is open.
    fn follow(&mut self, mut known: TrackedOwn, now: Nanos) -> Option<TrackedOwn> {
        if known.spare.as_ref().is_some_and(|spare| self.tells_less(&known.stall, spare)) {
            self.let_the_best_tell(&mut known);
        }
        let (from, to) = (known.stall.from, known.until);
        let named = is_paused(&self.context(), Case::Own(&known.stall));
        let stood_still = |label| self.neighbours(label, "", (from, Some(to)), named);
        let mut neighbours = self.hypervisor().map(stood_still).unwrap_or_default();
        neighbours.extend(known.stall.behind.iter().flat_map(|behind| behind.stood_with.iter().cloned()));
        neighbours.sort();
        neighbours.dedup();
        known.stall.neighbours = neighbours;
        // What came soon after may not be judged yet: an agent that is throttled is late with that, too.
        let goes_on = self.pending.iter().any(|stall| stall.from <= to.plus(SETTLE));
        let nameless = known.stall.cpus.iter().any(|cpu| cpu.awaits_names(now));
        let closed = to.plus(SETTLE) <= now && !goes_on && !nameless;
        self.say_own(&mut known, closed);
        if closed {
            // A sentinel that had to wait for its turn, and was looked at no more, may tell its end yet.
            for case in known.occurrences().flat_map(|stall| &stall.cpus) {
                self.note_ended(case.cpu, case.last(now).0);
            }
        }
        (!closed).then_some(known)
    }

    fn say_own(&mut self, known: &mut TrackedOwn, closed: bool) {
        let stall = &known.stall;
        let judgement = judge(&self.context(), Case::Own(stall));
        self.report_own(stall, known.until, &judgement);
        let evidence = stall.evidence(&self.settings.host);
        // By this host's own clock no time passed while that stood still: on the peers' it began that much earlier.
        let behind = stall.behind.as_ref().map(|behind| behind.length).unwrap_or_default();
        let (ended, times) = (known.until.plus(behind), (stall.since.minus(behind), Some(known.until)));
        let (occurrences, now) = (stall.occurrences, self.now);
        let draft =
            Draft { identity: &known.identity, ended: Some(ended), closed, now, occurrences, evidence, dropped: 0 };
        let document = incident(draft, judgement, &self.settings.host, &self.me.facts);
        self.say_of_story(&mut known.said, document, times);
    }

    fn report_own(&mut self, stall: &OwnStall, to: Nanos, judgement: &Judgement) {
        let verdict = &judgement.verdict;
        // A clock that stood still shows no time: on the peers' clocks it began that much earlier.
        let behind = stall.behind.as_ref().map(|behind| behind.length).unwrap_or_default();
        self.report(StallReport {
            from: stall.since.minus(behind),
            to,
            class: verdict.class,
            state: verdict.detail.state,
            cpu: verdict.subject.cpu,
            clock: verdict.detail.clock,
            open: false,
            deaf: true,
        });
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context {
            settings: &self.settings,
            now: self.now,
            watched_since: self.watched_since,
            events_lost: self.events_lost,
        }
    }

    /// Late timers that overlap the stall, and ends of stalls of CPUs that were in a handler, where no timer interrupts either.
    fn late_timers(&self, stall: &OwnStall) -> Vec<Evidence> {
        let late = self.recent.iter().filter(|piece| matches!(piece.fact, Fact::TimerLate { .. })).cloned();
        let in_handler = self.cpus.values().filter_map(|tracked| tracked.case.end_in_handler(&self.settings.host));
        let overlaps = |piece: &Evidence| piece.to > stall.from && piece.from < stall.to;
        late.chain(in_handler).filter(overlaps).collect()
    }

    /// Looks whether the clock of this host stood still while those of its peers went on, which is a stall that no
    /// clock of this host shows. Where as many peers disagree they are right: then it was the other peers' clocks that leapt.
    pub(super) fn check_clocks(&mut self, now: Nanos) {
        let behind = |(name, peer): (&str, &Peer)| {
            let behind = peer.clock.behind();
            (behind >= self.settings.cpu_stall).then(|| (name.to_owned(), behind))
        };
        let seen: Vec<_> = self.peers().filter_map(behind).collect();
        if let (None, false) = (&self.clock_step, seen.is_empty()) {
            self.clock_step = Some((now, BTreeMap::new()));
        }
        let Some((since, mut steps)) = self.clock_step.take() else { return };
        for (name, behind) in seen {
            let known = steps.entry(name).or_default();
            *known = behind.max(*known);
        }
        if since.plus(BURST) > now {
            self.clock_step = Some((since, steps));
            return;
        }
        self.conclude_step(since, &steps);
    }

    fn conclude_step(&mut self, at: Nanos, steps: &BTreeMap<String, Duration>) {
        let heard = |peer: &Peer, from: Nanos| peer.last.as_ref().is_some_and(|last| last.at >= from);
        // A machine of the same hypervisor may have stood still as well: its clock agrees with this one's either way.
        let hypervisor = self.hypervisor();
        let elsewhere = |peer: &Peer| hypervisor.is_none() || peer.hypervisor != hypervisor;
        let longest = steps.values().max().copied();
        let agrees = |name: &str, peer: &Peer| {
            steps.contains_key(name) || longest.is_some_and(|by| peer.clock.has_fallen_by(by))
        };
        let disagrees = |name: &str, peer: &Peer| heard(peer, at) && elsewhere(peer) && !agrees(name, peer);
        // Of several that agree one may have stood still at the same time.
        let disagree = self.peers().filter(|(name, peer)| disagrees(name, peer)).count() >= steps.len();
        // What comes in at once may have waited here since before.
        let anew = at.plus(self.settings.interval / 2);
        let agreed = |(name, peer): &(&str, &Peer)| {
            heard(peer, anew) && !elsewhere(peer) && !steps.contains_key(*name) && peer.clock.agrees(at)
        };
        let stood_with: Vec<String> = self.peers().filter(agreed).map(|(name, _)| name.to_owned()).collect();
        for peer in self.peers.values_mut() {
            peer.clock.settle();
        }
        let Some(length) = longest.filter(|_| !disagree) else { return };
        self.note_that_the_clock_stood(at, length + FOUND_ANEW);
        let peers = steps.keys().cloned().collect();
        self.take_own(OwnStall::clock_stood(at, Behind { length, peers, stood_with }));
    }

    /// The clock of this host stood still up to `at`, and what was sent to it is missing for `length`.
    fn note_that_the_clock_stood(&mut self, at: Nanos, length: Duration) {
        let silent = |peer: &&mut Peer| peer.last.as_ref().is_none_or(|last| last.at < at);
        self.peers.values_mut().filter(silent).for_each(|peer| peer.clock.forget(at));
        // What came in meanwhile found no room: up to now it counted as lost on the way.
        self.excuse_gaps(at.minus(BURST), length);
        self.gaps_since(at.minus(BURST)).for_each(Gap::note_own_clock);
        // What the others tell from now on is not of the time that this host remembers.
        let told = at.minus(BURST + self.settings.interval * TELLS_WITHIN);
        let untold = |gap: &&mut Gap| gap.new_boot.is_none() && (gap.scope.groups.is_none() || gap.back >= Some(told));
        self.gaps.values_mut().map(|open| &mut open.gap).filter(untold).for_each(Gap::note_own_clock);
        self.clock_stood = Some((at, length));
    }

    /// Peers of that hypervisor, other than `except`, that tell of a pause of their own which began or ended together with this
    /// one, whose end is absent while it lasts. Where either cannot be named by itself, it did both at once. Two that are moved one
    /// after the other are two.
    pub(super) fn neighbours(
        &self,
        hypervisor: u64,
        except: &str,
        (from, to): (Nanos, Option<Nanos>),
        named: bool,
    ) -> Vec<String> {
        let begin = |account: &Account, apart| account.from.is_near(from, apart);
        let end = |account: &Account, apart| to.is_some_and(|to| account.to.is_near(to, apart));
        // Each end is known to an interval, on both sides.
        let at_once = self.settings.interval * 5 / 2;
        let together = |account: Account| match account.report.class {
            Class::VmPause | Class::HypervisorStall if named => begin(&account, TOGETHER) || end(&account, TOGETHER),
            Class::VmPause | Class::HypervisorStall | Class::Unknown => {
                account.report.cpu.is_none() && begin(&account, at_once) && end(&account, at_once)
            }
            _ => false,
        };
        let stood = |peer: &Peer| Account::all(peer).any(together);
        let peers = self.peers.iter().filter(|(name, peer)| *name != except && peer.hypervisor == Some(hypervisor));
        peers.filter(|(_, peer)| stood(peer)).map(|(name, _)| name.clone()).collect()
    }

    /// Whether this host stood still as well while the peer did, so that it cannot say more than that.
    pub(super) fn stood_still_with(&self, told: &Account) -> bool {
        let (from, to) = (told.from, told.to);
        let together = self.own.iter().any(|known| told.touches_within(known.stall.from, known.until, TOGETHER));
        together || self.own_overlap(from, to) * 2 > to.since(from)
    }

    /// Whether this host may have stood still as well while the peer did, which is not judged yet, or not noticed where that
    /// ended just now. The peer tells it again.
    pub(super) fn may_have_stood_with(&self, told: &Account, at: Nanos) -> bool {
        let together = |stall: &OwnStall| told.touches_within(stall.from, stall.to, TOGETHER);
        let just_now = !told.report.open && told.to.plus(BURST * 2) > at;
        just_now || self.clock_step.is_some() || self.pending.iter().any(together)
    }

    pub(super) fn on_load(&mut self, from: Nanos, to: Nanos, load: &CpuLoad) {
        let Some(found) = self.load.on_reading(from, to, load, self.settings.saturation) else { return };
        let fact = Fact::CpuLoad(found.load.clone());
        let lasting = Lasting { since: found.since, last: found.last, over: found.over, fact };
        let identity = self.load_identity.take();
        self.load_identity = self.say_lasting(identity, lasting, Case::Load(&found), to);
    }

    pub(super) fn on_io(&mut self, from: Nanos, to: Nanos, stuck: &IoStuck) {
        let Some(found) = self.io.on_look(from, to, stuck, IO_STALL) else { return };
        let fact = Fact::IoStuck(found.stuck.clone());
        let lasting = Lasting { since: found.since, last: found.last, over: found.over, fact };
        self.report(StallReport {
            from: found.since,
            to: found.last,
            class: Class::IoStall,
            open: !found.over,
            ..StallReport::default()
        });
        let identity = self.io_identity.take();
        self.io_identity = self.say_lasting(identity, lasting, Case::Io(&found), to);
    }

    /// A state that lasts is said when it is found and when it is over; the identity is handed back while it goes on.
    fn say_lasting(&mut self, known: Option<Identity>, of: Lasting, case: Case<'_>, now: Nanos) -> Option<Identity> {
        let is_new = known.is_none();
        let identity = known.unwrap_or_else(|| self.identity(&self.settings.host, of.since, now));
        if is_new || of.over {
            let evidence = vec![Evidence::during(&self.settings.host, of.since, of.last, of.fact)];
            let ended = of.over.then_some(of.last);
            let draft =
                Draft { identity: &identity, ended, closed: of.over, now, occurrences: 1, evidence, dropped: 0 };
            let document = self.write(case, draft);
            self.say_of_story(&mut None, document, (of.since, ended));
        }
        (!of.over).then_some(identity)
    }
}

/// A state of this host that lasts, as its incident shows it.
struct Lasting {
    since: Nanos,
    last: Nanos,
    over: bool,
    fact: Fact,
}
