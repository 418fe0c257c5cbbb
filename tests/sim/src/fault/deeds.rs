//! What a fault does to hosts and to the ways between them, when it begins and when it is over.

use std::time::Duration;

use lacuna_core::evidence::AgentLate;
use lacuna_core::incident::{AgentState, ClockState};
use lacuna_core::time::nanos;

use super::{Fault, Kind};
use crate::chance::Chance;
use crate::clock::Time;
use crate::host::{Asleep, Host};
use crate::machine::{Landing, Standstill};
use crate::network::Network;

/// One time that a fault is.
#[derive(Clone, Copy, Debug)]
struct Phase {
    /// Which one.
    place: usize,
    from: Time,
    to: Time,
}

impl Fault {
    /// It begins for the time of that place.
    pub(crate) fn begin(&self, phase: usize, hosts: &mut [Host], network: &mut Network) {
        let (from, to) = self.phases[phase];
        self.kind.begin(Phase { place: phase, from, to }, hosts, network);
    }

    /// It is over for that time.
    pub(crate) fn end(&self, phase: usize, hosts: &mut [Host], network: &mut Network, chance: &mut Chance) {
        let (from, to) = self.phases[phase];
        self.kind.end(Phase { place: phase, from, to }, hosts, network, chance);
    }
}

impl Kind {
    fn begin(&self, phase: Phase, hosts: &mut [Host], network: &mut Network) {
        let at = phase.from;
        match self {
            Self::Stutter(kind) => kind.begin(phase, hosts, network),
            Self::Cpu { host, why, .. } if hosts[*host].machine.cpus == 1 => all_stand(&mut hosts[*host], *why, at),
            Self::Cpu { host, cpu, why, waiting, .. } => {
                let machine = &mut hosts[*host].machine;
                machine.begin(*cpu, *why, at);
                waiting.iter().for_each(|cpu| machine.begin(*cpu, Standstill::NoPreemption, at));
            }
            Self::Pause { hosts: paused, .. } => {
                paused.iter().for_each(|host| all_stand(&mut hosts[*host], Standstill::NotRun, at))
            }
            Self::Migrated { host, .. } if phase.place == 0 => all_stand(&mut hosts[*host], Standstill::NotRun, at),
            Self::Agent { host, state: AgentState::NotRunning } => hosts[*host].asleep = Some(Asleep::Ended),
            Self::Agent { host, .. } => hosts[*host].asleep = Some(Asleep::Agent(at)),
            Self::Restart { host } if phase.place == 1 => hosts[*host].asleep = Some(Asleep::Ended),
            Self::Restart { host } | Self::Down { host } | Self::Decommissioned { host } => {
                hosts[*host].asleep = Some(Asleep::Gone);
            }
            Self::Io { host } => hosts[*host].storage_stuck = Some(at),
            Self::Saturation { host } => hosts[*host].saturated = true,
            Self::SplitBrain { other, .. } | Self::Failover { other, .. } => {
                (hosts[*other].holds_vip, hosts[*other].announces) = (true, true);
            }
            Self::Restored { host, .. } => hosts[*host].asleep = Some(Asleep::Machine(at)),
            Self::WallStep { host, by_ms } => hosts[*host].clock.step_wall(*by_ms),
            Self::Upgrade { host } | Self::Leaves { host } => hosts[*host].ends = true,
            _ => self.begin_on_ways(phase, hosts.len(), network),
        }
    }

    fn begin_on_ways(&self, phase: Phase, count: usize, network: &mut Network) {
        match self {
            Self::Drop { .. } | Self::Isolated { .. } | Self::Partition { .. } | Self::Migrated { .. } => {
                each_cut(self, count, |from, to| network.cut(from, to));
            }
            Self::Filter { from, to, both, filter } => {
                each_way(*from, *to, *both, |from, to| network.filter(from, to, Some(*filter)));
            }
            Self::Loss { from, to, both, part } => {
                each_way(*from, *to, *both, |from, to| network.lose(from, to, *part))
            }
            Self::Hole { from, to, both, largest, fragments } => {
                each_way(*from, *to, *both, |from, to| network.narrow(from, to, Some((*largest, *fragments))));
            }
            Self::Late { from, to, both, by: Some(by) } | Self::Slower { from, to, both, by } => {
                each_way(*from, *to, *both, |from, to| network.slow(from, to, *by));
            }
            Self::Late { from, to, both, by: None } => {
                each_way(*from, *to, *both, |from, to| network.hold(from, to, Some(phase.to)));
            }
            _ => {}
        }
    }

