//! The local APIC's timer of the CPU that this runs on, through `/dev/mem` (the guest boots with `iomem=relaxed`).

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::unix::fs::OpenOptionsExt as _;
use std::ptr::NonNull;

use anyhow::{Context as _, Result, ensure};
use nix::libc::O_SYNC;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// Where the registers are after a reset: Intel SDM volume 3, section 11.4.1. Each CPU sees its own there.
const BASE: i64 = 0xFEE0_0000;
/// The page that holds them.
const PAGE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);
/// Offset of the local vector table's entry for the timer, section 11.5.1.
const LVT_TIMER: usize = 0x320;
/// Offset of the initial count; writing it starts the timer, section 11.5.4.
const INITIAL_COUNT: usize = 0x380;
/// The bit of the entry that keeps the interrupt from being delivered.
const MASKED: u32 = 1 << 16;
/// A count that runs out soon (the bus clock has hundreds of MHz); then the kernel programs the timer by itself again.
const SOON: u32 = 100_000;

/// The timer's interrupt is not delivered any more.
pub(crate) fn mask() -> Result<()> {
    let page = Registers::map()?;
    page.write(LVT_TIMER, page.read(LVT_TIMER) | MASKED);
    ensure!(page.read(LVT_TIMER) & MASKED != 0, "the timer's entry does not keep the mask bit");
    Ok(())
}

/// It is delivered again, and comes soon.
pub(crate) fn unmask() -> Result<()> {
    let page = Registers::map()?;
    page.write(LVT_TIMER, page.read(LVT_TIMER) & !MASKED);
    page.write(INITIAL_COUNT, SOON);
    ensure!(page.read(LVT_TIMER) & MASKED == 0, "the timer's entry keeps the mask bit");
    Ok(())
}

/// The mapped page.
struct Registers(NonNull<nix::libc::c_void>);

impl Registers {
    fn map() -> Result<Self> {
        let memory =
            File::options().read(true).write(true).custom_flags(O_SYNC).open("/dev/mem").context("/dev/mem")?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses; nothing else uses it.
        let page = unsafe { mmap(None, PAGE, protection, MapFlags::MAP_SHARED, &memory, BASE) };
        Ok(Self(page.context("cannot map the local APIC")?))
    }

    fn read(&self, offset: usize) -> u32 {
        // SAFETY: the offset is inside of the page, aligned to 16 bytes, and the page is mapped while `self` lives.
        unsafe { self.0.byte_add(offset).cast::<u32>().read_volatile() }
    }

    fn write(&self, offset: usize, value: u32) {
        // SAFETY: as in `read`; the register is one that may be written.
        unsafe { self.0.byte_add(offset).cast::<u32>().write_volatile(value) }
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        // SAFETY: the page was mapped by `map`, with this length, and is not used after this.
        let _ = unsafe { munmap(self.0, PAGE.get()) };
    }
}
