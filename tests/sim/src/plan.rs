//! From a seed to a fleet and what befalls it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use lacuna_core::incident::{AgentState, ClockState};
use lacuna_core::settings::Settings;

use crate::chance::Chance;
use crate::clock::{Clock, Time};
use crate::fault::{Fault, Kind};
use crate::host::Host;
use crate::machine::{Landing, Machine, Standstill};
use crate::network::Network;
use crate::world::World;

/// A fleet of at most so many hosts is a full mesh; in a larger one each watches some neighbours.
const MESH: usize = 8;
/// Nothing befalls a fleet before it has run for so long, nor at its end.
const QUIET: Duration = Duration::from_secs(6);
/// Between two faults that concern the same host, so that the first is told and closed.
const APART: Duration = Duration::from_secs(20);
/// Of three fleets one has hypervisors, of so many guests each.
const GUESTS: usize = 3;

/// A fleet and what befalls it.
pub(crate) struct Plan {
    pub(crate) world: World,
    pub(crate) faults: Vec<Fault>,
    pub(crate) lasts: Duration,
}

/// What a plan is made from.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) seed: u64,
    pub(crate) hosts: RangeInclusive<usize>,
    pub(crate) lasts: Duration,
}

impl Plan {
    /// The same plan for the same wish, every time.
    pub(crate) fn new(wanted: &Wanted) -> Self {
        let mut chance = Chance::new(wanted.seed);
        let (least, most) = (*wanted.hosts.start(), *wanted.hosts.end());
        let count = least + chance.below(most - least + 1);
        let guests = chance.hits(1.0 / 3.0);
        let hosts: Vec<Host> = (0..count).map(|place| host(place, count, guests, &mut chance)).collect();
        let machines: Vec<&Machine> = hosts.iter().map(|host| &host.machine).collect();
        let faults = Faults { count, guests, machines, lasts: wanted.lasts }.plan(&mut chance);
        let network = Network::new(count, &mut chance);
        Self { world: World::new(hosts, network, chance), faults, lasts: wanted.lasts }
    }

    /// Lets it happen.
    pub(crate) fn run(&mut self) {
        self.world.run(&self.faults, Time(0).plus(self.lasts));
    }
}

pub(crate) fn name(place: usize) -> String {
    format!("h{place}")
}

/// Whom a host watches: everybody, or the two next to it and the two behind those, either way round.
pub(crate) fn peers(place: usize, count: usize) -> Vec<usize> {
    if count <= MESH {
        return (0..count).filter(|other| *other != place).collect();
    }
    let mut peers: Vec<usize> = [1, 2, count - 1, count - 2].map(|step| (place + step) % count).to_vec();
    peers.sort_unstable();
    peers
}

fn host(place: usize, count: usize, guests: bool, chance: &mut Chance) -> Host {
    let peers: Vec<(usize, String)> = peers(place, count).into_iter().map(|peer| (peer, name(peer))).collect();
    let labels = guests.then(|| ("hypervisor".to_owned(), format!("kvm{}", place / GUESTS)));
    let settings = Settings {
        host: name(place),
        labels: labels.into_iter().collect::<BTreeMap<_, _>>(),
        peers: peers.iter().map(|(_, name)| name.clone()).collect(),
        ..Settings::default()
    };
    let up = Duration::from_secs(chance.below(1_000_000) as u64 + 60);
    let drift_ppb = chance.below(100_000) as i64 - 50_000;
    let wall_ns = 1_800_000_000_000_000_000 + chance.below(2_000_000_000) as u64;
    let boot_ns = lacuna_core::time::nanos(up) + chance.below(1_000_000_000) as u64;
    let clock = Clock::new(boot_ns, drift_ppb, wall_ns - boot_ns);
    let next = Time(0).plus(chance.time(Duration::ZERO, Duration::from_millis(100)));
    Host::new(place, settings, peers, clock, next, chance)
}

/// What befalls the fleet.
struct Faults<'a> {
    count: usize,
    guests: bool,
    machines: Vec<&'a Machine>,
    lasts: Duration,
}

