//! Whom to ask on which interface: from the configuration and this host's interfaces, nothing else.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use lacuna_core::evidence::LinkAddress;

use super::interfaces::{self, Interface};
use super::socket::LinkSocket;
use crate::config::Config;

/// Most interfaces that are watched; those beyond it are named.
pub const MAX_PORTS: usize = 16;
/// Sentences that a plan has about what it leaves out.
const MAX_NOTES: usize = 16;

/// What the configuration asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The interfaces; empty: all that are up.
    pub(super) interfaces: Vec<String>,
    /// The virtual addresses.
    pub(super) vips: Vec<IpAddr>,
    /// Who has which address of its own: the peers, and beside virtual addresses the gateway, which is the most likely to
    /// stand in for others. IPv4 only.
    pub(super) neighbours: Vec<Neighbour>,
}

/// Who has an address of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
    /// It is the gateway, which may be one of the peers as well.
    pub(super) gateway: bool,
}

impl Wanted {
    pub(super) fn new(config: &Config, gateway: Option<(&str, Ipv4Addr)>) -> Self {
        let v4 = |ip: IpAddr| match ip.to_canonical() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        };
        let neighbour = |name: &str, address, gateway| Neighbour { name: name.to_owned(), address, gateway };
        let peers = config.peers.iter().filter_map(|peer| Some(neighbour(&peer.name, v4(peer.addr.ip())?, false)));
        let gateway = gateway.filter(|_| !config.watch.vips.is_empty());
        let gateway = gateway.map(|(name, address)| neighbour(name, address, true));
        let mut known = BTreeSet::new();
        // An address that moves tells nobody's name.
        let own = |address: &Ipv4Addr| !config.watch.vips.contains(&IpAddr::V4(*address));
        let neighbours = peers.chain(gateway).filter(|one| own(&one.address) && known.insert(one.address));
        Self {
            interfaces: config.watch.interfaces.clone(),
            vips: config.watch.vips.clone(),
            neighbours: neighbours.collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.vips.is_empty() && self.neighbours.is_empty()
    }
}

/// An address to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) address: IpAddr,
    /// This host's own address in its network; absent where it has none there.
    pub(super) source: Option<IpAddr>,
    pub(super) what: What,
}

/// What an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A virtual one that must have one owner.
    Vip {
        /// No other interface of this host reaches its network.
        sole: bool,
    },
    /// A peer's own, or the gateway's.
    Neighbour,
    /// This host's own: who answers for it answers for everybody.
    Own,
}

/// An interface and whom to ask there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) interface: Interface,
    pub(super) targets: Vec<Target>,
}

/// Whom to ask where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// At most [`MAX_PORTS`].
    pub(super) ports: Vec<Port>,
    /// The link-layer addresses of all interfaces of this host.
    pub(super) own: BTreeSet<LinkAddress>,
    /// The virtual addresses that this host has itself, with the interface's link-layer address.
    pub(super) held: Vec<(IpAddr, LinkAddress)>,
    /// What is left out, and why.
    pub(super) notes: Vec<String>,
}

/// The plan for these interfaces.
pub(super) fn plan(all: &[Interface], wanted: &Wanted) -> Plan {
    let usable = |interface: &&Interface| interface.up && interface.has_neighbours;
    let named = |interface: &&Interface| wanted.interfaces.is_empty() || wanted.interfaces.contains(&interface.name);
    let watched: Vec<&Interface> = all.iter().filter(usable).filter(named).collect();
    let mut plan = Plan {
        own: all.iter().map(|interface| interface.link).filter(|link| link.is_of_one()).collect(),
        held: all.iter().filter(usable).flat_map(|interface| held(interface, wanted)).collect(),
        notes: missing(all, wanted),
        ports: Vec::new(),
    };
    for vip in &wanted.vips {
        match place(&watched, *vip, wanted) {
            Some((interface, target)) => plan.add(interface, target),
            None => plan.note(format!("nobody is asked for {vip}: no interface has an address in its network")),
        }
    }
    for neighbour in &wanted.neighbours {
        let address = IpAddr::V4(neighbour.address);
        if let Some((interface, source)) = reaching(&watched, address, wanted).first() {
            plan.add(interface, Target { address, source: Some(*source), what: What::Neighbour });
        }
    }
    plan.ports.iter_mut().for_each(add_own);
    plan.bound();
    plan
}

