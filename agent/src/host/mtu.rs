//! The MTU of the interface that leads to a host.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::net::sockopt::{ip_mtu, ipv6_mtu};

/// A larger MTU is that of the loopback interface, on which nothing is fragmented.
const LARGEST: u16 = 65_000;

/// The MTU of the interface that packets to `peer` leave by, or less where a router said so; absent where there is no route, or no
/// limit that matters.
#[must_use]
pub fn mtu_to(peer: SocketAddr) -> Option<u16> {
    // Connecting sends nothing: the kernel looks up the route.
    let mtu = if peer.is_ipv4() {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect(peer).ok()?;
        ip_mtu(&socket)
    } else {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect(peer).ok()?;
        ipv6_mtu(&socket)
    };
    mtu.ok().and_then(|mtu| u16::try_from(mtu).ok()).filter(|mtu| *mtu <= LARGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostFiles;

    #[test]
    fn the_loopback_interface_has_no_limit_that_matters() {
        assert_eq!(mtu_to((Ipv4Addr::LOCALHOST, 9).into()), None);
        assert_eq!(mtu_to((Ipv6Addr::LOCALHOST, 9).into()), None);
    }

    #[test]
    fn a_default_route_has_the_mtu_of_its_interface() {
        let Some(gateway) = HostFiles::default().default_gateway() else { return };
        let mtu = mtu_to((gateway, 9).into()).unwrap();
        assert!((576..=9216).contains(&mtu), "{mtu}");
    }
}
