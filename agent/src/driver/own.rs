//! What this host says of itself: why the agent was late, and how busy its CPUs are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lacuna_core::evidence::{AgentLate, CpuLoad, Evidence, Fact, KernelMessage};
use lacuna_core::time::{Nanos, nanos};

use crate::clock;
use crate::cpus::own_cpu;
use crate::host::cgroup::OwnGroups;
use crate::host::kmsg::Kmsg;
use crate::host::stat::{CpuTime, Stat, StatFile, TICK_NS, most_stolen, shares};
use crate::host::threads::ThreadTimes;
use crate::host::{self, HostFiles};
use crate::shared::CpuStatus;

/// Reading takes no longer than this where nothing holds it up.
const HELD_UP: Duration = Duration::from_millis(50);
/// The handler of SIGCONT runs on another thread; after a long stall it gets this long to have run.
const HANDLER_GRACE: Duration = Duration::from_millis(2);

/// What had happened by the begin of a turn.
#[derive(Clone, Debug, Default)]
pub struct TurnReading {
    /// CPU time of every CPU.
    pub stat: Option<Stat>,
    /// For how long the agent's control group was throttled.
    pub throttled_ns: Option<u64>,
    /// How long the driver's thread ran, and how long it waited for a CPU.
    thread_ns: Option<(u64, u64)>,
    suspended: Duration,
    /// When all of it had been read.
    taken: Nanos,
}

impl TurnReading {
    /// Whether the turn that began at `now` was held up before this was read: then it does not tell how things stood at
    /// its begin.
    #[must_use]
    pub fn is_late(&self, now: Nanos) -> bool {
        self.taken.since(now) >= HELD_UP
    }
}

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
    stat: StatFile,
    groups: OwnGroups,
    thread: ThreadTimes,
    continued: Arc<AtomicBool>,
    timers_watched: bool,
    /// At the begin of the last turn: what a lateness is measured from, and what held that turn itself up.
    turn: TurnReading,
    /// At the last reading of the load.
    second: Machine,
    /// Where the thread ran last; its timer is armed there.
    cpu: Option<u32>,
    cpus: Vec<CpuStatus>,
    /// The kernel's own log; absent where it cannot be read.
    log: Option<Kmsg>,
}

impl OwnWatch {
    /// `continued` is set by the handler of SIGCONT; `timers_watched` says whether late timers are reported.
    #[must_use]
    pub fn new(files: HostFiles, continued: Arc<AtomicBool>, timers_watched: bool) -> Self {
        Self {
            stat: StatFile::new(&files),
            groups: OwnGroups::new(files.clone()),
            thread: ThreadTimes::new(&files),
            files,
            continued,
            timers_watched,
            turn: TurnReading::default(),
            second: Machine::default(),
            cpu: None,
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
        let (now, reading) = (clock::boot(), self.read());
        self.begin_turn(now, reading);
        self.end_of_turn();
    }

    /// What had happened by now.
    pub fn read(&mut self) -> TurnReading {
        TurnReading {
            stat: self.stat.read(),
            throttled_ns: self.groups.throttled_ns(),
            thread_ns: self.thread.ran_and_waited_ns(),
            suspended: clock::suspended(),
            taken: clock::boot(),
        }
    }

    /// Takes the reading that the next lateness is measured from, in the turn that began at `now`. One that came late
    /// would hide what held this turn up.
    pub fn begin_turn(&mut self, now: Nanos, reading: TurnReading) {
        if reading.is_late(now) {
            return;
        }
        self.turn = reading;
        // A SIGCONT that stopped nothing for long explains nothing that comes later.
        self.continued.store(false, Ordering::Relaxed);
    }

    /// Notes where the thread sleeps.
    pub fn end_of_turn(&mut self) {
        self.cpu = own_cpu();
    }

    /// Tasks that were blocked on storage at the begin of this turn.
    #[must_use]
    pub fn blocked(&self) -> Option<u32> {
        self.turn.stat.as_ref()?.blocked
    }

    /// The agent should have run at `due` and runs only `now`: with everything that may tell why, up to `reading`.
    /// `cpus_watched` is how many CPUs have a sentinel.
    pub fn late(&mut self, host: &str, due: Nanos, now: Nanos, cpus_watched: u32, reading: &TurnReading) -> Evidence {
        if now.since(due) >= Duration::from_millis(250) {
            self.let_the_handler_run(now);
        }
        let delta = since(reading.stat.as_ref(), self.turn.stat.as_ref());
        let late = AgentLate {
            ran_ns: grown(reading.thread_ns.map(|(ran, _)| ran), self.turn.thread_ns.map(|(ran, _)| ran)),
            waited_ns: grown(reading.thread_ns.map(|(_, wait)| wait), self.turn.thread_ns.map(|(_, wait)| wait)),
            throttled_ns: grown(reading.throttled_ns, self.turn.throttled_ns),
            continued: self.continued.swap(false, Ordering::Relaxed),
            steal: delta.as_deref().and_then(|delta| most_stolen(delta, &[self.cpu, own_cpu()])),
            busy: delta.as_deref().and_then(shares).map(|(busy, _)| busy),
            suspended_ns: nanos(reading.suspended.saturating_sub(self.turn.suspended)),
            timers_watched: self.timers_watched,
            cpus_watched,
        };
        Evidence::during(host, due, now, Fact::AgentLate(Box::new(late)))
    }

    /// Without sleeping: the timer of this CPU may be what has died.
    fn let_the_handler_run(&self, now: Nanos) {
        while !self.continued.load(Ordering::Relaxed) && clock::boot().since(now) < HANDLER_GRACE {
            thread::yield_now();
        }
    }

    /// What is read once a second: how busy the CPUs were since the last call, what the kernel logged. What cannot be read is left out.
    pub fn slow(&mut self, host: &str, now: Nanos) -> Vec<Evidence> {
        let machine = self.machine();
        let delta = since(machine.stat.as_ref(), self.second.stat.as_ref());
        let before = std::mem::replace(&mut self.second, machine);
        let load = self.load(host, now, &before, delta.as_deref());
        load.into_iter().chain(self.logged(host)).collect()
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

    fn machine(&mut self) -> Machine {
        Machine { at: clock::boot(), stat: self.stat.read(), pressure_us: self.files.cpu_pressure_us() }
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
        let (now, reading) = (clock::boot(), watch.read());
        match watch.late("a", now.minus(Duration::from_millis(200)), now, 0, &reading).fact {
            Fact::AgentLate(late) => *late,
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
    fn what_held_the_last_turn_up_itself_explains_the_next_lateness() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), 1_000, 100, 10);
        let continued = Arc::new(AtomicBool::new(false));
        let mut watch = OwnWatch::new(HostFiles::below(root.path()), Arc::clone(&continued), true);
        watch.begin();
        // In the middle of the turn.
        continued.store(true, Ordering::Relaxed);
        write(root.path(), 5_000, 120, 30);
        watch.end_of_turn();
        let told = late(&mut watch);
        assert_eq!((told.waited_ns, told.continued), (Some(4_000), true));
    }

    #[test]
    fn a_reading_that_came_late_hides_nothing() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), 1_000, 100, 10);
        let mut watch = OwnWatch::new(HostFiles::below(root.path()), Arc::default(), true);
        watch.begin();
        write(root.path(), 5_000, 120, 30);
        let reading = watch.read();
        watch.begin_turn(reading.taken.minus(Duration::from_secs(4)), reading);
        assert_eq!(late(&mut watch).waited_ns, Some(4_000));
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
