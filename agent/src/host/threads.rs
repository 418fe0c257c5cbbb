//! The agent's own threads.

use super::kept::Kept;
use super::task::Task;
use super::{HostFiles, task};

/// What the kernel's scheduler counts for a thread of this process (`/proc/thread-self/schedstat`,
/// `Documentation/scheduler/sched-stats.rst`).
#[derive(Debug)]
pub struct ThreadTimes(Kept);

impl ThreadTimes {
    /// Those of the thread that calls [`Self::ran_and_waited_ns`] first.
    #[must_use]
    pub fn new(files: &HostFiles) -> Self {
        Self(files.kept("proc/thread-self/schedstat"))
    }

    /// How long it ran, and how long it waited for a CPU, in nanoseconds; absent where the kernel does not say.
    pub fn ran_and_waited_ns(&mut self) -> Option<(u64, u64)> {
        let mut figures = self.0.read()?.split_whitespace().map(|figure| figure.parse().ok());
        Some((figures.next()??, figures.next()??))
    }
}

impl HostFiles {
    /// Every thread of this process with its id; empty where /proc is not readable.
    #[must_use]
    pub fn own_threads(&self) -> Vec<(i32, Task)> {
        let tids = self.names("proc/self/task").into_iter().filter_map(|name| name.parse::<i32>().ok());
        tids.filter_map(|tid| Some((tid, task::parse(&self.read(&format!("proc/self/task/{tid}/stat"))?)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_thread_is_among_them() {
        let this = nix::unistd::gettid().as_raw();
        let threads = HostFiles::default().own_threads();
        let (_, own) = threads.iter().find(|(tid, _)| *tid == this).unwrap();
        assert!(own.state == 'R' && own.cpu.is_some());
    }

    #[test]
    fn this_thread_is_accounted_for() {
        let mut times = ThreadTimes::new(&HostFiles::default());
        let (before, _) = times.ran_and_waited_ns().unwrap();
        let began = std::time::Instant::now();
        while began.elapsed() < std::time::Duration::from_millis(20) {}
        let (after, _) = times.ran_and_waited_ns().unwrap();
        assert!(after > before, "{after} ns after {before} ns");
    }
}
