//! Network devices of the agent's own network namespace that do not transmit.
//!
//! Hook: `raw_tp/net_dev_xmit_timeout`. Output: event `EVENT_TRANSMIT_TIMEOUT`; it is rare, since a device has seconds
//! before its watchdog barks (`dev_watchdog`, `net/sched/sch_generic.c`).

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use lacuna_abi::{COMM_LEN, EVENT_TRANSMIT_TIMEOUT, Event};

use crate::kernel::{globals, read};
use crate::netns::device_in_own_netns;
use crate::output::emit;

globals! {
    /// Offset of `net_device.name`, which is as long as a task's (`IFNAMSIZ`).
    NET_DEVICE_NAME: u32;
}

#[raw_tracepoint(tracepoint = "net_dev_xmit_timeout")]
fn net_dev_xmit_timeout(ctx: RawTracePointContext) -> i32 {
    try_timeout(&ctx).unwrap_or(0)
}

fn try_timeout(ctx: &RawTracePointContext) -> Result<i32, i32> {
    let device: *const u8 = ctx.arg(0);
    if !device_in_own_netns(device)? {
        return Ok(0);
    }
    let comm = read::<[u8; COMM_LEN]>(device, NET_DEVICE_NAME.load())?;
    // SAFETY: the helpers have no preconditions.
    let (now, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    emit(&Event { kind: EVENT_TRANSMIT_TIMEOUT, cpu, from: now, to: now, pid: ctx.arg(1), reserved: 0, comm });
    Ok(0)
}
