//! Interrupts: how many of which kind each CPU took and when, which handler it is in, and how far apart its local timer
//! interrupts are.
//!
//! Hooks: `raw_tp/irq_handler_{entry,exit}` (devices) and, on x86 only, `raw_tp/{local_timer, reschedule, call_function,
//! call_function_single, irq_work}_{entry,exit}`.
//! Outputs: `ACTIVITY` for each CPU (with the latest handler that took long), histogram `TIMER_GAPS`, and a landing (see `landing`) by the interrupt that ends a
//! long silence of its CPU, or by the next timer interrupt where the agent asked for one (`SAMPLE`). Ordinary ticks say
//! where interrupts are let in all the time (see `passing`).
//!
//! Each reads the clock, which costs more than all the rest: jiffies stand still while the CPU that counts them does, and
//! then the silence of just that CPU would not be noticed. Tracing programs may not read the coarse clock (Linux 5.16).

use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::{btf_map, raw_tracepoint};
use aya_ebpf::programs::RawTracePointContext;
use lacuna_abi::{
    CpuActivity, Histogram, INTERRUPT_CALL_FUNCTION, INTERRUPT_CALL_FUNCTION_SINGLE, INTERRUPT_DEVICE,
    INTERRUPT_IRQ_WORK, INTERRUPT_NONE, INTERRUPT_RESCHEDULE, INTERRUPT_TIMER, SAMPLED_CPUS,
};

use crate::jiffies::{JIFFY_NS, jiffies, since_jiffies};
use crate::kernel::globals;
use crate::landing::{Interrupt, land, silence_ended};
use crate::output::count;
use crate::passing::pass;

globals! {
    /// The interrupt that ends a silence of this length or longer, in nanoseconds, leaves a landing; so long a handler is
    /// noted.
    LANDING_NS: u64;
}

#[btf_map]
static ACTIVITY: PerCpuArray<CpuActivity, 1> = PerCpuArray::new();
#[btf_map]
static TIMER_GAPS: PerCpuArray<Histogram, 1> = PerCpuArray::new();
/// By CPU: not 0 where the agent wants to know what the next timer interrupt lands in.
#[btf_map]
static SAMPLE: Array<u32, SAMPLED_CPUS> = Array::new();

/// This CPU's activity.
#[inline(always)]
pub(crate) fn activity() -> Result<*mut CpuActivity, i32> {
    ACTIVITY.get_ptr_mut(0).ok_or(0)
}

#[raw_tracepoint(tracepoint = "local_timer_entry")]
fn local_timer_entry(ctx: RawTracePointContext) -> i32 {
    try_timer(&ctx).unwrap_or(0)
}

fn try_timer(ctx: &RawTracePointContext) -> Result<i32, i32> {
    let activity = activity()?;
    let timer = Interrupt { kind: INTERRUPT_TIMER, irq: 0 };
    // SAFETY: the slot is this CPU's own, and hard interrupts do not nest.
    let (now, silence, gap) = unsafe {
        let silence = enter(activity, timer);
        let now = (*activity).interrupt_at;
        let before = core::ptr::replace(&raw mut (*activity).timer_at, now);
        let gap = now.saturating_sub(before);
        if before != 0 {
            count(&TIMER_GAPS, gap);
        }
        (*activity).timers += 1;
        (now, silence, gap)
    };
    let is_asked_for = take_request();
    if silence >= LANDING_NS.load() {
        return land(ctx, now, silence, timer);
    }
    if is_asked_for {
        return land(ctx, now, 0, timer);
    }
    // Where ticks were held off, interrupts were off for more than a moment; another one may have come first after that. Ticks
    // that were due when a silence ended come one after another, before the next instruction: all at the same address.
    if gap < 2 * JIFFY_NS.load() && !silence_ended(now, LANDING_NS.load()) {
        pass(ctx);
    }
    Ok(0)
}

/// Whether the agent asked for a stack of this CPU; it then has to ask anew.
#[inline(always)]
fn take_request() -> bool {
    // SAFETY: the helper has no preconditions.
    let Some(asked) = SAMPLE.get_ptr_mut(unsafe { bpf_get_smp_processor_id() }) else {
        return false;
    };
    // SAFETY: a single word; a request that comes in between is answered by the same stack.
    unsafe { *asked != 0 && core::ptr::replace(asked, 0) != 0 }
}

