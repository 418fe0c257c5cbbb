//! Who answers at link level: this host asks for the watched virtual addresses and for its peers once a second, by ARP
//! (RFC 826) and neighbour solicitations (RFC 4861), and takes what is claimed.
//!
//! A virtual address is asked for on one interface, that which has an address in its network. Whom a link-layer address
//! belongs to is known by what else it answers for: a peer's own address makes it that peer's. One that answers for several
//! hosts, one of which answers as well, or for this host's own address, stands in for others (proxy ARP), and claims nothing.

pub mod arp;
mod filter;
mod frame;
mod interfaces;
pub mod ndp;
mod plan;
mod socket;
mod table;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use lacuna_core::evidence::{ClaimKind, Evidence, Fact, LinkAddress, VipClaim};
use lacuna_core::time::Nanos;

use crate::clock::{self, Reading};
use crate::config::Config;
use plan::{Target, Wanted, What};
use socket::LinkSocket;
use table::Table;
use worker::{OpenPort, View, Worker};

pub use frame::{Refused, Seen};
pub use plan::{MAX_PORTS, Survey, survey};

/// Between two requests for an address.
const EVERY: Duration = Duration::from_secs(1);
/// How far apart peers are asked, so that not all answers come at once.
const SPREAD: Duration = Duration::from_millis(100);
/// A peer that answered not longer ago is asked alone, the others are left in peace (as kernels do, RFC 1122, 2.3.2.1).
const ALONE: Duration = Duration::from_secs(3);
/// Each so many requests for a peer's address go to all: who else answers for it?
const ALL: u64 = 30;
/// Between two requests for this host's own address.
const EVERY_OWN: Duration = Duration::from_secs(10);
/// A look at this host's interfaces that took longer does not tell what they have now.
const FRESH: Duration = Duration::from_millis(800);
/// Claims of one virtual address and kind that are told between two requests, each of another link-layer address.
const MAX_TOLD: usize = 16;

/// Figures of the watch; all count from its start.
#[derive(Clone, Debug, Default)]
pub struct LinkCounters {
    /// Claims of virtual addresses, by address and by whose they were: `self`, a peer's name, or `other`.
    pub claims: BTreeMap<(IpAddr, String), u64>,
    /// Frames and claims that were not taken, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

impl LinkCounters {
    fn refuse(&mut self, reason: &'static str, count: u64) {
        *self.refused.entry(reason).or_default() += count;
    }
}

/// When a neighbour is asked next, and whether its answer is awaited.
#[derive(Clone, Debug)]
struct Ask {
    due: Nanos,
    asked: u64,
    awaited: bool,
}

/// What was told since the last request, so that a flood is told once.
#[derive(Debug, Default)]
struct Told(BTreeMap<(IpAddr, ClaimKind), BTreeSet<LinkAddress>>);

impl Told {
    fn is_news(&mut self, claim: &VipClaim) -> bool {
        let links = self.0.entry((claim.vip, claim.how)).or_default();
        links.len() < MAX_TOLD && links.insert(claim.link)
    }
}

/// See the module's documentation. It never waits: interfaces are looked at, and sockets opened and closed, by a thread of
/// its own, since the kernel may hold these up for as long as something else changes its interfaces.
pub struct LinkWatch {
    host: String,
    wanted: Arc<Wanted>,
    worker: Option<Worker>,
    view: Arc<View>,
    table: Table,
    asks: BTreeMap<Ipv4Addr, Ask>,
    told: Told,
    next_vips: Nanos,
    next_own: Nanos,
    counters: LinkCounters,
}

impl LinkWatch {
    /// A watch that has seen nothing yet; `gateway` is one more neighbour, whose answers tell who it is.
    #[must_use]
    pub fn new(config: &Config, gateway: Option<(&str, Ipv4Addr)>) -> Self {
        let mut watch = Self {
            host: config.host.clone(),
            wanted: Arc::default(),
            worker: None,
            view: Arc::default(),
            table: Table::default(),
            asks: BTreeMap::new(),
            told: Told::default(),
            next_vips: Nanos(0),
            next_own: Nanos(0),
            counters: LinkCounters::default(),
        };
        watch.set(config, gateway);
        watch
    }

    /// Takes other addresses while it runs.
    pub fn set(&mut self, config: &Config, gateway: Option<(&str, Ipv4Addr)>) {
        let wanted = Wanted::new(config, gateway);
        self.table.set(&wanted.neighbours);
        self.asks.retain(|address, _| wanted.neighbours.iter().any(|known| known.address == *address));
        let now = clock::boot();
        for (place, known) in (0..10).cycle().zip(&wanted.neighbours) {
            self.asks.entry(known.address).or_insert(Ask { due: now.plus(SPREAD * place), asked: 0, awaited: false });
        }
        if self.worker.is_none() && !wanted.is_empty() {
            self.start();
        }
        self.wanted = Arc::new(wanted);
    }

