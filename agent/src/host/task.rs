//! What a task is, by its thread id: its name, how it is scheduled, and whether it belongs to the kernel.

use super::HostFiles;

/// `PF_KTHREAD` of Linux (`include/linux/sched.h`), unchanged since 2.6.27.
const PF_KTHREAD: u64 = 0x0020_0000;

/// How a task is scheduled (`sched(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// `SCHED_OTHER`.
    Normal,
    /// `SCHED_FIFO`: it runs until it sleeps.
    Fifo,
    /// `SCHED_RR`.
    RoundRobin,
    /// `SCHED_BATCH`.
    Batch,
    /// `SCHED_IDLE`.
    Idle,
    /// `SCHED_DEADLINE`.
    Deadline,
    /// One that this version does not know, by its number.
    Other(u32),
}

impl Policy {
    /// Whether it goes before everything that is scheduled normally.
    #[must_use]
    pub fn is_realtime(self) -> bool {
        matches!(self, Self::Fifo | Self::RoundRobin | Self::Deadline)
    }

    /// Its name in the Linux ABI.
    fn name(self) -> &'static str {
        match self {
            Self::Normal => "SCHED_OTHER",
            Self::Fifo => "SCHED_FIFO",
            Self::RoundRobin => "SCHED_RR",
            Self::Batch => "SCHED_BATCH",
            Self::Idle => "SCHED_IDLE",
            Self::Deadline => "SCHED_DEADLINE",
            Self::Other(_) => "another policy",
        }
    }

    /// By the number of the Linux ABI (`include/uapi/linux/sched.h`).
    fn of(number: u32) -> Self {
        match number {
            0 => Self::Normal,
            1 => Self::Fifo,
            2 => Self::RoundRobin,
            3 => Self::Batch,
            5 => Self::Idle,
            6 => Self::Deadline,
            other => Self::Other(other),
        }
    }
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its name, at most 15 bytes (longer for kernel threads).
    pub comm: String,
    /// `R` running, `S` sleeping, `D` blocked and so on (proc(5)).
    pub state: char,
    /// How it is scheduled.
    pub policy: Policy,
    /// From 1 to 99 with a real-time policy, 0 otherwise.
    pub rt_priority: u32,
    /// Whether it is a thread of the kernel.
    pub is_kernel: bool,
    /// The CPU that it ran on last.
    pub cpu: Option<u32>,
}

impl HostFiles {
    /// The task with this thread id (`/proc/<tid>/stat`); absent where there is none any more.
    #[must_use]
    pub fn task(&self, tid: u32) -> Option<Task> {
        parse(&self.read(&format!("proc/{tid}/stat"))?)
    }
}

/// The fields of proc(5). The name is in parentheses, and may have some itself.
pub(super) fn parse(stat: &str) -> Option<Task> {
    let (_, rest) = stat.split_once('(')?;
    let (comm, rest) = rest.rsplit_once(')')?;
    // The first one is the third of proc(5).
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    Some(Task {
        comm: comm.to_owned(),
        state: field(3)?.chars().next()?,
        policy: Policy::of(field(41)?.parse().ok()?),
        rt_priority: field(40)?.parse().ok()?,
        is_kernel: field(9)?.parse::<u64>().ok()? & PF_KTHREAD != 0,
        cpu: field(39).and_then(|cpu| cpu.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a real-time thread, with a name that tries.
    const HOG: &str = "77 (a) R 1 (b) S 2 77 77 0 -1 4194304 0 0 0 0 5 6 0 0 -51 0 1 0 100 0 0 18446744073709551615 0 0 0 0 0 \
        0 0 0 0 0 0 0 17 1 50 1 0 0 0 0 0 0 0 0 0 0 0\n";

    #[test]
    fn a_name_may_have_parentheses() {
        let expected = Task {
            comm: "a) R 1 (b".into(),
            state: 'S',
            policy: Policy::Fifo,
            rt_priority: 50,
            is_kernel: false,
            cpu: Some(1),
        };
        assert_eq!(parse(HOG), Some(expected));
        assert_eq!(parse("77 (cut) S 2"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn this_host_has_threads_of_either_kind() {
        let files = HostFiles::default();
        let own = files.task(std::process::id()).unwrap();
        assert!(!own.is_kernel && !own.policy.is_realtime(), "{own:?}");
        // kthreadd; absent inside of a container's own namespace of processes.
        if let Some(task) = files.task(2).filter(|task| task.comm == "kthreadd") {
            assert!(task.is_kernel, "{task:?}");
        }
    }
}