/// Notes that the CPU is in the handler; for how long it took no interrupt before, in nanoseconds.
///
/// # Safety
/// `activity` must be this CPU's.
#[inline(always)]
unsafe fn enter(activity: *mut CpuActivity, interrupt: Interrupt) -> u64 {
    // SAFETY: the helper has no preconditions; the rest is the caller's promise.
    unsafe {
        let now = bpf_ktime_get_ns();
        (*activity).irq = interrupt.irq;
        (*activity).handler = interrupt.kind;
        (*activity).entered = jiffies();
        match core::ptr::replace(&raw mut (*activity).interrupt_at, now) {
            0 => 0,
            last => now.saturating_sub(last),
        }
    }
}

/// Any interrupt but the timer's.
#[inline(always)]
fn try_other(ctx: &RawTracePointContext, interrupt: Interrupt) -> Result<i32, i32> {
    let activity = activity()?;
    // SAFETY: the slot is this CPU's own, and hard interrupts do not nest.
    let (now, silence) = unsafe {
        if interrupt.kind == INTERRUPT_DEVICE {
            (*activity).devices += 1;
        } else {
            (*activity).ipis += 1;
        }
        let silence = enter(activity, interrupt);
        ((*activity).interrupt_at, silence)
    };
    if silence < LANDING_NS.load() {
        return Ok(0);
    }
    // A request from before would let the timer's interrupt, which comes next, overwrite what is wanted more.
    take_request();
    land(ctx, now, silence, interrupt)
}

/// The handler is left. The exact clock is read only after one that took long by the coarse one, which lags by some ticks
/// where this CPU should have counted it.
#[inline(always)]
fn try_exit() -> Result<i32, i32> {
    let activity = activity()?;
    // SAFETY: the slot is this CPU's own, and hard interrupts do not nest.
    unsafe {
        let kind = core::ptr::replace(&raw mut (*activity).handler, INTERRUPT_NONE);
        if kind != INTERRUPT_NONE && since_jiffies((*activity).entered) >= LANDING_NS.load() / 2 {
            (*activity).long_until = bpf_ktime_get_ns();
            (*activity).long_since = (*activity).interrupt_at;
            (*activity).long_handler = kind;
            (*activity).long_irq = (*activity).irq;
        }
    }
    Ok(0)
}

#[raw_tracepoint(tracepoint = "irq_handler_entry")]
fn irq_handler_entry(ctx: RawTracePointContext) -> i32 {
    try_other(&ctx, Interrupt { kind: INTERRUPT_DEVICE, irq: ctx.arg(0) }).unwrap_or(0)
}

/// The entry of an interrupt that has a vector of its own.
macro_rules! entry {
    ($name:ident, $tracepoint:literal, $kind:ident) => {
        #[raw_tracepoint(tracepoint = $tracepoint)]
        fn $name(ctx: RawTracePointContext) -> i32 {
            try_other(&ctx, Interrupt { kind: $kind, irq: 0 }).unwrap_or(0)
        }
    };
}

/// The exit of any interrupt.
macro_rules! exit {
    ($name:ident, $tracepoint:literal) => {
        #[raw_tracepoint(tracepoint = $tracepoint)]
        fn $name(_ctx: RawTracePointContext) -> i32 {
            try_exit().unwrap_or(0)
        }
    };
}

entry!(reschedule_entry, "reschedule_entry", INTERRUPT_RESCHEDULE);
entry!(call_function_entry, "call_function_entry", INTERRUPT_CALL_FUNCTION);
entry!(call_function_single_entry, "call_function_single_entry", INTERRUPT_CALL_FUNCTION_SINGLE);
entry!(irq_work_entry, "irq_work_entry", INTERRUPT_IRQ_WORK);

exit!(local_timer_exit, "local_timer_exit");
exit!(reschedule_exit, "reschedule_exit");
exit!(call_function_exit, "call_function_exit");
exit!(call_function_single_exit, "call_function_single_exit");
exit!(irq_work_exit, "irq_work_exit");
exit!(irq_handler_exit, "irq_handler_exit");
