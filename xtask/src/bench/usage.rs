//! What a process has used so far, all of its threads together.

use std::path::Path;

use anyhow::{Context as _, Result};

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    /// How long its threads ran, in the kernel as well, in nanoseconds (`schedstat`): what `utime` and `stime` add up to,
    /// without being rounded to hundredths of a second.
    pub(crate) ran_ns: u64,
    /// How often they went to sleep and were woken again.
    pub(crate) wakeups: u64,
    /// Memory that is in use now, in KiB.
    pub(crate) rss_kib: u64,
}

impl Usage {
    /// Of the process with that id.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        Self::below(Path::new("/proc"), pid)
    }

    fn below(proc: &Path, pid: u32) -> Result<Self> {
        let process = proc.join(pid.to_string());
        let mut usage = Self { ran_ns: 0, wakeups: 0, rss_kib: field(&process.join("status"), "VmRSS:")? };
        let threads = std::fs::read_dir(process.join("task")).with_context(|| format!("process {pid} is gone"))?;
        for thread in threads {
            let thread = thread?.path();
            usage.wakeups += field(&thread.join("status"), "voluntary_ctxt_switches:")?;
            let path = thread.join("schedstat");
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let ran = text.split_whitespace().next().and_then(|ran| ran.parse::<u64>().ok());
            usage.ran_ns += ran.with_context(|| format!("{}: {text}", path.display()))?;
        }
        Ok(usage)
    }
}

fn field(path: &Path, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.with_context(|| format!("{} has no {name}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_sleep_of_all_threads_count() {
        let before = Usage::of(std::process::id()).unwrap();
        let worked = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                (0..20).for_each(|_| std::thread::sleep(std::time::Duration::from_millis(1)));
                let began = std::time::Instant::now();
                while began.elapsed() < std::time::Duration::from_millis(50) {}
                Usage::of(std::process::id()).unwrap()
            });
            thread.join().unwrap()
        });
        assert!(worked.ran_ns > before.ran_ns + 1_000_000, "{before:?} {worked:?}");
        assert!(worked.wakeups >= before.wakeups + 20, "{before:?} {worked:?}");
        assert!(worked.rss_kib > 0);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        // Beyond the kernel's largest limit of 2^22.
        assert!(Usage::of(5_000_000).is_err());
    }
}
