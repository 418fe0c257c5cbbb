//! TCP retransmits of the agent's own network namespace, by remote address and cause, and how large they were.
//!
//! Hooks: `raw_tp/tcp_retransmit_skb` (data and SYN), `raw_tp/tcp_retransmit_synack`.
//! Outputs: `RETRANSMITS`. Attempts that failed are told apart where the kernel hands over the error (its third
//! argument); before that the hook fired for successful ones only. Sizes are of the window that the agent began last by
//! writing another number into `SIZE_WINDOW`.

use aya_ebpf::btf_maps::{Array, LruPerCpuHashMap};
use aya_ebpf::macros::{btf_map, raw_tracepoint};
use aya_ebpf::programs::RawTracePointContext;
use lacuna_abi::{
    CAUSE_FAST, CAUSE_OTHER, CAUSE_PROBE, CAUSE_SYN, CAUSE_TIMEOUT, REFUSED_ENTRIES, RETRANSMIT_KEYS, RetransmitCount,
    RetransmitKey,
};

use crate::address::mapped;
use crate::kernel::{globals, read};
use crate::netns::in_own_netns;
use crate::output::refuse;

globals! {
    /// Offset of `sock_common.skc_family`; `sock` and `request_sock` both begin with a `sock_common`.
    SKC_FAMILY: u32;
    /// Offset of `sock_common.skc_state`.
    SKC_STATE: u32;
    /// Offset of `sock_common.skc_daddr`.
    SKC_DADDR: u32;
    /// Offset of `sock_common.skc_v6_daddr`.
    SKC_V6_DADDR: u32;
    /// Byte of `inet_connection_sock.icsk_ca_state`, a bit field.
    ICSK_CA_STATE: u32;
    /// How far the bit field is shifted in its byte.
    ICSK_CA_STATE_SHIFT: u32;
    /// Which bits it has, after the shift.
    ICSK_CA_STATE_MASK: u32;
    /// Offset of `inet_connection_sock.icsk_pending`.
    ICSK_PENDING: u32;
    /// Offset of `sk_buff.len`.
    SKB_LEN: u32;
    /// Offset of `sk_buff.cb`.
    SKB_CB: u32;
    /// Offset of `tcp_skb_cb.tcp_gso_size`.
    TCP_GSO_SIZE: u32;
    /// 1 where `tcp_retransmit_skb` hands over the error.
    RETRANSMIT_HAS_ERROR: u32;
}

/// `AF_INET` of the Linux ABI.
const AF_INET: u16 = 2;
/// `AF_INET6` of the Linux ABI.
const AF_INET6: u16 = 10;
/// `TCP_SYN_SENT` of the Linux ABI.
const TCP_SYN_SENT: u8 = 2;
/// `TCP_SYN_RECV` of the Linux ABI.
const TCP_SYN_RECV: u8 = 3;
/// `TCP_CA_Recovery` of the Linux ABI.
const TCP_CA_RECOVERY: u32 = 3;
/// `TCP_CA_Loss` of the Linux ABI.
const TCP_CA_LOSS: u32 = 4;
/// `ICSK_TIME_LOSS_PROBE` (`include/net/inet_connection_sock.h`, Linux 3.10 to 6.18).
const ICSK_TIME_LOSS_PROBE: u8 = 5;

#[btf_map]
static RETRANSMITS: LruPerCpuHashMap<RetransmitKey, RetransmitCount, RETRANSMIT_KEYS> = LruPerCpuHashMap::new();
/// The number of the present window of sizes.
#[btf_map]
static SIZE_WINDOW: Array<u64, 1> = Array::new();

#[raw_tracepoint(tracepoint = "tcp_retransmit_skb")]
fn tcp_retransmit_skb(ctx: RawTracePointContext) -> i32 {
    try_retransmit(&ctx).unwrap_or(0)
}

fn try_retransmit(ctx: &RawTracePointContext) -> Result<i32, i32> {
    let sock: *const u8 = ctx.arg(0);
    if !in_own_netns(sock)? {
        return Ok(0);
    }
    let failed = RETRANSMIT_HAS_ERROR.load() != 0 && ctx.arg::<i32>(2) != 0;
    let key = RetransmitKey { remote: remote(sock)?, cause: cause(sock)? };
    if failed {
        count(&key, 0, 1, 0);
    } else {
        count(&key, 1, 0, size(ctx.arg(1))?);
    }
    Ok(0)
}

