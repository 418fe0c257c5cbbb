//! What can go wrong in the fleet, when, and what must be concluded from it. What it does to hosts and ways is in `deeds`.

use std::time::Duration;

use lacuna_core::incident::{AgentState, Class, ClockState};

use crate::clock::Time;
use crate::host::Host;
use crate::machine::{Landing, Standstill};
use crate::network::Filter;

mod deeds;

/// A fault of one kind.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// What `from` sends to `to` is lost, and the other way as well.
    Drop { from: usize, to: usize, both: bool },
    /// The same, but for echoes.
    Filter { from: usize, to: usize, both: bool, filter: Filter },
    /// A part of it is lost.
    Loss { from: usize, to: usize, both: bool, part: f64 },
    /// What is longer than that is, and fragments where they do not pass.
    Hole { from: usize, to: usize, both: bool, largest: u16, fragments: bool },
    /// One host and all others lose each other's packets.
    Isolated { host: usize },
    /// These hosts and all others do.
    Partition { side: Vec<usize> },
    /// A CPU stands still, and others of its host wait for it.
    Cpu { host: usize, cpu: u32, why: Standstill, landing: Option<Landing>, waiting: Vec<u32> },
    /// Machines stand still as a whole, several where their hypervisor does.
    Pause { hosts: Vec<usize>, clock: ClockState, landings: Vec<Landing> },
    /// An agent does not run.
    Agent { host: usize, state: AgentState },
    /// A machine is booted anew; its kernel may be up for a while before its agent is.
    Restart { host: usize },
    /// A machine is gone for good.
    Down { host: usize },
    /// Storage does not answer.
    Io { host: usize },
    /// More work than CPUs.
    Saturation { host: usize },
    /// Another host than its owner has the virtual address as well.
    SplitBrain { owner: usize, other: usize },
    /// Another host takes over the virtual address from its owner.
    Failover { owner: usize, other: usize },
    /// A machine is stopped, and goes on with the state that it had at `taken`.
    Restored { host: usize, taken: Time },
    /// A wall clock is stepped, by so many milliseconds.
    WallStep { host: usize, by_ms: i64 },
    /// An agent says goodbye, and a new one is started.
    Upgrade { host: usize },
    /// An agent says goodbye, and later its host is nobody's peer any more.
    Leaves { host: usize },
    /// A machine is gone for good, and later it is nobody's peer any more.
    Decommissioned { host: usize },
    /// A machine stands still while it is moved, and what is sent to it is lost until all switches know where it is.
    Migrated { host: usize, clock: ClockState, landings: Vec<Landing> },
    /// What `from` sends to `to` is late by so much, or is held up until it is over and arrives then.
    Late { from: usize, to: usize, both: bool, by: Option<Duration> },
    /// It is late by less than anybody minds.
    Slower { from: usize, to: usize, both: bool, by: Duration },
    /// Each time too short for anybody to mind.
    Stutter(Box<Kind>),
}

/// A fault and when it is.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) from: Time,
    pub(crate) to: Time,
    /// Begin and end of each time that it is, between those two.
    pub(crate) phases: Vec<(Time, Time)>,
    /// It is one of two that befall the same host one shortly after the other: both have that number.
    pub(crate) pair: Option<usize>,
}

impl Kind {
    /// Whether it befalls ways between hosts, not the hosts.
    pub(crate) fn is_of_a_path(&self) -> bool {
        match self {
            Self::Drop { .. } | Self::Filter { .. } | Self::Loss { .. } | Self::Hole { .. } => true,
            Self::Isolated { .. } | Self::Partition { .. } | Self::Late { .. } | Self::Slower { .. } => true,
            Self::Stutter(kind) => kind.is_of_a_path(),
            _ => false,
        }
    }

    /// Whom it is done to.
    pub(crate) fn hosts(&self) -> Vec<usize> {
        match self {
            Self::Drop { from, to, .. }
            | Self::Filter { from, to, .. }
            | Self::Loss { from, to, .. }
            | Self::Hole { from, to, .. }
            | Self::Late { from, to, .. }
            | Self::Slower { from, to, .. } => vec![*from, *to],
            Self::Stutter(kind) => kind.hosts(),
            Self::Isolated { host }
            | Self::Cpu { host, .. }
            | Self::Agent { host, .. }
            | Self::Restart { host }
            | Self::Down { host }
            | Self::Io { host }
            | Self::Saturation { host } => vec![*host],
            Self::Restored { host, .. }
            | Self::Migrated { host, .. }
            | Self::WallStep { host, .. }
            | Self::Upgrade { host }
            | Self::Leaves { host }
            | Self::Decommissioned { host } => vec![*host],
            Self::SplitBrain { owner, other } | Self::Failover { owner, other } => vec![*owner, *other],
            Self::Partition { side } => side.clone(),
            Self::Pause { hosts, .. } => hosts.clone(),
        }
    }

