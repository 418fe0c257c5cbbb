//! What a frame says, or why it is not believed.

use std::net::IpAddr;

use lacuna_core::evidence::LinkAddress;

/// A frame that is not taken, by what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It ends too early.
    #[error("short")]
    Short,
    /// It is neither ARP nor a neighbour advertisement.
    #[error("kind")]
    Kind,
    /// ARP for something else than Ethernet and IPv4, or with lengths that do not fit these.
    #[error("hardware")]
    Hardware,
    /// ARP that neither asks nor answers.
    #[error("operation")]
    Operation,
    /// Its sender cannot be one interface with one address.
    #[error("sender")]
    Sender,
    /// A neighbour advertisement that came through a router (RFC 4861, 7.1.2: the hop limit must be 255).
    #[error("hop-limit")]
    HopLimit,
    /// Its checksum is wrong.
    #[error("checksum")]
    Checksum,
    /// A neighbour advertisement whose options do not fit into it.
    #[error("option")]
    Options,
}

impl Refused {
    /// Its name in metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Kind => "kind",
            Self::Hardware => "hardware",
            Self::Operation => "operation",
            Self::Sender => "sender",
            Self::HopLimit => "hop-limit",
            Self::Checksum => "checksum",
            Self::Options => "option",
        }
    }
}

/// What a frame says: who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The address.
    pub address: IpAddr,
    /// Who has it.
    pub link: LinkAddress,
    /// It answers a request of this host.
    pub answers: bool,
}
