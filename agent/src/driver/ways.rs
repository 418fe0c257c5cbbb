//! The ways out to the peers, and how large a packet may be there.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use lacuna_core::time::Nanos;

use crate::host::mtu::mtu_to;

/// The MTU of the way out is read this often, for each peer.
const READ_MTU: Duration = Duration::from_secs(10);

/// The way out to a peer.
#[derive(Clone, Copy, Debug)]
struct WayOut {
    /// The MTU of the interface; absent where there is no limit that matters.
    mtu: Option<u16>,
    read_at: Nanos,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Ways {
    known: HashMap<String, WayOut>,
}

impl Ways {
    /// The MTU of the interface that packets to that peer leave by; absent where there is no limit that matters.
    pub(super) fn mtu(&mut self, name: &str, addr: SocketAddr, now: Nanos) -> Option<u16> {
        if let Some(way) = self.known.get(name).filter(|way| way.read_at.plus(READ_MTU) > now) {
            return way.mtu;
        }
        let mtu = mtu_to(addr);
        self.known.insert(name.to_owned(), WayOut { mtu, read_at: now });
        mtu
    }

    /// It may be another one by now: the next question reads it anew.
    pub(super) fn forget(&mut self, name: &str) {
        self.known.remove(name);
    }

    /// Forgets who is no peer any more.
    pub(super) fn keep(&mut self, known: impl Fn(&str) -> bool) {
        self.known.retain(|name, _| known(name));
    }
}
