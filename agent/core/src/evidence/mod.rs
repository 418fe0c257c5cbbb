//! One vocabulary: whatever is seen, by a probe in the kernel, by a heartbeat or in a file under /proc, is an
//! [`Evidence`] value with a host and an interval. Everything after that speaks only of evidence.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::incident::{AgentState, Class, ClockState, Direction};
use crate::loss::LossRate;
use crate::time::{Nanos, WallNanos};

mod cpu;
mod link;
mod network;
mod size;
mod story;
pub use size::{FlowReport, HoleReason, HoleReport, LargeHeard, LargeHeartbeat, Size, SizeProbe};

pub use cpu::{CpuStall, Handler, Landed, Place, Poke, Running};
pub use link::{ClaimKind, LinkAddress, NoLinkAddress, VipClaim};
pub use network::{FragmentLoss, InterfaceTrouble, KernelDrops, MAX_REASON, Way, named};
pub use story::{MAX_STORIES, Scope, Story, StoryKind};

/// One observation: what was seen, of which host, in which interval of this host's boot clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The host that the fact is about: this one, or a peer.
    pub host: String,
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
        Self { host: host.to_owned(), from: at, to: at, fact }
    }

    /// A fact of an interval.
    #[must_use]
    pub fn during(host: &str, from: Nanos, to: Nanos, fact: Fact) -> Self {
        Self { host: host.to_owned(), from, to, fact }
    }
}

