//! A CPU of this host that stands still, from the first look at it to its end. It collects; the rules judge.
//!
//! Two looks tell it apart: what another CPU sees *while* it stands still (its timer, its other interrupts, whether it
//! answers when it is poked), and what the CPU itself tells *afterwards* (what the interrupt that ended it landed in).

use std::time::Duration;

use crate::document::Citations;
use crate::evidence::{CpuStall, Evidence, Fact, Handler, Landed, Poke, Running};
use crate::time::Nanos;

/// A timer interrupt this shortly after the sentinel was due is the one before: both clocks are read one after another.
const SAME_MOMENT: Duration = Duration::from_millis(10);
/// A CPU that comes back may take so long until its sentinel runs.
const COMES_BACK: Duration = Duration::from_millis(500);
/// More switches a second than this are a CPU that is shared out; a stall has next to none.
const SHARED_OUT: f64 = 10.0;
/// So much time in ticks of 4 or 10 ms tells how it was spent.
const TICKS_THAT_TELL: Duration = Duration::from_millis(250);
/// A CPU that is in user mode for less is busy in its kernel.
const MOST_IN_USER_MODE: f64 = 0.5;
/// The names of functions are found in this time, or not at all; on a slow machine the list of them takes seconds to read.
pub(crate) const NAMES_AT_MOST: Duration = Duration::from_secs(8);
/// A late timer explains a stall where it was late for this part of it.
const MOST_OF_IT: f64 = 0.8;

/// The facts of one stalled CPU, as the rules see them.
#[derive(Clone, Debug)]
pub struct CpuCase {
    /// The CPU.
    pub cpu: u32,
    /// When its sentinel was first due and did not run.
    pub from: Nanos,
    /// When it ran again; absent while it has not.
    pub to: Option<Nanos>,
    /// How often it stood still before the incident could close.
    pub occurrences: u32,
    /// The last look while it stood still; absent where nobody could look.
    pub during: Option<CpuStall>,
    /// What was known once it ran again.
    pub after: Option<CpuStall>,
    /// For how much of it a timer of this CPU was late, by the probe.
    pub timer_late: Duration,
    /// CPUs that stood still because they waited for this one.
    pub held_up: Vec<u32>,
    /// Tasks that waited for this CPU.
    pub waiting: Vec<String>,
    /// The interrupt handler that it was in since it was first overdue.
    handler: Option<InHandler>,
    /// How often it was looked at while it stood still.
    looks: u32,
    /// When the last of these was.
    looked_at: Nanos,
    /// At how many looks at the present occurrence it had done something.
    signs_of_life: u32,
    /// Begin of the present occurrence.
    since: Nanos,
    /// What the incident cites beyond its own looks.
    pub citations: Citations,
}

/// A handler that a CPU was in, and for how long of its stall that was seen.
#[derive(Clone, Debug)]
struct InHandler {
    name: String,
    /// See [`Handler::is_run_often`].
    often: bool,
    from: Nanos,
    until: Nanos,
}

impl CpuCase {
    /// A case that begins with that look at `cpu`.
    #[must_use]
    pub fn new(cpu: u32, from: Nanos) -> Self {
        Self {
            cpu,
            from,
            to: None,
            occurrences: 1,
            during: None,
            after: None,
            timer_late: Duration::ZERO,
            held_up: Vec::new(),
            waiting: Vec::new(),
            handler: None,
            looks: 0,
            looked_at: from,
            signs_of_life: 0,
            since: from,
            citations: Citations::default(),
        }
    }

    /// Takes a look: overdue since `from`, looked at (or running again) at `to`.
    pub fn look(&mut self, from: Nanos, to: Nanos, stall: CpuStall) {
        if stall.over && from < self.since {
            return self.name_earlier(stall);
        }
        if self.to.is_some_and(|ended| from >= ended) {
            self.occurrences += 1;
            self.since = from;
            self.signs_of_life = 0;
            self.handler = None;
        }
        if stall.over {
            self.to = Some(to);
            self.note_long_handler(&stall);
            self.after = Some(stall);
        } else {
            self.to = None;
            if self.goes_on(to, &stall) {
                return;
            }
            self.looks += 1;
            self.looked_at = to;
            self.note_handler(&stall, to);
            self.signs_of_life += u32::from(did_something(&stall));
            // A sample of the stack is not taken at every look.
            let before = self.during.take().unwrap_or_default();
            let landed = stall.landed.or(before.landed);
            let sampled = if stall.sampled.is_empty() { before.sampled } else { stall.sampled };
            self.during = Some(CpuStall { landed, sampled, ..stall });
        }
    }

