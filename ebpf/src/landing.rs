//! What an interrupt landed in: the kernel's stack at that moment, and the code just before each of its addresses.
//!
//! Output: `LANDING` for each CPU, the latest one; written by the family `irq`.
//!
//! It has to be the first interrupt after a silence: another one that waited is delivered as soon as the first one
//! returns, so it lands in kernel code whatever was interrupted.

use core::ffi::c_void;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::generated::{bpf_get_stack, bpf_probe_read_kernel};
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::RawTracePointContext;
use lacuna_abi::{CODE_BYTES, LANDING_CODE, LANDING_FRAMES, Landing};

#[btf_map]
static LANDING: PerCpuArray<Landing, 1> = PerCpuArray::new();

/// Which interrupt it is.
#[derive(Clone, Copy)]
pub(crate) struct Interrupt {
    /// `INTERRUPT_*`.
    pub(crate) kind: u32,
    /// The number of a device's interrupt; 0 otherwise.
    pub(crate) irq: u32,
}

/// Whether a silence of this CPU ended less than `within` nanoseconds before `now`.
#[inline(always)]
pub(crate) fn silence_ended(now: u64, within: u64) -> bool {
    let Some(landing) = LANDING.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: the slot is this CPU's own, and hard interrupts do not nest.
    unsafe { (*landing).silence > 0 && now.saturating_sub((*landing).at) < within }
}

/// Writes down what the interrupt that came at `at` landed in, after a silence of so many nanoseconds.
#[inline(always)]
pub(crate) fn land(ctx: &RawTracePointContext, at: u64, silence: u64, interrupt: Interrupt) -> Result<i32, i32> {
    let landing = LANDING.get_ptr_mut(0).ok_or(0)?;
    // SAFETY: the slot is this CPU's own, hard interrupts do not nest, and the helpers write no more than they are told.
    unsafe {
        let number = (*landing).finished.wrapping_add(1).max(1);
        (&raw mut (*landing).started).write_volatile(number);
        (*landing).at = at;
        (*landing).silence = silence;
        (*landing).interrupt = interrupt.kind;
        (*landing).irq = interrupt.irq;
        let frames = (&raw mut (*landing).frames).cast::<c_void>();
        // It clears what it does not use, and everything where it fails.
        bpf_get_stack(ctx.as_ptr(), frames, size_of::<[u64; LANDING_FRAMES]>() as u32, 0);
        read_code(landing);
        (&raw mut (*landing).finished).write_volatile(number);
    }
    Ok(0)
}

/// # Safety
/// `landing` must be this CPU's slot.
#[inline(always)]
unsafe fn read_code(landing: *mut Landing) {
    for frame in 0..LANDING_CODE {
        // SAFETY: the index is below the length of either array; the helper checks the address and clears the bytes
        // where it is a bad one.
        unsafe {
            let address = (&raw const (*landing).frames).cast::<u64>().add(frame).read_volatile();
            let code = (&raw mut (*landing).code).cast::<[u8; CODE_BYTES]>().add(frame).cast::<c_void>();
            let before = address.wrapping_sub(CODE_BYTES as u64) as *const c_void;
            bpf_probe_read_kernel(code, CODE_BYTES as u32, before);
        }
    }
}
