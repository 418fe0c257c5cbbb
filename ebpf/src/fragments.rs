//! Datagrams that are fragmented, put together or too big, in the agent's own network namespace, by remote address.
//!
//! Hooks, by fentry and else by kprobe: `ip_do_fragment`, `ip6_fragment` (out), `ip_defrag`, `ipv6_frag_rcv` (in; the
//! functions behind them that queue a fragment are inlined into them), `ip_expire`, `ip6_frag_expire` (given up),
//! `icmp_unreach`, `icmpv6_notify` (told that a packet was too big), `icmp6_send`; and `raw_tp/icmp_send` (tells so).
//! Outputs: `FRAGMENTS` by remote address, `FRAGMENT_TOTALS`. How many there are in all is in /proc/net/snmp as well, without
//! the remote. IPv6 fragments that connection tracking puts together come to none of these functions.

use aya_ebpf::btf_maps::{LruPerCpuHashMap, PerCpuArray};
use aya_ebpf::macros::{btf_map, fentry, kprobe, raw_tracepoint};
use aya_ebpf::programs::{FEntryContext, ProbeContext, RawTracePointContext};
use lacuna_abi::{
    FRAGMENT_EXPIRED, FRAGMENT_IN, FRAGMENT_KEYS, FRAGMENT_KINDS, FRAGMENT_NEEDED_IN, FRAGMENT_NEEDED_OUT,
    FRAGMENT_OUT, FragmentCount, FragmentKey, REFUSED_ENTRIES,
};

use crate::address::mapped;
use crate::kernel::{globals, read};
use crate::netns::{by_device, is_own_netns};
use crate::output::refuse;
use crate::packet::{header, ip_header};

globals! {
    /// Offset of `sk_buff.data`.
    SKB_DATA: u32;
    /// Offset of `sk_buff.transport_header`.
    SKB_TRANSPORT_HEADER: u32;
    /// Offset of `inet_frag_queue.timer`.
    FRAG_QUEUE_TIMER: u32;
    /// Offset of `inet_frag_queue.flags`.
    FRAG_QUEUE_FLAGS: u32;
    /// Offset of `inet_frag_queue.key.v4.saddr`.
    FRAG_QUEUE_SADDR4: u32;
    /// Offset of `inet_frag_queue.key.v6.saddr`.
    FRAG_QUEUE_SADDR6: u32;
    /// Offset of `inet_frag_queue.fqdir`.
    FRAG_QUEUE_FQDIR: u32;
    /// Offset of `fqdir.net`.
    FQDIR_NET: u32;
}

/// Offsets of source and destination in an IPv4 header (RFC 791) and in an IPv6 header (RFC 8200).
const SADDR4: u32 = 12;
const DADDR4: u32 = 16;
const SADDR6: u32 = 8;
const DADDR6: u32 = 24;
/// Offset of the next hop's MTU in an ICMP header (RFC 1191).
const NEXT_MTU: u32 = 6;
/// Destination unreachable, and its code for fragmentation needed (RFC 792).
const DEST_UNREACH: i32 = 3;
const FRAG_NEEDED: u8 = 4;
/// Packet too big (RFC 4443).
const PACKET_TOO_BIG: u8 = 2;
/// `INET_FRAG_COMPLETE` (`include/net/inet_frag.h`, Linux 3.17 to 6.18).
const COMPLETE: u8 = 1 << 2;

#[btf_map]
static FRAGMENTS: LruPerCpuHashMap<FragmentKey, FragmentCount, FRAGMENT_KEYS> = LruPerCpuHashMap::new();
/// By `FRAGMENT_*`.
#[btf_map]
static FRAGMENT_TOTALS: PerCpuArray<u64, FRAGMENT_KINDS> = PerCpuArray::new();

/// A hook on a function of the kernel in both forms; they hand over the same arguments.
macro_rules! on_function {
    ($fentry:ident, $kprobe:ident, $work:ident($($index:literal),+)) => {
        #[fentry]
        fn $fentry(ctx: FEntryContext) -> i32 {
            let _ = $work($(ctx.arg($index)),+);
            0
        }

        #[kprobe]
        fn $kprobe(ctx: ProbeContext) -> u32 {
            let _ = (|| Some($work($(ctx.arg($index)?),+)))();
            0
        }
    };
}

on_function!(ip_do_fragment, kprobe_ip_do_fragment, try_out4(0, 2));
on_function!(ip6_fragment, kprobe_ip6_fragment, try_out6(0, 2));
on_function!(ip_defrag, kprobe_ip_defrag, try_in4(0, 1));
on_function!(ipv6_frag_rcv, kprobe_ipv6_frag_rcv, try_in6(0));
on_function!(ip_expire, kprobe_ip_expire, try_expire4(0));
on_function!(ip6_frag_expire, kprobe_ip6_frag_expire, try_expire6(0));
on_function!(icmp_unreach, kprobe_icmp_unreach, try_told4(0));
on_function!(icmpv6_notify, kprobe_icmpv6_notify, try_told6(0, 1, 3));
on_function!(icmp6_send, kprobe_icmp6_send, try_tell6(0, 1, 3));

#[inline(always)]
fn try_out4(net: *const u8, skb: *const u8) -> Result<(), i32> {
    if is_own_netns(net)? {
        count(mapped(read(ip_header(skb)?, DADDR4)?), FRAGMENT_OUT, 0);
    }
    Ok(())
}

