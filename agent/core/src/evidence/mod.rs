//! One vocabulary: whatever is seen, by a probe in the kernel, by a heartbeat or in a file under /proc, is an
//! [`Evidence`] value with a host and an interval. Everything after that speaks only of evidence.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::Nanos;

mod cpu;
mod fact;
mod heartbeat;
mod host;
mod link;
mod network;
mod size;
mod story;

pub use cpu::{CpuStall, Handler, Landed, Place, Poke, Running};
pub use fact::Fact;
pub use heartbeat::{Heard, Heartbeat, MAX_STALLS, MAX_VIEWS, OtherViews, PeerView, StallReport, name_hash};
pub use host::{AgentLate, CpuLoad, IoStuck, KernelMessage};
pub use link::{ClaimKind, LinkAddress, NoLinkAddress, VipClaim};
pub use network::{FragmentLoss, InterfaceTrouble, KernelDrops, MAX_REASON, RetransmitCause, Way, named};
pub use size::{FlowReport, HoleReason, HoleReport, LargeHeard, LargeHeartbeat, Size, SizeProbe};
pub use story::{MAX_STORIES, Scope, Story, StoryKind};

/// One observation: what was seen, of which host, in which interval of this host's boot clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The host that the fact is about: this one, or a peer. Shared, since millions of pieces are about the same few.
    pub host: Arc<str>,
    /// Begin of the interval.
    pub from: Nanos,
    /// End of the interval; the same as `from` for a moment.
    pub to: Nanos,
    /// What was seen.
    #[serde(flatten)]
    pub fact: Fact,
}

impl Evidence {
    /// A fact of a moment.
    #[must_use]
    pub fn at(host: &str, at: Nanos, fact: Fact) -> Self {
        Self { host: host.into(), from: at, to: at, fact }
    }

    /// A fact of an interval.
    #[must_use]
    pub fn during(host: &str, from: Nanos, to: Nanos, fact: Fact) -> Self {
        Self { host: host.into(), from, to, fact }
    }
}
