//! What can go wrong in the fleet, what it does to it, and what must be concluded from it.

use std::time::Duration;

use lacuna_core::evidence::AgentLate;
use lacuna_core::incident::{AgentState, Class, ClockState};
use lacuna_core::time::nanos;

use crate::chance::Chance;
use crate::clock::Time;
use crate::host::{Asleep, Host};
use crate::machine::{Landing, Standstill};
use crate::network::Network;

/// A fault of one kind.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// What `from` sends to `to` is lost, and the other way as well.
    Drop { from: usize, to: usize, both: bool },
    /// A part of it is.
    Loss { from: usize, to: usize, both: bool, part: f64 },
    /// What is longer than that is, and fragments where they do not pass.
    Hole { from: usize, to: usize, both: bool, largest: u16, fragments: bool },
    /// One host and all others lose each other's packets.
    Isolated { host: usize },
    /// These hosts and all others do.
    Partition { side: Vec<usize> },
    /// A CPU stands still.
    Cpu { host: usize, cpu: u32, why: Standstill, landing: Option<Landing> },
    /// Machines stand still as a whole, several where their hypervisor does.
    Pause { hosts: Vec<usize>, clock: ClockState, landings: Vec<Landing> },
    /// An agent does not run.
    Agent { host: usize, state: AgentState },
    /// A machine is booted anew.
    Restart { host: usize },
    /// A machine is gone for good.
    Down { host: usize },
    /// Storage does not answer.
    Io { host: usize },
    /// More work than CPUs.
    Saturation { host: usize },
}

/// A fault and when it is.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) from: Time,
    pub(crate) to: Time,
}

impl Kind {
    /// Whom it is done to.
    pub(crate) fn hosts(&self) -> Vec<usize> {
        match self {
            Self::Drop { from, to, .. } | Self::Loss { from, to, .. } | Self::Hole { from, to, .. } => vec![*from, *to],
            Self::Isolated { host }
            | Self::Cpu { host, .. }
            | Self::Agent { host, .. }
            | Self::Restart { host }
            | Self::Down { host }
            | Self::Io { host }
            | Self::Saturation { host } => vec![*host],
            Self::Partition { side } => side.clone(),
            Self::Pause { hosts, .. } => hosts.clone(),
        }
    }

    /// The class that is true.
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Drop { .. } => Class::PathDrop,
            Self::Loss { .. } => Class::PacketLoss,
            Self::Hole { .. } => Class::MtuBlackhole,
            Self::Isolated { .. } => Class::HostIsolated,
            Self::Partition { .. } => Class::Partition,
            Self::Cpu { why, .. } => match why {
                Standstill::NoTimer => Class::TimerLockup,
                Standstill::Masked | Standstill::NoPreemption => Class::CpuLockup,
                Standstill::Hogged => Class::SchedulerStall,
                Standstill::Stolen | Standstill::NotRun => Class::VcpuStall,
            },
            Self::Pause { hosts, .. } if hosts.len() > 1 => Class::HypervisorStall,
            Self::Pause { .. } => Class::VmPause,
            Self::Agent { .. } => Class::AgentStall,
            Self::Restart { .. } => Class::Restart,
            Self::Down { .. } => Class::HostDown,
            Self::Io { .. } => Class::IoStall,
            Self::Saturation { .. } => Class::CpuSaturation,
        }
    }

    /// Whether the evidence tells it at all; where it does not, `unknown` is what is right.
    pub(crate) fn is_knowable(&self) -> bool {
        match self {
            // The address where it went on is one that every CPU passes: it may have been off, or not run.
            Self::Cpu { landing, .. } => *landing != Some(Landing::Unclear),
            // Of two CPUs in the kernel one may have waited for the other, which alone was not run.
            Self::Pause { hosts, landings, clock: ClockState::RanOn } if hosts.len() == 1 => {
                let in_kernel = landings.iter().filter(|landing| landing.is_in_kernel()).count();
                in_kernel < 2 || !landings.contains(&Landing::Unclear)
            }
            _ => true,
        }
    }

    /// From where on it is an incident, by the default settings.
    pub(crate) fn threshold(&self) -> Duration {
        match self {
            Self::Cpu { .. } | Self::Pause { .. } => Duration::from_millis(500),
            Self::Io { .. } => Duration::from_secs(2),
            Self::Saturation { .. } => Duration::from_secs(30),
            Self::Down { .. } => Duration::from_secs(10),
            // A rate takes some hundred packets.
            Self::Loss { .. } => Duration::from_secs(15),
            Self::Hole { .. } => Duration::from_secs(4),
            _ => Duration::from_millis(300),
        }
    }
}