#[inline(always)]
fn try_out6(net: *const u8, skb: *const u8) -> Result<(), i32> {
    if is_own_netns(net)? {
        count(read(ip_header(skb)?, DADDR6)?, FRAGMENT_OUT, 0);
    }
    Ok(())
}

#[inline(always)]
fn try_in4(net: *const u8, skb: *const u8) -> Result<(), i32> {
    if is_own_netns(net)? {
        count(mapped(read(ip_header(skb)?, SADDR4)?), FRAGMENT_IN, 0);
    }
    Ok(())
}

#[inline(always)]
fn try_in6(skb: *const u8) -> Result<(), i32> {
    if by_device(skb)? == Some(true) {
        count(read(ip_header(skb)?, SADDR6)?, FRAGMENT_IN, 0);
    }
    Ok(())
}

#[inline(always)]
fn try_expire4(timer: *const u8) -> Result<(), i32> {
    if let Some(queue) = expired(timer)? {
        count(mapped(read(queue, FRAG_QUEUE_SADDR4.load())?), FRAGMENT_EXPIRED, 0);
    }
    Ok(())
}

#[inline(always)]
fn try_expire6(timer: *const u8) -> Result<(), i32> {
    if let Some(queue) = expired(timer)? {
        count(read(queue, FRAG_QUEUE_SADDR6.load())?, FRAGMENT_EXPIRED, 0);
    }
    Ok(())
}

/// The queue of fragments that the timer belongs to, where it is of our namespace and not complete.
#[inline(always)]
fn expired(timer: *const u8) -> Result<Option<*const u8>, i32> {
    let queue = timer.wrapping_sub(FRAG_QUEUE_TIMER.load() as usize);
    let net = read(read(queue, FRAG_QUEUE_FQDIR.load())?, FQDIR_NET.load())?;
    let complete = read::<u8>(queue, FRAG_QUEUE_FLAGS.load())? & COMPLETE != 0;
    Ok((is_own_netns(net)? && !complete).then_some(queue))
}

/// `data` is at the header of the packet that was too big: its destination is the remote.
#[inline(always)]
fn try_told4(skb: *const u8) -> Result<(), i32> {
    if by_device(skb)? != Some(true) {
        return Ok(());
    }
    let icmp = header(skb, SKB_TRANSPORT_HEADER.load())?;
    if read::<u8>(icmp, 1)? == FRAG_NEEDED {
        let mtu = u16::from_be_bytes(read(icmp, NEXT_MTU)?);
        count(mapped(read(data(skb)?, DADDR4)?), FRAGMENT_NEEDED_IN, u64::from(mtu));
    }
    Ok(())
}

#[inline(always)]
fn try_told6(skb: *const u8, kind: u64, mtu: u64) -> Result<(), i32> {
    if kind as u8 == PACKET_TOO_BIG && by_device(skb)? == Some(true) {
        let mtu = u32::from_be(mtu as u32);
        count(read(data(skb)?, DADDR6)?, FRAGMENT_NEEDED_IN, u64::from(mtu));
    }
    Ok(())
}

/// The source of the packet that is too big is the remote.
#[inline(always)]
fn try_tell6(skb: *const u8, kind: u64, mtu: u64) -> Result<(), i32> {
    if kind as u8 == PACKET_TOO_BIG && by_device(skb)? == Some(true) {
        count(read(ip_header(skb)?, SADDR6)?, FRAGMENT_NEEDED_OUT, u64::from(mtu as u32));
    }
    Ok(())
}

#[raw_tracepoint(tracepoint = "icmp_send")]
fn icmp_send(ctx: RawTracePointContext) -> i32 {
    let _ = try_tell4(&ctx);
    0
}

/// The tracepoint does not hand over the MTU.
fn try_tell4(ctx: &RawTracePointContext) -> Result<(), i32> {
    let is_too_big = ctx.arg::<i32>(1) == DEST_UNREACH && ctx.arg::<i32>(2) == i32::from(FRAG_NEEDED);
    let skb: *const u8 = ctx.arg(0);
    if is_too_big && by_device(skb)? == Some(true) {
        count(mapped(read(ip_header(skb)?, SADDR4)?), FRAGMENT_NEEDED_OUT, 0);
    }
    Ok(())
}

#[inline(always)]
fn data(skb: *const u8) -> Result<*const u8, i32> {
    read(skb, SKB_DATA.load())
}

/// Counts it for the remote and in all; `mtu` is 0 where none was named.
#[inline(always)]
fn count(remote: [u8; 16], kind: u32, mtu: u64) {
    if let Some(total) = FRAGMENT_TOTALS.get_ptr_mut(kind) {
        // SAFETY: the slot is this CPU's own; a probe that interrupts this one can at worst cost a count.
        unsafe { *total += 1 };
    }
    let key = FragmentKey { remote, kind };
    let Some(known) = FRAGMENTS.get_ptr_mut(&key) else {
        if FRAGMENTS.insert(&key, &FragmentCount { count: 1, mtu }, 0).is_err() {
            refuse(REFUSED_ENTRIES);
        }
        return;
    };
    // SAFETY: as above.
    unsafe {
        (*known).count += 1;
        if mtu != 0 {
            (*known).mtu = mtu;
        }
    }
}
