//! The CPUs of a host: what its sentinels, its probes and its files tell of one that stands still, as the agent's senses do
//! (`agent/src/cpus`), while it lasts and afterwards.

use std::time::Duration;

use lacuna_core::evidence::{CpuStall, Evidence, Fact, Handler, Landed, Place, Poke, Running};
use lacuna_core::incident::Class;
use lacuna_core::time::{Nanos, nanos};

use crate::chance::Chance;
use crate::clock::{Clock, Time};

/// How long a sentinel sleeps, and how late it tells itself.
const PERIOD: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_millis(50);
/// How late a sentinel tells after its CPU went on, where it is slow.
const TELLS_LATE: Duration = Duration::from_millis(60);
/// Names of functions take so long to find.
const NAMES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(1500));

/// Why a CPU stands still, and so what it does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standstill {
    /// Its timer gives no interrupt; it takes others.
    NoTimer,
    /// Kernel code keeps its interrupts off.
    Masked,
    /// Kernel code does not leave it while its timer ticks.
    NoPreemption,
    /// A real-time task keeps it.
    Hogged,
    /// The hypervisor does not run it, and says so.
    Stolen,
    /// The hypervisor does not run it, and says nothing.
    NotRun,
    /// It is in that interrupt handler, which does not end; or it is there since the hypervisor does not run it.
    InHandler { name: &'static str, per_second: u64, runs: bool },
}

/// What comes less often is no handler that a CPU is in at any moment.
const RARE_PER_SECOND: u64 = 10;

impl Standstill {
    fn timer_is_dead(self) -> bool {
        !matches!(self, Self::NoPreemption | Self::Hogged)
    }

    /// Whether a network card whose interrupts go there is deaf.
    pub(crate) fn is_deaf(self) -> bool {
        matches!(self, Self::Masked | Self::Stolen | Self::NotRun | Self::InHandler { .. })
    }

    /// Whether another CPU that calls it waits until it goes on.
    pub(crate) fn holds_up_others(self) -> bool {
        self.is_deaf()
    }

    /// The class that is true.
    pub(crate) fn class(self) -> Class {
        match self {
            Self::NoTimer => Class::TimerLockup,
            Self::Masked | Self::NoPreemption | Self::InHandler { runs: true, .. } => Class::CpuLockup,
            Self::Hogged => Class::SchedulerStall,
            Self::Stolen | Self::NotRun | Self::InHandler { runs: false, .. } => Class::VcpuStall,
        }
    }

    /// Whether what the machine shows of it tells it. Where it went on, and what it was in, only the probes see. Behind an
    /// address that every CPU passes, and in the timer's handler, it may have been off, or not run.
    pub(crate) fn is_knowable(self, has_probes: bool, landing: Option<Landing>) -> bool {
        match self {
            Self::NoTimer | Self::NoPreemption | Self::Hogged | Self::Stolen => true,
            Self::Masked | Self::NotRun => has_probes && landing != Some(Landing::Unclear),
            Self::InHandler { per_second, .. } => has_probes && per_second < RARE_PER_SECOND,
        }
    }

    /// The handler that it is in since then.
    fn handler(self, since: Nanos, until: Option<Nanos>) -> Option<Handler> {
        match self {
            Self::InHandler { name, per_second, .. } => {
                Some(Handler { name: name.to_owned(), since, until, per_second: Some(per_second) })
            }
            _ => None,
        }
    }
}

/// What the interrupt lands in that ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    User,
    Idle,
    /// Kernel code with interrupts on.
    Unmasked,
    /// Kernel code that had just enabled interrupts, where no CPU passes in passing.
    Enabled,
    /// Kernel code that had just enabled interrupts, as CPUs do all the time: it proves nothing.
    Unclear,
}

impl Landing {
    /// What the hypervisor interrupts at random.
    pub(crate) fn of_a_machine_at_work(chance: &mut Chance) -> Self {
        match chance.below(20) {
            0..=10 => Self::Idle,
            11..=16 => Self::User,
            17..=18 => Self::Unmasked,
            _ => Self::Unclear,
        }
    }

