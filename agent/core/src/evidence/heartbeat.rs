//! What hosts tell each other in heartbeats.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FlowReport, HoleReport, KernelDrops, LargeHeard, SizeProbe, Story};
use crate::incident::{AgentState, Class, ClockState};
use crate::time::{Nanos, WallNanos};

/// What a peer says in a heartbeat. Times called `sent_*` are on the peer's own clocks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Grows by one for each heartbeat to this host; starts at 1 with an incarnation.
    pub seq: u64,
    /// The sender's boot clock when it sent.
    pub sent_at: Nanos,
    /// The sender's wall clock when it sent.
    pub sent_wall: WallNanos,
    /// The sender's boot id (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: [u8; 16],
    /// Grows with each start of the sender's agent.
    pub incarnation: u64,
    /// The sender ends and says goodbye: its silence is no stall.
    pub goodbye: bool,
    /// What the sender last heard of this host; absent where it never did.
    pub heard: Option<Heard>,
    /// Datagrams that the sender's receive buffer had no room for since its agent started (`SO_RXQ_OVFL`), and those from
    /// the receiver's address that it refused: what it did not hear of these was not lost on the way.
    pub overflow: u64,
    /// The sender's own recent stalls, newest last, at most [`MAX_STALLS`].
    pub stalls: Vec<StallReport>,
    /// What the sender sees of the others, at most [`MAX_VIEWS`]: of those that it tells of this time.
    pub views: Vec<PeerView>,
    /// What is true of those that it told of before and does not this time; absent where it tells of all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub others: Option<OtherViews>,
    /// What the sender heard of this host's large heartbeats.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub large: Vec<LargeHeard>,
    /// How this host's packets came in at the sender, by size; absent for a size of which too few did.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub flows: Vec<FlowReport>,
    /// The newest size probe of this host that the sender received.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub probe: Option<SizeProbe>,
    /// Where large packets of the sender do not reach this host: why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hole: Option<HoleReport>,
    /// What the sender's kernel dropped of the small heartbeats between it and this host; absent where that is not counted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drops: Option<KernelDrops>,
    /// [`name_hash`] of the sender's label `hypervisor`; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hypervisor: Option<u64>,
    /// Incidents of the sender, at most [`MAX_STORIES`]: they take turns.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub stories: Vec<Story>,
}

/// Most stall reports that a heartbeat carries.
pub const MAX_STALLS: usize = 8;
/// Most views of other peers that a heartbeat carries.
pub const MAX_VIEWS: usize = 64;

/// What a host last heard of the one it writes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Incarnation of the agent that was heard.
    pub incarnation: u64,
    /// Highest number that was heard.
    pub seq: u64,
    /// How many were heard of that incarnation.
    pub count: u64,
    /// How long before the sending the highest number had reached the kernel.
    pub age: Duration,
}

/// A stall that a host noticed of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StallReport {
    /// Begin, on the boot clock of the host that stalled.
    pub from: Nanos,
    /// End, on the boot clock of the host that stalled; the time of the report while it goes on.
    pub to: Nanos,
    /// Its own verdict.
    pub class: Class,
    /// With `agent-stall`: in which way.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<AgentState>,
    /// The CPU that stalled, where it was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cpu: Option<u32>,
    /// With `vm-pause`: what the clock did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub clock: Option<ClockState>,
    /// It goes on.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub open: bool,
    /// The host may not have heard others meanwhile, nor been able to send.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub deaf: bool,
}

/// What a host sees of one of its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// [`name_hash`] of the peer's name.
    pub peer: u64,
    /// How long ago it was last heard; absent where it never was.
    pub heard_age: Option<Duration>,
    /// Whether its kernel answers echo requests; absent where that is not known.
    pub kernel_answers: Option<bool>,
    /// For how long it has been heard without a gap; absent where it was never heard.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub heard_for: Option<Duration>,
}

/// What a heartbeat says of those that its sender watches and that it does not tell of: all is well with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherViews {
    /// Each was last heard within this time before, and without a gap since it was told of.
    pub heard_within: Duration,
    /// All that the sender watches but the receiver, those that it tells of among them: their [`name_hash`]es, joined by
    /// exclusive or.
    pub all: u64,
}

/// A host's name in 8 bytes: the first ones of its BLAKE3 hash.
#[must_use]
pub fn name_hash(name: &str) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(name.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(first)
}
