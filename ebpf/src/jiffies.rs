//! The kernel's coarse clock, which costs a load from memory on 64-bit kernels.
//!
//! It stands still while no CPU counts it: the one whose turn it is may be stalled. Since Linux 5.18
//! (`tick_sched_do_timer`) another one that ticks takes over after a few of its ticks.

use aya_ebpf::helpers::generated::bpf_jiffies64;

use crate::kernel::globals;

globals! {
    /// A jiffy in nanoseconds.
    JIFFY_NS: u64;
}

/// Jiffies since they began to count.
#[inline(always)]
pub(crate) fn jiffies() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_jiffies64() }
}

/// Nanoseconds since `earlier`, which is in jiffies. It cannot overflow in 584 years, and BPF has no wide product to check.
#[inline(always)]
pub(crate) fn since_jiffies(earlier: u64) -> u64 {
    jiffies().saturating_sub(earlier).wrapping_mul(JIFFY_NS.load())
}