/// What was seen. The text form of the variant is the `kind` of the public document, the content its `detail`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "detail", rename_all = "kebab-case")]
pub enum Fact {
    /// A heartbeat of the peer `host` came in; `to` is when this host's kernel received it.
    Heartbeat(Box<Heartbeat>),
    /// A heartbeat left for the peer `host`.
    HeartbeatSent {
        /// Its number.
        seq: u64,
        /// The error, where this host's own kernel refused it (the number is used up all the same).
        #[serde(skip_serializing_if = "Option::is_none", default)]
        error: Option<String>,
    },
    /// A large heartbeat of the peer `host` came in.
    LargeHeartbeat(LargeHeartbeat),
    /// A large heartbeat left for the peer `host`.
    LargeSent {
        /// Which size.
        size: Size,
        /// Length as an IP packet.
        bytes: u16,
        /// Its number.
        seq: u64,
    },
    /// Packets of the peer `host` came in again, and were told by their tags: they say nothing new.
    Duplicates {
        /// Which size.
        size: Size,
        /// How many.
        count: u64,
    },
    /// A size probe of the peer `host` came in.
    SizeProbe(SizeProbe),
    /// A size probe left for the peer `host`.
    SizeProbeSent(SizeProbe),
    /// A router on the way to `host`, or this host's own kernel, said that no larger packet passes (ICMP "fragmentation
    /// needed", RFC 1191; "packet too big", RFC 8201).
    TooBig {
        /// The largest IP packet that passes, in bytes.
        mtu: u16,
    },
    /// Derived: what became of the large heartbeats to `host`.
    Sizes {
        /// Which size.
        size: Size,
        /// Length as an IP packet.
        bytes: u16,
        /// How many left.
        sent: u64,
        /// How many of these `host` says that it heard.
        heard: u64,
    },
    /// What `host` says of the way from it to this host.
    Hole(HoleReport),
    /// Derived: a part of the small heartbeats between this host and `host` is lost all the time.
    Loss {
        /// Which way.
        direction: Direction,
        /// The part.
        rate: LossRate,
    },
    /// This host's own kernel refused to send heartbeats to `host`.
    SendRefused {
        /// What it said.
        error: String,
        /// How many.
        count: u64,
    },
    /// An echo request left for `host`.
    EchoSent,
    /// `host` answered an echo request; `from` is when it left, `to` when the kernel received the answer.
    EchoReply,
    /// The kernel of `host` said that nobody listens on its heartbeat port (ICMP type 3 code 3, from its own address).
    PortUnreachable,
    /// Packets came to this host's heartbeat port from the address of `host` and did not count, whoever sent them.
    Refused {
        /// Why, as the metric `lacuna_packets_refused_total` names it.
        reason: String,
        /// How many.
        count: u64,
    },
    /// Both clocks, read together.
    Clock {
        /// The wall clock at `to`.
        wall: WallNanos,
    },
    /// The agent of this host should have run at `from` and ran at `to`.
    AgentLate(AgentLate),
    /// A timer on a CPU of this host was late: due at `from`, expired at `to`.
    TimerLate {
        /// The CPU.
        cpu: u32,
    },
    /// A task of this host was runnable from `from` on and ran at `to`.
    RunqueueDelay {
        /// The CPU it ran on in the end.
        cpu: u32,
        /// Its thread id.
        pid: u32,
        /// Its name, at most 15 bytes.
        comm: String,
    },
    /// A CPU of this host stands still, or did: due at `from`, overdue (or running again) at `to`.
    CpuStall(Box<CpuStall>),
    /// How busy this host's CPUs were.
    CpuLoad(CpuLoad),
    /// Tasks of this host that wait for storage and do not go on.
    IoStuck(IoStuck),
    /// The kernel of this host said so in its log.
    KernelMessage(KernelMessage),
    /// A softirq of this host was raised at `from` and ran at `to`.
    SoftirqDelay {
        /// The CPU.
        cpu: u32,
        /// Which one, such as `NET_RX`.
        softirq: String,
    },
    /// The kernel of this host reports a stall of its RCU grace periods.
    RcuStall {
        /// Its own words.
        detail: String,
    },
    /// The kernel's detector of hung tasks reports one.
    TaskHung {
        /// Its thread id.
        pid: u32,
        /// Its name, at most 15 bytes.
        comm: String,
    },
    /// Derived: the clock of this host stood still while `host` went on; by how much, in nanoseconds.
    ClockStood {
        /// How much more time passed for `host` than for this host.
        behind_ns: u64,
    },
    /// What the hypervisor took from a CPU of this host.
    Steal {
        /// The CPU.
        cpu: u32,
        /// How much of the interval, in nanoseconds.
        stolen_ns: u64,
    },
    /// TCP segments sent again to `host`.
    Retransmits {
        /// Why.
        cause: RetransmitCause,
        /// How many.
        count: u64,
        /// Attempts that this host's own stack could not carry out, not in `count`.
        failed: u64,
    },
    /// Packets that this host's kernel dropped, in the agent's network namespace.
    Drops {
        /// The kernel's own name for the reason.
        reason: String,
        /// How many.
        count: u64,
    },
    /// From then on this host's kernel counts what it drops of the small heartbeats from and to `host`: what it does not tell
    /// of, it did not drop.
    HeartbeatDropsCounted,
    /// Small heartbeats from (in) or to (out) `host` that this host's kernel dropped.
    HeartbeatDrops {
        /// In: on their arrival. Out: before they left.
        direction: Way,
        /// The kernel's own name for the reason.
        reason: String,
        /// How many.
        count: u64,
    },
    /// Derived: what `host` says that its kernel dropped of the small heartbeats between it and this host.
    PeerDrops(KernelDrops),
    /// Datagrams that the receive buffer of this host's agent had no room for.
    SocketOverflow {
        /// How many.
        count: u64,
    },
    /// Events that the probes could not hand over since the ring buffer was full.
    EventsLost {
        /// How many.
        count: u64,
    },
    /// Derived: the kernel of this host received nothing from `host` between `from` and `to`.
    Silence {
        /// Heartbeats that the peer sent and that did not arrive; absent while it is not back.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        lost: Option<u64>,
        /// For how long the peer sent none, by its own send times, in nanoseconds; absent while it is not back.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        unsent_ns: Option<u64>,
    },
    /// Derived: what `host` says that it received of this host's heartbeats.
    Unheard {
        /// Sent to it.
        sent: u64,
        /// Of these received by it.
        heard: u64,
    },
    /// Derived: whether the kernel of `host` answered echo requests.
    Echo {
        /// Requests sent in the interval.
        sent: u64,
        /// Requests answered.
        answered: u64,
    },
    /// What `host` says of its own stall.
    Account(StallReport),
    /// What another host sees of `host`.
    View {
        /// Who says so.
        witness: String,
        /// Whether it hears it.
        hears: bool,
        /// Whether the kernel of `host` answers it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        kernel_answers: Option<bool>,
    },
    /// Derived: `host` has another boot id than before.
    NewBoot {
        /// The boot id before, in hexadecimal.
        before: String,
        /// The boot id now, in hexadecimal.
        now: String,
    },
    /// Derived: the agent of `host` was started anew without a goodbye, the host was not.
    NewIncarnation,
    /// Derived: which way packets between this host and `host` were lost.
    Lost {
        /// The direction.
        direction: Direction,
    },
    /// `host` answered ARP requests for its own address (RFC 826): its kernel answers at link level.
    ArpReply {
        /// The address that was asked for.
        address: IpAddr,
        /// Who answered.
        link: LinkAddress,
        /// How often.
        count: u64,
    },
    /// This host asked at link level who has a watched virtual address; answers come in until it asks again.
    VipAsked {
        /// The address.
        vip: IpAddr,
    },
    /// Somebody claims a watched virtual address, as `host` sees it.
    VipClaim(VipClaim),
    /// An interface of this host got a carrier, or lost it.
    Carrier {
        /// Its name.
        interface: String,
        /// It has one now, and is up.
        up: bool,
    },
    /// An interface of this host has another MTU.
    MtuChanged {
        /// Its name.
        interface: String,
        /// In bytes.
        before: u32,
        /// In bytes.
        now: u32,
    },
    /// An interface of this host has an address more or less.
    AddressChanged {
        /// Its name.
        interface: String,
        /// The address.
        address: IpAddr,
        /// It has it now.
        added: bool,
    },
    /// This host has another link-layer address for `host`, or for its default gateway.
    NeighbourChanged {
        /// The interface that it is reached by.
        interface: String,
        /// The neighbour.
        address: IpAddr,
        /// It is the default gateway: every peer behind it is concerned.
        #[serde(skip_serializing_if = "std::ops::Not::not", default)]
        gateway: bool,
        /// Its link-layer address before, in hexadecimal; absent where there was none.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        before: Option<String>,
        /// Its link-layer address now; absent where it does not answer.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        now: Option<String>,
    },
    /// Datagrams that did not get through in fragments: from or to `host` where it is a peer, of this host as a whole
    /// otherwise.
    Fragments {
        /// In: could not be put together. Out: could not be fragmented.
        direction: Way,
        /// Why.
        result: FragmentLoss,
        /// How many datagrams.
        count: u64,
    },
    /// ICMP messages that a packet is too big and must not be fragmented, about packets to `host` (in) or from `host` (out)
    /// where it is a peer, of this host as a whole otherwise.
    FragNeeded {
        /// In: this host was told. Out: this host told.
        direction: Way,
        /// The MTU that the last one named; absent where it is not known.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        mtu: Option<u32>,
        /// How many messages.
        count: u64,
    },
    /// This host's kernel holds another path MTU for `host`.
    PathMtu {
        /// In bytes; absent where the kernel had learned none.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        before: Option<u32>,
        /// In bytes; absent where it has forgotten what it learned.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        now: Option<u32>,
    },
    /// How large the TCP segments were that were sent again to `host` after a loss: without SYNs, and without loss probes,
    /// which are sent before a loss is known.
    RetransmitSizes {
        /// How many.
        count: u64,
        /// The smallest one with data, in bytes of payload.
        smallest: u64,
        /// The largest one, in bytes of payload.
        largest: u64,
    },
    /// An interface of this host counted something against itself.
    InterfaceErrors {
        /// Its name.
        interface: String,
        /// What.
        what: InterfaceTrouble,
        /// How many packets.
        count: u64,
    },
    /// TCP connections of this host whose receiver had no room left.
    ZeroWindows {
        /// Out: this host said so. In: this host asked a peer that had said so.
        direction: Way,
        /// How often.
        count: u64,
    },
    /// Datagrams that the receive buffers of sockets on this host had no room for.
    ReceiveOverflow {
        /// How many.
        count: u64,
    },
    /// Packets that the kernel of this host had no room for between card and protocols (`softnet_stat`).
    SoftnetDrops {
        /// How many.
        count: u64,
    },
    /// An interface of this host did not transmit for too long.
    TransmitTimeout {
        /// Its name.
        interface: String,
        /// Which of its queues.
        queue: u32,
    },
}

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

