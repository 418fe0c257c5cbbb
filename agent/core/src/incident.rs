//! What Lacuna says: one incident, its verdict, the evidence for it and what the evidence rules out.
//!
//! The shapes serialise to the public document of the contract; everything here is what `explain` prints.

use serde::{Deserialize, Serialize};

use crate::completeness::Completeness;
use crate::evidence::{Fact, HoleReason};
use crate::loss::LossRate;
use crate::trace::TraceId;

/// Every verdict class of the contract. The text form is the kebab-case name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the classes are defined, a sentence each, by `Class::meaning`")]
pub enum Class {
    PathDrop,
    PacketLoss,
    HostIsolated,
    Partition,
    MtuBlackhole,
    SplitBrain,
    TimerLockup,
    CpuLockup,
    SchedulerStall,
    VcpuStall,
    VmPause,
    HypervisorStall,
    CpuSaturation,
    ListenOverflow,
    TrafficFlood,
    ConnectionPileup,
    MemoryExhaustion,
    IoStall,
    HostDown,
    Restart,
    RestartStorm,
    AgentStall,
    #[default]
    Unknown,
}

impl Class {
    /// Every class with its public name and its meaning in one sentence.
    pub const ALL: [(Self, &'static str, &'static str); 23] = [
        (Self::PathDrop, "path-drop", "two hosts that both run lost each other's packets"),
        (Self::PacketLoss, "packet-loss", "a part of the packets on a path is lost, steadily"),
        (Self::HostIsolated, "host-isolated", "one running host lost all of its peers"),
        (Self::Partition, "partition", "the hosts fell apart into two or more groups"),
        (Self::MtuBlackhole, "mtu-blackhole", "small packets pass, large ones vanish"),
        (Self::SplitBrain, "split-brain", "two hosts claim one virtual address"),
        (Self::TimerLockup, "timer-lockup", "a CPU's timer interrupts stopped while the CPU still ran"),
        (Self::CpuLockup, "cpu-lockup", "a CPU ran kernel code with interrupts or preemption off"),
        (Self::SchedulerStall, "scheduler-stall", "tasks were runnable and not run, on a CPU that took its interrupts"),
        (Self::VcpuStall, "vcpu-stall", "the hypervisor did not run one or more of the vCPUs"),
        (Self::VmPause, "vm-pause", "all vCPUs stood still at once"),
        (Self::HypervisorStall, "hypervisor-stall", "several VMs of one hypervisor stood still at once"),
        (Self::CpuSaturation, "cpu-saturation", "more work than CPUs, for long"),
        (Self::ListenOverflow, "listen-overflow", "a listening socket's queue overflowed"),
        (Self::TrafficFlood, "traffic-flood", "one source sends most of the traffic, or many times its normal rate"),
        (Self::ConnectionPileup, "connection-pileup", "idle connections pile up on a listening port"),
        (Self::MemoryExhaustion, "memory-exhaustion", "out-of-memory kills or reclaim stalls"),
        (Self::IoStall, "io-stall", "tasks blocked on storage while network and CPUs are fine"),
        (Self::HostDown, "host-down", "a host is gone and nobody hears it"),
        (Self::Restart, "restart", "a host came back with a new boot"),
        (Self::RestartStorm, "restart-storm", "several hosts restart again and again, together"),
        (Self::AgentStall, "agent-stall", "only Lacuna itself was stopped, starved or not running"),
        (Self::Unknown, "unknown", "a stall that the evidence cannot tell"),
    ];

    /// The public name, such as `path-drop`.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(class, ..)| *class == self).map_or("unknown", |(_, name, _)| name)
    }

    /// What the class says, in one sentence.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        Self::ALL.iter().find(|(class, ..)| *class == self).map_or("", |(.., meaning)| meaning)
    }

    /// The class of that public name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(class, ..)| *class)
    }
}

/// Whether an incident still goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The stall goes on, or its end is not confirmed yet.
    Open,
    /// The stall is over; the document does not change any more.
    Closed,
}

/// Whom or what a verdict is about; only the members that apply are there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The host that stalled, or that this is seen from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host: Option<String>,
    /// The other end of a path.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peer: Option<String>,
    /// The CPU of `host`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cpu: Option<u32>,
    /// Several hosts that it happened to together, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub hosts: Vec<String>,
    /// The virtual address that several hosts claim.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub vip: Option<String>,
    /// `mtu-blackhole`: the largest IP packet that passes, in bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mtu: Option<u16>,
}

/// Which way packets were lost, as seen by the host that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Neither host heard the other.
    Both,
    /// The peer did not hear this host.
    ToPeer,
    /// This host did not hear the peer.
    FromPeer,
}

/// Where packets that were lost were last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LastSeen {
    /// In the kernel of the host that says so, which dropped them.
    ThisKernel,
    /// In the peer's kernel, which dropped them by its account.
    PeerKernel,
    /// They left the protocols of one kernel and never reached those of the other: on the way, in a card, or in what a driver
    /// runs before the protocols (XDP).
    Between,
}

/// Why packets vanish, in one word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reason {
    /// Large ones do.
    Hole(HoleReason),
    /// A kernel's own name for the reason that it dropped them for, such as `NETFILTER_DROP`.
    Drop(String),
}

/// In which way an agent did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentState {
    /// Stopped by a signal, a debugger or the freezer.
    Stopped,
    /// Kept from running by its CPU quota.
    Throttled,
    /// Ended without a goodbye.
    NotRunning,
}

/// What the clock of a virtual machine did while the machine stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockState {
    /// It stood still as well, so the machine itself sees no time pass (kvmclock in a QMP `stop`).
    Stopped,
    /// It went on, and the machine sees that it is late.
    RanOn,
}

