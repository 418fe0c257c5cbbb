//! From what an interrupt landed in, as the probes write it down, to what that says.
//!
//! The stack begins with the probe's own way and that of the interrupt into the kernel, which ends in an entry point
//! whose name begins with `asm_`. What follows is the interrupted code: nothing, where that was user mode.

use lacuna_core::evidence::{Landed, Place};

use super::HostFiles;
use super::code::{Before, before};
use super::kallsyms::Function;
use crate::probes::RawLanding;

/// How the names of the functions begin that an idle CPU waits in: those of `kernel/sched/idle.c`, `drivers/cpuidle`,
/// `drivers/acpi/processor_idle.c`, `drivers/idle/intel_idle.c` and `arch/x86/kernel/process.c` of Linux 5.8 to 6.18.
const IDLE: [&str; 18] = [
    "do_idle",
    "cpu_idle_poll",
    "default_idle",
    "arch_cpu_idle",
    "cpuidle_enter",
    "cpuidle_idle_call",
    "call_cpuidle",
    "native_safe_halt",
    "pv_native_safe_halt",
    "safe_halt",
    "mwait_idle",
    "intel_idle",
    "acpi_idle_",
    "acpi_safe_halt",
    "acpi_processor_ffh_cstate_enter",
    "amd_e400_idle",
    "tdx_safe_halt",
    "poll_idle",
];

/// The ways into the kernel and the idle loop of the running kernel: most landings need no other name.
#[derive(Clone, Debug, Default)]
pub struct Landmarks {
    entries: Vec<Function>,
    idle: Vec<Function>,
}

impl Landmarks {
    /// What `landing` says, where it is in user mode or in the idle loop; only the innermost function is named.
    #[must_use]
    pub fn landed(&self, landing: &RawLanding) -> Option<Landed> {
        let name = |all: &[Function], address: u64| all.iter().find_map(|function| function.place(address));
        let entry = landing.frames.iter().position(|frame| name(&self.entries, *frame).is_some())?;
        let (place, stack) = match landing.frames.get(entry + 1) {
            None => (Place::User, Vec::new()),
            Some(innermost) => (Place::Idle, vec![name(&self.idle, *innermost)?]),
        };
        Some(Landed { place, just_enabled: None, passed: None, stack })
    }
}

impl HostFiles {
    /// Reads where they are.
    #[must_use]
    pub fn landmarks(&self) -> Landmarks {
        let functions = self.functions(|name| is_entry(name) || is_idle(name));
        let (entries, idle) = functions.into_iter().partition(|function| is_entry(&function.name));
        Landmarks { entries, idle }
    }

    /// What `landing` says, with the names of the running kernel; `passed` tells how many ordinary ticks landed at an
    /// address.
    #[must_use]
    pub fn landed(&self, landing: &RawLanding, passed: impl Fn(u64) -> Option<u64>) -> Landed {
        let names = self.symbolise(&landing.frames);
        judge(landing, &names, passed)
    }
}

fn judge(landing: &RawLanding, names: &[Option<String>], passed: impl Fn(u64) -> Option<u64>) -> Landed {
    let Some(entry) = names.iter().position(|name| name.as_deref().is_some_and(is_entry)) else {
        let stack = stack(&landing.frames, names);
        return Landed { place: Place::Unknown, just_enabled: None, passed: None, stack };
    };
    let begin = entry + 1;
    let interrupted = names.get(begin..).unwrap_or_default();
    let place = place(interrupted);
    let before =
        |frame: usize| landing.code.get(frame).filter(|_| place == Place::Kernel).and_then(|code| before(code));
    let innermost = interrupted.first().and_then(Option::as_deref);
    let just_enabled = match innermost {
        // What led to the first instruction of a function is the call of it.
        Some(function) if function.ends_with("+0x0") => before(begin + 1).and_then(Before::was_called),
        Some(_) => before(begin).and_then(Before::was_reached),
        None => None,
    };
    let frames = landing.frames.get(begin..).unwrap_or_default();
    let passed = frames.first().filter(|_| just_enabled == Some(true)).and_then(|address| passed(*address));
    Landed { place, just_enabled, passed, stack: stack(frames, interrupted) }
}

/// Whether it is an entry point of an interrupt (`arch/x86/entry/entry_64.S`). Before Linux 5.12 `asm_call_…` switched
/// stacks further in.
fn is_entry(name: &str) -> bool {
    name.starts_with("asm_") && !name.starts_with("asm_call_")
}

fn is_idle(name: &str) -> bool {
    IDLE.iter().any(|idle| name.starts_with(idle))
}

/// By the innermost function: the idle task also switches tasks, and its loop lies below whatever interrupted it.
fn place(interrupted: &[Option<String>]) -> Place {
    match interrupted.first() {
        None => Place::User,
        Some(innermost) if innermost.as_deref().is_some_and(is_idle) => Place::Idle,
        Some(_) => Place::Kernel,
    }
}

fn stack(frames: &[u64], names: &[Option<String>]) -> Vec<String> {
    let name = |(frame, name): (&u64, &Option<String>)| name.clone().unwrap_or_else(|| format!("{frame:#x}"));
    frames.iter().zip(names).map(name).collect()
}

#[cfg(test)]
#[path = "landing_tests.rs"]
mod tests;
