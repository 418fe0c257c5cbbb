//! What fuzz targets feed.

use std::net::IpAddr;

use lacuna_core::evidence::{Evidence, RetransmitCause};

use super::decode;

/// An event of the ring buffer as evidence; absent where it is none.
#[must_use]
pub fn event(bytes: &[u8], boot_minus_monotonic: u64) -> Option<Evidence> {
    decode::event(bytes, "me", boot_minus_monotonic)
}

/// A key of the map of retransmits; absent where it is none.
#[must_use]
pub fn retransmit_key(bytes: &[u8]) -> Option<(IpAddr, RetransmitCause)> {
    decode::retransmit_key(bytes.first_chunk()?)
}

/// The name of a drop reason that the kernel has no name for.
#[must_use]
pub fn reason(number: u32) -> String {
    decode::ReasonNames::default().name(number)
}
