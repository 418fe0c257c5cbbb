//! What this machine's kernel says of the threads that run virtual CPUs: how long each ran, and waited to run.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::lab::clock::Stamp;
use crate::lab::helper::Helper;
use crate::stop::Stop;

/// How often the threads of virtual CPUs are looked at.
const EVERY: Duration = Duration::from_millis(100);
/// Readings that are kept: more than half an hour.
const MAX_KEPT: usize = 20_000;

/// The part of the time between two readings in which a thread that is held hardly runs, from 0 to 1: busy neighbours
/// alone leave it a share.
const HELD: f64 = 0.75;
/// From so many nanoseconds on it matters to whoever is in the guest: heartbeats are late, or a sentinel.
const MATTERS: u64 = 150_000_000;
/// A reader that comes after more than this, in nanoseconds, was late.
const READ_LATEST: u64 = 200_000_000;

/// In seconds, of the time between two readings.
const WORTH_TELLING: f64 = 0.04;

/// How long a thread is watched.
const WATCHED: Duration = Duration::from_millis(300);
/// The part of that time that a CPU which spins does not sleep, from 0 to 1.
const SPINS: f64 = 0.8;

/// Counters since the thread began, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// On a CPU.
    pub(crate) run: u64,
    /// Ready to run, and not on a CPU.
    pub(crate) wait: u64,
}

impl Schedule {
    /// From `/proc/<process>/task/<thread>/schedstat` below `root`.
    pub(crate) fn read(root: &Path, process: u32, thread: u32) -> Result<Self> {
        let path = root.join(format!("proc/{process}/task/{thread}/schedstat"));
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut figures = text.split_whitespace().map(str::parse);
        match (figures.next(), figures.next()) {
            (Some(Ok(run)), Some(Ok(wait))) => Ok(Self { run, wait }),
            _ => anyhow::bail!("{}: {text}", path.display()),
        }
    }

    /// What came since an earlier reading.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { run: self.run.saturating_sub(earlier.run), wait: self.wait.saturating_sub(earlier.wait) }
    }
}

/// How long each virtual CPU of a guest, and then the first thread of its emulator, had waited for a CPU of this machine,
/// in order of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waits(Vec<Reading>);

/// What the threads had waited by that time of the wall clock, all in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) wall: u64,
    pub(crate) waits: Vec<u64>,
}

impl Waits {
    /// Those that were read so.
    #[cfg(test)]
    pub(crate) fn of(readings: Vec<Reading>) -> Self {
        Self(readings)
    }

    /// Between which readings, in seconds after `start` of the wall clock, some thread waited for so long that it matters
    /// to who looks for the cause of a failure: begin, and how long each waited.
    pub(crate) fn long_ones(&self, start: u64) -> Vec<(f64, Vec<f64>)> {
        let seconds = |waits: Vec<u64>| waits.into_iter().map(|waited| waited as f64 / 1e9).collect::<Vec<_>>();
        let steps = self.steps().map(|(begin, _, waits)| ((begin as f64 - start as f64) / 1e9, seconds(waits)));
        steps.filter(|(_, each)| each.iter().any(|waited| *waited >= WORTH_TELLING)).collect()
    }

    /// Each time between two readings: its begin by the wall clock, its length, and how long each thread waited in it, all
    /// in nanoseconds.
    fn steps(&self) -> impl Iterator<Item = (u64, u64, Vec<u64>)> {
        self.0.windows(2).map(|pair| {
            let [before, after] = [&pair[0], &pair[1]];
            let each = before.waits.iter().zip(&after.waits);
            let waits = each.map(|(before, after)| after.saturating_sub(*before)).collect();
            (before.wall, after.wall.saturating_sub(before.wall), waits)
        })
    }

    /// How long the virtual CPU that waited longest waited in an interval of the wall clock, up to a reading around it,
    /// in seconds; absent where nothing was read.
    pub(crate) fn longest(&self, from: u64, to: u64) -> Option<f64> {
        let before = self.0.partition_point(|reading| reading.wall <= from);
        let after = self.0.partition_point(|reading| reading.wall < to);
        let first = self.0.get(before.saturating_sub(1))?;
        let last = self.0.get(after).or(self.0.last())?;
        let grown = first.waits.iter().zip(&last.waits).map(|(first, last)| last.saturating_sub(*first));
        Some(grown.max()? as f64 / 1e9)
    }
}

impl Waits {
    /// For how long, in seconds, this machine at most kept a virtual CPU, or the reader itself, from running;
    /// none where that was too short to matter.
    pub(crate) fn held(&self) -> Option<f64> {
        let cpus = self.0.first()?.waits.len();
        let longest = (0..cpus).map(|cpu| self.held_cpu(cpu)).max()?;
        (longest >= MATTERS).then_some(longest as f64 / 1e9)
    }

    /// In nanoseconds. It begins and ends between two readings, so the neighbours of those that show it are part of it.
    fn held_cpu(&self, cpu: usize) -> u64 {
        let (mut held, mut longest, mut before) = (0, 0, 0);
        for (_, length, waits) in self.steps() {
            let waited = waits.get(cpu).copied().unwrap_or_default();
            // A reader that is late stood still itself, and with it maybe what counts who waits.
            let late = length.saturating_sub(READ_LATEST);
            let hardly_ran = waited as f64 >= HELD * length as f64;
            if hardly_ran || late >= MATTERS {
                held = if held == 0 { before } else { held } + waited.max(late);
                longest = longest.max(held);
            } else if held > 0 {
                longest = longest.max(held + waited);
                held = 0;
            }
            before = waited;
        }
        longest
    }
}