impl Fault {
    /// It begins.
    pub(crate) fn begin(&self, hosts: &mut [Host], network: &mut Network) {
        let at = self.from;
        match &self.kind {
            Kind::Drop { .. } | Kind::Isolated { .. } | Kind::Partition { .. } => {
                self.each_cut(hosts, |from, to| network.cut(from, to));
            }
            Kind::Loss { from, to, both, part } => {
                each_way(*from, *to, *both, |from, to| network.lose(from, to, *part))
            }
            Kind::Hole { from, to, both, largest, fragments } => {
                each_way(*from, *to, *both, |from, to| network.narrow(from, to, Some((*largest, *fragments))));
            }
            Kind::Cpu { host, cpu, why, .. } => hosts[*host].machine.begin(*cpu, *why, at),
            Kind::Pause { hosts: paused, .. } => {
                for host in paused {
                    let host = &mut hosts[*host];
                    (0..host.machine.cpus).for_each(|cpu| host.machine.begin(cpu, Standstill::NotRun, at));
                    host.asleep = Some(Asleep::Machine(at));
                }
            }
            Kind::Agent { host, state: AgentState::NotRunning } => hosts[*host].asleep = Some(Asleep::Ended),
            Kind::Agent { host, .. } => hosts[*host].asleep = Some(Asleep::Agent(at)),
            Kind::Restart { host } | Kind::Down { host } => hosts[*host].asleep = Some(Asleep::Gone),
            Kind::Io { host } => hosts[*host].storage_stuck = Some(at),
            Kind::Saturation { host } => hosts[*host].saturated = true,
        }
    }

    /// It is over.
    pub(crate) fn end(&self, hosts: &mut [Host], network: &mut Network, chance: &mut Chance) {
        let at = self.to;
        match &self.kind {
            Kind::Drop { .. } | Kind::Isolated { .. } | Kind::Partition { .. } => {
                self.each_cut(hosts, |from, to| network.mend(from, to));
            }
            Kind::Loss { from, to, both, .. } => each_way(*from, *to, *both, |from, to| network.lose(from, to, 0.0)),
            Kind::Hole { from, to, both, .. } => each_way(*from, *to, *both, |from, to| network.narrow(from, to, None)),
            Kind::Cpu { host, cpu, why, landing } => self.end_cpu(&mut hosts[*host], *cpu, *why, *landing, chance),
            Kind::Pause { hosts: paused, clock, landings } => {
                for host in paused {
                    self.end_pause(&mut hosts[*host], *clock, landings, chance);
                }
            }
            Kind::Agent { host, state } => self.end_agent(&mut hosts[*host], *state, chance),
            Kind::Restart { host } => hosts[*host].boot(at),
            Kind::Down { .. } => {}
            Kind::Io { host } => hosts[*host].storage_goes_on(at),
            Kind::Saturation { host } => hosts[*host].saturated = false,
        }
    }

    fn end_cpu(&self, host: &mut Host, cpu: u32, why: Standstill, landing: Option<Landing>, chance: &mut Chance) {
        let deaf = host.machine.card_cpu == cpu && why.is_deaf();
        let (name, clock) = (host.name.clone(), host.clock.clone());
        host.machine.end(&name, cpu, landing, self.to, &clock, chance);
        if deaf {
            host.keep_in_ring(self.from, self.to, chance);
        }
    }

    fn end_pause(&self, host: &mut Host, clock: ClockState, landings: &[Landing], chance: &mut Chance) {
        let (name, boot) = (host.name.clone(), host.clock.clone());
        match clock {
            ClockState::Stopped => {
                host.machine.forget();
                host.clock.stand_still(self.from, self.to.since(self.from));
            }
            ClockState::RanOn => (0..host.machine.cpus).zip(landings.iter().cycle()).for_each(|(cpu, landing)| {
                host.machine.end(&name, cpu, Some(*landing), self.to, &boot, chance);
            }),
        }
        let late = AgentLate { waited_ns: Some(0), busy: Some(chance.number(0.0, 0.9)), ..AgentLate::default() };
        host.wake(self.to, Some(late), chance);
    }

    fn end_agent(&self, host: &mut Host, state: AgentState, chance: &mut Chance) {
        if state == AgentState::NotRunning {
            return host.start(self.to);
        }
        let throttled = state == AgentState::Throttled;
        let (name, clock) = (host.name.clone(), host.clock.clone());
        host.machine.held_with_the_agent(&name, self.from, self.to, throttled, &clock);
        let length = nanos(self.to.since(self.from));
        let late = AgentLate {
            waited_ns: Some(if throttled { length } else { 0 }),
            throttled_ns: throttled.then_some(length),
            continued: !throttled,
            busy: Some(chance.number(0.0, 0.9)),
            ..AgentLate::default()
        };
        host.wake(self.to, Some(late), chance);
    }

    /// Each way that it cuts.
    fn each_cut(&self, hosts: &[Host], mut each: impl FnMut(usize, usize)) {
        match &self.kind {
            Kind::Drop { from, to, both } => each_way(*from, *to, *both, each),
            Kind::Isolated { host } => {
                (0..hosts.len()).filter(|other| other != host).for_each(|other| each_way(*host, other, true, &mut each))
            }
            Kind::Partition { side } => {
                let others = |one: &usize| !side.contains(one);
                for one in side {
                    (0..hosts.len()).filter(others).for_each(|other| each_way(*one, other, true, &mut each));
                }
            }
            _ => {}
        }
    }
}

fn each_way(from: usize, to: usize, both: bool, mut each: impl FnMut(usize, usize)) {
    each(from, to);
    if both {
        each(to, from);
    }
}