#[raw_tracepoint(tracepoint = "tcp_retransmit_synack")]
fn tcp_retransmit_synack(ctx: RawTracePointContext) -> i32 {
    try_synack(&ctx).unwrap_or(0)
}

fn try_synack(ctx: &RawTracePointContext) -> Result<i32, i32> {
    if !in_own_netns(ctx.arg(0))? {
        return Ok(0);
    }
    let key = RetransmitKey { remote: remote(ctx.arg(1))?, cause: CAUSE_SYN };
    count(&key, 1, 0, 0);
    Ok(0)
}

fn cause(sock: *const u8) -> Result<u32, i32> {
    let state = read::<u8>(sock, SKC_STATE.load())?;
    if state == TCP_SYN_SENT || state == TCP_SYN_RECV {
        return Ok(CAUSE_SYN);
    }
    let byte = u32::from(read::<u8>(sock, ICSK_CA_STATE.load())?);
    Ok(match (byte >> ICSK_CA_STATE_SHIFT.load()) & ICSK_CA_STATE_MASK.load() {
        TCP_CA_LOSS => CAUSE_TIMEOUT,
        TCP_CA_RECOVERY => CAUSE_FAST,
        _ => probe_or_other(sock)?,
    })
}

/// A connection that has not noticed a loss sends a segment again where its loss probe is due: the timer is pending until
/// the probe is out (`tcp_send_loss_probe`, Linux 6.18). It is not armed in recovery or after a timeout, so what is left
/// pending there tells nothing; those were told apart before.
fn probe_or_other(sock: *const u8) -> Result<u32, i32> {
    let pending = read::<u8>(sock, ICSK_PENDING.load())?;
    Ok(if pending == ICSK_TIME_LOSS_PROBE { CAUSE_PROBE } else { CAUSE_OTHER })
}

/// The payload of the largest segment that the packet is sent as, in bytes; 0 for one without data. It has no TCP header
/// yet, and where it is larger than a segment it is cut on its way.
fn size(skb: *const u8) -> Result<u64, i32> {
    let length = u64::from(read::<u32>(skb, SKB_LEN.load())?);
    let segment = u64::from(read::<u16>(skb, SKB_CB.load() + TCP_GSO_SIZE.load())?);
    Ok(if segment != 0 && segment < length { segment } else { length })
}

/// The remote address of what begins with a `sock_common`.
#[inline(always)]
fn remote(common: *const u8) -> Result<[u8; 16], i32> {
    match read::<u16>(common, SKC_FAMILY.load())? {
        AF_INET => {
            let address = read(common, SKC_DADDR.load())?;
            Ok(mapped(address))
        }
        AF_INET6 => read(common, SKC_V6_DADDR.load()),
        other => Err(i32::from(other)),
    }
}

/// Counts what was sent again and what failed; `size` is 0 where there was no data.
#[inline(always)]
fn count(key: &RetransmitKey, sent: u64, failed: u64, size: u64) {
    let window = SIZE_WINDOW.get(0).copied().unwrap_or(0);
    let Some(known) = RETRANSMITS.get_ptr_mut(key) else {
        let first = RetransmitCount { sent, failed, window, smallest: size, largest: size };
        if RETRANSMITS.insert(key, &first, 0).is_err() {
            refuse(REFUSED_ENTRIES);
        }
        return;
    };
    // SAFETY: the slot is this CPU's own; a probe that interrupts this one can at worst cost a count.
    unsafe {
        (*known).sent += sent;
        (*known).failed += failed;
        if size == 0 {
            return;
        }
        // A slot that another CPU's first count made is all 0, whatever the window.
        if (*known).window != window || (*known).largest == 0 {
            (*known).window = window;
            (*known).smallest = size;
            (*known).largest = size;
        } else if size < (*known).smallest {
            (*known).smallest = size;
        } else if size > (*known).largest {
            (*known).largest = size;
        }
    }
}
