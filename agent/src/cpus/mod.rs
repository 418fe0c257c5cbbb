//! CPUs of this host that stand still: a sentinel on each, looked at by the driver at every tick.
//!
//! While a sentinel is overdue, the driver (which runs on another CPU) says what that CPU did meanwhile and pokes it. When
//! it is over, what the CPU went on with is added. Isolated and `nohz_full` CPUs have no sentinel, which would disturb
//! them; they are named as not covered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use lacuna_core::evidence::{CpuStall, Evidence, Fact, Handler, Landed, Poke, Running};
use lacuna_core::time::Nanos;

use crate::driver::{Command, TurnReading};
use crate::host::HostFiles;
use crate::host::interrupts::CpuInterrupts;
use crate::host::stat::{CpuTime, TICK_NS};
use crate::probes::{CpuActivity, LandingKind, ProbeMetrics, RawLanding};

mod names;
mod often;
mod pulse;
mod refuge;
mod sampled;
mod sentinel;
#[cfg(test)]
mod tests;

pub use pulse::Pulse;

use names::{Names, Of};
use often::Rates;
use refuge::Refuge;
use sampled::Samples;
use sentinel::{Late, Look, Sentinel, overdue};

/// The name of the driver's thread, by which it is found among the agent's.
pub(crate) const DRIVER: &str = "lacuna-driver";

/// Reports of sentinels that may wait for the driver.
const REPORTS: usize = 1024;

/// Stalls that may wait for their names.
const MAX_NAMELESS: usize = 256;

/// From this lateness on the agent's threads keep off that CPU; a busy one is not that late.
const AVOID: Duration = Duration::from_millis(150);

/// A silence that is a stall has begun so soon after its sentinel was due.
const BEGINS_WITHIN: Duration = Duration::from_millis(150);

/// See the module's documentation.
pub struct CpuWatch {
    files: HostFiles,
    metrics: Option<Arc<dyn ProbeMetrics>>,
    sentinels: Vec<Sentinel>,
    reports: Receiver<Late>,
    sender: SyncSender<Late>,
    /// Where the driver sleeps.
    pulse: Arc<Pulse>,
    refuge: Arc<Refuge>,
    commands: SyncSender<Command>,
    /// CPUs that a network card interrupts.
    network: BTreeSet<u32>,
    /// What each CPU had done when its sentinel was last on time.
    before: BTreeMap<u32, Known>,
    /// The last stall of each CPU that was looked at, as it was then.
    first: BTreeMap<u32, First>,
    /// Finds names for addresses; absent where its thread did not start.
    names: Option<Names>,
    /// Of CPUs that stand still, or did.
    samples: Samples,
    /// Stalls that are over, by the names that are still to come.
    ended: BTreeMap<Of, Evidence>,
    /// How often each CPU takes each interrupt.
    rates: Rates,
}

/// What is known of a CPU at a moment.
#[derive(Clone, Debug, Default)]
struct Known {
    activity: Option<CpuActivity>,
    time: Option<CpuTime>,
    throttled_ns: Option<u64>,
}

/// A stall of a CPU when it was first looked at.
#[derive(Clone, Debug)]
struct First {
    /// When the sentinel was due: what the stall is told by.
    due: Nanos,
    /// What the CPU had done by then.
    known: Known,
    /// And when it was last on time. A sentinel that runs again is on time a moment before its report arrives.
    before: Option<Known>,
}

