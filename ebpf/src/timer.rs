//! Timers: how late they expire. The interrupt that expires them belongs to the family `irq`.
//!
//! Hooks: `tp_btf/hrtimer_expire_entry` (lateness), `tp_btf/hrtimer_start` (which timers were overdue already when
//! they were armed).
//! Outputs: histogram `TIMER_LATENESS`, `TIMER_CLOCK` for each CPU, event `EVENT_TIMER_LATE`.
//!
//! Only monotonic, hard-mode timers count, against their hard expiry: others step with the wall clock, wait for the
//! softirq or may lawfully be late. A timer that was armed with an expiry in the past is late from the arming on.

use aya_ebpf::btf_maps::{LruHashMap, PerCpuArray};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::{btf_map, btf_tracepoint};
use aya_ebpf::programs::BtfTracePointContext;
use lacuna_abi::{EVENT_TIMER_LATE, Event, Histogram, OVERDUE_TIMERS, REFUSED_ENTRIES, TimerClock};

use crate::kernel::{field, globals, read};
use crate::output::{count, emit, refuse};

globals! {
    /// Offset of `hrtimer.node.expires`.
    HRTIMER_EXPIRES: u32;
    /// Offset of `hrtimer.base`.
    HRTIMER_BASE: u32;
    /// Offset of `hrtimer.is_soft`.
    HRTIMER_IS_SOFT: u32;
    /// Offset of `hrtimer_clock_base.clockid`.
    CLOCK_BASE_CLOCKID: u32;
    /// From this lateness on, in nanoseconds, a timer is an event.
    TIMER_LATE_NS: u64;
}

/// `CLOCK_MONOTONIC` of the Linux ABI.
const CLOCK_MONOTONIC: u32 = 1;

/// Below this lateness nobody asks whether the timer was overdue when it was armed: 4 to 50 us are usual.
const NORMAL_NS: u64 = 100_000;

#[btf_map]
static TIMER_LATENESS: PerCpuArray<Histogram, 1> = PerCpuArray::new();
#[btf_map]
static TIMER_CLOCK: PerCpuArray<TimerClock, 1> = PerCpuArray::new();
/// When timers were armed that were overdue already, by their address.
#[btf_map]
static OVERDUE: LruHashMap<u64, u64, OVERDUE_TIMERS> = LruHashMap::new();

#[btf_tracepoint(function = "hrtimer_expire_entry")]
fn hrtimer_expire_entry(ctx: BtfTracePointContext) -> i32 {
    try_expire(&ctx).unwrap_or(0)
}

fn try_expire(ctx: &BtfTracePointContext) -> Result<i32, i32> {
    let timer: *const u8 = ctx.arg(0);
    if !is_monotonic_and_hard(timer) {
        return Ok(0);
    }
    let now = read::<u64>(ctx.arg(1), 0)?;
    let due = expiry(timer).max(last_batch_before(now)?);
    let mut late = now.saturating_sub(due);
    if late >= NORMAL_NS {
        late = late.min(now.saturating_sub(armed_overdue(timer)));
    }
    count(&TIMER_LATENESS, late);
    if late >= TIMER_LATE_NS.load() {
        emit(&late_event(now - late, now));
    }
    Ok(0)
}

/// When this CPU last expired timers before the batch of `now`, which it notes.
///
/// That batch took all that were due, so nothing that expires now was due before it: a bound on the lateness.
#[inline(always)]
fn last_batch_before(now: u64) -> Result<u64, i32> {
    let clock = TIMER_CLOCK.get_ptr_mut(0).ok_or(0)?;
    // SAFETY: the slot is this CPU's own, and timers expire with interrupts off.
    unsafe {
        if (*clock).batch != now {
            (*clock).batch_before = (*clock).batch;
            (*clock).batch = now;
        }
        Ok((*clock).batch_before)
    }
}

#[inline(always)]
fn late_event(from: u64, to: u64) -> Event {
    Event {
        kind: EVENT_TIMER_LATE,
        // SAFETY: the helper has no preconditions.
        cpu: unsafe { bpf_get_smp_processor_id() },
        from,
        to,
        pid: 0,
        reserved: 0,
        comm: [0; lacuna_abi::COMM_LEN],
    }
}

#[btf_tracepoint(function = "hrtimer_start")]
fn hrtimer_start(ctx: BtfTracePointContext) -> i32 {
    try_start(&ctx).unwrap_or(0)
}

fn try_start(ctx: &BtfTracePointContext) -> Result<i32, i32> {
    let timer: *const u8 = ctx.arg(0);
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if expiry(timer) >= now || !is_monotonic_and_hard(timer) {
        return Ok(0);
    }
    if OVERDUE.insert(timer as u64, now, 0).is_err() {
        refuse(REFUSED_ENTRIES);
    }
    Ok(0)
}

/// When the timer was armed, if it was overdue already; 0 otherwise.
///
/// An entry that outlived its timer is older than the timer that now has its address, and so has no effect.
#[inline(always)]
fn armed_overdue(timer: *const u8) -> u64 {
    // SAFETY: the value is copied at once.
    unsafe { OVERDUE.get(timer as u64) }.map_or(0, |armed| *armed)
}

/// The hard expiry.
#[inline(always)]
fn expiry(timer: *const u8) -> u64 {
    // SAFETY: see `kernel::field`.
    unsafe { field::<u64>(timer, HRTIMER_EXPIRES.load()) }
}

#[inline(always)]
fn is_monotonic_and_hard(timer: *const u8) -> bool {
    // SAFETY: see `kernel::field`.
    unsafe {
        if field::<u8>(timer, HRTIMER_IS_SOFT.load()) != 0 {
            return false;
        }
        let base = field::<*const u8>(timer, HRTIMER_BASE.load());
        field::<u32>(base, CLOCK_BASE_CLOCKID.load()) == CLOCK_MONOTONIC
    }
}
