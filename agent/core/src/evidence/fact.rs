//! What was seen, of every kind.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    AgentLate, CpuLoad, CpuStall, FragmentLoss, Heartbeat, HoleReport, InterfaceTrouble, IoStuck, KernelDrops,
    KernelMessage, LargeHeartbeat, LinkAddress, RetransmitCause, Size, SizeProbe, StallReport, VipClaim, Way,
};
use crate::incident::Direction;
use crate::loss::LossRate;
use crate::time::WallNanos;

/// What was seen. The text form of the variant is the `kind` of the public document, the content its `detail`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "detail", rename_all = "kebab-case")]
pub enum Fact {
    /// A heartbeat of the peer `host` came in; `to` is when this host's kernel received it.
    Heartbeat(Arc<Heartbeat>),
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
    AgentLate(Box<AgentLate>),
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
        before: Option<Box<str>>,
        /// Its link-layer address now; absent where it does not answer.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        now: Option<Box<str>>,
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
