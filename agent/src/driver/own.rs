//! What this host says of itself: why the agent was late, and how busy its CPUs are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lacuna_core::evidence::{AgentLate, CpuLoad, Evidence, Fact};
use lacuna_core::time::{Nanos, nanos};

use crate::clock;
use crate::host::HostFiles;
use crate::host::stat::{Stat, TICK_NS, most_stolen, shares};
use crate::shared::CpuStatus;

/// The handler of SIGCONT runs on another thread; after a long stall it gets this long to have run.
const HANDLER_GRACE: Duration = Duration::from_millis(2);

/// A reading of what the whole machine did.
#[derive(Clone, Debug, Default)]
struct Machine {
    at: Nanos,
    stat: Option<Stat>,
    pressure_us: Option<u64>,
}

/// See the module's documentation.
pub struct OwnWatch {
    files: HostFiles,
    continued: Arc<AtomicBool>,
    timers_watched: bool,
    machine: Machine,
    waited_ns: Option<u64>,
    throttled_ns: Option<u64>,
    suspended: Duration,
    cpus: Vec<CpuStatus>,
}

impl OwnWatch {
    /// `continued` is set by the handler of SIGCONT; `timers_watched` says whether late timers are reported.
    #[must_use]
    pub fn new(files: HostFiles, continued: Arc<AtomicBool>, timers_watched: bool) -> Self {
        Self {
            files,
            continued,
            timers_watched,
            machine: Machine::default(),
            waited_ns: None,
            throttled_ns: None,
            suspended: Duration::ZERO,
            cpus: Vec::new(),
        }
    }

    /// Takes the first readings; on the driver's own thread, since it is this thread that is accounted for.
    pub fn begin(&mut self) {
        self.machine = self.machine();
        self.throttled_ns = self.files.throttled_ns();
        self.end_of_turn();
    }

    /// Takes the readings that the next lateness is measured from.
    pub fn end_of_turn(&mut self) {
        self.waited_ns = self.files.thread_waited_ns();
        self.suspended = clock::suspended();
    }

    /// The agent should have run at `due` and runs only `now`: with everything that may tell why.
    pub fn late(&mut self, host: &str, due: Nanos, now: Nanos) -> Evidence {
        if now.since(due) >= Duration::from_millis(250) && !self.continued.load(Ordering::Relaxed) {
            thread::sleep(HANDLER_GRACE);
        }
        let throttled_ns = self.files.throttled_ns();
        let machine = self.machine();
        let delta = since(&machine, &self.machine);
        let late = AgentLate {
            waited_ns: grown(self.files.thread_waited_ns(), self.waited_ns),
            throttled_ns: grown(throttled_ns, self.throttled_ns),
            continued: self.continued.swap(false, Ordering::Relaxed),
            steal: delta.as_deref().and_then(most_stolen),
            busy: delta.as_deref().and_then(shares).map(|(busy, _)| busy),
            suspended_ns: nanos(clock::suspended().saturating_sub(self.suspended)),
            timers_watched: self.timers_watched,
        };
        self.throttled_ns = throttled_ns;
        Evidence::during(host, due, now, Fact::AgentLate(late))
    }

    /// How busy the CPUs were since the last call; absent where that cannot be read.
    pub fn load(&mut self, host: &str, now: Nanos) -> Option<Evidence> {
        let machine = self.machine();
        let delta = since(&machine, &self.machine);
        let before = std::mem::replace(&mut self.machine, machine);
        self.throttled_ns = self.files.throttled_ns();
        let (busy, steal) = shares(delta.as_deref()?)?;
        let stat = self.machine.stat.as_ref()?;
        self.cpus = stat.cpus.iter().map(|cpu| cpu_status(cpu.cpu, cpu.steal, delta.as_deref())).collect();
        let length = now.since(before.at).as_secs_f64();
        let waited = grown(self.machine.pressure_us, before.pressure_us);
        let fact = Fact::CpuLoad(CpuLoad {
            cpus: u32::try_from(stat.cpus.len()).unwrap_or(u32::MAX),
            busy,
            steal,
            runnable: stat.runnable,
            pressure: waited.filter(|_| length > 0.0).map(|us| (us as f64 / 1e6 / length).min(1.0)),
        });
        Some(Evidence::during(host, before.at, now, fact))
    }

    /// Every CPU at the last reading.
    #[must_use]
    pub fn cpus(&self) -> Vec<CpuStatus> {
        self.cpus.clone()
    }

    fn machine(&self) -> Machine {
        Machine { at: clock::boot(), stat: self.files.stat(), pressure_us: self.files.cpu_pressure_us() }
    }
}

fn since(now: &Machine, before: &Machine) -> Option<Vec<crate::host::stat::CpuTime>> {
    Some(now.stat.as_ref()?.since(before.stat.as_ref()?))
}

fn grown(now: Option<u64>, before: Option<u64>) -> Option<u64> {
    now?.checked_sub(before?)
}

fn cpu_status(cpu: u32, steal: u64, delta: Option<&[crate::host::stat::CpuTime]>) -> CpuStatus {
    let own = delta.and_then(|delta| delta.iter().find(|time| time.cpu == cpu));
    CpuStatus {
        cpu,
        busy: own.and_then(|time| shares(std::slice::from_ref(time))).map(|(busy, _)| busy),
        steal_seconds_total: Some((steal * TICK_NS) as f64 / 1e9),
    }
}