impl CpuWatch {
    /// Starts a sentinel on each CPU that may have one. Its helpers wake the driver through `commands`.
    #[must_use]
    pub fn start(
        files: HostFiles,
        metrics: Option<Arc<dyn ProbeMetrics>>,
        pulse: Arc<Pulse>,
        commands: SyncSender<Command>,
    ) -> Self {
        let refuge = Arc::new(Refuge::new(files.clone()));
        let (sender, reports) = sync_channel(REPORTS);
        let (sentinels, network) = (Vec::new(), BTreeSet::new());
        let (before, first) = (BTreeMap::new(), BTreeMap::new());
        let names = Names::start(files.clone(), metrics.clone())
            .inspect_err(|error| tracing::warn!("stalls of CPUs stay without names of functions: {error}"))
            .ok();
        let (samples, ended) = (Samples::default(), BTreeMap::new());
        let mut watch = Self {
            files,
            metrics,
            sentinels,
            reports,
            sender,
            pulse,
            refuge,
            commands,
            network,
            before,
            first,
            names,
            samples,
            ended,
            rates: Rates::default(),
        };
        watch.follow_topology();
        watch
    }

    /// How many CPUs have a sentinel.
    #[must_use]
    pub fn watched(&self) -> u32 {
        u32::try_from(self.sentinels.len()).unwrap_or(u32::MAX)
    }

    /// Whether that CPU has a sentinel.
    #[must_use]
    pub fn watches(&self, cpu: u32) -> bool {
        self.sentinels.iter().any(|sentinel| sentinel.cpu == cpu)
    }

