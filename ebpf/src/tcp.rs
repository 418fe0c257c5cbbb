//! TCP retransmits of the agent's own network namespace, by remote address and cause.
//!
//! Hooks: `raw_tp/tcp_retransmit_skb` (data and SYN), `raw_tp/tcp_retransmit_synack`.
//! Outputs: `RETRANSMITS`. Attempts that failed are told apart where the kernel hands over the error (its third
//! argument); before that the hook fired for successful ones only.

use aya_ebpf::btf_maps::LruPerCpuHashMap;
use aya_ebpf::macros::{btf_map, raw_tracepoint};
use aya_ebpf::programs::RawTracePointContext;
use lacuna_abi::{
    CAUSE_FAST, CAUSE_OTHER, CAUSE_SYN, CAUSE_TIMEOUT, REFUSED_ENTRIES, RETRANSMIT_KEYS, RetransmitCount, RetransmitKey,
};

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

#[btf_map]
static RETRANSMITS: LruPerCpuHashMap<RetransmitKey, RetransmitCount, RETRANSMIT_KEYS> = LruPerCpuHashMap::new();

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
    count(&key, failed);
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
    count(&key, false);
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
        _ => CAUSE_OTHER,
    })
}

/// The remote address of what begins with a `sock_common`.
#[inline(always)]
fn remote(common: *const u8) -> Result<[u8; 16], i32> {
    match read::<u16>(common, SKC_FAMILY.load())? {
        AF_INET => {
            let [a, b, c, d] = read::<[u8; 4]>(common, SKC_DADDR.load())?;
            Ok([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
        }
        AF_INET6 => read(common, SKC_V6_DADDR.load()),
        other => Err(i32::from(other)),
    }
}

#[inline(always)]
fn count(key: &RetransmitKey, failed: bool) {
    let (sent, failed) = if failed { (0, 1) } else { (1, 0) };
    let Some(known) = RETRANSMITS.get_ptr_mut(key) else {
        if RETRANSMITS.insert(key, &RetransmitCount { sent, failed }, 0).is_err() {
            refuse(REFUSED_ENTRIES);
        }
        return;
    };
    // SAFETY: the slot is this CPU's own; a probe that interrupts this one can at worst cost a count.
    unsafe {
        (*known).sent += sent;
        (*known).failed += failed;
    }
}
