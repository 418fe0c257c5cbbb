//! Hosts of the lab that are virtual machines: kernels, images, the emulator, and the program inside that obeys.

pub(crate) mod cgroup;
mod channel;
mod cpio;
mod debian;
mod fault;
mod image;
pub(crate) mod kernel;
mod module;
mod qmp;
mod step;
pub(crate) mod threads;
mod vm;

use std::path::Path;

use anyhow::Result;

pub(crate) use self::fault::Faults;
pub(crate) use self::image::Image;
pub(crate) use self::kernel::Release;
pub(crate) use self::step::GuestStep;
pub(crate) use self::vm::{ANSWER, Guest, Place};

/// What the kernel says of a breakpoint that nobody set (`arch/x86/kernel/traps.c`, `do_int3`).
const STRAY_BREAKPOINT: &str = "Oops: int3";
/// What the watchdog says of a CPU that waits for another one (`kernel/watchdog.c`, `watchdog_timer_fn`), after 20 s and more,
/// and where it waits (`arch/x86/kernel/alternative.c`, `text_poke_bp_batch`). No scenario stalls a kernel for so long.
const STUCK_PATCHING: [&str; 2] = ["BUG: soft lockup", "text_poke_bp_batch+"];

/// Whether a guest's kernel died of the emulator: Linux patches its code (to attach a probe, for one) by way of breakpoints
/// that it takes out again once every CPU has seen the new code. QEMU's emulation of several CPUs may run one that was
/// taken out, or a CPU never answers that it has seen it. Such a run says nothing of the agent.
pub(crate) fn emulator_erred(folder: &Path) -> Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "log") && is_of_emulator(&std::fs::read(&path)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_of_emulator(log: &[u8]) -> bool {
    let log = String::from_utf8_lossy(log);
    log.contains(STRAY_BREAKPOINT) || STUCK_PATCHING.iter().all(|words| log.contains(words))
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_patching_did_is_of_the_emulator() {
        let stuck = "watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [lacuna:94]\n";
        let cases = [
            ("Oops: int3 [#1] PREEMPT SMP", true),
            (stuck, false),
            (&format!("{stuck} text_poke_bp_batch+0x29f/0x300\n"), true),
            ("INFO: rcu_preempt detected stalls\n text_poke_bp_batch+0x29f/0x300", false),
        ];
        for (log, expected) in cases {
            assert_eq!(super::is_of_emulator(log.as_bytes()), expected, "{log}");
        }
    }
}