    fn start(&mut self) {
        match Worker::start() {
            Ok(worker) => self.worker = Some(worker),
            Err(error) => self.show(View::without(format!("nothing is watched at link level: {error}"))),
        }
    }

    /// Takes a new look, and says what is new that does not work.
    fn show(&mut self, view: View) {
        let before = std::mem::replace(&mut self.view, Arc::new(view));
        let new = self.view.notes.iter().filter(|note| !before.notes.contains(note));
        new.for_each(|note| tracing::warn!("{note}"));
    }

    /// Figures so far.
    #[must_use]
    pub fn counters(&self) -> &LinkCounters {
        &self.counters
    }

    /// What does not work, a sentence each; empty where all is well.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.view.notes
    }

    /// Everything that has arrived since `drained_at`, as evidence; and what this host has itself, where it has looked.
    pub fn receive(&mut self, now: Reading, drained_at: Nanos) -> Vec<Evidence> {
        let mut seen = self.take_look(now.boot);
        let view = Arc::clone(&self.view);
        for port in &view.ports {
            if let Some(socket) = &port.arp {
                self.drain(socket, port, now, drained_at, arp::seen, &mut seen);
            }
            if let Some(socket) = &port.ndp {
                self.drain(socket, port, now, drained_at, ndp::seen, &mut seen);
            }
        }
        seen
    }

    /// What the last look at the interfaces found: virtual addresses that this host has itself.
    fn take_look(&mut self, now: Nanos) -> Vec<Evidence> {
        let Some(view) = self.worker.as_ref().and_then(Worker::found) else { return Vec::new() };
        self.show(view);
        let view = Arc::clone(&self.view);
        let fresh = now.since(view.looked_at) < FRESH;
        let held = view.held.iter().filter(|_| fresh).filter_map(|(vip, link)| {
            let owner = Some(self.host.clone());
            let claim = VipClaim { vip: *vip, link: *link, owner, how: ClaimKind::Held, count: 1 };
            self.count(&claim);
            self.told.is_news(&claim).then(|| Evidence::at(&self.host, view.looked_at, Fact::VipClaim(claim)))
        });
        held.collect()
    }

    fn drain(
        &mut self,
        socket: &LinkSocket,
        port: &OpenPort,
        now: Reading,
        drained_at: Nanos,
        parse: fn(&[u8], LinkAddress) -> Result<Seen, Refused>,
        evidence: &mut Vec<Evidence>,
    ) {
        let link = port.plan.interface.link;
        let lost = socket.drain(|stamp, frame| {
            // An agent that was held up in its turn finds what came in meanwhile: later than the turn began.
            let late = stamp.is_some_and(|stamp| stamp > now.wall);
            let now = if late { clock::read() } else { now };
            let at = stamp.map_or(now.boot, |stamp| now.boot_at(stamp, drained_at));
            match parse(frame, link) {
                Ok(seen) => evidence.extend(self.take(port, seen, at)),
                Err(refused) => self.counters.refuse(refused.reason(), 1),
            }
        });
        if lost > 0 {
            self.counters.refuse("overflow", lost);
        }
    }

    fn take(&mut self, port: &OpenPort, seen: Seen, at: Nanos) -> Option<Evidence> {
        let target = port.plan.targets.iter().find(|target| target.address == seen.address)?;
        match target.what {
            What::Vip { sole } => self.take_claim(seen, sole, at),
            What::Neighbour => self.take_neighbour(seen, at),
            What::Own => {
                if !self.view.own.contains(&seen.link) {
                    self.table.learn_stand_in(seen.link, at);
                }
                None
            }
        }
    }

    /// A neighbour says that it has its own address.
    fn take_neighbour(&mut self, seen: Seen, at: Nanos) -> Option<Evidence> {
        let IpAddr::V4(address) = seen.address else { return None };
        self.table.learn(address, seen.link, at);
        let ask = self.asks.get_mut(&address)?;
        let awaited = seen.answers && std::mem::take(&mut ask.awaited);
        let name = self.table.name(address).filter(|_| awaited && !self.table.is_proxy(seen.link, at))?;
        Some(Evidence::at(name, at, Fact::ArpReply { address: seen.address, link: seen.link, count: 1 }))
    }