impl Faults<'_> {
    /// One to four, several at a time, but none that concerns a host that another one concerns as well.
    fn plan(&self, chance: &mut Chance) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        for _ in 0..=chance.below(4) {
            let kind = self.kind(chance);
            let length = length(&kind, chance);
            let latest = self.lasts.saturating_sub(QUIET + length + APART);
            if latest < QUIET {
                continue;
            }
            let from = Time(0).plus(chance.time(QUIET, latest));
            // Who is down stays so.
            let to = if matches!(kind, Kind::Down { .. }) { Time(0).plus(self.lasts) } else { from.plus(length) };
            let fault = Fault { kind, from, to };
            if faults.iter().all(|other| self.are_apart(other, &fault)) {
                faults.push(fault);
            }
        }
        faults
    }

    /// Neither concerns a host that the other one does, or a peer of it, at the same time.
    fn are_apart(&self, one: &Fault, other: &Fault) -> bool {
        let apart = one.to.plus(APART) < other.from || other.to.plus(APART) < one.from;
        let concerned = |fault: &Fault| match &fault.kind {
            Kind::Partition { .. } => (0..self.count).collect(),
            // Two of one hypervisor that pause together are its stall.
            Kind::Pause { hosts, .. } if self.guests => hosts.iter().flat_map(|host| self.guests_with(*host)).collect(),
            other => other.hosts(),
        };
        let (one, other) = (concerned(one), concerned(other));
        apart || !one.iter().any(|host| other.contains(host))
    }

    fn kind(&self, chance: &mut Chance) -> Kind {
        let host = chance.below(self.count);
        match chance.below(18) {
            0 | 1 => self.on_path(chance, |_, from, to, both| Kind::Drop { from, to, both }),
            2 => self.on_path(chance, |chance, from, to, both| Kind::Loss {
                from,
                to,
                both,
                part: chance.number(0.06, 0.4),
            }),
            3 => self.on_path(chance, |chance, from, to, both| {
                let largest = 600 + u16::try_from(chance.below(880)).unwrap_or_default();
                Kind::Hole { from, to, both, largest, fragments: chance.hits(0.5) }
            }),
            4 => Kind::Isolated { host },
            5 if self.count <= MESH => self.partition(chance),
            6 => Kind::Agent { host, state: AgentState::Stopped },
            7 => Kind::Agent { host, state: AgentState::Throttled },
            8 => Kind::Agent { host, state: AgentState::NotRunning },
            9 => Kind::Restart { host },
            10 => Kind::Down { host },
            11 => Kind::Io { host },
            12 => Kind::Saturation { host },
            13 | 14 => self.pause(host, chance),
            _ => self.cpu(host, chance),
        }
    }

    fn on_path(&self, chance: &mut Chance, kind: impl FnOnce(&mut Chance, usize, usize, bool) -> Kind) -> Kind {
        let from = chance.below(self.count);
        let to = *chance.pick(&peers(from, self.count));
        let both = chance.hits(0.5);
        kind(chance, from, to, both)
    }

    fn partition(&self, chance: &mut Chance) -> Kind {
        let hosts = chance.shuffled((0..self.count).collect());
        // Of one host alone it would be its isolation.
        let most = (self.count - 2).max(2);
        let size = 2 + chance.below(most - 1);
        let mut side: Vec<usize> = hosts.into_iter().take(size).collect();
        side.sort_unstable();
        Kind::Partition { side }
    }

    fn pause(&self, host: usize, chance: &mut Chance) -> Kind {
        let clock = if chance.hits(0.5) { ClockState::RanOn } else { ClockState::Stopped };
        let landings = (0..self.machines[host].cpus).map(|_| Landing::of_a_machine_at_work(chance)).collect();
        let together = self.guests && chance.hits(0.5);
        let first = host / GUESTS * GUESTS;
        let hosts: Vec<usize> = if together { (first..(first + GUESTS).min(self.count)).collect() } else { vec![host] };
        Kind::Pause { hosts, clock, landings }
    }

    /// Those that run on the same hypervisor.
    fn guests_with(&self, host: usize) -> Vec<usize> {
        let first = host / GUESTS * GUESTS;
        (first..(first + GUESTS).min(self.count)).collect()
    }

    fn cpu(&self, host: usize, chance: &mut Chance) -> Kind {
        let cpu = u32::try_from(chance.below(self.machines[host].cpus as usize)).unwrap_or_default();
        let kinds = [
            Standstill::NoTimer,
            Standstill::NoTimer,
            Standstill::Masked,
            Standstill::NoPreemption,
            Standstill::Hogged,
            Standstill::Stolen,
            Standstill::NotRun,
        ];
        let why = *chance.pick(&kinds);
        let landing = match why {
            Standstill::Masked => Some(if chance.hits(0.9) { Landing::Enabled } else { Landing::Unclear }),
            Standstill::Stolen | Standstill::NotRun => Some(Landing::of_a_machine_at_work(chance)),
            _ => None,
        };
        Kind::Cpu { host, cpu, why, landing }
    }
}

/// Longer than twice what makes it an incident.
fn length(kind: &Kind, chance: &mut Chance) -> Duration {
    let least = kind.threshold() * 2 + Duration::from_millis(50);
    let most = match kind {
        Kind::Restart { .. } => Duration::from_secs(30),
        Kind::Saturation { .. } | Kind::Loss { .. } => least + Duration::from_secs(10),
        _ => least + Duration::from_secs(8),
    };
    let least = if matches!(kind, Kind::Restart { .. }) { Duration::from_secs(4) } else { least };
    chance.time(least, most)
}
