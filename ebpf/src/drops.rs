//! Packets that the kernel drops in the agent's own network namespace, by reason.
//!
//! Hook: `raw_tp/kfree_skb` with a reason (Linux 5.17, or a distribution that took it over). Output: `DROPS`, by the number of the reason;
//! the agent has the names. A packet whose namespace cannot be told is not counted.

use aya_ebpf::btf_maps::PerCpuHashMap;
use aya_ebpf::macros::{btf_map, raw_tracepoint};
use aya_ebpf::programs::RawTracePointContext;
use lacuna_abi::{DROP_REASONS, REFUSED_ENTRIES};

use crate::kernel::{globals, read};
use crate::netns::{by_device, in_own_netns, is_kernel_address};
use crate::output::refuse;

globals! {
    /// Offset of `sk_buff.sk`.
    SKB_SK: u32;
    /// 1 where `kfree_skb` hands over the receiving socket.
    DROP_HAS_RX_SK: u32;
}

#[btf_map]
static DROPS: PerCpuHashMap<u32, u64, DROP_REASONS> = PerCpuHashMap::new();

#[raw_tracepoint(tracepoint = "kfree_skb")]
fn kfree_skb(ctx: RawTracePointContext) -> i32 {
    try_drop(&ctx).unwrap_or(0)
}

fn try_drop(ctx: &RawTracePointContext) -> Result<i32, i32> {
    if !is_ours(ctx)? {
        return Ok(0);
    }
    let reason: u32 = ctx.arg(2);
    let Some(known) = DROPS.get_ptr_mut(reason) else {
        if DROPS.insert(reason, 1, 0).is_err() {
            refuse(REFUSED_ENTRIES);
        }
        return Ok(0);
    };
    // SAFETY: the slot is this CPU's own; a probe that interrupts this one can at worst cost a count.
    unsafe { *known += 1 };
    Ok(0)
}

/// By the packet's device, else by the socket that would have got it, else by the one that it belongs to.
fn is_ours(ctx: &RawTracePointContext) -> Result<bool, i32> {
    let skb: *const u8 = ctx.arg(0);
    if let Some(ours) = by_device(skb)? {
        return Ok(ours);
    }
    if DROP_HAS_RX_SK.load() != 0 && is_kernel_address(ctx.arg(3)) {
        return in_own_netns(ctx.arg(3));
    }
    let sock = read::<*const u8>(skb, SKB_SK.load())?;
    if is_kernel_address(sock) {
        return in_own_netns(sock);
    }
    Ok(false)
}
