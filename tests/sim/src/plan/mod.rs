//! From a seed to a fleet and what befalls it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use lacuna_core::settings::Settings;

use crate::chance::Chance;
use crate::clock::{Clock, Time};
use crate::fault::{Fault, Kind};
use crate::host::Host;
use crate::machine::Machine;
use crate::network::Network;
use crate::world::World;

mod faults;
mod kinds;

/// A fleet of at most so many hosts is a full mesh; in a larger one each watches some neighbours.
const MESH: usize = 8;
/// Of three fleets one has hypervisors, of so many guests each.
const GUESTS: usize = 3;
/// The part of the hosts to which no ICMP gets through.
const WITHOUT_ICMP: f64 = 0.08;
/// The part of the hosts whose kernels let nobody attach probes.
const WITHOUT_PROBES: f64 = 0.08;

/// The part of the fleets that have a virtual address, which all hosts watch.
const WITH_VIP: f64 = 0.4;
/// That address.
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100));

/// A fleet and what befalls it.
pub(crate) struct Plan {
    pub(crate) world: World,
    pub(crate) mesh: Mesh,
    pub(crate) faults: Vec<Fault>,
    pub(crate) lasts: Duration,
}

/// What a plan is made from.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) seed: u64,
    pub(crate) hosts: RangeInclusive<usize>,
    pub(crate) lasts: Duration,
    pub(crate) mix: Mix,
    /// How many hosts each watches on either side of it, in a fleet that is no full mesh.
    pub(crate) aside: usize,
}

/// Which faults there are more of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mix {
    /// None.
    #[default]
    Even,
    /// Those of paths.
    Paths,
    /// Those of hosts.
    Hosts,
}

impl Plan {
    /// The same plan for the same wish, every time.
    pub(crate) fn new(wanted: &Wanted) -> Self {
        let mut chance = Chance::new(wanted.seed);
        let (least, most) = (*wanted.hosts.start(), *wanted.hosts.end());
        let count = least + chance.below(most - least + 1);
        let mesh = Mesh { count, aside: wanted.aside };
        let guests = chance.hits(1.0 / 3.0);
        let mut hosts: Vec<Host> = (0..count).map(|place| host(place, mesh, guests, &mut chance)).collect();
        let owner = chance.hits(WITH_VIP).then(|| chance.below(count));
        let faults = faults::Faults::new(&hosts, mesh, guests, owner, wanted).plan(&mut chance);
        prepare(&mut hosts, owner, &faults);
        let network = Network::new(count, &mut chance);
        Self { world: World::new(hosts, network, chance), mesh, faults, lasts: wanted.lasts }
    }

    /// Lets it happen.
    pub(crate) fn run(&mut self) {
        self.world.run(&self.faults, Time(0).plus(self.lasts));
    }
}

pub(crate) fn name(place: usize) -> String {
    format!("h{place}")
}

/// Who watches whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mesh {
    /// How many hosts there are.
    pub(crate) count: usize,
    /// How many each watches on either side of it, where it does not watch all.
    aside: usize,
}

impl Mesh {
    /// Whether all watch each other.
    pub(crate) fn is_full(self) -> bool {
        self.count <= MESH.max(2 * self.aside + 1)
    }

    /// Whom a host watches: everybody, or those next to it.
    pub(crate) fn peers(self, place: usize) -> Vec<usize> {
        if self.is_full() {
            return (0..self.count).filter(|other| *other != place).collect();
        }
        let steps = (1..=self.aside).flat_map(|step| [step, self.count - step]);
        let mut peers: Vec<usize> = steps.map(|step| (place + step) % self.count).collect();
        peers.sort_unstable();
        peers
    }
}

fn host(place: usize, mesh: Mesh, guests: bool, chance: &mut Chance) -> Host {
    let peers: Vec<(usize, String)> = mesh.peers(place).into_iter().map(|peer| (peer, name(peer))).collect();
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
    let machine = Machine::new(!chance.hits(WITHOUT_PROBES), chance);
    let mut host = Host::new(place, settings, peers, clock, next, machine, chance);
    host.answers_echoes = !chance.hits(WITHOUT_ICMP);
    host
}

/// Who has the virtual address, and whose state is kept to be restored.
fn prepare(hosts: &mut [Host], owner: Option<usize>, faults: &[Fault]) {
    if let Some(owner) = owner {
        hosts[owner].holds_vip = true;
        hosts.iter_mut().for_each(|host| host.watch(VIP));
    }
    for fault in faults {
        if let Kind::Restored { host, .. } = fault.kind {
            hosts[host].remember();
        }
    }
}
