//! What is seen of one CPU that stands still: by another CPU while it does, and by itself afterwards.

use serde::{Deserialize, Serialize};

use crate::time::Nanos;

/// A CPU of this host on which the agent's sentinel, a thread that is pinned to it and sleeps by its timer, is overdue.
///
/// Counts begin with the first look at this stall, which is up to a tick after its begin. A figure that could not be
/// measured is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuStall {
    /// The CPU.
    pub cpu: u32,
    /// The sentinel ran again, at the end of the interval.
    pub over: bool,
    /// How many CPUs have a sentinel.
    pub of_cpus: u32,
    /// The CPU's latest timer interrupt.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timer_at: Option<Nanos>,
    /// Interrupts that it took beside the timer's: from other CPUs and from devices.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interrupts: Option<u64>,
    /// Softirqs that it ran.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub softirqs: Option<u64>,
    /// Tasks that it switched to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub switches: Option<u64>,
    /// What became of waking the sentinel from another CPU, which arrives as an inter-processor interrupt and needs no
    /// timer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub poke: Option<Poke>,
    /// How much of the interval the hypervisor gave to others, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stolen_ns: Option<u64>,
    /// How much of it the CPU spent in user mode, by its own ticks, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_ns: Option<u64>,
    /// How much of it the CPU spent in the kernel, by its own ticks, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub system_ns: Option<u64>,
    /// How long the agent's own control group was throttled meanwhile, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub throttled_ns: Option<u64>,
    /// The thread that the CPU switched to last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub running: Option<Running>,
    /// The interrupt handler that the CPU is in; once the stall is over, the one that took long meanwhile.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub handler: Option<Handler>,
    /// What the interrupt landed in that ended the stall; in older recordings also a sample of the kernel's stack.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub landed: Option<Landed>,
    /// The kernel's functions that the CPU was in at a tick of its timer while it stood still, innermost first; empty where none
    /// was looked at, or while its names are looked for.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub sampled: Vec<String>,
    /// What the interrupt landed in, or a tick, was seen, and its names are still looked for.
    #[serde(skip_serializing_if = "is_false", default)]
    pub naming: bool,
    /// A network card's interrupts go to this CPU, or the agent's loop ran on it: while it stands still this host may
    /// be deaf.
    pub deaf: bool,
}

impl CpuStall {
    /// Whether names of functions were found for it.
    #[must_use]
    pub fn has_names(&self) -> bool {
        self.landed.is_some() || !self.sampled.is_empty()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What became of waking a sentinel from another CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Poke {
    /// It was woken and has not run.
    Unanswered,
    /// It ran because it was woken; its own timer had not done it.
    Answered,
}

/// The thread that a CPU runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its id; 0 for the idle task.
    pub tid: u32,
    /// Its name, at most 15 bytes.
    pub comm: String,
    /// Its scheduling policy as `sched(7)` names it, such as `SCHED_FIFO`; absent where it could not be read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub policy: Option<String>,
}

/// An interrupt handler that a CPU is in, or was in for long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handler {
    /// Which interrupt: `local_timer`, `call_function_single`, `irq 24` and so on.
    pub name: String,
    /// Since when the CPU has been in it.
    pub since: Nanos,
    /// When it left it, as the probe of the handler's end saw it; absent while it has not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<Nanos>,
    /// How often a second that CPU took this interrupt before, on average in a minute; absent where that was not counted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub per_second: Option<u64>,
}

/// An interrupt that a CPU takes more often is no sign that it stayed in its handler: a vCPU may be taken away in it. At so many a
/// second, of some microseconds each, it is there for less than one in a thousand moments.
const OFTEN_PER_SECOND: u64 = 20;

impl Handler {
    /// Whether the CPU may be in it all the time for a moment: where that was not counted, too. Of the kernel's own, which every CPU
    /// runs hundreds of times a second, the name is enough.
    #[must_use]
    pub fn is_run_often(&self) -> bool {
        let by_name = matches!(self.name.as_str(), "local_timer" | "reschedule" | "irq_work");
        by_name || self.per_second.is_none_or(|rate| rate > OFTEN_PER_SECOND)
    }
}

/// What a CPU was in when it took its first interrupt after a long silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landed {
    /// User mode, the idle loop or other kernel code.
    pub place: Place,
    /// In kernel code: whether the instruction before had just enabled interrupts, so that they had been off; absent
    /// where the code could not be read or does not tell: right after a call, the function that returned may have done so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub just_enabled: Option<bool>,
    /// Where it had: how many ordinary ticks, which came on time, landed at the same address since the agent began; absent
    /// where that was not counted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub passed: Option<u64>,
    /// The kernel's functions, innermost first; empty in user mode.
    pub stack: Vec<String>,
}

/// How the names of the functions begin in which a CPU at work lets interrupts in thousands of times a second, after
/// microseconds: locks, the scheduler, the ways into and out of the kernel, softirqs (Linux 5.8 to 6.18). A vCPU that is
/// taken away at any moment is there often: when an emulator with two busy CPUs was stopped eight times, 3 of 16 were.
const PASSED_OFTEN: [&str; 19] = [
    "_raw_read_unlock_irq",
    "_raw_spin_unlock_irq",
    "_raw_write_unlock_irq",
    "raw_spin_rq_unlock",
    "finish_task_switch",
    "schedule",
    "__schedule",
    "ret_from_fork",
    "do_syscall_64",
    "syscall_enter_from_user_mode",
    "syscall_exit_to_user_mode",
    "exit_to_user_mode",
    "irqentry_exit",
    "exc_page_fault",
    "__do_softirq",
    "handle_softirqs",
    "do_softirq",
    "__local_bh_enable_ip",
    // Each reading of a clock, where the clock is the HPET.
    "read_hpet",
];

impl Landed {
    /// Whether the CPU had kept its interrupts off until then; absent where that is not certain.
    #[must_use]
    pub fn kept_masked(&self) -> Option<bool> {
        match self.place {
            // The idle loop waits with interrupts on, if only for the next one (`sti; hlt`).
            Place::User | Place::Idle => Some(false),
            Place::Kernel if self.just_enabled == Some(true) && self.is_passed_often() => None,
            Place::Kernel => self.just_enabled,
            Place::Unknown => None,
        }
    }

    /// By what was measured; what the machine has not been through since the agent began is listed.
    fn is_passed_often(&self) -> bool {
        if self.passed.is_some_and(|ticks| ticks > 0) {
            return true;
        }
        let innermost = self.stack.first();
        innermost.is_none_or(|function| PASSED_OFTEN.iter().any(|often| function.starts_with(often)))
    }
}

/// Where an interrupt landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// User mode, which cannot mask interrupts.
    User,
    /// The idle loop. An idle CPU goes idle with interrupts off (`sti; hlt` lets them in with the halt), so that they had
    /// just been let in means nothing here.
    Idle,
    /// Any other kernel code.
    Kernel,
    /// The stack could not be read.
    Unknown,
}
