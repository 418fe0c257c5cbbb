//! Addresses as the maps have them.

/// An IPv4 address as an IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2).
#[inline(always)]
pub(crate) fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}
