//! CPUs of this host that stand still: opening, following, closing.

use std::time::Duration;

use super::own::SENTINELS_TELL;
use super::{Engine, SETTLE};
use crate::cpu::CpuCase;
use crate::document::{Draft, Identity, incident};
use crate::evidence::{CpuStall, Evidence, Fact, StallReport};
use crate::incident::Incident;
use crate::own::{OwnStall, late_cpus};
use crate::rules::{Case, judge};
use crate::time::Nanos;

/// CPUs that are followed at once.
const MAX_CPUS: usize = 1024;
/// Two stalls are of one moment where the later one began this shortly after the earlier one.
const SAME_BEGIN: Duration = Duration::from_millis(250);
/// One that waits for another goes on this shortly after it.
const SAME_END: Duration = Duration::from_millis(300);
/// Tasks that are named as waiting.
const MAX_WAITING: usize = 8;

/// A CPU that stands still and the incident that it became.
pub(super) struct TrackedCpu {
    pub(super) case: CpuCase,
    identity: Option<Identity>,
    said: Option<Incident>,
}

impl TrackedCpu {
    /// Whether it was over, as far as was seen, when another stall began.
    fn is_over_by(&self, from: Nanos) -> bool {
        self.case.to.is_some_and(|ended| from >= ended)
    }
}

impl Engine {
    pub(super) fn on_cpu_stall(&mut self, from: Nanos, to: Nanos, stall: CpuStall) {
        if self.cpus.len() >= MAX_CPUS && !self.cpus.contains_key(&stall.cpu) {
            return;
        }
        // A stall is told once more when it has names, or when there turn out to be none; by then it may be history.
        let told = stall.has_names() || self.ended_cpus.get(&stall.cpu).is_some_and(|last| from <= *last);
        let history = stall.over && told && !self.cpus.contains_key(&stall.cpu);
        if stall.over {
            self.note_ended(stall.cpu, from);
        }
        if self.own.iter_mut().any(|own| own.take(from, to, &stall)) || history {
            return;
        }
        // While an incident waits for its end, only another long stall belongs to it; and while it waits to be told whether it
        // is the agent's, only another long one takes its place.
        let short = to.since(from) < self.settings.cpu_stall;
        if short && self.cpus.get(&stall.cpu).is_some_and(|before| before.is_over_by(from) && self.counts(before)) {
            if stall.deaf {
                self.excuse(from, to);
            }
            return;
        }
        let (cpu, over) = (stall.cpu, stall.over);
        let fresh = || TrackedCpu { case: CpuCase::new(cpu, from), identity: None, said: None };
        let tracked = self.cpus.entry(cpu).or_insert_with(fresh);
        if tracked.identity.is_none() && tracked.is_over_by(from) {
            // What was before was nothing, and does not make this one longer.
            *tracked = fresh();
        }
        tracked.case.look(from, to, stall);
        if over && tracked.case.deaf() {
            self.excuse(from, to);
        }
    }

    /// The end of that CPU's stall which began at `from` is told.
    pub(super) fn note_ended(&mut self, cpu: u32, from: Nanos) {
        if self.ended_cpus.len() < MAX_CPUS || self.ended_cpus.contains_key(&cpu) {
            let last = self.ended_cpus.entry(cpu).or_default();
            *last = from.max(*last);
        }
    }

    /// Whether that is an incident, or may be part of a stall of the agent that is not judged yet.
    fn counts(&self, tracked: &TrackedCpu) -> bool {
        let long = tracked.case.last_length(self.now) >= self.settings.cpu_stall;
        tracked.identity.is_some() || long && !self.pending.is_empty()
    }

    /// Opens, follows and closes the cases of single CPUs.
    pub(super) fn check_cpus(&mut self, now: Nanos) {
        let cpus: Vec<u32> = self.cpus.keys().copied().collect();
        for cpu in cpus {
            self.note_probes(cpu);
            self.note_held_up(cpu);
            self.check_cpu(cpu, now);
        }
    }

