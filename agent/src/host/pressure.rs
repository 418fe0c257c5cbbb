//! Waiting for storage: by `/proc/pressure/io`, and the tasks that are blocked right now.

use super::{HostFiles, task};

/// Most tasks that are named.
const MAX_NAMED: usize = 8;

/// How long tasks waited for storage since boot, in microseconds (`Documentation/accounting/psi.rst`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoPressure {
    /// At least one task waited.
    pub some_us: u64,
    /// All tasks that had something to do waited.
    pub full_us: u64,
}

/// A task that is blocked (state `D`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedTask {
    /// Its process id.
    pub pid: u32,
    /// Its name, at most 15 bytes (longer for kernel threads).
    pub comm: String,
    /// The kernel function that it waits in; absent where the kernel does not show it.
    pub waits_in: Option<String>,
}

impl HostFiles {
    /// How long tasks waited for storage; absent where the kernel does not measure it (`CONFIG_PSI`, `psi=1`).
    #[must_use]
    pub fn io_pressure(&self) -> Option<IoPressure> {
        let text = self.read("proc/pressure/io")?;
        Some(IoPressure { some_us: total(&text, "some")?, full_us: total(&text, "full")? })
    }

    /// Tasks that wait for storage right now (`procs_blocked` of `/proc/stat`).
    #[must_use]
    pub fn blocked(&self) -> Option<u32> {
        let text = self.read("proc/stat")?;
        text.lines().find_map(|line| line.strip_prefix("procs_blocked "))?.trim().parse().ok()
    }

    /// Processes whose first thread is blocked right now, at most 8. It looks at every process: only on suspicion.
    #[must_use]
    pub fn blocked_tasks(&self) -> Vec<BlockedTask> {
        let pids = self.names("proc").into_iter().filter_map(|name| name.parse().ok());
        pids.filter_map(|pid| self.blocked_task(pid)).take(MAX_NAMED).collect()
    }

    fn blocked_task(&self, pid: u32) -> Option<BlockedTask> {
        let task = task::parse(&self.read(&format!("proc/{pid}/stat"))?).filter(|task| task.state == 'D')?;
        let waits_in = Some(self.line(&format!("proc/{pid}/wchan"))).filter(|name| !name.is_empty() && name != "0");
        Some(BlockedTask { pid, comm: task.comm, waits_in })
    }
}

fn total(text: &str, which: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(which))?;
    line.split_whitespace().find_map(|field| field.strip_prefix("total="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;

    fn stat(comm: &str, state: char) -> String {
        format!(
            "7 ({comm}) {state} 1 7 7 0 -1 4194304 0 0 0 0 5 6 0 0 20 0 1 0 100 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0\n"
        )
    }

    #[test]
    fn pressure_has_two_totals() {
        let text =
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=567\n";
        let (_root, files) = fake(&[("proc/pressure/io", text), ("proc/stat", "cpu 1\nprocs_blocked 3\n")]);
        assert_eq!(files.io_pressure(), Some(IoPressure { some_us: 1234, full_us: 567 }));
        assert_eq!(files.blocked(), Some(3));
        let (_root, files) = fake(&[("proc/pressure/io", "some total=1\n"), ("proc/stat", "cpu 1\n")]);
        assert_eq!((files.io_pressure(), files.blocked()), (None, None));
    }

    #[test]
    fn blocked_tasks_are_named_with_what_they_wait_in() {
        let (dd, bash, sync) = (stat("dd", 'D'), stat("bash", 'S'), stat("sync", 'D'));
        let (_root, files) = fake(&[
            ("proc/7/stat", &dd),
            ("proc/7/wchan", "io_schedule"),
            ("proc/8/stat", &bash),
            ("proc/9/stat", &sync),
            ("proc/9/wchan", "0"),
            ("proc/self/stat", &dd),
        ]);
        let mut found = files.blocked_tasks();
        found.sort_by_key(|task| task.pid);
        let named = |pid, comm: &str, waits_in: Option<&str>| BlockedTask {
            pid,
            comm: comm.into(),
            waits_in: waits_in.map(Into::into),
        };
        assert_eq!(found, [named(7, "dd", Some("io_schedule")), named(9, "sync", None)]);
    }

    #[test]
    fn only_so_many_are_named() {
        let text = stat("dd", 'D');
        let paths: Vec<String> = (1..20).map(|pid| format!("proc/{pid}/stat")).collect();
        let files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), text.as_str())).collect();
        let (_root, files) = fake(&files);
        assert_eq!(files.blocked_tasks().len(), MAX_NAMED);
    }
}
