//! Softirqs: how many began, and which waited too long between being raised and being run.
//!
//! Hooks: `raw_tp/softirq_raise`, `raw_tp/softirq_entry`. Outputs: `softirqs` in `ACTIVITY` (see `irq`), event
//! `EVENT_SOFTIRQ_DELAY`. The wait is measured in jiffies, from the first time that it was raised.

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::{btf_map, raw_tracepoint};
use aya_ebpf::programs::RawTracePointContext;
use lacuna_abi::{COMM_LEN, EVENT_SOFTIRQ_DELAY, Event, Raised, SOFTIRQS};

use crate::irq::activity;
use crate::jiffies::{jiffies, since_jiffies};
use crate::kernel::globals;
use crate::output::emit;

globals! {
    /// From this delay on, in nanoseconds, it is an event.
    SOFTIRQ_DELAY_NS: u64;
}

#[btf_map]
static RAISED: PerCpuArray<Raised, 1> = PerCpuArray::new();

#[raw_tracepoint(tracepoint = "softirq_raise")]
fn softirq_raise(ctx: RawTracePointContext) -> i32 {
    try_raise(&ctx).unwrap_or(0)
}

fn try_raise(ctx: &RawTracePointContext) -> Result<i32, i32> {
    let since = since(ctx.arg(0))?;
    // SAFETY: the slot is this CPU's own, and a softirq is raised with interrupts off.
    unsafe {
        if *since == 0 {
            *since = jiffies();
        }
    }
    Ok(0)
}

#[raw_tracepoint(tracepoint = "softirq_entry")]
fn softirq_entry(ctx: RawTracePointContext) -> i32 {
    try_entry(&ctx).unwrap_or(0)
}

fn try_entry(ctx: &RawTracePointContext) -> Result<i32, i32> {
    let softirq = ctx.arg(0);
    // SAFETY: the slots are this CPU's own, and softirqs do not nest. An interrupt that raises this one meanwhile raises
    // it for the next time, which at worst is measured from there.
    let from = unsafe {
        (*activity()?).softirqs += 1;
        core::ptr::replace(since(softirq)?, 0)
    };
    if from == 0 {
        return Ok(0);
    }
    let delay = since_jiffies(from);
    if delay >= SOFTIRQ_DELAY_NS.load() {
        emit(&delay_event(softirq, delay));
    }
    Ok(0)
}

/// Since when the softirq has been waiting on this CPU.
#[inline(always)]
fn since(softirq: u32) -> Result<*mut u64, i32> {
    let raised = RAISED.get_ptr_mut(0).ok_or(0)?;
    // The mask changes nothing; it shows the verifier that the index is in range.
    let index = softirq as usize & (SOFTIRQS - 1);
    // SAFETY: the index is below the length.
    Ok(unsafe { (&raw mut (*raised).since).cast::<u64>().add(index) })
}

#[inline(always)]
fn delay_event(softirq: u32, delay: u64) -> Event {
    // SAFETY: the helpers have no preconditions.
    let (now, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    Event {
        kind: EVENT_SOFTIRQ_DELAY,
        cpu,
        from: now.saturating_sub(delay),
        to: now,
        pid: softirq,
        reserved: 0,
        comm: [0; COMM_LEN],
    }
}
