//! The headers of a packet, from its `sk_buff`.

use crate::kernel::{globals, read};

globals! {
    /// Offset of `sk_buff.head`.
    SKB_HEAD: u32;
    /// Offset of `sk_buff.network_header`.
    SKB_NETWORK_HEADER: u32;
}

/// The header of IPv4 or IPv6.
#[inline(always)]
pub(crate) fn ip_header(skb: *const u8) -> Result<*const u8, i32> {
    header(skb, SKB_NETWORK_HEADER.load())
}

/// The header whose place in the packet the field at `offset` has.
#[inline(always)]
pub(crate) fn header(skb: *const u8, offset: u32) -> Result<*const u8, i32> {
    let head = read::<*const u8>(skb, SKB_HEAD.load())?;
    Ok(head.wrapping_add(usize::from(read::<u16>(skb, offset)?)))
}
