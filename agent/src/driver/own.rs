//! What this host says of itself: why the agent was late, and how busy its CPUs are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lacuna_core::evidence::{AgentLate, CpuLoad, Evidence, Fact, IoLoad, KernelMessage};
use lacuna_core::time::{Nanos, nanos};

use crate::clock;
use crate::cpus::own_cpu;
use crate::host::kmsg::Kmsg;
use crate::host::pressure::{BlockedTask, IoPressure};
use crate::host::stat::{CpuTime, Stat, TICK_NS, most_stolen, shares};
use crate::host::{self, HostFiles};
use crate::shared::CpuStatus;

/// The handler of SIGCONT runs on another thread; after a long stall it gets this long to have run.
const HANDLER_GRACE: Duration = Duration::from_millis(2);

/// A reading of what the whole machine did.
#[derive(Clone, Debug, Default)]
struct Machine {
    at: Nanos,
    stat: Option<Stat>,
    pressure_us: Option<u64>,
    io: Option<IoPressure>,
}

/// See the module's documentation.
pub struct OwnWatch {
    files: HostFiles,
    continued: Arc<AtomicBool>,
    timers_watched: bool,
    /// At the end of the last turn: what a lateness is measured from.
    turn: Option<Stat>,
    /// At the last reading of the load.
    second: Machine,
    /// Where the thread ran last; its timer is armed there.
    cpu: Option<u32>,
    waited_ns: Option<u64>,
    throttled_ns: Option<u64>,
    suspended: Duration,
    cpus: Vec<CpuStatus>,
    /// The kernel's own log; absent where it cannot be read.
    log: Option<Kmsg>,
}

impl OwnWatch {
    /// `continued` is set by the handler of SIGCONT; `timers_watched` says whether late timers are reported.
    #[must_use]
    pub fn new(files: HostFiles, continued: Arc<AtomicBool>, timers_watched: bool) -> Self {
        Self {
            files,
            continued,
            timers_watched,
            turn: None,
            second: Machine::default(),
            cpu: None,
            waited_ns: None,
            throttled_ns: None,
            suspended: Duration::ZERO,
            cpus: Vec::new(),
            log: None,
        }
    }

    /// Reads the kernel's own log as well.
    #[must_use]
    pub fn with_log(self, log: Option<Kmsg>) -> Self {
        Self { log, ..self }
    }

    /// Takes the first readings; on the driver's own thread, since it is this thread that is accounted for.
    pub fn begin(&mut self) {
        self.second = self.machine();
        self.throttled_ns = self.files.throttled_ns();
        self.end_of_turn();
    }

    /// Takes the readings that the next lateness is measured from.
    pub fn end_of_turn(&mut self) {
        self.waited_ns = self.files.thread_waited_ns();
        self.suspended = clock::suspended();
        self.turn = self.files.stat();
        self.cpu = own_cpu();
        // A SIGCONT that stopped nothing for long explains nothing that comes later.
        self.continued.store(false, Ordering::Relaxed);
    }

    /// The agent should have run at `due` and runs only `now`: with everything that may tell why. `cpus_watched` is how many
    /// CPUs have a sentinel.
    pub fn late(&mut self, host: &str, due: Nanos, now: Nanos, cpus_watched: u32) -> Evidence {
        if now.since(due) >= Duration::from_millis(250) && !self.continued.load(Ordering::Relaxed) {
            thread::sleep(HANDLER_GRACE);
        }
        let throttled_ns = self.files.throttled_ns();
        let delta = since(self.files.stat().as_ref(), self.turn.as_ref());
        let late = AgentLate {
            waited_ns: grown(self.files.thread_waited_ns(), self.waited_ns),
            throttled_ns: grown(throttled_ns, self.throttled_ns),
            continued: self.continued.swap(false, Ordering::Relaxed),
            steal: delta.as_deref().and_then(|delta| most_stolen(delta, &[self.cpu, own_cpu()])),
            busy: delta.as_deref().and_then(shares).map(|(busy, _)| busy),
            suspended_ns: nanos(clock::suspended().saturating_sub(self.suspended)),
            timers_watched: self.timers_watched,
            cpus_watched,
        };
        self.throttled_ns = throttled_ns;
        Evidence::during(host, due, now, Fact::AgentLate(late))
    }

    /// What is read once a second: how busy the CPUs were since the last call, how long tasks waited for storage, what
    /// the kernel logged. What cannot be read is left out.
    pub fn slow(&mut self, host: &str, now: Nanos) -> Vec<Evidence> {
        let machine = self.machine();
        let delta = since(machine.stat.as_ref(), self.second.stat.as_ref());
        let before = std::mem::replace(&mut self.second, machine);
        self.throttled_ns = self.files.throttled_ns();
        let load = self.load(host, now, &before, delta.as_deref());
        let io = self.io(host, now, &before, delta.as_deref());
        load.into_iter().chain(io).chain(self.logged(host)).collect()
    }

