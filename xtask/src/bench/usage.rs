//! What a process has used so far, all of its threads together.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Usage {
    threads: BTreeMap<String, Thread>,
    /// Memory that is in use now, in KiB.
    pub(crate) rss_kib: u64,
}

/// What one of its threads has used.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Thread {
    /// How long it ran, in the kernel as well, in nanoseconds (`schedstat`): what `utime` and `stime` add up to, without being
    /// rounded to hundredths of a second.
    ran_ns: u64,
    /// How often it went to sleep and was woken again.
    wakeups: u64,
}

impl Usage {
    /// Of the process with that id.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let process = Path::new("/proc").join(pid.to_string());
        let mut threads = BTreeMap::new();
        for thread in std::fs::read_dir(process.join("task")).with_context(|| format!("process {pid} is gone"))? {
            let thread = thread?;
            threads.insert(thread.file_name().to_string_lossy().into_owned(), Thread::read(&thread.path())?);
        }
        Ok(Self { threads, rss_kib: field(&process.join("status"), "VmRSS:")? })
    }

    /// How long its threads ran since `earlier`, and how often they were woken. What a thread did that has ended since is not
    /// known.
    pub(crate) fn since(&self, earlier: &Self) -> (Duration, u64) {
        let grown = |of: fn(&Thread) -> u64| -> u64 {
            let threads = self.threads.iter();
            threads.map(|(id, now)| of(now).saturating_sub(earlier.threads.get(id).map_or(0, of))).sum()
        };
        (Duration::from_nanos(grown(|thread| thread.ran_ns)), grown(|thread| thread.wakeups))
    }
}

impl Thread {
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("schedstat");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let ran_ns = text.split_whitespace().next().and_then(|ran| ran.parse().ok());
        let wakeups = field(&folder.join("status"), "voluntary_ctxt_switches:")?;
        Ok(Self { ran_ns: ran_ns.with_context(|| format!("{}: {text}", path.display()))?, wakeups })
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
    use crate::sh;

    #[test]
    fn work_and_wake_ups_of_a_process_are_seen() {
        let mut child = sh::command(&["sh", "-c", "while :; do sleep 0.01; done"]).spawn().unwrap();
        let before = Usage::of(child.id()).unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(60);
        let worked = std::iter::repeat_with(|| {
            std::thread::sleep(Duration::from_millis(20));
            Usage::of(child.id()).unwrap()
        });
        let enough = |now: &Usage| now.since(&before).0 > Duration::from_millis(1) && now.since(&before).1 >= 5;
        let seen = worked.take_while(|_| std::time::Instant::now() < until).find(enough);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(seen.is_some_and(|seen| seen.rss_kib > 0));
        assert!(Usage::of(child.id()).is_err(), "it is gone");
    }

    #[test]
    fn a_thread_that_has_ended_takes_nothing_away() {
        let usage = |threads: &[(&str, u64)]| Usage {
            threads: threads
                .iter()
                .map(|(id, ran_ns)| ((*id).into(), Thread { ran_ns: *ran_ns, wakeups: 1 }))
                .collect(),
            rss_kib: 1,
        };
        let (before, after) = (usage(&[("1", 50), ("2", 70)]), usage(&[("1", 60), ("3", 5)]));
        assert_eq!(after.since(&before), (Duration::from_nanos(15), 1));
    }
}