    /// Reports of sentinels that were lost.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.sentinels.iter().map(|sentinel| u64::from(sentinel.refused())).sum()
    }

    /// CPUs come and go, and interrupts move: looked at once a second.
    pub fn follow_topology(&mut self) {
        let covered = self.files.topology().map(|topology| topology.covered()).unwrap_or_default();
        self.sentinels.retain(|sentinel| covered.contains(&sentinel.cpu));
        for cpu in covered {
            if self.watches(cpu) {
                continue;
            }
            let helper = pulse::helper(Arc::clone(&self.pulse), Arc::clone(&self.refuge), self.commands.clone());
            match Sentinel::start(cpu, self.sender.clone(), helper) {
                Ok(sentinel) => self.sentinels.push(sentinel),
                Err(error) => tracing::warn!(cpu, "no sentinel on this CPU, its stalls are not seen: {error}"),
            }
        }
        self.network = self.files.network_cpus();
    }

    /// What the sentinels show at `now`, as evidence about `host`. A driver that is itself `late` by about as much did not
    /// look while a CPU stood still: then only the sentinel's own word counts.
    pub fn look(&mut self, host: &str, now: Nanos, late: Duration, reading: &TurnReading) -> Vec<Evidence> {
        let mut seen = Vec::new();
        let dues: Vec<Nanos> = self.sentinels.iter().map(|sentinel| sentinel.look().due).collect();
        let suspected = dues.iter().any(|due| overdue(*due, now).is_some());
        let over: Vec<Late> = self.reports.try_iter().take(REPORTS).collect();
        if !suspected {
            self.rates.follow(&self.files, now);
        }
        let known = self.known(suspected || !over.is_empty(), suspected, reading);
        seen.extend(self.named());
        let ended: BTreeSet<(u32, Nanos)> = over.iter().map(|late| (late.cpu, late.from)).collect();
        for late in over {
            seen.push(self.ended(host, late, &known));
        }
        let mut avoid = BTreeSet::new();
        for (place, due) in dues.into_iter().enumerate() {
            let (cpu, look) = (self.sentinels[place].cpu, self.sentinels[place].look());
            let of_cpu = known.get(&cpu).cloned().unwrap_or_default();
            let stands = !look.displaced && !ended.contains(&(cpu, look.due));
            let Some(overdue) = overdue(look.due, now).filter(|_| stands) else {
                self.sentinels[place].forget_pokes();
                // Where it ran since the reports were read, one of a stall may wait that is told by what was before.
                if !reading.is_late(now) && look.due == due {
                    self.before.insert(cpu, of_cpu);
                }
                continue;
            };
            avoid.extend((overdue >= AVOID).then_some(cpu));
            if overdue > late * 2 && !goes_on(&look, &of_cpu) {
                seen.push(self.standing(host, place, look, &of_cpu, now));
            }
        }
        self.refuge.avoid(&avoid);
        seen
    }

    /// What every CPU has done so far, its interrupts and switches only where they are `wanted`: they take a while to read.
    fn known(&self, wanted: bool, suspected: bool, reading: &TurnReading) -> BTreeMap<u32, Known> {
        let mut activity = if wanted { self.activity(suspected) } else { BTreeMap::new() };
        let times = reading.stat.as_ref().map(|stat| stat.cpus.as_slice()).unwrap_or_default();
        let throttled_ns = reading.throttled_ns;
        let of = |sentinel: &Sentinel| {
            let cpu = sentinel.cpu;
            let time = times.iter().find(|time| time.cpu == cpu).copied();
            (cpu, Known { activity: activity.remove(&cpu), time, throttled_ns })
        };
        self.sentinels.iter().map(of).collect()
    }

    /// By the probes; what they do not see by the kernel's own counts, which take longer to read: only on suspicion.
    fn activity(&self, suspected: bool) -> BTreeMap<u32, CpuActivity> {
        let probed = self.metrics.as_ref().and_then(|metrics| metrics.activity()).unwrap_or_default();
        if see_timers(probed.values()) {
            return probed;
        }
        let counts = if suspected { self.files.interrupts() } else { None };
        with_counts(probed, counts.unwrap_or_default())
    }

    /// A CPU that stands still at `now`: what it did since it was first looked at. It is poked for the next look.
    fn standing(&mut self, host: &str, place: usize, look: Look, known: &Known, now: Nanos) -> Evidence {
        let cpu = self.sentinels[place].cpu;
        let before = self.first_look(cpu, look.due).map(|first| first.known.clone());
        if before.is_none() {
            let before = self.before.get(&cpu).cloned();
            self.first.insert(cpu, First { due: look.due, known: known.clone(), before });
        }
        let first = before.as_ref().unwrap_or(known);
        let mut stall = self.figures(cpu, look.due, known);
        let grown = |of: fn(&CpuActivity) -> Option<u64>| {
            known.activity.as_ref().and_then(of)?.checked_sub(first.activity.as_ref().and_then(of)?)
        };
        stall.interrupts = grown(|activity| activity.interrupts);
        stall.softirqs = grown(|activity| activity.softirqs);
        stall.switches = grown(|activity| activity.switches);
        stall.timer_at = timer_at(before.as_ref(), known, look.due, now);
        stall.poke = look.poke.map(|answered| if answered { Poke::Answered } else { Poke::Unanswered });
        stall.running = known.activity.as_ref().and_then(|activity| activity.running).map(|tid| self.running(tid));
        let handler = known.activity.as_ref().and_then(|activity| activity.handler.clone());
        stall.handler = handler.map(|handler| self.with_rate(cpu, handler));
        self.sample((cpu, look.due), now, &stall);
        stall.sampled = self.samples.stack((cpu, look.due));
        self.sentinels[place].poke_if_due(&look, now);
        Evidence::during(host, look.due, now, Fact::CpuStall(Box::new(stall)))
    }

    /// A CPU that went on: what it had done since it was last on time, and what it went on with.
    fn ended(&mut self, host: &str, late: Late, known: &BTreeMap<u32, Known>) -> Evidence {
        let now = known.get(&late.cpu).cloned().unwrap_or_default();
        let mut stall = self.figures(late.cpu, late.from, &now);
        stall.over = true;
        stall.timer_at = now.activity.as_ref().and_then(|activity| activity.timer_at);
        let meanwhile = |handler: &Handler| handler.until.is_some_and(|until| until > late.from && until <= late.to);
        let handler = now.activity.and_then(|activity| activity.long_handler).filter(meanwhile);
        stall.handler = handler.map(|handler| self.with_rate(late.cpu, handler));
        let landing = self.metrics.as_ref().and_then(|metrics| metrics.landing(late.cpu));
        let landing = landing.filter(|landing| {
            see_timers(known.values().filter_map(|known| known.activity.as_ref())) && ends(landing, &late)
        });
        // The sentinel of a busy CPU waits for its turn after that.
        let to = landing.as_ref().map_or(late.to, |landing| landing.at);
        let awaited = self.awaited((late.cpu, late.from), landing).filter(|_| self.ended.len() < MAX_NAMELESS);
        stall.naming = awaited.is_some();
        let ended = Evidence::during(host, late.from, to, Fact::CpuStall(Box::new(stall)));
        self.ended.extend(awaited.map(|of| (of, ended.clone())));
        ended
    }

    fn with_rate(&self, cpu: u32, handler: Handler) -> Handler {
        Handler { per_second: self.rates.of(cpu, &handler.name), ..handler }
    }

    /// The names that are to come for a stall that is over: of what it ended in, or else of a sample.
    fn awaited(&self, stall: (u32, Nanos), landing: Option<RawLanding>) -> Option<Of> {
        let names = self.names.as_ref()?;
        let ended = landing.filter(|landing| names.ask(Of::End(stall), landing.clone())).map(|_| Of::End(stall));
        ended.or(self.samples.awaits_names(stall).then_some(Of::Sample(stall)))
    }

    /// That CPU when the stall that began at `due` was first looked at; absent where it was not.
    fn first_look(&self, cpu: u32, due: Nanos) -> Option<&First> {
        self.first.get(&cpu).filter(|first| first.due == due)
    }

    /// What can be read of a CPU at any time, as the difference to when it was last on time before the stall that began at `due`.
    fn figures(&self, cpu: u32, due: Nanos, known: &Known) -> CpuStall {
        let before = self.first_look(cpu, due).map_or_else(|| self.before.get(&cpu), |first| first.before.as_ref());
        let time = |of: fn(&CpuTime) -> u64| {
            let (now, before) = (known.time.as_ref()?, before?.time.as_ref()?);
            Some(of(now).saturating_sub(of(before)) * TICK_NS)
        };
        let throttled = known.throttled_ns.zip(before.and_then(|before| before.throttled_ns));
        CpuStall {
            cpu,
            of_cpus: self.watched(),
            stolen_ns: time(|time| time.steal),
            user_ns: time(|time| time.user),
            system_ns: time(|time| time.system),
            throttled_ns: throttled.map(|(now, before)| now.saturating_sub(before)),
            deaf: self.network.contains(&cpu),
            ..CpuStall::default()
        }
    }

    fn running(&self, tid: u32) -> Running {
        if tid == 0 {
            return Running { tid, comm: "idle".into(), policy: None };
        }
        let task = self.files.task(tid);
        let policy = task.as_ref().map(|task| task.policy.to_string());
        Running { tid, comm: task.map(|task| task.comm).unwrap_or_default(), policy }
    }

    /// Names that were found: a stall that is over is told once more, with what it went on with or was in.
    fn named(&mut self) -> Vec<Evidence> {
        let answers = self.names.as_ref().map(Names::answers).unwrap_or_default();
        let mut again = Vec::new();
        for (of, landed) in answers {
            let ended = self.ended.remove(&of);
            if let Of::Sample(stall) = of {
                self.samples.name(stall, landed.stack.clone());
            }
            again.extend(ended.map(|ended| with_names(ended, of, landed)));
        }
        again
    }

    /// While the timer ticks and the time goes to the kernel, its stack at a tick shows in what.
    fn sample(&mut self, stall: (u32, Nanos), now: Nanos, told: &CpuStall) {
        let (Some(metrics), Some(names)) = (&self.metrics, &self.names) else { return };
        let (cpu, due) = stall;
        let later_than = self.samples.later_than(stall);
        let ticks = told.timer_at.is_some_and(|at| at > due);
        if !ticks || self.samples.has(stall) || told.system_ns <= told.user_ns {
            return;
        }
        match metrics.landing(cpu).filter(|landing| landing.at > later_than) {
            Some(sample) if sample.kind == LandingKind::Sample => {
                let at = sample.at;
                if names.ask(Of::Sample(stall), sample) {
                    self.samples.take(stall, at);
                }
            }
            // It ended a silence that is most of the stall, and is not to be overwritten.
            Some(landing) if landing.silence * 2 >= now.since(due) => {}
            _ => metrics.sample(cpu),
        }
    }
}