    /// Whether the host does not come back.
    pub(crate) fn is_for_good(&self) -> bool {
        matches!(self, Self::Down { .. } | Self::Leaves { .. } | Self::Decommissioned { .. })
    }

    /// The class that is true; absent where nobody must be blamed for anything.
    pub(crate) fn class(&self) -> Option<Class> {
        Some(match self {
            Self::Drop { .. } | Self::Filter { .. } => Class::PathDrop,
            Self::Loss { .. } => Class::PacketLoss,
            Self::Hole { .. } => Class::MtuBlackhole,
            Self::Isolated { .. } => Class::HostIsolated,
            Self::Partition { .. } => Class::Partition,
            Self::Cpu { why, .. } => why.class(),
            Self::Pause { hosts, .. } if hosts.len() > 1 => Class::HypervisorStall,
            // For the machine the time from the snapshot to its restoring was none.
            Self::Pause { .. } | Self::Restored { .. } | Self::Migrated { .. } => Class::VmPause,
            // Nothing is lost, and nobody stood still.
            Self::Late { .. } => Class::Unknown,
            Self::Agent { .. } => Class::AgentStall,
            Self::Restart { .. } => Class::Restart,
            Self::Down { .. } | Self::Decommissioned { .. } => Class::HostDown,
            Self::Io { .. } => Class::IoStall,
            Self::Saturation { .. } => Class::CpuSaturation,
            Self::SplitBrain { .. } => Class::SplitBrain,
            Self::Failover { .. }
            | Self::WallStep { .. }
            | Self::Upgrade { .. }
            | Self::Leaves { .. }
            | Self::Slower { .. }
            | Self::Stutter(_) => return None,
        })
    }

    /// Whether the evidence of that fleet tells it at all; where it does not, `unknown` is what is right.
    pub(crate) fn is_knowable(&self, fleet: &[Host]) -> bool {
        let has_probes = |host: &usize| fleet[*host].machine.has_probes;
        match self {
            Self::Cpu { host, why, landing, .. } => why.is_knowable(has_probes(host), *landing),
            Self::Pause { hosts, landings, clock: ClockState::RanOn } => {
                (hosts.len() > 1 || tell_a_pause(landings)) && hosts.iter().all(has_probes)
            }
            Self::Migrated { host, landings, clock: ClockState::RanOn } => tell_a_pause(landings) && has_probes(host),
            // Who never answered an echo is not known to be gone by its silence.
            Self::Down { host } | Self::Decommissioned { host } => fleet[*host].answers_echoes,
            // Its numbers go back, and it does not know why; its peers may have its clock to go by.
            Self::Restored { .. } => false,
            _ => true,
        }
    }

    /// From where on it is an incident, by the default settings.
    pub(crate) fn threshold(&self) -> Duration {
        match self {
            Self::Cpu { .. } | Self::Pause { .. } | Self::Migrated { .. } => Duration::from_millis(500),
            Self::Io { .. } => Duration::from_secs(2),
            Self::Saturation { .. } => Duration::from_secs(30),
            Self::Down { .. } | Self::Decommissioned { .. } => Duration::from_secs(10),
            // Two requests, a second apart.
            Self::SplitBrain { .. } => Duration::from_millis(2500),
            // A rate takes some hundred packets.
            Self::Loss { .. } => Duration::from_secs(15),
            Self::Hole { .. } => Duration::from_secs(4),
            _ => Duration::from_millis(300),
        }
    }
}

/// Whether where the CPUs went on tells that none of them ran: of two in the kernel one may have waited for the other, which
/// alone was not run.
fn tell_a_pause(landings: &[Landing]) -> bool {
    let in_kernel = landings.iter().filter(|landing| landing.is_in_kernel()).count();
    // Of one alone it is not known either whether it had its interrupts off.
    in_kernel < landings.len().min(2) || !landings.contains(&Landing::Unclear)
}

impl Fault {
    /// One that is once, all the time.
    pub(crate) fn once(kind: Kind, from: Time, to: Time) -> Self {
        Self { kind, from, to, phases: vec![(from, to)], pair: None }
    }

    /// Whether it and the other one are meant to befall the same host one after the other.
    pub(crate) fn is_paired_with(&self, other: &Self) -> bool {
        self.pair.is_some() && self.pair == other.pair
    }

    /// From when to when its hosts have to do with it.
    pub(crate) fn concerns(&self) -> (Time, Time) {
        let from = if let Kind::Restored { taken, .. } = self.kind { taken } else { self.from };
        let last = self.phases.last().map_or(self.to, |(_, to)| *to);
        (from, if self.kind.is_for_good() { Time(u64::MAX) } else { last.max(self.to) })
    }
}
