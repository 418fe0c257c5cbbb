//! Heartbeats of several sizes, and what they tell of a path.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Nanos;

/// How large a heartbeat is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// It fits everywhere; the only one that says anything.
    Small,
    /// One packet of exactly the MTU that must not be fragmented.
    Mtu,
    /// Beyond the MTU, so that its sender fragments it.
    Fragmented,
}

impl Size {
    /// Every size with its public name.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Small, "small"), (Self::Mtu, "mtu"), (Self::Fragmented, "fragmented")];

    /// Its place in a list that has one of each.
    #[must_use]
    pub fn place(self) -> usize {
        match self {
            Self::Small => 0,
            Self::Mtu => 1,
            Self::Fragmented => 2,
        }
    }

    /// The public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(size, _)| *size == self).map_or("small", |(_, name)| name)
    }
}

/// A large heartbeat: it is heard, or it is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeHeartbeat {
    /// Which size.
    pub size: Size,
    /// Length as an IP packet, before it is fragmented.
    pub bytes: u16,
    /// Grows by one for each of this size to this host; starts at 1 with an incarnation.
    pub seq: u64,
    /// The sender's boot clock when it sent.
    pub sent_at: Nanos,
    /// The sender's boot id.
    pub boot_id: [u8; 16],
    /// Grows with each start of the sender's agent.
    pub incarnation: u64,
}

/// What a host heard of the large heartbeats of the one it writes to, since the incarnation that its [`Heard`] names.
///
/// [`Heard`]: super::Heard
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeHeard {
    /// Which size.
    pub size: Size,
    /// Highest number that was heard.
    pub seq: u64,
    /// How many were heard.
    pub count: u64,
}

/// How the packets of one size came in, as their receiver tells the one that sent them; all since the sender's agent started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowReport {
    /// Which size.
    pub size: Size,
    /// Packets that came in again.
    pub duplicates: u64,
    /// Packets that were overtaken by later ones.
    pub reordered: u64,
    /// How much the time on the way varies from packet to packet (RFC 3550, 6.4.1); absent before the second one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub variation: Option<Duration>,
}

/// A packet of a certain size that must not be fragmented, to find the largest that passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeProbe {
    /// Which of the questions it belongs to; grows by one with each.
    pub id: u32,
    /// Length as an IP packet.
    pub bytes: u16,
}

/// Why large packets vanish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoleReason {
    /// Large packets vanish, whether they may be fragmented or not.
    DfDropped,
    /// Single packets of the MTU pass, the fragments of larger ones vanish.
    FragmentsLost,
    /// What may be fragmented passes, so a router on the way has a smaller MTU; its word about that (ICMP
    /// "fragmentation needed", RFC 1191; "packet too big", RFC 8201) does not arrive.
    FragNeededLost,
}

/// What a host says of the way from it to the host it writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoleReport {
    /// Why large packets vanish.
    pub reason: HoleReason,
    /// The largest IP packet that passes whole; absent while that is being found out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub passes: Option<u16>,
}