/// Whether the silence that it ended is that stall: a CPU that took interrupts in its first part was not silent for all of it.
fn ends(landing: &RawLanding, late: &Late) -> bool {
    let within = landing.at > late.from && landing.at <= late.to && landing.kind != LandingKind::Sample;
    let began = landing.at.minus(landing.silence) <= late.from.plus(BEGINS_WITHIN);
    within && began && landing.silence * 2 >= late.to.since(late.from)
}

fn with_names(ended: Evidence, of: Of, landed: Landed) -> Evidence {
    match ended.fact {
        Fact::CpuStall(stall) => {
            let stall = match of {
                Of::End(_) => CpuStall { landed: Some(landed), naming: false, ..*stall },
                Of::Sample(_) => CpuStall { sampled: landed.stack, naming: false, ..*stall },
            };
            Evidence { fact: Fact::CpuStall(Box::new(stall)), ..ended }
        }
        fact => Evidence { fact, ..ended },
    }
}

impl Drop for CpuWatch {
    fn drop(&mut self) {
        self.refuge.avoid(&BTreeSet::new());
    }
}

/// Whether the probes see timer interrupts at all. Where timers come by another vector than that of the local APIC, as those of
/// Hyper-V (`hv_stimer0`) and of Xen (an event channel) do, the hook is there and never runs: that says nothing of any timer, and a
/// silence may be full of their interrupts.
fn see_timers<'a>(mut activity: impl Iterator<Item = &'a CpuActivity>) -> bool {
    activity.any(|one| one.timer_at.is_some())
}

