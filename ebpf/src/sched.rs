//! Run queue: how long tasks are runnable before they run.
//!
//! Hooks: `tp_btf/sched_wakeup`, `tp_btf/sched_wakeup_new`, `tp_btf/sched_switch`.
//! Outputs: histogram `RUNQUEUE_DELAY` and `SWITCHES` for each CPU, event `EVENT_RUNQUEUE_DELAY`.
//!
//! A task waits from its wake-up, or from being switched out while it stays runnable, until it is switched in; the
//! idle task does not count. The start is kept in task storage, which needs Linux 5.11. Hence an object of its own: the
//! other families still load where this one does not.
//!
//! These hooks run under the lock of a run queue. Task storage called the kernel's allocator for each new task until 6.4, and that may
//! wake a thread that frees pages, which takes such a lock: there the start is kept in a map whose entries were made before.
#![no_std]
#![no_main]

mod kernel;
mod output;
mod task_storage;

use aya_ebpf::btf_maps::{HashMap, PerCpuArray};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::{btf_map, btf_tracepoint};
use aya_ebpf::programs::BtfTracePointContext;
use lacuna_abi::{
    COMM_LEN, CpuSwitches, EVENT_RUNQUEUE_DELAY, Event, Histogram, REFUSED_ENTRIES, WAITING_TASKS as MOST_WAITING,
};

use crate::kernel::{field, globals, read};
use crate::output::{count, emit, refuse};
use crate::task_storage::TaskStorage;

globals! {
    /// Offset of `task_struct.pid`, which is the thread id.
    TASK_PID: u32;
    /// Offset of `task_struct.comm`.
    TASK_COMM: u32;
    /// Offset of `task_struct.__state` (`state` before 5.14); used where the hook does not hand it over.
    TASK_STATE: u32;
    /// 1 where `sched_switch` hands over the state of the task that leaves (5.18).
    SWITCH_HAS_STATE: u32;
    /// 1 where task storage has memory of its own (6.4).
    STORAGE_HAS_MEMORY: u32;
    /// From this delay on, in nanoseconds, it is an event.
    RUNQUEUE_DELAY_NS: u64;
}

#[btf_map]
static RUNQUEUE_DELAY: PerCpuArray<Histogram, 1> = PerCpuArray::new();
/// How often each CPU switched tasks, and to which one last.
#[btf_map]
static SWITCHES: PerCpuArray<CpuSwitches, 1> = PerCpuArray::new();
/// Since when a task has been runnable; 0 while it is not.
#[btf_map]
static RUNNABLE_SINCE: TaskStorage<u64> = TaskStorage::new();
/// The same by thread id, where that storage must not be used; who does not wait has no entry.
#[btf_map]
static WAITING_SINCE: HashMap<u32, u64, MOST_WAITING> = HashMap::new();

#[btf_tracepoint(function = "sched_wakeup")]
fn sched_wakeup(ctx: BtfTracePointContext) -> i32 {
    try_wakeup(&ctx).unwrap_or(0)
}

#[btf_tracepoint(function = "sched_wakeup_new")]
fn sched_wakeup_new(ctx: BtfTracePointContext) -> i32 {
    try_wakeup(&ctx).unwrap_or(0)
}

fn try_wakeup(ctx: &BtfTracePointContext) -> Result<i32, i32> {
    runnable_from(ctx.arg(0), now());
    Ok(0)
}

#[btf_tracepoint(function = "sched_switch")]
fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    try_switch(&ctx).unwrap_or(0)
}

fn try_switch(ctx: &BtfTracePointContext) -> Result<i32, i32> {
    let (prev, next): (*const u8, *const u8) = (ctx.arg(1), ctx.arg(2));
    let now = now();
    note_switch(pid(next), now);
    if pid(prev) != 0 {
        if stays_runnable(ctx, prev) {
            runnable_from(prev, now);
        } else if STORAGE_HAS_MEMORY.load() == 0 {
            // It was woken before it had gone to sleep, and has run since.
            let _ = WAITING_SINCE.remove(pid(prev));
        }
    }
    if pid(next) != 0 {
        switched_in(next, now)?;
    }
    Ok(0)
}

