//! From what an interrupt landed in, as the probes write it down, to what that says.
//!
//! The stack begins with the probe's own way and that of the interrupt into the kernel, which ends in an entry point
//! whose name begins with `asm_`. What follows is the interrupted code: nothing, where that was user mode.

use lacuna_abi::CODE_BYTES;
use lacuna_core::evidence::{Landed, Place};

use super::HostFiles;
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

impl HostFiles {
    /// What `landing` says, with the names of the running kernel.
    #[must_use]
    pub fn landed(&self, landing: &RawLanding) -> Landed {
        let names = self.symbolise(&landing.frames);
        judge(landing, &names)
    }
}

fn judge(landing: &RawLanding, names: &[Option<String>]) -> Landed {
    let Some(entry) = names.iter().position(|name| is_entry(name.as_ref())) else {
        return Landed { place: Place::Unknown, just_enabled: None, stack: stack(&landing.frames, names) };
    };
    let begin = entry + 1;
    let interrupted = names.get(begin..).unwrap_or_default();
    let place = place(interrupted);
    let code = |frame: usize| landing.code.get(frame).filter(|_| place == Place::Kernel);
    let innermost = interrupted.first().and_then(Option::as_deref);
    Landed {
        place,
        just_enabled: match innermost {
            Some(function) if function.ends_with("+0x0") => code(begin + 1).and_then(was_called_just_after_enabling),
            Some(function) => code(begin).and_then(|code| just_enabled(code, function)),
            None => None,
        },
        stack: stack(landing.frames.get(begin..).unwrap_or_default(), interrupted),
    }
}

/// Whether it is an entry point of an interrupt (`arch/x86/entry/entry_64.S`). Before Linux 5.12 `asm_call_…` switched
/// stacks further in.
fn is_entry(name: Option<&String>) -> bool {
    name.is_some_and(|name| name.starts_with("asm_") && !name.starts_with("asm_call_"))
}

/// By the innermost function: the idle task also switches tasks, and its loop lies below whatever interrupted it.
fn place(interrupted: &[Option<String>]) -> Place {
    let is_idle = |name: &String| IDLE.iter().any(|idle| name.starts_with(idle));
    match interrupted.first() {
        None => Place::User,
        Some(innermost) if innermost.as_ref().is_some_and(is_idle) => Place::Idle,
        Some(_) => Place::Kernel,
    }
}

fn stack(frames: &[u64], names: &[Option<String>]) -> Vec<String> {
    let name = |(frame, name): (&u64, &Option<String>)| name.clone().unwrap_or_else(|| format!("{frame:#x}"));
    frames.iter().zip(names).map(name).collect()
}

/// `sti` of x86. It holds interrupts off for one more instruction, so they come after the one that follows.
const STI: u8 = 0xfb;
/// `popf` of x86, which lets interrupts in at once.
const POPF: u8 = 0x9d;

/// Whether the code before the interrupted address let interrupts in; absent where it does not tell. A jump within a
/// function right after `sti` is not noticed; compilers leave other work to do there.
fn just_enabled(code: &[u8; CODE_BYTES], function: &str) -> Option<bool> {
    if is_after_sti(code) || code.ends_with(&[POPF]) {
        return Some(true);
    }
    let known = code.iter().any(|byte| *byte != 0) && cfg!(target_arch = "x86_64");
    // The instruction after `sti` may have been a return or a call; then the code around tells nothing.
    let has_jumped = function.contains("return_thunk") || is_after_call(code);
    (known && !has_jumped).then_some(false)
}

/// `sti`, then one instruction. The tail of a small negative number (`fb ff`, `fb ff ff ff`) looks the same, and is none.
fn is_after_sti(code: &[u8; CODE_BYTES]) -> bool {
    let is_number = |after: &[u8]| after.iter().all(|byte| *byte == 0xff);
    (0..CODE_BYTES - 1).any(|at| code[at] == STI && !is_number(&code[at + 1..]))
}

/// At the first instruction of a function: whether the call that led there, before the return address, came right after
/// `sti`. Absent where it was no direct call: then the code before it is not known.
fn was_called_just_after_enabling(code: &[u8; CODE_BYTES]) -> Option<bool> {
    let [.., before, 0xe8, _, _, _, _] = *code else { return None };
    Some(before == STI)
}

/// A call: `e8` with 32 bits, `ff 15` with 32 bits, or `ff d0` to `ff d7` through a register.
fn is_after_call(code: &[u8; CODE_BYTES]) -> bool {
    matches!(code, [_, _, _, 0xe8, ..] | [_, _, 0xff, 0x15, ..] | [.., 0xff, 0xd0..=0xd7])
}

#[cfg(test)]
#[path = "landing_tests.rs"]
mod tests;