    fn end(&self, phase: Phase, hosts: &mut [Host], network: &mut Network, chance: &mut Chance) {
        let at = phase.to;
        match self {
            Self::Stutter(kind) => kind.end(phase, hosts, network, chance),
            // A machine with one CPU stands still with it.
            Self::Cpu { host, landing: Some(landing), .. } if hosts[*host].machine.cpus == 1 => {
                end_pause(&mut hosts[*host], ClockState::RanOn, &[*landing], phase, chance);
            }
            Self::Cpu { host, cpu, why, landing, waiting } => {
                end_cpu(&mut hosts[*host], *cpu, *why, *landing, phase, chance);
                let host = &mut hosts[*host];
                waiting.iter().for_each(|cpu| end_cpu(host, *cpu, Standstill::NoPreemption, None, phase, chance));
            }
            Self::Pause { hosts: paused, clock, landings } => {
                paused.iter().for_each(|host| end_pause(&mut hosts[*host], *clock, landings, phase, chance));
            }
            Self::Migrated { host, clock, landings } if phase.place == 0 => {
                end_pause(&mut hosts[*host], *clock, landings, phase, chance);
            }
            Self::Agent { host, state } => end_agent(&mut hosts[*host], *state, phase, chance),
            Self::Restart { host } if phase.place == 0 => hosts[*host].boot(at),
            Self::Io { host } => hosts[*host].storage_goes_on(at),
            Self::Saturation { host } => hosts[*host].saturated = false,
            Self::SplitBrain { other, .. } => hosts[*other].holds_vip = false,
            Self::Failover { owner, .. } => hosts[*owner].holds_vip = false,
            Self::Restored { host, taken } => hosts[*host].restore(*taken, at),
            Self::Upgrade { host } => hosts[*host].start(at),
            Self::Leaves { host } | Self::Decommissioned { host } => {
                hosts.iter_mut().for_each(|other| other.forget_peer(*host));
            }
            _ => self.end_on_ways(phase, hosts.len(), network),
        }
    }

    fn end_on_ways(&self, phase: Phase, count: usize, network: &mut Network) {
        match self {
            Self::Drop { .. } | Self::Isolated { .. } | Self::Partition { .. } | Self::Migrated { .. } => {
                each_cut(self, count, |from, to| network.mend(from, to));
            }
            Self::Filter { from, to, both, .. } => {
                each_way(*from, *to, *both, |from, to| network.filter(from, to, None));
            }
            Self::Loss { from, to, both, .. } => each_way(*from, *to, *both, |from, to| network.lose(from, to, 0.0)),
            Self::Hole { from, to, both, .. } => each_way(*from, *to, *both, |from, to| network.narrow(from, to, None)),
            Self::Late { from, to, both, by: None } => {
                each_way(*from, *to, *both, |from, to| network.hold(from, to, None));
            }
            Self::Late { from, to, both, by: Some(by) } | Self::Slower { from, to, both, by } => {
                each_way(*from, *to, *both, |from, to| {
                    network.slow(from, to, Duration::ZERO);
                    // What is on its way stays before what comes after it.
                    network.hold(from, to, Some(phase.to.plus(*by)));
                });
            }
            _ => {}
        }
    }
}

fn end_cpu(host: &mut Host, cpu: u32, why: Standstill, landing: Option<Landing>, phase: Phase, chance: &mut Chance) {
    let deaf = host.machine.card_cpu == cpu && why.is_deaf();
    let (name, clock) = (host.name.clone(), host.clock.clone());
    host.machine.end(&name, cpu, landing, phase.to, &clock, chance);
    if deaf {
        host.keep_in_ring(phase.from, phase.to, chance);
    }
}

/// All its CPUs do, and the machine with them.
fn all_stand(host: &mut Host, why: Standstill, at: Time) {
    (0..host.machine.cpus).for_each(|cpu| host.machine.begin(cpu, why, at));
    host.asleep = Some(Asleep::Machine(at));
}

fn end_pause(host: &mut Host, clock: ClockState, landings: &[Landing], phase: Phase, chance: &mut Chance) {
    let (name, boot) = (host.name.clone(), host.clock.clone());
    match clock {
        ClockState::Stopped => {
            host.machine.forget();
            host.clock.stand_still(phase.from, phase.to.since(phase.from));
        }
        ClockState::RanOn => {
            for (cpu, landing) in (0..host.machine.cpus).zip(landings.iter().cycle()) {
                host.machine.end(&name, cpu, Some(*landing), phase.to, &boot, chance);
            }
            host.machine.agents_timer_was_late(&name, host.due, phase.to, &boot);
        }
    }
    let late = AgentLate { waited_ns: Some(0), busy: Some(chance.number(0.0, 0.9)), ..AgentLate::default() };
    host.wake(phase.to, Some(late), chance);
}

fn end_agent(host: &mut Host, state: AgentState, phase: Phase, chance: &mut Chance) {
    let Phase { from, to, .. } = phase;
    if state == AgentState::NotRunning {
        return host.start(to);
    }
    let throttled = state == AgentState::Throttled;
    let (name, clock) = (host.name.clone(), host.clock.clone());
    host.machine.held_with_the_agent(&name, from, to, throttled, &clock);
    let length = nanos(to.since(from));
    let late = AgentLate {
        waited_ns: Some(if throttled { length } else { 0 }),
        throttled_ns: throttled.then_some(length),
        continued: !throttled,
        busy: Some(chance.number(0.0, 0.9)),
        ..AgentLate::default()
    };
    host.wake(to, Some(late), chance);
}

/// Each way that such a fault cuts, in a fleet of so many.
fn each_cut(kind: &Kind, count: usize, mut each: impl FnMut(usize, usize)) {
    match kind {
        Kind::Drop { from, to, both } => each_way(*from, *to, *both, each),
        Kind::Migrated { host, .. } => {
            (0..count).filter(|other| other != host).for_each(|other| each(other, *host));
        }
        Kind::Isolated { host } => {
            (0..count).filter(|other| other != host).for_each(|other| each_way(*host, other, true, &mut each))
        }
        Kind::Partition { side } => {
            let others = |one: &usize| !side.contains(one);
            for one in side {
                (0..count).filter(others).for_each(|other| each_way(*one, other, true, &mut each));
            }
        }
        _ => {}
    }
}

fn each_way(from: usize, to: usize, both: bool, mut each: impl FnMut(usize, usize)) {
    each(from, to);
    if both {
        each(to, from);
    }
}