    /// Names of an earlier occurrence, which came once the next had begun: they say what the CPU is kept in.
    fn name_earlier(&mut self, stall: CpuStall) {
        if let Some(during) = self.during.as_mut().filter(|during| during.sampled.is_empty()) {
            during.sampled = stall.sampled;
        }
    }

    /// A handler counts that was entered before the CPU was first overdue.
    fn note_handler(&mut self, stall: &CpuStall, at: Nanos) {
        let entered = |handler: &&Handler| handler.since <= self.since.plus(Duration::from_millis(200));
        if let Some(handler) = stall.handler.as_ref().filter(entered) {
            self.handler = Some(InHandler::new(handler, self.since, at));
        }
    }

    /// One whose end was seen is known to its end, however often anybody looked.
    fn note_long_handler(&mut self, stall: &CpuStall) {
        let Some((handler, until)) = stall.handler.as_ref().and_then(|handler| Some((handler, handler.until?))) else {
            return;
        };
        let from = handler.since.max(self.since);
        let seen = self.handler.as_ref().map_or(Duration::ZERO, InHandler::length);
        if until.since(from) > seen {
            self.handler = Some(InHandler::new(handler, from, until));
        }
    }

    /// Whether that look is at a CPU whose timer was dead and has come back just now: its sentinel is about to tell so,
    /// and what it did since is not what it did while it stood still.
    fn goes_on(&self, at: Nanos, stall: &CpuStall) -> bool {
        let ticked = stall.timer_at.filter(|ticked| *ticked > self.since.plus(SAME_MOMENT));
        let just_now = ticked.is_some_and(|ticked| ticked.plus(COMES_BACK) > at);
        self.looked_at > self.since && self.timer_dead() == Some(true) && just_now
    }

    /// A timer of this CPU was late for that interval.
    pub fn on_late_timer(&mut self, from: Nanos, to: Nanos) {
        let overlap = to.min(self.to.unwrap_or(to)).since(from.max(self.from));
        self.timer_late = self.timer_late.max(overlap);
    }

    /// How long it has stood still at `now`, from its first begin to its last end.
    #[must_use]
    pub fn length(&self, now: Nanos) -> Duration {
        self.to.unwrap_or(now).since(self.from)
    }

    /// How long its present, or last, occurrence is at `now`.
    #[must_use]
    pub fn last_length(&self, now: Nanos) -> Duration {
        self.to.unwrap_or(now).since(self.since)
    }

    /// Begin and end of its present, or last, occurrence, up to `now`.
    #[must_use]
    pub fn last(&self, now: Nanos) -> (Nanos, Nanos) {
        (self.since, self.to.unwrap_or(now))
    }

