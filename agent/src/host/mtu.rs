//! The MTU of the interface that leads to a host.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use super::HostFiles;

/// A larger MTU is that of the loopback interface, on which nothing is fragmented.
const LARGEST: u16 = 65_000;

impl HostFiles {
    /// The MTU of the interface that packets to `peer` leave by, or less where a router said so; absent where there is no route, or no limit that matters.
    #[must_use]
    pub fn mtu_to(&self, peer: SocketAddr) -> Option<u16> {
        let unspecified: SocketAddr = if peer.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        // Connecting sends nothing: the kernel looks up the route.
        let socket = UdpSocket::bind(unspecified).ok()?;
        socket.connect(peer).ok()?;
        if peer.is_ipv4() {
            let mtu = nix::sys::socket::getsockopt(&socket, nix::sys::socket::sockopt::IpMtu).ok()?;
            return u16::try_from(mtu).ok().filter(|mtu| *mtu <= LARGEST);
        }
        // There is no such option in the crates that are used: by the interface that has this address.
        let own = socket.local_addr().ok()?.ip();
        let interface = nix::ifaddrs::getifaddrs().ok()?.find(|found| address(found) == Some(own))?.interface_name;
        let mtu: u32 = self.read(&format!("sys/class/net/{interface}/mtu"))?.trim().parse().ok()?;
        u16::try_from(mtu).ok().filter(|mtu| *mtu <= LARGEST)
    }
}

fn address(of: &nix::ifaddrs::InterfaceAddress) -> Option<IpAddr> {
    let storage = of.address.as_ref()?;
    let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_no_limit_that_matters() {
        assert_eq!(HostFiles::default().mtu_to(([127, 0, 0, 1], 9).into()), None);
    }

    #[test]
    fn a_default_route_has_the_mtu_of_its_interface() {
        let files = HostFiles::default();
        let Some(gateway) = files.default_gateway() else { return };
        let mtu = files.mtu_to((gateway, 9).into()).unwrap();
        assert!((576..=9216).contains(&mtu), "{mtu}");
    }
}
