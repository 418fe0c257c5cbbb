//! Where the agent's threads may run while a CPU stands still: on the others.
//!
//! A thread that sleeps is woken on the CPU that it ran on last, if that seems idle, and a CPU that stands still does. So
//! the agent's threads are kept from it, all but the sentinels. A thread that runs on such a CPU at that moment cannot be
//! moved: asking for it would wait for that very CPU (`affine_move_task`, Linux 5.10), so it is left alone.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, gettid};

use super::DRIVER;
use crate::host::HostFiles;

/// How the names of the sentinels' threads begin.
pub(super) const SENTINEL: &str = "lacuna-cpu/";
/// Threads that are moved; the agent has about ten.
const MAX_THREADS: usize = 256;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Refuge {
    files: HostFiles,
    /// Where the agent may run at all; absent where the kernel does not say.
    allowed: Option<CpuSet>,
    /// The CPUs that are avoided by all threads.
    avoided: Mutex<BTreeSet<u32>>,
}

impl Refuge {
    /// Begins with the CPUs that the calling thread may run on.
    pub(super) fn new(files: HostFiles) -> Self {
        Self { files, allowed: sched_getaffinity(Pid::from_raw(0)).ok(), avoided: Mutex::default() }
    }

    /// Keeps the agent's threads from these CPUs, and from no others; does nothing where that is so already, or where no
    /// CPU would be left.
    pub(super) fn avoid(&self, cpus: &BTreeSet<u32>) {
        let mut avoided = self.avoided.lock().unwrap_or_else(PoisonError::into_inner);
        if *avoided == *cpus {
            return;
        }
        let Some(rest) = self.without(cpus) else { return };
        let mut all = true;
        for (tid, thread) in self.files.own_threads().into_iter().take(MAX_THREADS) {
            // The caller runs, so its CPU does, and it can be moved.
            let runs = thread.state == 'R' && tid != gettid().as_raw();
            let stuck = runs && thread.cpu.is_some_and(|cpu| cpus.contains(&cpu));
            if thread.comm.starts_with(SENTINEL) {
                continue;
            }
            all &= !stuck;
            if !stuck {
                // It may have ended meanwhile.
                let _ = sched_setaffinity(Pid::from_raw(tid), &rest);
            }
        }
        // One that was left alone only happened to run: it is moved the next time, or it would fall asleep there.
        if all {
            avoided.clone_from(cpus);
        }
    }

    /// The CPU that the driver ran on last, where it sleeps now; absent where the kernel does not say.
    pub(super) fn driver_cpu(&self) -> Option<u32> {
        self.files.own_threads().into_iter().find(|(_, thread)| thread.comm == DRIVER)?.1.cpu
    }

    /// Where the agent may run without these CPUs; absent where nothing is left.
    fn without(&self, cpus: &BTreeSet<u32>) -> Option<CpuSet> {
        let mut rest = self.allowed?;
        for cpu in cpus.iter().filter_map(|cpu| usize::try_from(*cpu).ok()) {
            rest.unset(cpu).ok()?;
        }
        (0..CpuSet::count()).any(|cpu| rest.is_set(cpu).unwrap_or(false)).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_another_cpu_offers_no_place() {
        let refuge = Refuge::new(HostFiles::default());
        let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let all = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap());
        let mut all: BTreeSet<u32> = all.map(|cpu| u32::try_from(cpu).unwrap()).collect();
        assert_eq!(refuge.without(&all), None);
        let last = all.pop_last().unwrap();
        let rest = refuge.without(&all).unwrap();
        assert!(rest.is_set(usize::try_from(last).unwrap()).unwrap());
    }
}
