//! The agent's own network namespace: network probes leave foreign sockets and devices alone.

use crate::kernel::{globals, read};

globals! {
    /// Offset of `sock_common.skc_net.net`.
    SKC_NET: u32;
    /// Offset of `net.ns.inum`.
    NET_INUM: u32;
    /// The inode number of the agent's own network namespace.
    NETNS_INUM: u32;
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