impl Plan {
    fn add(&mut self, interface: &Interface, target: Target) {
        match self.ports.iter_mut().find(|port| port.interface.index == interface.index) {
            Some(port) => port.targets.push(target),
            None => self.ports.push(Port { interface: interface.clone(), targets: vec![target] }),
        }
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note);
        }
    }

    fn bound(&mut self) {
        let beyond = self.ports.split_off(MAX_PORTS.min(self.ports.len()));
        for Port { interface, .. } in beyond {
            self.note(format!("{} is left out: at most {MAX_PORTS} interfaces are watched", interface.name));
        }
    }
}

/// Where virtual addresses are asked for, this host also asks for its own address, as nobody (a probe of RFC 5227).
fn add_own(port: &mut Port) {
    let of_vip = |target: &&Target| matches!(target.what, What::Vip { .. }) && target.address.is_ipv4();
    let own = port.targets.iter().filter(of_vip).find_map(|target| target.source);
    port.targets.extend(own.map(|address| Target { address, source: None, what: What::Own }));
}

/// Interfaces that the configuration names and that cannot be watched.
fn missing(all: &[Interface], wanted: &Wanted) -> Vec<String> {
    let why = |name: &String| match all.iter().find(|interface| interface.name == *name) {
        None => Some(format!("{name} is not there")),
        Some(interface) if !interface.up => Some(format!("{name} is down")),
        Some(interface) if !interface.has_neighbours => Some(format!("{name} does not speak ARP")),
        Some(_) => None,
    };
    wanted.interfaces.iter().filter_map(why).take(MAX_NOTES).collect()
}

fn held<'a>(interface: &'a Interface, wanted: &'a Wanted) -> impl Iterator<Item = (IpAddr, LinkAddress)> + 'a {
    let own = interface.addresses.iter().map(|address| address.ip);
    own.filter(|ip| wanted.vips.contains(ip)).map(|ip| (ip, interface.link))
}

/// The interfaces with an address of their own in the network of that one.
fn reaching<'a>(watched: &[&'a Interface], address: IpAddr, wanted: &Wanted) -> Vec<(&'a Interface, IpAddr)> {
    let source = |interface: &&'a Interface| {
        let mut own = interface.addresses.iter().filter(|own| !wanted.vips.contains(&own.ip));
        Some((*interface, own.find(|own| own.reaches(address))?.ip))
    };
    watched.iter().filter_map(source).collect()
}

/// Where a virtual address is asked for: where this host has an address in its network, else where it has the address
/// itself, else on the one interface there is.
fn place<'a>(watched: &[&'a Interface], vip: IpAddr, wanted: &Wanted) -> Option<(&'a Interface, Target)> {
    let reaching = reaching(watched, vip, wanted);
    if let Some((interface, source)) = reaching.first() {
        let sole = reaching.len() == 1;
        return Some((*interface, Target { address: vip, source: Some(*source), what: What::Vip { sole } }));
    }
    let holds = |interface: &&&Interface| interface.addresses.iter().any(|own| own.ip == vip);
    let alone = watched.first().filter(|_| watched.len() == 1);
    let interface = watched.iter().find(holds).or(alone)?;
    // IPv6 has a link-local address to ask from, IPv4 asks as nobody.
    let local = |own: &&interfaces::Address| matches!(own.ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let source = interface.addresses.iter().find(local).map(|own| own.ip).filter(|_| vip.is_ipv6());
    Some((*interface, Target { address: vip, source, what: What::Vip { sole: watched.len() == 1 } }))
}

/// What the watch would do here, for `doctor`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Each interface that is watched, with how many addresses are asked for there.
    pub interfaces: Vec<(String, usize)>,
    /// What is left out, and why.
    pub notes: Vec<String>,
}

/// Looks what the watch would do with this configuration, and whether it may.
///
/// # Errors
/// The interfaces cannot be read, or no packet socket can be opened: that needs `CAP_NET_RAW`.
pub fn survey(config: &Config, gateway: Option<(&str, Ipv4Addr)>) -> io::Result<Survey> {
    let wanted = Wanted::new(config, gateway);
    if wanted.is_empty() {
        return Ok(Survey::default());
    }
    let plan = plan(&interfaces::read()?, &wanted);
    if let Some(port) = plan.ports.first() {
        LinkSocket::open(port.interface.index, super::worker::ARP, &super::filter::arp(&[]))?;
    }
    let interfaces = plan.ports.iter().map(|port| (port.interface.name.clone(), port.targets.len()));
    Ok(Survey { interfaces: interfaces.collect(), notes: plan.notes })
}
