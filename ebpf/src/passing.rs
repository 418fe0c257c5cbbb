//! Code in which CPUs let interrupts in all the time: where ordinary timer interrupts land just behind `sti` or `popf`.
//!
//! A vCPU can be taken away at any moment, so it is found in such a place as often as a tick is. What no tick ever lands
//! in had its interrupts off for longer than the moment of a tick.
//!
//! Output: `PASSED`, ticks by address; written by the family `irq`. The code is not decoded here: every byte that may
//! be such an instruction counts. Addresses that were not seen for long make room.

use core::ffi::c_void;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::btf_maps::LruPerCpuHashMap;
use aya_ebpf::helpers::generated::{bpf_get_stack, bpf_probe_read_kernel};
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::RawTracePointContext;
use lacuna_abi::PASSED_ADDRESSES;

use crate::kernel::globals;

globals! {
    /// The entry point of the timer's interrupt (`asm_sysvec_apic_timer_interrupt`); 0 where it is not known.
    TIMER_ENTRY: u64;
    /// The first address behind it.
    TIMER_ENTRY_END: u64;
}

/// The way from the entry point to the probe has five to eight frames on Linux 6.1 to 6.18.
const FRAMES: usize = 12;
/// `sti` is followed by one more instruction, of up to 15 bytes.
const BYTES: usize = 16;
const STI: u8 = 0xfb;
const POPF: u8 = 0x9d;

#[btf_map]
static PASSED: LruPerCpuHashMap<u64, u64, PASSED_ADDRESSES> = LruPerCpuHashMap::new();

/// Counts the address that an ordinary tick landed at, where interrupts had just been let in.
#[inline(always)]
pub(crate) fn pass(ctx: &RawTracePointContext) {
    if TIMER_ENTRY.load() == 0 {
        return;
    }
    let address = interrupted(ctx);
    if address == 0 || !may_let_in(address) {
        return;
    }
    let Some(count) = PASSED.get_ptr_mut(address) else {
        // It fails only where another CPU holds the last free entries; the next tick there counts.
        let _ = PASSED.insert(address, 1, 0);
        return;
    };
    // SAFETY: the slot is this CPU's own, and hard interrupts do not nest.
    unsafe { *count += 1 };
}

/// The kernel's address that was interrupted; 0 for user mode.
#[inline(always)]
fn interrupted(ctx: &RawTracePointContext) -> u64 {
    let mut frames = [0_u64; FRAMES];
    let (begin, end) = (TIMER_ENTRY.load(), TIMER_ENTRY_END.load());
    // SAFETY: the helper writes no more than it is told, and clears what it does not use.
    unsafe { bpf_get_stack(ctx.as_ptr(), (&raw mut frames).cast::<c_void>(), size_of_val(&frames) as u32, 0) };
    let mut entered = false;
    for frame in frames {
        if entered {
            return frame;
        }
        entered = frame >= begin && frame < end;
    }
    0
}

#[inline(always)]
fn may_let_in(address: u64) -> bool {
    let mut code = [0_u8; BYTES];
    let before = address.wrapping_sub(BYTES as u64) as *const c_void;
    // SAFETY: the helper checks the address and clears the bytes where it is a bad one.
    unsafe { bpf_probe_read_kernel((&raw mut code).cast::<c_void>(), BYTES as u32, before) };
    if code[BYTES - 1] == POPF {
        return true;
    }
    for byte in code {
        if byte == STI {
            return true;
        }
    }
    false
}
