//! How long packets are as IP has them.

use std::net::IpAddr;

/// Headers of IPv4 without options (RFC 791) and UDP (RFC 768).
const HEADERS_V4: u16 = 20 + 8;
/// Headers of IPv6 (RFC 8200) and UDP.
const HEADERS_V6: u16 = 40 + 8;
/// By how much a packet exceeds the MTU that is to be fragmented: the second piece is a fragment worth its name.
const BEYOND: u16 = 500;

/// The bytes of headers on the way to `peer`.
#[must_use]
pub fn headers(peer: IpAddr) -> u16 {
    if peer.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 }
}

/// The length of a packet that is fragmented on an interface of that MTU.
#[must_use]
pub fn beyond(mtu: u16) -> u16 {
    mtu.saturating_add(BEYOND)
}
