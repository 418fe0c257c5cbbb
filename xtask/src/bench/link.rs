//! Two hosts on one link: the one that is measured, and another that has an address for each of its peers.

use std::net::Ipv4Addr;

use anyhow::Result;

use crate::lab::netns::{Namespace, fresh_prefix};

/// Most peers: their last byte.
pub(crate) const MOST: u8 = 250;
/// The address of the host that is measured.
pub(crate) const MEASURED: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);

/// See the module's documentation; all of it goes away with this value.
pub(crate) struct Link {
    /// The host that is measured, at [`MEASURED`].
    pub(crate) measured: Namespace,
    /// Everybody else.
    pub(crate) others: Namespace,
}

impl Link {
    /// With so many peers; the host that is measured has as many further addresses where `paired`, since bird takes one
    /// session for each address of the other end.
    pub(crate) fn create(peers: u8, paired: bool) -> Result<Self> {
        let prefix = fresh_prefix();
        let measured = Namespace::create(&format!("{prefix}-measured"))?;
        let others = Namespace::create(&format!("{prefix}-others"))?;
        measured.ip(&format!("link add eth0 type veth peer name eth0 netns {}\n", others.name()))?;
        let own = (1..=peers).filter(|_| paired).map(own).chain([MEASURED]);
        measured.ip(&lines(own))?;
        others.ip(&lines((1..=peers).map(peer)))?;
        Ok(Self { measured, others })
    }
}

/// The address of that peer.
pub(crate) fn peer(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, 2, number)
}

/// The address of the measured host that is paired with that peer's.
pub(crate) fn own(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, 1, number)
}

fn lines(addresses: impl Iterator<Item = Ipv4Addr>) -> String {
    let add = addresses.map(|address| format!("address add {address}/16 dev eth0\n"));
    add.chain(["link set eth0 up\n".to_owned()]).collect()
}
