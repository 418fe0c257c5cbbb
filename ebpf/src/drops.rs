//! Packets that the kernel drops in the agent's own network namespace, by reason.
//!
//! Hook: `raw_tp/kfree_skb` with a reason (Linux 5.17, or a distribution that took it over). Output: `DROPS`, by the number of the reason;
//! the agent has the names. A packet whose namespace cannot be told is not counted. `HEARTBEAT_DROPS`: of these the small
//! heartbeats from and to the peers that the agent names in `HEARTBEAT_PEERS`.

use aya_ebpf::btf_maps::{HashMap, PerCpuHashMap};
use aya_ebpf::macros::{btf_map, raw_tracepoint};
use aya_ebpf::programs::RawTracePointContext;
use lacuna_abi::{
    DROP_REASONS, HEARTBEAT_DROPS as MOST_DROPS, HEARTBEAT_PEERS as MOST_PEERS, HeartbeatDropKey, HeartbeatPeer,
    REFUSED_ENTRIES, SMALL_HEARTBEAT, WAY_IN, WAY_OUT,
};

use crate::address::mapped;
use crate::kernel::{globals, read};
use crate::netns::{by_device, in_own_netns, is_kernel_address};
use crate::output::refuse;
use crate::packet::ip_header;

globals! {
    /// Offset of `sk_buff.sk`.
    SKB_SK: u32;
    /// 1 where `kfree_skb` hands over the receiving socket.
    DROP_HAS_RX_SK: u32;
}

#[btf_map]
static DROPS: PerCpuHashMap<u32, u64, DROP_REASONS> = PerCpuHashMap::new();

/// Whose heartbeats are counted; written by the agent.
#[btf_map]
static HEARTBEAT_PEERS: HashMap<HeartbeatPeer, u32, MOST_PEERS> = HashMap::new();
#[btf_map]
static HEARTBEAT_DROPS: PerCpuHashMap<HeartbeatDropKey, u64, MOST_DROPS> = PerCpuHashMap::new();

/// The protocol UDP, in IPv4 and in IPv6.
const UDP: u8 = 17;
/// More fragments follow, and the offset of one, in the field of an IPv4 header (RFC 791).
const FRAGMENT: u16 = 0x3fff;

#[raw_tracepoint(tracepoint = "kfree_skb")]
fn kfree_skb(ctx: RawTracePointContext) -> i32 {
    try_drop(&ctx).unwrap_or(0)
}

fn try_drop(ctx: &RawTracePointContext) -> Result<i32, i32> {
    if !is_ours(ctx)? {
        return Ok(0);
    }
    let reason: u32 = ctx.arg(2);
    count(&DROPS, &reason);
    // A packet without headers that can be read is no heartbeat.
    let _ = try_heartbeat(ctx.arg(0), reason);
    Ok(0)
}

/// Counts one more of `key`.
#[inline(always)]
fn count<K, const MOST: usize>(map: &PerCpuHashMap<K, u64, MOST>, key: &K) {
    let Some(known) = map.get_ptr_mut(key) else {
        if map.insert(key, 1, 0).is_err() {
            refuse(REFUSED_ENTRIES);
        }
        return;
    };
    // SAFETY: the slot is this CPU's own; a probe that interrupts this one can at worst cost a count.
    unsafe { *known += 1 };
}

/// Where a datagram comes from and goes to.
struct Ends {
    from: HeartbeatPeer,
    to: HeartbeatPeer,
}

#[inline(always)]
fn try_heartbeat(skb: *const u8, reason: u32) -> Result<(), i32> {
    let ip = ip_header(skb)?;
    let ends = match read::<u8>(ip, 0)? >> 4 {
        4 => ends4(ip)?,
        6 => ends6(ip)?,
        other => return Err(i32::from(other)),
    };
    let (peer, way) = if HEARTBEAT_PEERS.get_ptr(&ends.from).is_some() {
        (ends.from, WAY_IN)
    } else if HEARTBEAT_PEERS.get_ptr(&ends.to).is_some() {
        (ends.to, WAY_OUT)
    } else {
        return Ok(());
    };
    count(&HEARTBEAT_DROPS, &HeartbeatDropKey { peer, way, reason });
    Ok(())
}

/// Of an IPv4 packet (RFC 791) that is a whole datagram no longer than a small heartbeat.
#[inline(always)]
fn ends4(ip: *const u8) -> Result<Ends, i32> {
    let length = u16::from_be_bytes(read(ip, 2)?);
    let fragment = u16::from_be_bytes(read(ip, 6)?) & FRAGMENT;
    if read::<u8>(ip, 9)? != UDP || u32::from(length) > SMALL_HEARTBEAT || fragment != 0 {
        return Err(0);
    }
    let words = usize::from(read::<u8>(ip, 0)? & 0xf);
    ends(ip.wrapping_add(words * 4), mapped(read(ip, 12)?), mapped(read(ip, 16)?))
}

/// The same of IPv6 (RFC 8200); a heartbeat has no extension headers.
#[inline(always)]
fn ends6(ip: *const u8) -> Result<Ends, i32> {
    let length = u16::from_be_bytes(read(ip, 4)?);
    if read::<u8>(ip, 6)? != UDP || u32::from(length) + 40 > SMALL_HEARTBEAT {
        return Err(0);
    }
    ends(ip.wrapping_add(40), read(ip, 8)?, read(ip, 24)?)
}

/// With the ports, which are the first of a UDP header (RFC 768).
#[inline(always)]
fn ends(udp: *const u8, from: [u8; 16], to: [u8; 16]) -> Result<Ends, i32> {
    let from = HeartbeatPeer { address: from, port: u32::from(u16::from_be_bytes(read(udp, 0)?)) };
    let to = HeartbeatPeer { address: to, port: u32::from(u16::from_be_bytes(read(udp, 2)?)) };
    Ok(Ends { from, to })
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