    /// Whether the CPU was in the kernel, where it may hold or wait for a lock.
    pub(crate) fn is_in_kernel(self) -> bool {
        !matches!(self, Self::User | Self::Idle)
    }

    fn landed(self) -> Landed {
        let (place, just_enabled, function) = match self {
            Self::User => (Place::User, None, None),
            Self::Idle => (Place::Idle, None, Some("default_idle+0x9")),
            Self::Unmasked => (Place::Kernel, Some(false), Some("copy_page+0x7")),
            Self::Enabled => (Place::Kernel, Some(true), Some("spin_for_seconds+0x12")),
            Self::Unclear => (Place::Kernel, Some(true), Some("_raw_spin_unlock_irqrestore+0x15")),
        };
        Landed { place, just_enabled, passed: None, stack: function.map(str::to_owned).into_iter().collect() }
    }
}

/// A CPU that stands still.
#[derive(Clone, Debug)]
struct Stuck {
    cpu: u32,
    why: Standstill,
    since: Time,
    /// When its sentinel was first due.
    due: Time,
    looks: u32,
}

/// What is told later.
#[derive(Clone, Debug)]
struct News {
    at: Time,
    evidence: Vec<Evidence>,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) cpus: u32,
    /// Where the network card's interrupts go.
    pub(crate) card_cpu: u32,
    /// Its kernel lets the agent attach probes; without them only the files under /proc tell.
    pub(crate) has_probes: bool,
    /// When the sentinel of each is due, within a period.
    phases: Vec<Duration>,
    stuck: Vec<Stuck>,
    news: Vec<News>,
}

impl Machine {
    pub(crate) fn new(has_probes: bool, chance: &mut Chance) -> Self {
        let cpus = [1, 2, 2, 2, 4, 4, 8, 8][chance.below(8)];
        let card_cpu = u32::try_from(chance.below(cpus)).unwrap_or_default();
        let phases = (0..cpus).map(|_| chance.time(Duration::ZERO, PERIOD)).collect();
        let cpus = u32::try_from(cpus).unwrap_or_default();
        Self { cpus, card_cpu, has_probes, phases, stuck: Vec::new(), news: Vec::new() }
    }

    /// That CPU stands still from now on.
    pub(crate) fn begin(&mut self, cpu: u32, why: Standstill, at: Time) {
        let phase = self.phases.get(cpu as usize).copied().unwrap_or_default();
        let period = nanos(PERIOD);
        let into = (at.0 + period - nanos(phase) % period) % period;
        let due = at.plus(Duration::from_nanos((period - into) % period));
        self.stuck.push(Stuck { cpu, why, since: at, due, looks: 0 });
    }

    /// It goes on, and lands there.
    pub(crate) fn end(
        &mut self,
        host: &str,
        cpu: u32,
        landing: Option<Landing>,
        at: Time,
        clock: &Clock,
        chance: &mut Chance,
    ) {
        let Some(place) = self.stuck.iter().position(|stuck| stuck.cpu == cpu) else { return };
        let stuck = self.stuck.remove(place);
        if at.since(stuck.due) < LATE {
            return;
        }
        let (from, to) = (clock.boot(stuck.due), clock.boot(at));
        let timer_is_dead = stuck.why.timer_is_dead();
        let landed = landing.filter(|_| timer_is_dead && self.has_probes);
        let over = CpuStall {
            over: true,
            timer_at: self.has_probes.then_some(to),
            naming: landed.is_some(),
            handler: stuck.why.handler(clock.boot(stuck.since), Some(to)).filter(|_| self.has_probes),
            ..self.figures(&stuck, at)
        };
        let tell = |stall: CpuStall| Evidence::during(host, from, to, Fact::CpuStall(Box::new(stall)));
        let mut evidence = Vec::new();
        if timer_is_dead && self.has_probes {
            evidence.push(Evidence::during(host, from, to, Fact::TimerLate { cpu }));
        }
        evidence.push(tell(over.clone()));
        let told = if chance.hits(0.2) { at.plus(TELLS_LATE) } else { at };
        self.news.push(News { at: told, evidence });
        if let Some(landing) = landed {
            let named = CpuStall { landed: Some(landing.landed()), naming: false, ..over };
            let found = told.plus(chance.time(NAMES.0, NAMES.1));
            self.news.push(News { at: found, evidence: vec![tell(named)] });
        }
    }

