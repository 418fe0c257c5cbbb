//! The agent's own network namespace: network probes leave foreign sockets and devices alone.

use crate::kernel::{globals, read};

globals! {
    /// Offset of `sock_common.skc_net.net`.
    SKC_NET: u32;
    /// Offset of `net.ns.inum`.
    NET_INUM: u32;
    /// The inode number of the agent's own network namespace.
    NETNS_INUM: u32;
    /// Offset of `sk_buff.dev`.
    SKB_DEV: u32;
    /// Offset of `net_device.nd_net.net`.
    NET_DEVICE_NET: u32;
}

/// Whether `net` is the agent's own network namespace.
#[inline(always)]
pub(crate) fn is_own_netns(net: *const u8) -> Result<bool, i32> {
    Ok(read::<u32>(net, NET_INUM.load())? == NETNS_INUM.load())
}

/// Whether the socket lives in the agent's own network namespace.
#[inline(always)]
pub(crate) fn in_own_netns(sock: *const u8) -> Result<bool, i32> {
    is_own_netns(read(sock, SKC_NET.load())?)
}

/// Whether the device of the packet is in the agent's own network namespace; absent where it has none.
#[inline(always)]
pub(crate) fn by_device(skb: *const u8) -> Result<Option<bool>, i32> {
    let device = read::<*const u8>(skb, SKB_DEV.load())?;
    if !is_kernel_address(device) {
        return Ok(None);
    }
    device_in_own_netns(device).map(Some)
}

/// Whether the device is in the agent's own network namespace.
#[inline(always)]
pub(crate) fn device_in_own_netns(device: *const u8) -> Result<bool, i32> {
    is_own_netns(read(device, NET_DEVICE_NET.load())?)
}

/// Kernel addresses have the highest bit set. UDP keeps small numbers in the place of the device (`dev_scratch`).
#[inline(always)]
pub(crate) fn is_kernel_address(pointer: *const u8) -> bool {
    (pointer as i64) < 0
}