    fn check_cpu(&mut self, cpu: u32, now: Nanos) {
        let Some(tracked) = self.cpus.get(&cpu) else { return };
        let case = &tracked.case;
        if tracked.identity.is_some() {
            let closes = case.to.is_some_and(|to| to.plus(SETTLE) <= now) && !case.awaits_names(now);
            return self.say_cpu(cpu, now, closes);
        }
        let long = case.last_length(now) >= self.settings.cpu_stall;
        // Whether the host as a whole stood still is known only when all sentinels and the agent itself have told.
        let told = case.to.is_none_or(|to| to.plus(SENTINELS_TELL) <= now);
        let short = case.to.is_some() && !long;
        let busy_or_held = case.is_shared_out(now) || case.holds_the_agent_only(now) || self.is_of_load(case);
        let effect = long && (self.waits_for_another(case) || self.makes_up_for_a_pause(case, now));
        let nothing = short || busy_or_held || effect;
        if nothing || self.is_host_wide(case, now) {
            // What is of the host as a whole is kept for a while: the agent has yet to tell that it stood still as well.
            if case.to.is_some_and(|to| nothing || to.plus(SETTLE) <= now) {
                self.cpus.remove(&cpu);
            }
        } else if long && case.settled() && self.pending.is_empty() && told {
            self.open_cpu(cpu, now);
        }
    }

    /// Whether tasks wait on it right after the host as a whole stood still: what it ran at that moment is charged for all of
    /// that time, and others come first until they have had as much (or the other way round).
    fn makes_up_for_a_pause(&self, case: &CpuCase, now: Nanos) -> bool {
        let soon = self.own.iter().any(|own| own.is_paid_for(case.last(now).0, case.last_length(now)));
        soon && case.timer_dead() == Some(false)
    }

    /// Whether who waited for it waited for its turn, where there is more work than CPUs: that is no stall of a scheduler.
    pub(super) fn is_of_load(&self, case: &CpuCase) -> bool {
        self.load.is_saturated() && case.runs_ordinary_tasks(self.now)
    }

    /// Whether the timers of all CPUs were late while this one stood still.
    fn is_host_wide(&self, case: &CpuCase, now: Nanos) -> bool {
        let of_cpus = case.newest().map_or(0, |look| usize::try_from(look.of_cpus).unwrap_or(usize::MAX));
        let (from, to) = case.last(now);
        of_cpus > 1 && late_cpus(&self.recent, from, to) >= of_cpus
    }

    fn open_cpu(&mut self, cpu: u32, now: Nanos) {
        let subject = format!("{}\0cpu{cpu}", self.settings.host);
        let Some(from) = self.cpus.get(&cpu).map(|tracked| tracked.case.from) else { return };
        let identity = self.identity(&subject, from, now);
        if let Some(tracked) = self.cpus.get_mut(&cpu) {
            tracked.identity = Some(identity);
            self.say_cpu(cpu, now, false);
        }
    }

    /// Judges the case anew and puts the document out, if it says anything else than before.
    fn say_cpu(&mut self, cpu: u32, now: Nanos, closed: bool) {
        let Some(mut tracked) = self.cpus.remove(&cpu) else { return };
        if let Some(identity) = &tracked.identity {
            let case = &tracked.case;
            let judgement = judge(&self.context(), Case::Cpu(case));
            let verdict = &judgement.verdict;
            self.report(StallReport {
                from: case.from,
                to: case.to.unwrap_or(now),
                class: verdict.class,
                state: verdict.detail.state,
                cpu: Some(cpu),
                clock: None,
                open: case.to.is_none(),
                deaf: case.deaf(),
            });
            let evidence = case.evidence(&self.settings.host, now);
            let (occurrences, dropped) = (case.occurrences, case.citations.parts().1);
            let draft = Draft { identity, ended: case.to, closed, now, occurrences, evidence, dropped };
            let document = incident(draft, judgement, &self.settings.host, &self.me.facts);
            let times = (case.from, case.to);
            self.say_of_story(&mut tracked.said, document, times);
        }
        if !closed {
            self.cpus.insert(cpu, tracked);
        }
    }

