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
pub(crate) use self::vm::{Guest, Place};

/// What the kernel says of a breakpoint that nobody set (`arch/x86/kernel/traps.c`, `do_int3`).
const STRAY_BREAKPOINT: &str = "Oops: int3";

/// Whether a guest's kernel died of the emulator: Linux patches its code (to attach a probe, for one) by way of breakpoints
/// that it takes out again once every CPU has seen the new code, and QEMU's emulation of several CPUs may run one that was
/// taken out. Such a run says nothing of the agent.
pub(crate) fn emulator_erred(folder: &Path) -> Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_log = path.extension().is_some_and(|ending| ending == "log");
        if is_log && String::from_utf8_lossy(&std::fs::read(&path)?).contains(STRAY_BREAKPOINT) {
            return Ok(true);
        }
    }
    Ok(false)
}
