//! Whether the packets that leave a socket may be fragmented.

use std::io;
use std::os::fd::AsFd;

use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover};

/// Whether a packet may be fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragmenting {
    /// It must not, whatever is known of the path (`IP_PMTUDISC_PROBE`).
    Never,
    /// It may: over IPv4 on the way as well, by the MTU of the interface, whatever a router said (`IP_PMTUDISC_OMIT`). Routers fragment
    /// nothing of IPv6, so there it is done here by the path MTU, as for any other socket (`IPV6_PMTUDISC_WANT`).
    Allowed,
}

/// What holds for a socket; it is set where it changes only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    is_v4: bool,
    /// Absent where it was never set.
    now: Option<Fragmenting>,
}

impl Setting {
    /// Of a socket that nothing was set for.
    pub(super) fn new(is_v4: bool) -> Self {
        Self { is_v4, now: None }
    }

    /// What holds for the packets that are sent from now on.
    pub(super) fn set(&mut self, socket: impl AsFd, wanted: Fragmenting) -> io::Result<()> {
        if self.now == Some(wanted) {
            return Ok(());
        }
        match (self.is_v4, wanted) {
            (true, Fragmenting::Never) => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::PROBE)?,
            (true, Fragmenting::Allowed) => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::OMIT)?,
            (false, Fragmenting::Never) => set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::PROBE)?,
            (false, Fragmenting::Allowed) => set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::WANT)?,
        }
        self.now = Some(wanted);
        Ok(())
    }
}