    /// What the probes and the kernel's log say of that CPU at that time.
    pub(super) fn note_probes(&mut self, cpu: u32) {
        let Some(tracked) = self.cpus.get_mut(&cpu) else { return };
        let case = &mut tracked.case;
        let (from, to) = (case.from, case.to.unwrap_or(self.now));
        let meanwhile = |piece: &&Evidence| piece.to > from && piece.from < to.plus(SAME_BEGIN);
        for piece in self.recent.iter().filter(meanwhile) {
            match &piece.fact {
                Fact::TimerLate { cpu: of } if *of == cpu => case.on_late_timer(piece.from, piece.to),
                Fact::RunqueueDelay { cpu: of, comm, .. } if *of == cpu => note_waiting(case, comm),
                Fact::KernelMessage(message) if message.cpu.is_none_or(|of| of == cpu) => {}
                Fact::SoftirqDelay { cpu: of, .. } if *of == cpu => {}
                Fact::RcuStall { .. } => {}
                _ => continue,
            }
            if !case.citations.parts().0.contains(piece) {
                case.citations.add(piece.clone());
            }
        }
    }

    /// A CPU whose timer is dead, or whose interrupts are off, holds up those that wait for it.
    fn note_held_up(&mut self, cpu: u32) {
        let Some(cause) = self.cpus.get(&cpu).map(|tracked| &tracked.case) else { return };
        let others = self.cpus.values().map(|tracked| &tracked.case).filter(|other| other.cpu != cpu);
        let held_up = others.filter(|other| waits(other, cause, self.now)).map(|other| other.cpu);
        let new: Vec<u32> = held_up.filter(|other| !cause.held_up.contains(other)).collect();
        if let Some(tracked) = self.cpus.get_mut(&cpu) {
            tracked.case.held_up.extend(new);
        }
    }

    fn waits_for_another(&self, case: &CpuCase) -> bool {
        self.cpus.values().any(|other| other.case.cpu != case.cpu && waits(case, &other.case, self.now))
    }

    /// CPUs that stood still for most of that interval, and not only for the agent.
    pub(super) fn cpus_in(&self, from: Nanos, to: Nanos) -> Vec<u32> {
        let covers = |case: &CpuCase| {
            let (begin, end) = case.last(to);
            let most = end.min(to).since(begin.max(from)) * 2 >= to.since(from);
            (most || case.timer_dead_for(from, to)) && !case.holds_the_agent_only(self.now) && !self.is_of_load(case)
        };
        self.cpus.values().map(|tracked| &tracked.case).filter(|case| covers(case)).map(|case| case.cpu).collect()
    }

    /// Whether the stall took every CPU in the same way, so that it is of the host as a whole (or of the agent).
    pub(super) fn is_of_all_cpus(&self, stall: &OwnStall, stalled: &[u32]) -> bool {
        let watched = usize::try_from(stall.agent.cpus_watched).unwrap_or(usize::MAX);
        let cases: Vec<&CpuCase> = stalled.iter().filter_map(|cpu| Some(&self.cpus.get(cpu)?.case)).collect();
        let over = cases.iter().all(|case| case.last_length(self.now) <= stall.length() * 2);
        let mut dead = cases.iter().map(|case| case.timer_dead());
        let first = dead.next();
        watched > 0 && cases.len() >= watched && over && dead.all(|other| Some(other) == first)
    }

    /// Takes the case away, since it belongs to a stall of the host as a whole; one that is an incident already stays.
    pub(super) fn take_cpu(&mut self, cpu: u32) -> Option<CpuCase> {
        let tracked = self.cpus.get(&cpu)?;
        if tracked.identity.is_some() {
            return Some(tracked.case.clone());
        }
        self.cpus.remove(&cpu).map(|tracked| tracked.case)
    }
}

/// Whether `case` stands still at `now` since it waits for `cause`: it still ticks, in the kernel, and lies within the other's.
fn waits(case: &CpuCase, cause: &CpuCase, now: Nanos) -> bool {
    let end = |case: &CpuCase| case.to.unwrap_or(now);
    let within = cause.from <= case.from.plus(SAME_BEGIN) && end(case) <= end(cause).plus(SAME_END);
    let in_user_mode = case.share(|look| look.user_ns, case.to.unwrap_or(case.from)).is_some_and(|share| share > 0.5);
    within && cause.timer_dead() == Some(true) && case.timer_dead() == Some(false) && !in_user_mode
}

fn note_waiting(case: &mut CpuCase, comm: &str) {
    if case.waiting.len() < MAX_WAITING && !case.waiting.iter().any(|known| known == comm) {
        case.waiting.push(comm.to_owned());
    }
}
