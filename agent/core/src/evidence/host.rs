//! What a host sees of itself as a whole: its agent, its load, its storage, its kernel's log.

use serde::{Deserialize, Serialize};

/// What the agent knows of the time in which it did not run. A figure that could not be read is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentLate {
    /// How long its thread ran since the begin of its last turn (`/proc/thread-self/schedstat`, 1st field), in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ran_ns: Option<u64>,
    /// How long its thread was runnable without running (`/proc/thread-self/schedstat`, 2nd field), in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waited_ns: Option<u64>,
    /// How long its cgroup was throttled (`cpu.stat`), in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub throttled_ns: Option<u64>,
    /// A SIGCONT came: somebody let the stopped agent go on.
    pub continued: bool,
    /// Of the CPUs that the agent slept and woke on, the one that lost more to the hypervisor, and how much, in
    /// nanoseconds, since the begin of its last turn.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub steal: Option<(u32, u64)>,
    /// The part of all CPUs' time that was not idle, from 0 to 1, since the begin of its last turn.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub busy: Option<f64>,
    /// Growth of the boot clock beyond the monotonic one (a suspend), in nanoseconds.
    pub suspended_ns: u64,
    /// Whether the timer probe was attached, so that the absence of late timers means something.
    pub timers_watched: bool,
    /// How many CPUs have a sentinel that tells of their stalls.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub cpus_watched: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Tasks of this host that wait for storage and have not run at all since the begin of the interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IoStuck {
    /// The last of them went on at the end of the interval.
    pub over: bool,
    /// Their names with the kernel function that they wait in; a few.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tasks: Vec<String>,
    /// Tasks that were blocked on storage at its end (`procs_blocked`); absent where not readable.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blocked: Option<u32>,
    /// For how long of it some task waited for storage (`/proc/pressure/io`, weighted by what each CPU had to do), in
    /// nanoseconds; absent where the kernel does not measure it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub some_ns: Option<u64>,
    /// For how long of it no task ran since all waited, in nanoseconds; absent where the kernel does not measure it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub full_ns: Option<u64>,
}

/// What a kernel said in its log of a lock-up, a stall or a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelMessage {
    /// What it is about, such as `soft-lockup`.
    pub about: String,
    /// The CPU that it names.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cpu: Option<u32>,
    /// The kernel's own words, at most one line.
    pub text: String,
}

/// How busy a host's CPUs were in an interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuLoad {
    /// CPUs that are online.
    pub cpus: u32,
    /// The part of all CPUs' time that was not idle, from 0 to 1.
    pub busy: f64,
    /// The part of all CPUs' time that the hypervisor gave to others, from 0 to 1.
    pub steal: f64,
    /// Tasks that ran or wanted to at the end of the interval (`procs_running`).
    pub runnable: u32,
    /// The part of the interval in which some task waited for a CPU (`/proc/pressure/cpu`, some).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pressure: Option<f64>,
}
