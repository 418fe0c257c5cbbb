//! When which faults befall a fleet: which ones may be at once, and which may not.

use std::time::Duration;

use crate::chance::Chance;
use crate::clock::Time;
use crate::fault::{Fault, Kind};
use crate::host::Host;
use crate::machine::Machine;

use super::kinds::when;
use super::{GUESTS, Mesh, Mix, Wanted};

/// Nothing befalls a fleet before it has run for so long, nor at its end.
const QUIET: Duration = Duration::from_secs(6);
/// Between two faults that concern the same host, so that the first is told and closed.
const APART: Duration = Duration::from_secs(20);
/// The part of the faults that another one goes with, and how soon it comes after where it is of the same host.
const PAIRS: f64 = 0.25;
const SOON: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(9));
/// In so much time there are one to four.
const EACH: Duration = Duration::from_secs(90);

/// What befalls the fleet.
pub(super) struct Faults<'a> {
    pub(super) count: usize,
    pub(super) mesh: Mesh,
    pub(super) guests: bool,
    pub(super) machines: Vec<&'a Machine>,
    /// Who has the virtual address.
    pub(super) owner: Option<usize>,
    lasts: Duration,
    mix: Mix,
}

impl<'a> Faults<'a> {
    pub(super) fn new(hosts: &'a [Host], mesh: Mesh, guests: bool, owner: Option<usize>, wanted: &Wanted) -> Self {
        let machines = hosts.iter().map(|host| &host.machine).collect();
        Self { count: hosts.len(), mesh, guests, machines, owner, lasts: wanted.lasts, mix: wanted.mix }
    }

    /// Several at a time, but none that concerns a host that another one concerns as well, unless they are a pair.
    pub(super) fn plan(&self, chance: &mut Chance) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        let times = (self.lasts.as_secs() / EACH.as_secs()).max(1);
        for _ in 0..times {
            for _ in 0..=chance.below(4) {
                let kind = self.kind_of_mix(chance);
                let Some(fault) = self.at_some_time(kind, chance).filter(|fault| self.has_room(&faults, fault)) else {
                    continue;
                };
                let second = self.second(&fault, faults.len(), chance).filter(|second| self.has_room(&faults, second));
                let second = second.filter(|second| second.pair.is_some() || self.are_apart(&fault, second));
                let pair = second.as_ref().and_then(|second| second.pair);
                faults.push(Fault { pair, ..fault });
                faults.extend(second);
            }
        }
        faults
    }

    /// One that the mix has more of, or else once more any.
    fn kind_of_mix(&self, chance: &mut Chance) -> Kind {
        let kind = self.kind(chance);
        let is_wanted = match self.mix {
            Mix::Even => true,
            Mix::Paths => kind.is_of_a_path(),
            Mix::Hosts => !kind.is_of_a_path(),
        };
        if is_wanted { kind } else { self.kind(chance) }
    }

    fn has_room(&self, faults: &[Fault], fault: &Fault) -> bool {
        let ends = fault.concerns().1 == Time(u64::MAX) || fault.to.plus(APART) <= Time(0).plus(self.lasts);
        ends && faults.iter().all(|other| self.are_apart(other, fault))
    }

    fn at_some_time(&self, kind: Kind, chance: &mut Chance) -> Option<Fault> {
        let (length, phases) = when(&kind, chance);
        let latest = self.lasts.saturating_sub(QUIET + length + APART);
        if latest < QUIET {
            return None;
        }
        let from = Time(0).plus(chance.time(QUIET, latest));
        // Who is down stays so.
        let to = if matches!(kind, Kind::Down { .. }) { Time(0).plus(self.lasts) } else { from.plus(length) };
        let kind = match kind {
            Kind::Restored { host, .. } => Kind::Restored { host, taken: taken_before(from, chance) },
            kind => kind,
        };
        let phases: Vec<_> = phases.into_iter().map(|(begin, end)| (from.plus(begin), from.plus(end))).collect();
        Some(if phases.is_empty() {
            Fault::once(kind, from, to)
        } else {
            Fault { phases, ..Fault::once(kind, from, to) }
        })
    }

    /// Now and then another fault comes soon after one, on the same host; or a host that watches stands still meanwhile.
    fn second(&self, first: &Fault, number: usize, chance: &mut Chance) -> Option<Fault> {
        let hosts = first.kind.hosts();
        let one = matches!(first.kind, Kind::Cpu { .. } | Kind::Pause { .. } | Kind::Agent { .. } | Kind::Drop { .. });
        if !one || hosts.len() > 2 || !chance.hits(PAIRS) {
            return None;
        }
        let (host, after) = (*chance.pick(&hosts), chance.hits(0.5));
        if after {
            let kind = self.kind_of_host(host, chance);
            let from = first.to.plus(chance.time(SOON.0, SOON.1));
            let to = from.plus(when(&kind, chance).0);
            return Some(Fault { pair: Some(number), ..Fault::once(kind, from, to) });
        }
        let observer = *chance.pick(&self.mesh.peers(host));
        let kind = self.kind_of_host(observer, chance);
        let length = when(&kind, chance).0;
        let earliest = first.from.since(Time(0).plus(length)).max(QUIET);
        let from = Time(0).plus(chance.time(earliest, first.to.since(Time(0))));
        Some(Fault::once(kind, from, from.plus(length)))
    }

    /// Neither concerns a host that the other one does, or a peer of it, at the same time.
    fn are_apart(&self, one: &Fault, other: &Fault) -> bool {
        let ((from, to), (other_from, other_to)) = (one.concerns(), other.concerns());
        let apart = to.plus(APART) < other_from || other_to.plus(APART) < from;
        let (hosts, others) = (self.concerned(one), self.concerned(other));
        let of_others = !hosts.iter().any(|host| others.contains(host));
        (apart || of_others) && !is_after_a_failover(one, other)
    }

    fn concerned(&self, fault: &Fault) -> Vec<usize> {
        match &fault.kind {
            Kind::Partition { .. } => (0..self.count).collect(),
            // Two of one hypervisor that pause together are its stall.
            Kind::Pause { hosts, .. } if self.guests => hosts.iter().flat_map(|host| self.guests_with(*host)).collect(),
            Kind::Migrated { host, .. } | Kind::Restored { host, .. } if self.guests => self.guests_with(*host),
            other => other.hosts(),
        }
    }

    /// Those that run on the same hypervisor.
    pub(super) fn guests_with(&self, host: usize) -> Vec<usize> {
        let first = host / GUESTS * GUESTS;
        (first..(first + GUESTS).min(self.count)).collect()
    }
}

/// The address is somebody else's after one.
fn is_after_a_failover(one: &Fault, other: &Fault) -> bool {
    let moves = |fault: &Fault| matches!(fault.kind, Kind::Failover { .. });
    let of_vip = |fault: &Fault| moves(fault) || matches!(fault.kind, Kind::SplitBrain { .. });
    of_vip(one) && of_vip(other) && (moves(one) || moves(other))
}

/// When the snapshot was taken of a machine that is stopped then.
fn taken_before(from: Time, chance: &mut Chance) -> Time {
    let passed = from.since(Time(0).plus(QUIET / 2));
    Time(0).plus(QUIET / 2 + chance.time(Duration::ZERO, passed))
}