/// What a verdict says beyond its class; only the members that apply and were measured are there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// `path-drop`, `packet-loss`, `mtu-blackhole`, `host-isolated`: which way packets were lost.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub direction: Option<Direction>,
    /// `mtu-blackhole`: why large packets vanish. `path-drop`: the kernel's own name for the reason of its drops.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// `path-drop`: where the packets were last seen; absent where that is not known, or differs by direction.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_seen: Option<LastSeen>,
    /// `path-drop` both ways, where they end in different places: where the packets to the peer were last seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_seen_to_peer: Option<LastSeen>,
    /// The same for the packets from the peer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_seen_from_peer: Option<LastSeen>,
    /// `packet-loss`: the part of the small heartbeats from the peer that is lost.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub loss_from_peer: Option<LossRate>,
    /// `packet-loss`: the part of the small heartbeats to the peer that is lost.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub loss_to_peer: Option<LossRate>,
    /// `partition`: the groups that the hosts fell apart into, each sorted, that of the host that says so first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub groups: Vec<Vec<String>>,
    /// `agent-stall`: in which way the agent did not run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<AgentState>,
    /// `vm-pause`, `hypervisor-stall`: what the clock did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub clock: Option<ClockState>,
    /// `cpu-lockup`: the kernel's functions that the CPU was in, innermost first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub stack: Vec<String>,
    /// `cpu-lockup`: the interrupt handler that held the CPU.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub handler: Option<String>,
    /// `scheduler-stall`: the thread that kept the CPU, with its policy.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub running: Option<String>,
    /// `scheduler-stall`, `io-stall`: the tasks that waited.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub waiting: Vec<String>,
    /// Time that the hypervisor gave to others, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub steal_seconds: Option<f64>,
    /// `cpu-saturation`: runnable tasks for each CPU.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub runnable_per_cpu: Option<f64>,
    /// `split-brain`: the link-layer addresses that claim the virtual address.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub links: Vec<String>,
}

impl Detail {
    /// What stays the same while the stall goes on.
    #[must_use]
    pub fn without_running_figures(&self) -> Self {
        Self { steal_seconds: None, runnable_per_cpu: None, ..self.clone() }
    }

    /// True where no member is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The one line an on-call engineer reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which of the fixed classes.
    pub class: Class,
    /// Whom it is about.
    pub subject: Subject,
    /// How sure, from 0 to 1; follows from the evidence that was there, see `rules`.
    pub confidence: f64,
    /// One sentence for people.
    pub summary: String,
    /// What the class says beyond its name.
    #[serde(skip_serializing_if = "Detail::is_empty", default)]
    pub detail: Detail,
}

/// A piece of evidence as an incident cites it: times for people, RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cited {
    /// The host that the fact is about.
    pub host: String,
    /// Begin of the interval.
    pub from: String,
    /// End of the interval; the same as `from` for a moment.
    pub to: String,
    /// What was seen: `kind` and `detail`.
    #[serde(flatten)]
    pub fact: Fact,
}

/// A class that the evidence excludes, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuledOut {
    /// The class that it was not.
    pub class: Class,
    /// The reason, in words.
    pub because: String,
}

/// What the host of an incident runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Kernel release, as `uname -r` has it.
    pub kernel: String,
    /// Kernel command line.
    pub command_line: String,
    /// Current clock source; empty where unreadable.
    pub clock_source: String,
    /// Version of the agent.
    pub agent_version: String,
}

/// How an incident belongs with another trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// It was its own until other hosts told of the same incident.
    Was,
    /// It began while that one lasted, and concerns a host of it.
    Follows,
    /// That one began while it lasted, and concerns a host of it.
    FollowedBy,
}

impl Relation {
    /// The public name, such as `followed-by`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Was => "was",
            Self::Follows => "follows",
            Self::FollowedBy => "followed-by",
        }
    }
}

/// Another trace that an incident belongs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Which.
    pub trace_id: TraceId,
    /// How.
    pub relation: Relation,
}

/// One stall with its verdict: the document of `/api/v1/incidents/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Derived from subject, start and fleet, never random: a replay gives the same. Sorts by start.
    pub id: String,
    /// 16 bytes in hexadecimal, derived alike; all hosts that witness the same incident have the same, once they have told
    /// each other.
    pub trace_id: TraceId,
    /// Other traces that it belongs with.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub links: Vec<Link>,
    /// The host that wrote this document.
    pub observer: String,
    /// Open or closed.
    pub state: State,
    /// True while the verdict may still change.
    pub provisional: bool,
    /// When the stall began, RFC 3339, UTC.
    pub started_at: String,
    /// When it ended; absent while it goes on. It may still be open then: it could come back, or get a better name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended_at: Option<String>,
    /// When the engine first said so.
    pub detected_at: String,
    /// Length of the stall (until now where it goes on), in milliseconds.
    pub duration_ms: u64,
    /// How often the stall came back before the incident could close; 1 for a single one.
    pub occurrences: u32,
    /// Who stalled.
    pub verdict: Verdict,
    /// What the verdict rests on, in order of time.
    pub evidence: Vec<Cited>,
    /// Pieces of evidence that did not fit any more.
    pub evidence_dropped: u64,
    /// Every class that was considered and excluded.
    pub ruled_out: Vec<RuledOut>,
    /// What was not known and would have helped, a sentence each.
    pub missing: Vec<String>,
    /// What evidence the verdict had, and what it lacked.
    #[serde(default)]
    pub completeness: Completeness,
    /// Other hosts whose word was used.
    pub witnesses: Vec<String>,
    /// The host that wrote this document: kernel, command line, clock source, agent version.
    pub host: HostFacts,
}
