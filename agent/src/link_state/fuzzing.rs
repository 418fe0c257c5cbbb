//! What fuzz targets feed.

use std::io;
use std::net::IpAddr;

use lacuna_core::evidence::Fact;

use super::{Around, InterfaceWatch, socket};

/// What a watch that knows nothing yet makes of a datagram of netlink about the host `me`, the peer `lb1` at 10.77.0.12
/// and the gateway 10.77.0.1, and how many messages of it could not be understood.
///
/// # Errors
/// There is no netlink here.
pub fn datagram(bytes: &[u8]) -> io::Result<(Vec<(String, Fact)>, u64)> {
    let peers = [("lb1".to_owned(), ([10, 77, 0, 12], 9479).into())];
    let around = Around { host: "me", peers: &peers, gateway: Some(IpAddr::from([10, 77, 0, 1])) };
    let (mut watch, mut facts) = (InterfaceWatch::open(&[])?, Vec::new());
    let refused = socket::messages(bytes, &mut |message| watch.take(&message, &around, &mut facts));
    Ok((facts, refused))
}
