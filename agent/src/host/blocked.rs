//! Tasks that are blocked right now, and whether one has run since.

use super::{HostFiles, task};

/// Most tasks that are looked at in one pass; a host with more of them is looked at in part.
const MAX_LOOKED_AT: usize = 16_384;
/// Most tasks that are returned.
const MAX_FOUND: usize = 8;
/// What the names of functions have in them in which tasks wait for storage (Linux 5.8 to 6.18): pages, blocks, the block
/// layer, file systems on disks and in the network. Others are blocked as well (`vfork`, a frozen control group, a mutex).
const STORAGE: [&str; 26] = [
    "bio",
    "bit_wait_io",
    "blk",
    "btrfs",
    "buffer",
    "ceph",
    "cifs",
    "dirty",
    "dm_",
    "ext4",
    "f2fs",
    "folio",
    "fuse",
    "inode",
    "io_schedule",
    "iomap",
    "jbd2",
    "md_",
    "nfs",
    "nvme",
    "page",
    "rpc_",
    "rq_qos",
    "scsi",
    "swap",
    "xfs",
];

/// A task of a program that is blocked (state `D`) on storage, as far as the kernel shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedTask {
    /// Its thread id.
    pub tid: u32,
    /// Its name, at most 15 bytes.
    pub comm: String,
    /// The kernel function that it waits in; absent where the kernel does not show it.
    pub waits_in: Option<String>,
    /// How often it was switched away from since it began: it has not run while this stays the same.
    pub switches: u64,
}

impl HostFiles {
    /// Tasks of programs that are blocked right now, at most 8. It looks at every task of the host, which takes long: only
    /// on suspicion, and not on a thread that others wait for.
    #[must_use]
    pub fn blocked_tasks(&self) -> Vec<BlockedTask> {
        let processes = self.names("proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        let threads = processes.flat_map(|process| self.names(&format!("proc/{process}/task")));
        let tids = threads.filter_map(|name| name.parse().ok()).take(MAX_LOOKED_AT);
        tids.filter_map(|tid| self.blocked_task(tid)).take(MAX_FOUND).collect()
    }

    fn blocked_task(&self, tid: u32) -> Option<BlockedTask> {
        let found = task::parse(&self.read(&format!("proc/{tid}/stat"))?)?;
        if found.state != 'D' || found.is_kernel {
            return None;
        }
        let waits_in = Some(self.line(&format!("proc/{tid}/wchan"))).filter(|name| !name.is_empty() && name != "0");
        if waits_in.as_deref().is_some_and(|function| !STORAGE.iter().any(|part| function.contains(part))) {
            return None;
        }
        Some(BlockedTask { tid, comm: found.comm, waits_in, switches: self.switches(tid)? })
    }

    /// How often that task was switched away from since it began; absent where it is gone.
    #[must_use]
    pub fn switches(&self, tid: u32) -> Option<u64> {
        let text = self.read(&format!("proc/{tid}/status"))?;
        let figure = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        figure("voluntary_ctxt_switches:")?.checked_add(figure("nonvoluntary_ctxt_switches:")?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;

    const STATUS: &str = "Name:\tdd\nvoluntary_ctxt_switches:\t40\nnonvoluntary_ctxt_switches:\t2\n";

    fn stat(comm: &str, state: char, flags: u64) -> String {
        format!(
            "7 ({comm}) {state} 1 7 7 0 -1 {flags} 0 0 0 0 5 6 0 0 20 0 1 0 100 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0\n"
        )
    }

    #[test]
    fn blocked_threads_are_named_with_what_they_wait_in() {
        let (dd, bash) = (stat("dd", 'D', 4_194_304), stat("bash", 'S', 0));
        let (worker, parent) = (stat("kworker", 'D', 0x0020_0000), stat("make", 'D', 0));
        let (_root, files) = fake(&[
            ("proc/7/task/7/comm", "bash"),
            ("proc/7/task/8/comm", "dd"),
            ("proc/7/stat", &bash),
            ("proc/8/stat", &dd),
            ("proc/8/wchan", "submit_bio_wait"),
            ("proc/8/status", STATUS),
            ("proc/9/task/9/comm", "kworker"),
            ("proc/9/stat", &worker),
            ("proc/9/status", STATUS),
            ("proc/10/task/10/comm", "make"),
            ("proc/10/stat", &parent),
            ("proc/10/wchan", "kernel_clone"),
            ("proc/10/status", STATUS),
            ("proc/11/task/11/comm", "qemu"),
            ("proc/11/stat", &parent),
            ("proc/11/wchan", "__refrigerator"),
            ("proc/11/status", STATUS),
            ("proc/self/stat", &dd),
        ]);
        let waits_in = Some("submit_bio_wait".to_owned());
        assert_eq!(files.blocked_tasks(), [BlockedTask { tid: 8, comm: "dd".into(), waits_in, switches: 42 }]);
        assert_eq!(files.switches(12), None);
    }

    #[test]
    fn only_so_many_are_found() {
        let text = stat("dd", 'D', 0);
        let paths: Vec<[String; 3]> = (1..20)
            .map(|tid| ["stat", "status", &format!("task/{tid}/comm")].map(|name| format!("proc/{tid}/{name}")))
            .collect();
        let of = |paths: &'_ [String; 3]| -> Vec<(String, String)> {
            paths.iter().cloned().zip([text.clone(), STATUS.to_owned(), String::new()]).collect()
        };
        let files: Vec<_> = paths.iter().flat_map(of).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let (_root, files) = fake(&files);
        assert_eq!(files.blocked_tasks().len(), MAX_FOUND);
    }
}