    /// Somebody says that it has a virtual address. `sole` is true where no other interface reaches its network.
    fn take_claim(&mut self, seen: Seen, sole: bool, at: Nanos) -> Option<Evidence> {
        if self.table.is_proxy(seen.link, at) {
            self.counters.refuse("proxy", 1);
            return None;
        }
        let how = if seen.answers { ClaimKind::Answered } else { ClaimKind::Announced };
        let owner = self.owner(seen, sole, at);
        let claim = VipClaim { vip: seen.address, link: seen.link, owner, how, count: 1 };
        self.count(&claim);
        if self.told.is_news(&claim) {
            return Some(Evidence::at(&self.host, at, Fact::VipClaim(claim)));
        }
        self.counters.refuse("repeated", 1);
        None
    }

    /// The host that a link-layer address belongs to.
    ///
    /// A virtual one may be this host's and another's. What this host's own kernel answers never comes in from the wire,
    /// unless a second interface of it reaches the same network.
    fn owner(&self, seen: Seen, sole: bool, at: Nanos) -> Option<String> {
        if !self.view.own.contains(&seen.link) {
            return self.table.owner(seen.link, at).map(str::to_owned);
        }
        let another = sole && seen.answers && seen.link.is_virtual();
        (!another).then(|| self.host.clone())
    }

    fn count(&mut self, claim: &VipClaim) {
        let owner = match &claim.owner {
            Some(name) if *name == self.host => "self",
            Some(name) => name.as_str(),
            None => "other",
        };
        *self.counters.claims.entry((claim.vip, owner.to_owned())).or_default() += 1;
    }

    /// Asks for what is due; the requests for virtual addresses that left, as evidence.
    pub fn ask(&mut self, now: Nanos) -> Vec<Evidence> {
        let view = Arc::clone(&self.view);
        for port in &view.ports {
            self.ask_neighbours(port, now);
        }
        if self.next_own <= now && !view.ports.is_empty() {
            self.next_own = now.plus(EVERY_OWN);
            self.send_all(&view, |what| what == What::Own);
        }
        if self.next_vips > now {
            return Vec::new();
        }
        self.next_vips = next(self.next_vips, now);
        self.told = Told::default();
        if let Some(worker) = &self.worker {
            worker.ask(&self.wanted);
        }
        let asked = self.send_all(&view, |what| matches!(what, What::Vip { .. }));
        asked.into_iter().map(|vip| Evidence::at(&self.host, now, Fact::VipAsked { vip })).collect()
    }

    /// Asks everybody for these addresses; those whose request left.
    fn send_all(&mut self, view: &View, which: impl Fn(What) -> bool) -> Vec<IpAddr> {
        let mut asked = Vec::new();
        for port in &view.ports {
            let targets = port.plan.targets.iter().filter(|target| which(target.what));
            asked.extend(targets.filter(|target| self.send(port, target, None)).map(|target| target.address));
        }
        asked
    }

    fn ask_neighbours(&mut self, port: &OpenPort, now: Nanos) {
        for target in port.plan.targets.iter().filter(|target| target.what == What::Neighbour) {
            let IpAddr::V4(address) = target.address else { continue };
            let Some(ask) = self.asks.get_mut(&address).filter(|ask| ask.due <= now) else { continue };
            ask.due = next(ask.due, now);
            ask.asked += 1;
            ask.awaited = true;
            let alone = !ask.asked.is_multiple_of(ALL);
            let known = self.table.link_of(address, now.minus(ALONE)).filter(|_| alone);
            self.send(port, target, known);
        }
    }

    /// Whether the request left; to one link-layer address, or to all.
    fn send(&mut self, port: &OpenPort, target: &Target, to: Option<LinkAddress>) -> bool {
        let link = port.plan.interface.link;
        let sent = match (target.address, target.source) {
            (IpAddr::V4(address), source) => {
                let source = source.and_then(|source| match source {
                    IpAddr::V4(source) => Some(source),
                    IpAddr::V6(_) => None,
                });
                let frame = arp::request(link, source.unwrap_or(Ipv4Addr::UNSPECIFIED), to, address);
                port.arp.as_ref().map(|socket| socket.send(&frame))
            }
            (IpAddr::V6(address), Some(IpAddr::V6(source))) => {
                port.ndp.as_ref().map(|socket| socket.send(&ndp::solicitation(link, source, address)))
            }
            (IpAddr::V6(_), _) => None,
        };
        let left = matches!(sent, Some(Ok(())));
        if !left {
            self.counters.refuse("send", 1);
        }
        left
    }
}

/// The rhythm goes on; what was slept through is not made up for.
fn next(due: Nanos, now: Nanos) -> Nanos {
    let next = due.plus(EVERY);
    if next > now { next } else { now.plus(EVERY) }
}
