//! What a host's own kernel says of its network.

use serde::{Deserialize, Serialize};

/// Which way something went, seen from the host that the evidence is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// It came in.
    In,
    /// It went out.
    Out,
}

/// Why a datagram did not get through in fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FragmentLoss {
    /// Out: too big, and not to be fragmented. In: its fragments did not fit together, or there was no room for them.
    Failed,
    /// In: not all of its fragments came in time (30 s for IPv4, 60 s for IPv6 by default).
    Expired,
}

/// What a network interface counts against itself. The public name is the kebab-case one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InterfaceTrouble {
    /// Bad packets received (`rx_errors`).
    RxErrors,
    /// Received packets that there was no room for in the card (`rx_missed_errors`).
    RxMissed,
    /// Received packets that were dropped (`rx_dropped`); also those of protocols that nobody here speaks.
    RxDropped,
    /// Packets that could not be sent (`tx_errors`).
    TxErrors,
    /// Packets that were dropped on their way out (`tx_dropped`).
    TxDropped,
    /// Packets that were lost for want of a carrier (`tx_carrier_errors`).
    TxCarrier,
    /// Packets that its queueing discipline dropped.
    QueueDropped,
}

impl InterfaceTrouble {
    /// Every kind with its public name.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::RxErrors, "rx-errors"),
        (Self::RxMissed, "rx-missed"),
        (Self::RxDropped, "rx-dropped"),
        (Self::TxErrors, "tx-errors"),
        (Self::TxDropped, "tx-dropped"),
        (Self::TxCarrier, "tx-carrier"),
        (Self::QueueDropped, "queue-dropped"),
    ];

    /// Its public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_document() {
        for (kind, name) in InterfaceTrouble::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), name);
            assert_eq!(kind.name(), name);
        }
    }
}