#[inline(always)]
fn note_switch(to: u32, now: u64) {
    let Some(switches) = SWITCHES.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the slot is this CPU's own, and it switches with interrupts off.
    unsafe {
        (*switches).count += 1;
        (*switches).at = now;
        (*switches).pid = u64::from(to);
    }
}

/// Counts how long `next` waited, and sends an event where that was long.
#[inline(always)]
fn switched_in(next: *const u8, now: u64) -> Result<(), i32> {
    let from = take_since(next);
    if from == 0 {
        return Ok(());
    }
    let delay = now.saturating_sub(from);
    count(&RUNQUEUE_DELAY, delay);
    if delay >= RUNQUEUE_DELAY_NS.load() {
        emit(&delay_event(next, from, now)?);
    }
    Ok(())
}

#[inline(always)]
fn delay_event(task: *const u8, from: u64, to: u64) -> Result<Event, i32> {
    Ok(Event {
        kind: EVENT_RUNQUEUE_DELAY,
        // SAFETY: the helper has no preconditions.
        cpu: unsafe { bpf_get_smp_processor_id() },
        from,
        to,
        pid: pid(task),
        reserved: 0,
        comm: read::<[u8; COMM_LEN]>(task, TASK_COMM.load())?,
    })
}

/// Since when `task` has waited, which it does no more; 0 where that is not known.
#[inline(always)]
fn take_since(task: *const u8) -> u64 {
    if STORAGE_HAS_MEMORY.load() == 0 {
        let thread = pid(task);
        // SAFETY: nobody else writes or removes it while the task is being switched in.
        let since = unsafe { WAITING_SINCE.get(thread) }.map_or(0, |since| *since);
        // It was there, or is not: either way it is gone.
        let _ = WAITING_SINCE.remove(thread);
        return since;
    }
    // SAFETY: `task` is an argument of the hook.
    let since = unsafe { RUNNABLE_SINCE.get(task) };
    if since.is_null() {
        return 0;
    }
    // SAFETY: not null, and nobody else writes it while the task is being switched in.
    unsafe { core::ptr::replace(since, 0) }
}

/// Notes that `task` waits for a CPU from `now` on.
#[inline(always)]
fn runnable_from(task: *const u8, now: u64) {
    if STORAGE_HAS_MEMORY.load() == 0 {
        if WAITING_SINCE.insert(pid(task), now, 0).is_err() {
            refuse(REFUSED_ENTRIES);
        }
        return;
    }
    // SAFETY: `task` is an argument of the hook.
    let since = unsafe { RUNNABLE_SINCE.get_or_create(task) };
    if since.is_null() {
        return refuse(REFUSED_ENTRIES);
    }
    // SAFETY: not null; the scheduler lets only one CPU wake or switch out a task at a time.
    unsafe { *since = now };
}

/// Whether the task that leaves was preempted, or gave way, and still wants to run.
#[inline(always)]
fn stays_runnable(ctx: &BtfTracePointContext, prev: *const u8) -> bool {
    if ctx.arg::<u8>(0) != 0 {
        return true;
    }
    let state = if SWITCH_HAS_STATE.load() != 0 {
        ctx.arg::<u32>(3)
    } else {
        // SAFETY: `prev` is an argument of the hook. Later kernels have 32 bits here, earlier ones 64 whose upper half is 0.
        unsafe { field::<u32>(prev, TASK_STATE.load()) }
    };
    state == 0
}

#[inline(always)]
fn pid(task: *const u8) -> u32 {
    // SAFETY: `task` is an argument of the hook.
    unsafe { field::<u32>(task, TASK_PID.load()) }
}

/// `CLOCK_MONOTONIC`; the largest cost of a probe, so read once.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}