    /// The timer by which the agent ticks was due on one of its CPUs while none ran.
    pub(crate) fn agents_timer_was_late(&mut self, host: &str, due: Nanos, at: Time, clock: &Clock) {
        let now = clock.boot(at);
        if self.has_probes && now.since(due) >= LATE {
            self.news.push(News { at, evidence: vec![Evidence::during(host, due, now, Fact::TimerLate { cpu: 0 })] });
        }
    }

    /// The sentinels, which are threads of the agent, were held with it and not with their CPUs.
    pub(crate) fn held_with_the_agent(&mut self, host: &str, from: Time, to: Time, throttled: bool, clock: &Clock) {
        for (cpu, phase) in (0..self.cpus).zip(&self.phases) {
            let due = from.plus(*phase);
            if to.since(due) < LATE || due >= to {
                continue;
            }
            let (begin, end) = (clock.boot(due), clock.boot(to));
            let throttled_ns = throttled.then(|| nanos(end.since(begin)));
            let stall = CpuStall {
                cpu,
                of_cpus: self.cpus,
                over: true,
                timer_at: self.has_probes.then_some(end),
                throttled_ns,
                ..CpuStall::default()
            };
            let evidence = vec![Evidence::during(host, begin, end, Fact::CpuStall(Box::new(stall)))];
            self.news.push(News { at: to, evidence });
        }
    }

    /// A boot, or a clock that stood still with the machine: nothing of before is told.
    pub(crate) fn forget(&mut self) {
        self.stuck.clear();
        self.news.clear();
    }

    /// What the agent sees of its CPUs at that time.
    pub(crate) fn look(&mut self, host: &str, at: Time, clock: &Clock) -> Vec<Evidence> {
        let mut seen = Vec::new();
        self.news.sort_by_key(|news| news.at);
        let ripe = self.news.partition_point(|news| news.at <= at);
        seen.extend(self.news.drain(..ripe).flat_map(|news| news.evidence));
        let mut stuck = std::mem::take(&mut self.stuck);
        for one in stuck.iter_mut().filter(|one| at.since(one.due) >= LATE) {
            let look = self.look_at(one, at, clock);
            one.looks += 1;
            let (from, to) = (clock.boot(one.due), clock.boot(at));
            seen.push(Evidence::during(host, from, to, Fact::CpuStall(Box::new(look))));
        }
        self.stuck = stuck;
        seen
    }

    /// What another CPU sees of one that stands still.
    fn look_at(&self, one: &Stuck, at: Time, clock: &Clock) -> CpuStall {
        let answers = one.why == Standstill::NoTimer;
        let poke = (one.looks > 0).then_some(if answers { Poke::Answered } else { Poke::Unanswered });
        let figures = self.figures(one, at);
        let interrupts = Some(if answers { u64::from(one.looks) } else { 0 });
        let dead = one.why.timer_is_dead();
        if !self.has_probes {
            // The count of its timer's interrupts grows, or does not: that takes two looks.
            let timer_at = (one.looks > 0).then(|| clock.boot(if dead { one.due } else { at }));
            return CpuStall { timer_at, interrupts, poke, ..figures };
        }
        let running = (one.why == Standstill::Hogged).then(|| Running {
            tid: 77,
            comm: "hog".into(),
            policy: Some("SCHED_FIFO".into()),
        });
        CpuStall {
            timer_at: Some(clock.boot(if dead { one.since } else { at })),
            interrupts,
            switches: Some(0),
            softirqs: Some(0),
            poke,
            running,
            handler: one.why.handler(clock.boot(one.since), None),
            ..figures
        }
    }

