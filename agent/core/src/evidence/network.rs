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

/// Why TCP sent a segment again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetransmitCause {
    /// A SYN or SYN-ACK was not answered.
    Syn,
    /// The retransmission timer ran out (`TCP_CA_Loss`).
    Timeout,
    /// Duplicate acknowledgements or RACK showed the loss (`TCP_CA_Recovery`).
    Fast,
    /// Anything else.
    Other,
    /// A tail loss probe (RFC 8985): sent to find out whether anything was lost.
    LossProbe,
}

/// What a host's kernel dropped of the small heartbeats between it and the host it writes to, since its agent began to count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelDrops {
    /// Of those that came in.
    pub received: u64,
    /// Its own name for the reason of the newest of these, such as `NETFILTER_DROP`, at most [`MAX_REASON`] bytes; absent where
    /// there is none, or it has no name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub received_for: Option<String>,
    /// Of those that were to leave.
    pub sent: u64,
    /// The same for the newest of these.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sent_for: Option<String>,
    /// Those that it refused to send, with an error: many of these are dropped as well, of others no packet was made.
    pub refused: u64,
}

/// Longest name of a reason that a heartbeat carries, in bytes; the longest of Linux 6.18 has 33.
pub const MAX_REASON: usize = 40;

impl KernelDrops {
    /// How many, by way.
    #[must_use]
    pub fn count(&self, way: Way) -> u64 {
        match way {
            Way::In => self.received,
            Way::Out => self.sent.max(self.refused),
        }
    }

    /// Why, by way.
    #[must_use]
    pub fn reason(&self, way: Way) -> Option<&str> {
        let reason = if way == Way::In { &self.received_for } else { &self.sent_for };
        reason.as_deref()
    }

    /// Adds what was dropped since.
    pub fn add(&mut self, way: Way, reason: &str, count: u64) {
        let (sum, known) = match way {
            Way::In => (&mut self.received, &mut self.received_for),
            Way::Out => (&mut self.sent, &mut self.sent_for),
        };
        *sum = sum.saturating_add(count);
        *known = named(reason).map(str::to_owned);
    }

    /// The counts, to measure from.
    #[must_use]
    pub fn counts(&self) -> [u64; 3] {
        [self.received, self.sent, self.refused]
    }

    /// What was dropped since `before`; absent where it counts anew.
    #[must_use]
    pub fn since(&self, before: [u64; 3]) -> Option<Self> {
        let [received, sent, refused] = before;
        let (received, sent) = (self.received.checked_sub(received)?, self.sent.checked_sub(sent)?);
        let refused = self.refused.checked_sub(refused)?;
        // The reason of an earlier drop is none of these.
        let of = |count: u64, reason: &Option<String>| reason.clone().filter(|_| count > 0);
        let (received_for, sent_for) = (of(received, &self.received_for), of(sent, &self.sent_for));
        Some(Self { received, received_for, sent, sent_for, refused })
    }
}

/// The kernel's name of a reason, where it says anything: a packet that is dropped without one has `NOT_SPECIFIED`.
#[must_use]
pub fn named(reason: &str) -> Option<&str> {
    let plain = reason.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    Some(reason).filter(|reason| plain && (1..=MAX_REASON).contains(&reason.len()) && *reason != "NOT_SPECIFIED")
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
