//! The kernel's own watchdogs, as events: RCU stalls and hung tasks.
//!
//! Hooks: `raw_tp/rcu_stall_warning`, `raw_tp/sched_process_hang`. Outputs: events `EVENT_RCU_STALL` and
//! `EVENT_TASK_HUNG`. Both are rare: RCU warns after 21 s, the detector of hung tasks looks every 120 s.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_probe_read_kernel_str_bytes};
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use lacuna_abi::{COMM_LEN, EVENT_RCU_STALL, EVENT_TASK_HUNG, Event};

use crate::kernel::{globals, read};
use crate::output::emit;

globals! {
    /// Offset of `task_struct.pid`, which is the thread id.
    TASK_PID: u32;
    /// Offset of `task_struct.comm`.
    TASK_COMM: u32;
}

#[raw_tracepoint(tracepoint = "rcu_stall_warning")]
fn rcu_stall_warning(ctx: RawTracePointContext) -> i32 {
    try_rcu(&ctx).unwrap_or(0)
}

/// The tracepoint hands over the flavour of RCU and a message.
fn try_rcu(ctx: &RawTracePointContext) -> Result<i32, i32> {
    let mut message = [0; COMM_LEN];
    // SAFETY: the helper checks the address, and writes no more than the array holds.
    unsafe { bpf_probe_read_kernel_str_bytes(ctx.arg(1), &mut message)? };
    emit(&event_now(EVENT_RCU_STALL, 0, message));
    Ok(0)
}

#[raw_tracepoint(tracepoint = "sched_process_hang")]
fn sched_process_hang(ctx: RawTracePointContext) -> i32 {
    try_hang(&ctx).unwrap_or(0)
}

fn try_hang(ctx: &RawTracePointContext) -> Result<i32, i32> {
    let task: *const u8 = ctx.arg(0);
    let comm = read::<[u8; COMM_LEN]>(task, TASK_COMM.load())?;
    emit(&event_now(EVENT_TASK_HUNG, read(task, TASK_PID.load())?, comm));
    Ok(0)
}

#[inline(always)]
fn event_now(kind: u32, pid: u32, comm: [u8; COMM_LEN]) -> Event {
    // SAFETY: the helpers have no preconditions.
    let (now, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    Event { kind, cpu, from: now, to: now, pid, reserved: 0, comm }
}