    fn figures(&self, stuck: &Stuck, at: Time) -> CpuStall {
        let spent = nanos(at.since(stuck.since));
        let if_so = |so: bool| Some(if so { spent } else { 0 });
        CpuStall {
            cpu: stuck.cpu,
            of_cpus: self.cpus,
            stolen_ns: if_so(stuck.why == Standstill::Stolen),
            user_ns: if_so(stuck.why == Standstill::Hogged),
            system_ns: if_so(stuck.why == Standstill::NoPreemption),
            deaf: self.card_cpu == stuck.cpu,
            ..CpuStall::default()
        }
    }

    /// Whether the network card is deaf at present.
    pub(crate) fn is_deaf(&self) -> bool {
        self.stuck.iter().any(|stuck| stuck.cpu == self.card_cpu && stuck.why.is_deaf())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_is_seen_while_it_stands_still_and_told_of_when_it_goes_on() {
        let (mut chance, clock) = (Chance::new(3), Clock::new(0, 0, 0));
        let mut machine =
            Machine { cpus: 2, phases: vec![Duration::ZERO, PERIOD / 3], ..Machine::new(true, &mut chance) };
        let at = |ms: u64| Time(ms * 1_000_000);
        machine.begin(1, Standstill::NoTimer, at(10_000));
        assert_eq!(machine.look("a", at(10_040), &clock), []);
        let looks: Vec<_> = (2..9).map(|tenth| machine.look("a", at(10_000 + tenth * 100), &clock).len()).collect();
        assert_eq!(looks, [1; 7]);
        machine.end("a", 1, None, at(11_000), &clock, &mut chance);
        let told = machine.look("a", at(11_100), &clock);
        let over = told.iter().filter(|piece| matches!(&piece.fact, Fact::CpuStall(stall) if stall.over)).count();
        assert_eq!((told.len(), over), (2, 1), "its late timer as well: {told:?}");
        assert!(told.iter().all(|piece| piece.from >= clock.boot(at(10_000)) && piece.from <= clock.boot(at(10_100))));
    }

    /// The last look at a CPU that stood still for a second, and what was told when it went on.
    fn told_of(has_probes: bool, why: Standstill) -> (CpuStall, Vec<CpuStall>) {
        let (mut chance, clock) = (Chance::new(3), Clock::new(0, 0, 0));
        let mut machine = Machine { cpus: 2, phases: vec![Duration::ZERO; 2], ..Machine::new(has_probes, &mut chance) };
        let at = |ms: u64| Time(ms * 1_000_000);
        machine.begin(1, why, at(10_000));
        let stalls = |evidence: Vec<Evidence>| -> Vec<CpuStall> {
            let stall = |piece: Evidence| if let Fact::CpuStall(stall) = piece.fact { Some(*stall) } else { None };
            evidence.into_iter().filter_map(stall).collect()
        };
        let looks = (2..9).flat_map(|tenth| stalls(machine.look("a", at(10_000 + tenth * 100), &clock)));
        let last = looks.last().unwrap();
        machine.end("a", 1, Some(Landing::User), at(11_000), &clock, &mut chance);
        (last, stalls(machine.look("a", at(13_000), &clock)))
    }

    #[test]
    fn a_handler_is_seen_while_the_cpu_is_in_it_and_when_it_ends() {
        let (look, told) = told_of(true, Standstill::InHandler { name: "irq 24", per_second: 1, runs: true });
        assert_eq!(look.handler.map(|handler| handler.until), Some(None));
        let ended = told.iter().filter_map(|stall| stall.handler.as_ref()?.until);
        assert!(ended.eq([Nanos(11_000_000_000); 2]), "with its landing once more");
    }

    #[test]
    fn without_probes_only_counts_tell() {
        let (look, told) = told_of(false, Standstill::InHandler { name: "irq 24", per_second: 1, runs: true });
        assert_eq!((look.handler, look.switches, look.interrupts), (None, None, Some(0)));
        assert_eq!(look.timer_at, Some(Nanos(10_000_000_000)), "its count did not grow");
        assert_eq!(told.len(), 1);
        assert!(told[0].landed.is_none() && told[0].timer_at.is_none());
    }
}
