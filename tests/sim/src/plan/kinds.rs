//! Which faults there are, how often each, and how long.

use std::time::Duration;

use lacuna_core::incident::{AgentState, ClockState};

use crate::chance::Chance;
use crate::clock::Time;
use crate::fault::Kind;
use crate::machine::{Landing, Standstill};
use crate::network::Filter;

use super::faults::Faults;

/// Interrupts that come now and then, whose handlers may take long: of a device and of a cross-call.
const LONG_HANDLERS: [&str; 3] = ["irq 24", "call_function_single", "call_function"];
/// Those that a CPU takes so often a second: it may have been taken away in them.
const FREQUENT_HANDLERS: [(&str, u64); 3] = [("local_timer", 250), ("irq 24", 4000), ("call_function", 300)];

fn frequent_handler(chance: &mut Chance) -> Standstill {
    let (name, per_second) = *chance.pick(&FREQUENT_HANDLERS);
    Standstill::InHandler { name, per_second, runs: chance.hits(0.5) }
}

impl Faults<'_> {
    pub(super) fn kind(&self, chance: &mut Chance) -> Kind {
        let host = chance.below(self.count);
        if let Some(owner) = self.owner.filter(|_| chance.hits(0.2)) {
            let other = (owner + 1 + chance.below(self.count - 1)) % self.count;
            let moves = chance.hits(0.3);
            return if moves { Kind::Failover { owner, other } } else { Kind::SplitBrain { owner, other } };
        }
        match chance.below(40) {
            0..8 => self.kind_of_path(chance),
            8 => Kind::Isolated { host },
            9 if self.mesh.is_full() => self.partition(chance),
            10 => Kind::Agent { host, state: AgentState::NotRunning },
            11 => Kind::Restart { host },
            12 => Kind::Down { host },
            13 => Kind::Io { host },
            14 => Kind::Saturation { host },
            15 => Kind::Restored { host, taken: Time(0) },
            16 => Kind::WallStep { host, by_ms: chance.below(7_200_000) as i64 - 3_600_000 },
            17 => Kind::Upgrade { host },
            18 => Kind::Leaves { host },
            19 => Kind::Decommissioned { host },
            20 | 21 => self.migration(host, chance),
            22 | 23 => self.stutter(host, chance),
            24 | 25 => self.pause(host, chance),
            _ => self.kind_of_host(host, chance),
        }
    }

    /// What befalls the ways between two hosts.
    fn kind_of_path(&self, chance: &mut Chance) -> Kind {
        let what = chance.below(8);
        self.on_path(chance, |chance, from, to, both| match what {
            0 | 1 => Kind::Drop { from, to, both },
            2 => {
                let filter = if chance.hits(0.5) { Filter::Between } else { Filter::OnArrival };
                Kind::Filter { from, to, both, filter }
            }
            3 => Kind::Loss { from, to, both, part: chance.number(0.06, 0.4) },
            4 => {
                let largest = 600 + u16::try_from(chance.below(880)).unwrap_or_default();
                Kind::Hole { from, to, both, largest, fragments: chance.hits(0.5) }
            }
            5 => Kind::Slower { from, to, both, by: chance.time(Duration::from_millis(1), Duration::from_millis(80)) },
            _ => {
                let by = chance.time(Duration::from_millis(650), Duration::from_secs(3));
                Kind::Late { from, to, both, by: chance.hits(0.4).then_some(by) }
            }
        })
    }

    /// What befalls one host that goes on afterwards.
    pub(super) fn kind_of_host(&self, host: usize, chance: &mut Chance) -> Kind {
        match chance.below(8) {
            0 => Kind::Agent { host, state: AgentState::Stopped },
            1 => Kind::Agent { host, state: AgentState::Throttled },
            2 => {
                let clock = clock(chance);
                Kind::Pause { hosts: vec![host], clock, landings: self.landings(host, chance) }
            }
            _ => self.cpu(host, chance),
        }
    }

    fn on_path(&self, chance: &mut Chance, kind: impl FnOnce(&mut Chance, usize, usize, bool) -> Kind) -> Kind {
        let from = chance.below(self.count);
        let to = *chance.pick(&self.mesh.peers(from));
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
        let (clock, landings) = (clock(chance), self.landings(host, chance));
        let together = self.guests && chance.hits(0.5);
        let hosts = if together { self.guests_with(host) } else { vec![host] };
        Kind::Pause { hosts, clock, landings }
    }

    fn landings(&self, host: usize, chance: &mut Chance) -> Vec<Landing> {
        (0..self.machines[host].cpus).map(|_| Landing::of_a_machine_at_work(chance)).collect()
    }

    fn cpu(&self, host: usize, chance: &mut Chance) -> Kind {
        if self.machines[host].cpus == 1 {
            let (why, landing) = match chance.hits(0.3) {
                true => (frequent_handler(chance), Landing::of_a_machine_at_work(chance)),
                false => (Standstill::Masked, landing_of_masked(chance)),
            };
            return Kind::Cpu { host, cpu: 0, why, landing: Some(landing), waiting: Vec::new() };
        }
        let cpu = u32::try_from(chance.below(self.machines[host].cpus as usize)).unwrap_or_default();
        let kinds = [
            Standstill::NoTimer,
            Standstill::NoTimer,
            Standstill::Masked,
            Standstill::NoPreemption,
            Standstill::Hogged,
            Standstill::Stolen,
            Standstill::NotRun,
            Standstill::InHandler { name: LONG_HANDLERS[chance.below(LONG_HANDLERS.len())], per_second: 1, runs: true },
            frequent_handler(chance),
        ];
        let why = *chance.pick(&kinds);
        let landing = match why {
            Standstill::Masked => Some(landing_of_masked(chance)),
            Standstill::Stolen | Standstill::NotRun | Standstill::InHandler { .. } => {
                Some(Landing::of_a_machine_at_work(chance))
            }
            _ => None,
        };
        let waiting = if why.holds_up_others() { self.waiting(host, cpu, chance) } else { Vec::new() };
        Kind::Cpu { host, cpu, why, landing, waiting }
    }

    /// CPUs that wait for that one, of a host where others still run.
    fn waiting(&self, host: usize, cpu: u32, chance: &mut Chance) -> Vec<u32> {
        let cpus = self.machines[host].cpus;
        if cpus < 4 || !chance.hits(0.3) {
            return Vec::new();
        }
        let others = chance.shuffled((0..cpus).filter(|other| *other != cpu).collect());
        let count = 1 + chance.below(cpus as usize - 2);
        others.into_iter().take(count).collect()
    }

    fn migration(&self, host: usize, chance: &mut Chance) -> Kind {
        Kind::Migrated { host, clock: clock(chance), landings: self.landings(host, chance) }
    }

    /// Stalls that are too short for anybody to mind.
    fn stutter(&self, host: usize, chance: &mut Chance) -> Kind {
        let kind = match chance.below(4) {
            0 => Kind::Agent { host, state: AgentState::Throttled },
            _ if self.machines[host].cpus == 1 => {
                Kind::Pause { hosts: vec![host], clock: clock(chance), landings: self.landings(host, chance) }
            }
            1 => Kind::Pause { hosts: vec![host], clock: clock(chance), landings: self.landings(host, chance) },
            _ => self.cpu_beside_the_card(host, chance),
        };
        Kind::Stutter(Box::new(kind))
    }

    /// One that the network card does not interrupt.
    fn cpu_beside_the_card(&self, host: usize, chance: &mut Chance) -> Kind {
        let card = self.machines[host].card_cpu;
        match self.cpu(host, chance) {
            Kind::Cpu { host, why, landing, .. } => {
                let cpu = (card + 1) % self.machines[host].cpus;
                Kind::Cpu { host, cpu, why, landing, waiting: Vec::new() }
            }
            other => other,
        }
    }
}