    /// Whether it can be judged: a single look may be at a CPU that is just about to go on.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.to.is_some() || self.looks >= 2
    }

    /// The newest of what is known.
    #[must_use]
    pub fn newest(&self) -> Option<&CpuStall> {
        if self.to.is_some() { self.after.as_ref().or(self.during.as_ref()) } else { self.during.as_ref() }
    }

    /// Whether its timer gave no interrupt since the sentinel was due; absent where that was not measured. A look soon after
    /// the begin says nothing of the rest once that is over.
    #[must_use]
    pub fn timer_dead(&self) -> Option<bool> {
        let looked_for = self.looked_at.since(self.since);
        let tells = self.to.is_none_or(|to| looked_for >= to.since(self.since) / 2);
        if let Some(at) = self.during.as_ref().filter(|_| tells).and_then(|look| look.timer_at) {
            // The interrupt that ended the silence, and those after it, are no sign that it ticked meanwhile.
            return Some(at <= self.since.plus(SAME_MOMENT) || self.to.is_some_and(|to| at > to));
        }
        if self.handler().is_some() {
            return Some(true);
        }
        let length = self.to?.since(self.since).as_secs_f64();
        if self.timer_late.as_secs_f64() >= length * MOST_OF_IT {
            return Some(true);
        }
        self.after.as_ref()?.timer_at.map(|_| false)
    }

    /// Whether its timer was dead all the time from then until then, as far as is known: it may have died before the sentinel was
    /// due, after its last interrupt.
    #[must_use]
    pub fn timer_dead_for(&self, from: Nanos, to: Nanos) -> bool {
        let ticked = self.during.as_ref().and_then(|look| look.timer_at);
        let reaches = self.since < to && self.to.is_none_or(|end| end >= to);
        self.timer_dead() == Some(true) && reaches && ticked.is_some_and(|ticked| ticked <= from)
    }

    /// Whether it did anything at all meanwhile: took another interrupt, switched tasks, answered a poke; absent where
    /// nobody looked, or where it showed at one look only: then it may be about to go on.
    #[must_use]
    pub fn alive(&self) -> Option<bool> {
        // Entering the handler that it never left is no sign of life, though it counts as an interrupt.
        if self.landed().is_some() || self.handler().is_some() {
            return Some(false);
        }
        match self.signs_of_life {
            0 => (self.during.as_ref()?.poke == Some(Poke::Unanswered) && self.looks >= 2).then_some(false),
            1 => None,
            _ => Some(true),
        }
    }

    /// Whether the sentinel ran because it was poked.
    #[must_use]
    pub fn answered(&self) -> bool {
        self.during.as_ref().is_some_and(|look| look.poke == Some(Poke::Answered))
    }

    /// What the interrupt landed in that ended the silence of this CPU.
    #[must_use]
    pub fn landed(&self) -> Option<&Landed> {
        self.after.as_ref()?.landed.as_ref()
    }

    /// Whether names are still to come, of what ended it or of what it was in, at `now`.
    #[must_use]
    pub fn awaits_names(&self, now: Nanos) -> bool {
        let naming = self.after.as_ref().is_some_and(|after| after.naming && !after.has_names());
        naming && self.to.is_some_and(|to| to.plus(NAMES_AT_MOST) > now)
    }

    /// The kernel's functions that this CPU was in: where the end of the stall landed, else a sample while it lasted.
    #[must_use]
    pub fn stack(&self) -> &[String] {
        let looks = [self.after.as_ref(), self.during.as_ref()];
        let landed = looks.into_iter().flatten().filter_map(|look| look.landed.as_ref()).map(|landed| &landed.stack);
        let sampled = looks.into_iter().flatten().map(|look| &look.sampled).filter(|stack| !stack.is_empty());
        landed.chain(sampled).next().map_or(&[], Vec::as_slice)
    }

    /// The interrupt handler that it was in for most of the time: the last look may be at a CPU that has just left it.
    #[must_use]
    pub fn handler(&self) -> Option<&str> {
        self.in_handler().map(|handler| handler.name.as_str())
    }

    /// The same, where it is one that this CPU runs so often that it may have been there when the hypervisor took it away.
    #[must_use]
    pub fn frequent_handler(&self) -> Option<&str> {
        self.in_handler().filter(|handler| handler.often).map(|handler| handler.name.as_str())
    }

    fn in_handler(&self) -> Option<&InHandler> {
        let length = self.to.unwrap_or(self.looked_at).since(self.since);
        self.handler.as_ref().filter(|handler| handler.length() >= length.mul_f64(MOST_OF_IT))
    }

    /// The interrupt handler that it was in when it was last looked at, and for how long by then, where that is too short a
    /// part of the stall to tell what the rest was.
    #[must_use]
    pub fn last_seen_in(&self) -> Option<(&str, Duration)> {
        let handler = self.handler.as_ref().filter(|handler| handler.until >= self.looked_at)?;
        self.handler().is_none().then_some((handler.name.as_str(), handler.length()))
    }

    /// The thread that it ran.
    #[must_use]
    pub fn running(&self) -> Option<&Running> {
        self.during.as_ref()?.running.as_ref()
    }

    /// Whether it ticked and went from task to task all the while: busy, not stalled.
    #[must_use]
    pub fn is_shared_out(&self, now: Nanos) -> bool {
        let looks = [self.after.as_ref(), self.during.as_ref()].into_iter().flatten();
        let switches = looks.filter_map(|look| look.switches).max().unwrap_or(0);
        let rate = switches as f64 / self.last_length(now).as_secs_f64().max(1e-3);
        self.timer_dead() == Some(false) && rate >= SHARED_OUT
    }

    /// Whether it ticked all the while and ran ordinary tasks in user mode, as far as was seen: who waits for it waits for its
    /// turn. A real-time task, which runs until it sleeps, gives none.
    #[must_use]
    pub fn runs_ordinary_tasks(&self, now: Nanos) -> bool {
        let in_user_mode = self.user_part(now).is_none_or(|user| user >= MOST_IN_USER_MODE);
        self.timer_dead() == Some(false) && self.timer_late.is_zero() && in_user_mode && !self.has_real_time_policy()
    }

    fn has_real_time_policy(&self) -> bool {
        self.running().and_then(|running| running.policy.as_deref()).is_some_and(is_real_time)
    }

    /// Whether it was seen with a real-time task, for which all ordinary ones wait, whether it is in its program or in the kernel. The
    /// kernel's own stopper threads are none: what they run has stopped the CPU (`kernel/stop_machine.c`).
    #[must_use]
    pub fn runs_real_time(&self) -> bool {
        let stops_all = |running: &Running| running.comm.starts_with("migration/");
        self.has_real_time_policy() && !self.running().is_some_and(stops_all)
    }

    /// Whether its timer worked and only the agent's thread was held: its quota was used up, or the CPU idled meanwhile.
    #[must_use]
    pub fn holds_the_agent_only(&self, now: Nanos) -> bool {
        let throttled = self.share(|look| look.throttled_ns, now).is_some_and(|share| share >= MOST_OF_IT);
        let idles = self.during.as_ref().filter(|_| self.looked_at > self.since).and_then(|look| look.running.as_ref());
        let idles = self.settled() && idles.is_some_and(|running| running.tid == 0);
        self.timer_dead() == Some(false) && (throttled || idles)
    }

    /// Of the time that it spent by its own ticks, the part in user mode, from 0 to 1; absent where that was not measured,
    /// or where there are too few of them to tell.
    #[must_use]
    pub fn user_part(&self, now: Nanos) -> Option<f64> {
        let (user, system) = self.newest_figure(|look| Some((look.user_ns?, look.system_ns?)))?;
        let spent = Duration::from_nanos(user.saturating_add(system));
        let enough = spent >= TICKS_THAT_TELL && spent >= self.last_length(now) / 2;
        enough.then(|| user as f64 / user.saturating_add(system) as f64)
    }

    /// The part of the stall that `of` explains, from 0 to 1; absent where that was not measured.
    #[must_use]
    pub fn share(&self, of: impl Fn(&CpuStall) -> Option<u64>, now: Nanos) -> Option<f64> {
        Some((self.newest_figure(of)? as f64 / self.last_length(now).as_nanos().max(1) as f64).min(1.0))
    }

    /// A figure by the newest look that has it.
    fn newest_figure<T>(&self, of: impl Fn(&CpuStall) -> Option<T>) -> Option<T> {
        [self.after.as_ref(), self.during.as_ref()].into_iter().flatten().find_map(of)
    }

    /// Whether this host may have been deaf while it stood still: a network card interrupts this CPU, and it did not run,
    /// or not what follows an interrupt. One that only lost its timer still takes packets.
    #[must_use]
    pub fn deaf(&self) -> bool {
        let takes_packets = self.timer_dead() == Some(true) && self.alive() == Some(true);
        self.newest().is_some_and(|look| look.deaf) && !takes_packets
    }

    /// Its end as evidence about `host`, where that shows a handler that it was in meanwhile.
    #[must_use]
    pub fn end_in_handler(&self, host: &str) -> Option<Evidence> {
        let after = self.after.as_ref().filter(|after| after.handler.is_some())?;
        Some(Evidence::during(host, self.from, self.to?, Fact::CpuStall(Box::new(after.clone()))))
    }

    /// All of it as evidence about `host`, up to `now`.
    #[must_use]
    pub fn evidence(&self, host: &str, now: Nanos) -> Vec<Evidence> {
        let until = self.to.unwrap_or(now);
        let looks = [self.during.as_ref(), self.after.as_ref()].into_iter().flatten();
        let facts = looks.map(|look| Fact::CpuStall(Box::new(look.clone())));
        let mut all: Vec<Evidence> = facts.map(|fact| Evidence::during(host, self.from, until, fact)).collect();
        all.extend_from_slice(self.citations.parts().0);
        all
    }
}

impl InHandler {
    fn new(handler: &Handler, from: Nanos, until: Nanos) -> Self {
        Self { name: handler.name.clone(), often: handler.is_run_often(), from, until }
    }

    fn length(&self) -> Duration {
        self.until.since(self.from)
    }
}

/// Policies whose tasks come before all ordinary ones (sched(7)).
fn is_real_time(policy: &str) -> bool {
    ["SCHED_FIFO", "SCHED_RR", "SCHED_DEADLINE"].contains(&policy)
}

/// Whether a CPU did anything, by a look at it.
fn did_something(look: &CpuStall) -> bool {
    let moved = [look.interrupts, look.switches].into_iter().flatten().any(|count| count > 0);
    moved || look.poke == Some(Poke::Answered)
}