/// What the probes saw, with the kernel's own counts of timer interrupts, and of others where the probes have none.
fn with_counts(
    mut activity: BTreeMap<u32, CpuActivity>,
    counts: BTreeMap<u32, CpuInterrupts>,
) -> BTreeMap<u32, CpuActivity> {
    activity.values_mut().for_each(|one| one.timer_interrupts = None);
    // Where none is counted on any CPU, timers come by another name.
    let are_counted = counts.values().any(|counts| counts.timer > 0);
    for (cpu, counts) in counts {
        let one = activity.entry(cpu).or_default();
        one.timer_interrupts = are_counted.then_some(counts.timer);
        one.interrupts = one.interrupts.or(Some(counts.ipis + counts.devices));
    }
    activity
}

/// The latest timer interrupt: by the probe, or else by whether the count of them still is what it was `before`, at the first
/// look; absent at that one.
fn timer_at(before: Option<&Known>, known: &Known, due: Nanos, now: Nanos) -> Option<Nanos> {
    let (known, before) = (known.activity.as_ref()?, before.and_then(|before| before.activity.as_ref()));
    let by_count = || if known.timer_interrupts? == before?.timer_interrupts? { Some(due) } else { Some(now) };
    known.timer_at.or_else(by_count)
}

/// Whether the CPU goes on already: its timer gave an interrupt and the sentinel ran since, if by a poke that came with it.
/// The sentinel tells so itself within a period.
fn goes_on(look: &Look, known: &Known) -> bool {
    let timer_at = known.activity.as_ref().and_then(|activity| activity.timer_at);
    look.ran > look.due && timer_at.is_some_and(|at| at > look.due)
}

/// The CPU that the calling thread runs on.
pub(crate) fn own_cpu() -> Option<u32> {
    nix::sched::sched_getcpu().ok().and_then(|cpu| u32::try_from(cpu).ok())
}