fn landing_of_masked(chance: &mut Chance) -> Landing {
    if chance.hits(0.9) { Landing::Enabled } else { Landing::Unclear }
}

fn clock(chance: &mut Chance) -> ClockState {
    if chance.hits(0.5) { ClockState::RanOn } else { ClockState::Stopped }
}

/// How long it is, and begin and end of each time where it is more than once.
pub(super) fn when(kind: &Kind, chance: &mut Chance) -> (Duration, Vec<(Duration, Duration)>) {
    let ms = Duration::from_millis;
    match kind {
        Kind::Migrated { .. } => {
            let length = chance.time(ms(1050), ms(2500));
            (length, vec![(Duration::ZERO, length), (Duration::ZERO, length + chance.time(ms(20), ms(1000)))])
        }
        Kind::Restart { .. } if chance.hits(0.5) => {
            let (length, boots) = (length(kind, chance), chance.time(ms(500), ms(3500)));
            (length, vec![(Duration::ZERO, length), (length - boots, length)])
        }
        Kind::Drop { .. } if chance.hits(0.2) => {
            let times = 3 + chance.below(12);
            again(times, (ms(400), ms(2500)), (ms(200), ms(900)), chance)
        }
        Kind::Stutter(kind) => {
            let longest = if matches!(**kind, Kind::Cpu { .. }) { ms(400) } else { ms(120) };
            let times = 3 + chance.below(30);
            again(times, (ms(20), longest), (ms(300), ms(1500)), chance)
        }
        _ => (length(kind, chance), Vec::new()),
    }
}

type Range = (Duration, Duration);

/// So many times, each so long, and so far apart.
fn again(times: usize, each: Range, apart: Range, chance: &mut Chance) -> (Duration, Vec<Range>) {
    let (mut phases, mut end) = (Vec::new(), Duration::ZERO);
    for _ in 0..times {
        let from = if phases.is_empty() { end } else { end + chance.time(apart.0, apart.1) };
        end = from + chance.time(each.0, each.1);
        phases.push((from, end));
    }
    (end, phases)
}

/// Longer than twice what makes it an incident.
fn length(kind: &Kind, chance: &mut Chance) -> Duration {
    let least = kind.threshold() * 2 + Duration::from_millis(50);
    let most = match kind {
        Kind::Restart { .. } => Duration::from_secs(30),
        // Both may have it for a moment, and no request meets that twice.
        Kind::Failover { .. } => return chance.time(Duration::ZERO, Duration::from_millis(400)),
        Kind::Saturation { .. } | Kind::Loss { .. } => least + Duration::from_secs(10),
        _ => least + Duration::from_secs(8),
    };
    let least = if matches!(kind, Kind::Restart { .. }) { Duration::from_secs(4) } else { least };
    chance.time(least, most)
}