    fn logged(&mut self, host: &str) -> Vec<Evidence> {
        let messages = self.log.as_mut().map(Kmsg::drain).unwrap_or_default();
        let suspended = nanos(clock::suspended());
        let fact = |message: host::kmsg::KernelMessage| {
            let at = Nanos(message.at.0.saturating_add(suspended));
            let about = message.kind.name().to_owned();
            let told = KernelMessage { about, cpu: message.cpu, text: message.text };
            Evidence::at(host, at, Fact::KernelMessage(told))
        };
        messages.into_iter().map(fact).collect()
    }

    /// How long tasks waited for storage; who, only where that was most of the time.
    fn io(&self, host: &str, now: Nanos, before: &Machine, delta: Option<&[CpuTime]>) -> Option<Evidence> {
        let (io, earlier) = (self.second.io?, before.io?);
        let some_ns = io.some_us.checked_sub(earlier.some_us)?.saturating_mul(1000);
        let full_ns = io.full_us.checked_sub(earlier.full_us)?.saturating_mul(1000);
        let suspicious = some_ns * 2 >= nanos(now.since(before.at));
        let name = |task: BlockedTask| match task.waits_in {
            Some(function) => format!("{} in {function}", task.comm),
            None => task.comm,
        };
        let tasks = if suspicious { self.files.blocked_tasks() } else { Vec::new() };
        let fact = Fact::IoLoad(IoLoad {
            some_ns,
            full_ns,
            blocked: if suspicious { self.files.blocked() } else { None },
            busy: delta.and_then(shares).map(|(busy, _)| busy),
            tasks: tasks.into_iter().map(name).collect(),
        });
        Some(Evidence::during(host, before.at, now, fact))
    }

    fn load(&mut self, host: &str, now: Nanos, before: &Machine, delta: Option<&[CpuTime]>) -> Option<Evidence> {
        let (busy, steal) = shares(delta?)?;
        let stat = self.second.stat.as_ref()?;
        self.cpus = stat.cpus.iter().map(|cpu| cpu_status(cpu.cpu, cpu.steal, delta)).collect();
        let length = now.since(before.at).as_secs_f64();
        let waited = grown(self.second.pressure_us, before.pressure_us);
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
        Machine {
            at: clock::boot(),
            stat: self.files.stat(),
            pressure_us: self.files.cpu_pressure_us(),
            io: self.files.io_pressure(),
        }
    }
}

fn since(now: Option<&Stat>, before: Option<&Stat>) -> Option<Vec<CpuTime>> {
    Some(now?.since(before?))
}

fn grown(now: Option<u64>, before: Option<u64>) -> Option<u64> {
    now?.checked_sub(before?)
}

fn cpu_status(cpu: u32, steal: u64, delta: Option<&[CpuTime]>) -> CpuStatus {
    let own = delta.and_then(|delta| delta.iter().find(|time| time.cpu == cpu));
    CpuStatus {
        cpu,
        busy: own.and_then(|time| shares(std::slice::from_ref(time))).map(|(busy, _)| busy),
        steal_seconds_total: Some((steal * TICK_NS) as f64 / 1e9),
        watched: false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn write(root: &Path, waited: u64, busy: u64, steal: u64) {
        let cpus: String = (0..256).map(|cpu| format!("cpu{cpu} {busy} 0 0 100 0 0 0 {steal} 0 0\n")).collect();
        let files =
            [("stat", format!("{cpus}procs_running 5\n")), ("thread-self/schedstat", format!("7 {waited} 9\n"))];
        for (name, text) in files {
            let path = root.join("proc").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn late(watch: &mut OwnWatch) -> AgentLate {
        let now = clock::boot();
        match watch.late("a", now.minus(Duration::from_millis(200)), now, 0).fact {
            Fact::AgentLate(late) => late,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lateness_is_told_with_what_grew_since_the_last_turn() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), 1_000, 100, 10);
        let continued = Arc::new(AtomicBool::new(false));
        let mut watch = OwnWatch::new(HostFiles::below(root.path()), Arc::clone(&continued), true);
        watch.begin();
        write(root.path(), 5_000, 120, 30);
        continued.store(true, Ordering::Relaxed);
        let told = late(&mut watch);
        assert_eq!((told.waited_ns, told.busy, told.continued), (Some(4_000), Some(1.0), true));
        assert_eq!(told.steal.map(|(_, stolen)| stolen), Some(20 * TICK_NS));
        assert_eq!(told.throttled_ns, None, "there is no quota");
        assert!(!late(&mut watch).continued, "a signal explains one stall only");
    }

    #[test]
    fn a_signal_before_the_last_turn_explains_nothing() {
        let root = tempfile::tempdir().unwrap();
        let continued = Arc::new(AtomicBool::new(true));
        let mut watch = OwnWatch::new(HostFiles::below(root.path()), continued, false);
        watch.begin();
        let told = late(&mut watch);
        assert_eq!((told.continued, told.waited_ns, told.busy), (false, None, None));
    }
}
