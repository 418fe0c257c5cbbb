//! This host's network interfaces and their addresses (`getifaddrs(3)`).
//!
//! The kernel answers under a lock that it may hold for as long as something else changes its interfaces, so this is not
//! for the driver's thread.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use lacuna_core::evidence::LinkAddress;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

/// Interfaces that are looked at: a host of containers has hundreds.
const MAX_INTERFACES: usize = 4096;

/// An address of an interface, with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    pub(super) prefix: u32,
}

impl Address {
    /// Whether the other one is of its network.
    pub(super) fn reaches(&self, other: IpAddr) -> bool {
        match (self.ip, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - self.prefix.min(32)).unwrap_or(0);
                self.prefix < 32 && (u32::from(own) ^ u32::from(other)) & mask == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - self.prefix.min(128)).unwrap_or(0);
                self.prefix < 128 && (u128::from(own) ^ u128::from(other)) & mask == 0
            }
            _ => false,
        }
    }
}

/// An interface as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) index: u32,
    /// Its own link-layer address; all zero where it has none.
    pub(super) link: LinkAddress,
    pub(super) up: bool,
    /// It speaks Ethernet, does so with neighbours that it has to find, and is not the loopback.
    pub(super) has_neighbours: bool,
    pub(super) addresses: Vec<Address>,
}

/// All interfaces, by index.
///
/// # Errors
/// What the kernel says.
pub(super) fn read() -> io::Result<Vec<Interface>> {
    Ok(assemble(getifaddrs()?))
}

fn assemble(entries: impl Iterator<Item = InterfaceAddress>) -> Vec<Interface> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    for entry in entries {
        // An IPv4 address may have a label of its own, such as eth0:1.
        let name = entry.interface_name.split(':').next().unwrap_or_default().to_owned();
        if found.len() == MAX_INTERFACES && !found.contains_key(&name) {
            continue;
        }
        let interface = found.entry(name.clone()).or_insert_with(|| Interface { name, ..Interface::default() });
        interface.take(&entry);
    }
    let mut all: Vec<Interface> = found.into_values().filter(|interface| interface.index != 0).collect();
    all.sort_by_key(|interface| interface.index);
    all
}

impl Interface {
    fn take(&mut self, entry: &InterfaceAddress) {
        self.up = entry.flags.contains(InterfaceFlags::IFF_UP);
        let Some(address) = &entry.address else { return };
        if let Some(link) = address.as_link_addr() {
            let ethernet = link.hatype() == libc::ARPHRD_ETHER && link.halen() == 6;
            let alone = InterfaceFlags::IFF_LOOPBACK | InterfaceFlags::IFF_NOARP;
            self.index = u32::try_from(link.ifindex()).unwrap_or(0);
            self.link = LinkAddress(link.addr().unwrap_or_default());
            self.has_neighbours = ethernet && !entry.flags.intersects(alone) && self.link.is_of_one();
        } else if let Some(ip) = ip(address) {
            let prefix = entry.netmask.as_ref().and_then(ip_of_mask).map_or(u32::MAX, ones);
            self.addresses.push(Address { ip, prefix });
        }
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

fn ip_of_mask(mask: &SockaddrStorage) -> Option<IpAddr> {
    ip(mask)
}

fn ones(mask: IpAddr) -> u32 {
    match mask {
        IpAddr::V4(mask) => u32::from(mask).leading_ones(),
        IpAddr::V6(mask) => u128::from(mask).leading_ones(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_there_and_has_no_neighbours() {
        let all = read().unwrap();
        let lo = all.iter().find(|interface| interface.name == "lo").unwrap();
        assert!(!lo.has_neighbours && lo.index > 0);
        assert!(!lo.up || lo.addresses.iter().any(|address| address.ip.is_loopback()));
    }

    #[test]
    fn an_address_reaches_its_own_network() {
        let reaches = |own: &str, prefix, other: &str| {
            Address { ip: own.parse().unwrap(), prefix }.reaches(other.parse().unwrap())
        };
        assert!(reaches("10.77.0.11", 24, "10.77.0.100"));
        assert!(!reaches("10.77.0.11", 24, "10.77.1.100"));
        assert!(!reaches("10.77.0.100", 32, "10.77.0.100"), "an address alone is no network");
        assert!(reaches("10.77.0.11", 0, "192.0.2.1"));
        assert!(reaches("fd00::1", 64, "fd00::100"));
        assert!(!reaches("fd00::1", 64, "fd00:0:0:1::100"));
        assert!(!reaches("fd00::1", 64, "10.77.0.1"));
    }
}
