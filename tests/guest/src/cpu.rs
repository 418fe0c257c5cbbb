//! CPUs: running on one, and what its timer did.

use std::path::Path;

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Moves the calling thread to that CPU, for good.
pub(crate) fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot run on CPU {cpu}"))
}

/// Lets the calling thread, and what it starts, run everywhere; says where it ran until now.
pub(crate) fn everywhere() -> Result<CpuSet> {
    let before = sched_getaffinity(Pid::from_raw(0))?;
    let mut all = CpuSet::new();
    (0..CpuSet::count()).try_for_each(|cpu| all.set(cpu))?;
    back_to(&all)?;
    Ok(before)
}

/// Lets the calling thread run on those CPUs only.
pub(crate) fn back_to(cpus: &CpuSet) -> Result<()> {
    sched_setaffinity(Pid::from_raw(0), cpus).context("the CPUs of a thread")
}

/// Makes the calling thread a real-time one (`SCHED_FIFO`): it runs although an ordinary one does not leave the CPU.
pub(crate) fn real_time(priority: i32) -> Result<()> {
    let parameter = nix::libc::sched_param { sched_priority: priority };
    // SAFETY: the parameter is a valid structure that outlives the call.
    let done = unsafe { nix::libc::sched_setscheduler(0, nix::libc::SCHED_FIFO, &raw const parameter) };
    nix::errno::Errno::result(done).map(|_| ()).context("SCHED_FIFO")
}

/// How many interrupts of its local timer a CPU has taken since boot, from `/proc/interrupts` below `root`.
pub(crate) fn timer_interrupts(root: &Path, cpu: usize) -> Result<u64> {
    let path = root.join("proc/interrupts");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("LOC:"));
    let figure = line.and_then(|line| line.split_whitespace().nth(cpu)?.parse().ok());
    figure.with_context(|| format!("{} has no LOC of CPU {cpu}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_of_each_cpu_is_read() {
        let root = std::env::temp_dir().join(format!("lab-guest-{}", std::process::id()));
        std::fs::create_dir_all(root.join("proc")).unwrap();
        let text =
            "           CPU0       CPU1\n  4:  9  8  IO-APIC\nLOC:       1234         77   Local timer interrupts\n";
        std::fs::write(root.join("proc/interrupts"), text).unwrap();
        assert_eq!(timer_interrupts(&root, 1).unwrap(), 77);
        assert!(timer_interrupts(&root, 9).is_err());
        std::fs::remove_dir_all(&root).unwrap();
    }
}
