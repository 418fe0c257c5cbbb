//! What this machine's kernel says of the threads that run virtual CPUs: how long each ran, and waited to run.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::stop::Stop;

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

/// Watches that thread for a moment: an error where it sleeps, as that of an idle CPU does.
pub(crate) fn must_spin(process: u32, thread: u32, stop: &Stop) -> Result<()> {
    let started = std::time::Instant::now();
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