/// The thread that reads them; it ends with this value.
pub(crate) struct WaitsWatch {
    kept: Arc<Mutex<Vec<Reading>>>,
    _thread: Helper,
}

impl WaitsWatch {
    /// Begins to read those threads of the emulator, and its first one, which hands packets over.
    pub(crate) fn start(process: u32, cpus: &[u32], stop: &Stop) -> Result<Self> {
        let threads = [cpus, &[process]].concat();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&kept);
        let read = move || -> Result<Reading> {
            let wait = |thread: &u32| Ok(Schedule::read(Path::new("/"), process, *thread)?.wait);
            Ok(Reading { wall: Stamp::now()?.wall, waits: threads.iter().map(wait).collect::<Result<_>>()? })
        };
        let thread = Helper::spawn("waits", stop, move |stop| {
            // The emulator may end before this does.
            while let (false, Ok(reading)) = (stop.raised(), read()) {
                let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
                if into.len() < MAX_KEPT {
                    into.push(reading);
                }
                drop(into);
                let _ = stop.sleep_until(Instant::now() + EVERY);
            }
            Ok(())
        })?;
        Ok(Self { kept, _thread: thread })
    }

    /// What was read until now.
    pub(crate) fn until_now(&self) -> Waits {
        Waits(self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Whether that thread runs at all within a moment, as that of a CPU does which ticks.
pub(crate) fn runs(process: u32, thread: u32, stop: &Stop) -> Result<bool> {
    let read = || Schedule::read(Path::new("/"), process, thread);
    let before = read()?;
    stop.wait_for(WATCHED, || read().is_ok_and(|now| now.since(before).run > 0))
}

/// Whether that thread, which may be stopped, waits for another one, as that of a halted CPU does: the call to the kernel that
/// it is in (`proc_pid_syscall(5)`).
pub(crate) fn waits(process: u32, thread: u32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{process}/task/{thread}/syscall")).unwrap_or_default();
    call.split_whitespace().next() == Some(&nix::libc::SYS_futex.to_string())
}

/// Watches that thread for a moment: an error where it sleeps, as that of an idle CPU does.
pub(crate) fn must_spin(process: u32, thread: u32, stop: &Stop) -> Result<()> {
    let started = Instant::now();
    let before = Schedule::read(Path::new("/"), process, thread)?;
    stop.sleep_until(started + WATCHED)?;
    let Schedule { run, wait } = Schedule::read(Path::new("/"), process, thread)?.since(before);
    let part = Duration::from_nanos(run + wait).as_secs_f64() / started.elapsed().as_secs_f64();
    ensure!(part >= SPINS, "the CPU was to spin and was idle {:.0} % of the time", (1.0 - part) * 100.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_that_waited_longest_counts() {
        let reading = |wall, waits: [u64; 2]| Reading { wall, waits: waits.into() };
        let waits = Waits::of(vec![
            reading(10, [0, 0]),
            reading(20, [0, 500_000_000]),
            reading(30, [200_000_000, 500_000_000]),
        ]);
        assert_eq!(waits.longest(12, 18), Some(0.5));
        assert_eq!(waits.longest(22, 40), Some(0.2));
        assert_eq!(Waits::default().longest(0, 100), None);
    }

    #[test]
    fn a_cpu_is_held_where_it_hardly_runs_for_several_readings() {
        let tenths = |waits: &[u64]| {
            let readings = waits
                .iter()
                .zip(1..)
                .map(|(wait, number)| Reading { wall: number * 100_000_000, waits: vec![0, wait * 1_000_000] });
            Waits::of(readings.collect())
        };
        assert_eq!(tenths(&[0, 90, 180, 260, 270]).held(), Some(0.27));
        assert_eq!(tenths(&[0, 0, 70, 160, 200, 200]).held(), Some(0.2), "with what is to its sides");
        assert_eq!(tenths(&[0, 90, 100, 190, 200]).held(), None, "each alone is too short");
        assert_eq!(tenths(&[0, 60, 120, 180, 240]).held(), None, "it got its share");
        assert_eq!(Waits::default().held(), None);
        let late = [100, 200, 900].map(|wall| Reading { wall: wall * 1_000_000, waits: vec![0] });
        assert_eq!(Waits::of(late.into()).held(), Some(0.5), "nobody read for 0.7 s");
    }

    #[test]
    fn a_thread_that_waits_for_another_is_told_from_one_that_spins() {
        let ((tell, told), done) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
        let own = || u32::try_from(nix::unistd::gettid().as_raw()).unwrap();
        let waiter = std::thread::spawn(move || {
            tell.send(own()).unwrap();
            let _ = done.1.recv();
        });
        let waiting = told.recv().unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while !waits(std::process::id(), waiting) {
            assert!(Instant::now() < end, "it never waits");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!waits(std::process::id(), own()));
        drop(done.0);
        waiter.join().unwrap();
    }

    #[test]
    fn run_and_wait_are_read() {
        let root = std::env::temp_dir().join(format!("xtask-schedstat-{}", std::process::id()));
        let folder = root.join("proc/7/task/8");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("schedstat"), "500 30 4\n").unwrap();
        let read = Schedule::read(&root, 7, 8).unwrap();
        assert_eq!(read.since(Schedule { run: 100, wait: 10 }), Schedule { run: 400, wait: 20 });
        assert!(Schedule::read(&root, 7, 9).is_err());
        std::fs::remove_dir_all(&root).unwrap();
    }
}