/// What the agent knows of the time in which it did not run. A figure that could not be read is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentLate {
    /// How long its thread ran since the begin of its last turn (`/proc/thread-self/schedstat`, 1st field), in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ran_ns: Option<u64>,
    /// How long its thread was runnable without running (`/proc/thread-self/schedstat`, 2nd field), in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waited_ns: Option<u64>,
    /// How long its cgroup was throttled (`cpu.stat`), in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub throttled_ns: Option<u64>,
    /// A SIGCONT came: somebody let the stopped agent go on.
    pub continued: bool,
    /// Of the CPUs that the agent slept and woke on, the one that lost more to the hypervisor, and how much, in
    /// nanoseconds, since the begin of its last turn.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub steal: Option<(u32, u64)>,
    /// The part of all CPUs' time that was not idle, from 0 to 1, since the begin of its last turn.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub busy: Option<f64>,
    /// Growth of the boot clock beyond the monotonic one (a suspend), in nanoseconds.
    pub suspended_ns: u64,
    /// Whether the timer probe was attached, so that the absence of late timers means something.
    pub timers_watched: bool,
    /// How many CPUs have a sentinel that tells of their stalls.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub cpus_watched: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Tasks of this host that wait for storage and have not run at all since the begin of the interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IoStuck {
    /// The last of them went on at the end of the interval.
    pub over: bool,
    /// Their names with the kernel function that they wait in; a few.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tasks: Vec<String>,
    /// Tasks that were blocked on storage at its end (`procs_blocked`); absent where not readable.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blocked: Option<u32>,
    /// For how long of it some task waited for storage (`/proc/pressure/io`, weighted by what each CPU had to do), in
    /// nanoseconds; absent where the kernel does not measure it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub some_ns: Option<u64>,
    /// For how long of it no task ran since all waited, in nanoseconds; absent where the kernel does not measure it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub full_ns: Option<u64>,
}

/// What a kernel said in its log of a lock-up, a stall or a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelMessage {
    /// What it is about, such as `soft-lockup`.
    pub about: String,
    /// The CPU that it names.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cpu: Option<u32>,
    /// The kernel's own words, at most one line.
    pub text: String,
}

/// How busy a host's CPUs were in an interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuLoad {
    /// CPUs that are online.
    pub cpus: u32,
    /// The part of all CPUs' time that was not idle, from 0 to 1.
    pub busy: f64,
    /// The part of all CPUs' time that the hypervisor gave to others, from 0 to 1.
    pub steal: f64,
    /// Tasks that ran or wanted to at the end of the interval (`procs_running`).
    pub runnable: u32,
    /// The part of the interval in which some task waited for a CPU (`/proc/pressure/cpu`, some).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pressure: Option<f64>,
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
