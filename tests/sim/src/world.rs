//! The fleet as it lives: its ticks in the order of true time, and what it sends.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use lacuna_core::evidence::ClaimKind;

use crate::chance::Chance;
use crate::clock::Time;
use crate::fault::Fault;
use crate::host::{Host, Leaving, Packet};
use crate::network::{Load, Network};

/// See the module's documentation.
pub(crate) struct World {
    pub(crate) hosts: Vec<Host>,
    network: Network,
    chance: Chance,
}

/// What happens to the fleet at a time; ends go first where both are at one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Of that fault, and which time that it is.
    End(usize, usize),
    Begin(usize, usize),
}

impl World {
    pub(crate) fn new(hosts: Vec<Host>, network: Network, chance: Chance) -> Self {
        Self { hosts, network, chance }
    }

    /// Lets it live until then, with these faults.
    pub(crate) fn run(&mut self, faults: &[Fault], until: Time) {
        let mut events: Vec<(Time, Event)> = events(faults).filter(|(at, _)| *at < until).collect();
        events.sort();
        let mut events = events.into_iter().peekable();
        let mut ticks = self.ticks();
        while let Some(Reverse((at, place))) = ticks.pop().filter(|Reverse((at, _))| *at < until) {
            if let Some((_, event)) = events.next_if(|(due, _)| *due <= at) {
                self.befall(faults, event);
                self.announce(at);
                // Who goes on does so at once.
                ticks = self.ticks();
                continue;
            }
            if self.hosts[place].asleep.is_some() {
                self.hosts[place].next = until;
                continue;
            }
            let leaving = self.hosts[place].tick(at, &mut self.chance);
            leaving.into_iter().for_each(|one| self.carry(place, at, one));
            if std::mem::take(&mut self.hosts[place].asks) {
                self.ask_for_vip(place, at);
            }
            if self.hosts[place].asleep.is_none() {
                ticks.push(Reverse((self.hosts[place].next, place)));
            }
        }
    }

    /// The next tick of each host, the earliest first.
    fn ticks(&self) -> BinaryHeap<Reverse<(Time, usize)>> {
        self.hosts.iter().enumerate().map(|(place, host)| Reverse((host.next, place))).collect()
    }

    fn befall(&mut self, faults: &[Fault], event: Event) {
        match event {
            Event::Begin(place, phase) => faults[place].begin(phase, &mut self.hosts, &mut self.network),
            Event::End(place, phase) => faults[place].end(phase, &mut self.hosts, &mut self.network, &mut self.chance),
        }
    }

    fn carry(&mut self, from: usize, at: Time, leaving: Leaving) {
        let Leaving { to, load, packet } = leaving;
        let Some((arrives, again)) = self.network.carry(from, to, at, load, &mut self.chance) else {
            let beat = matches!(packet, Some(Packet::Beat(_)));
            if beat && self.network.is_dropped_on_arrival(from, to) && self.hosts[to].kernel_runs() {
                *self.hosts[to].dropped.entry(from).or_default() += 1;
            }
            return;
        };
        if let Some(again) = again {
            self.deliver(from, to, at, again, packet.clone());
        }
        self.deliver(from, to, at, arrives, packet);
    }

    /// A packet that left at that time arrives.
    fn deliver(&mut self, from: usize, to: usize, left: Time, arrives: Time, packet: Option<Packet>) {
        let host = &mut self.hosts[to];
        match packet {
            None if host.kernel_answers() => self.answer(to, from, arrives, Packet::Answer(left)),
            Some(Packet::Beat(_)) if host.has_ended() && host.kernel_answers() => {
                self.answer(to, from, arrives, Packet::Unreachable);
            }
            Some(packet) => host.receive(arrives, from, packet),
            None => {}
        }
    }

    /// All that have the virtual address answer who asks for it.
    fn ask_for_vip(&mut self, from: usize, at: Time) {
        for other in (0..self.hosts.len()).filter(|other| *other != from) {
            if self.hosts[other].holds_vip && self.hosts[other].kernel_runs() {
                let asked = self.network.carry(from, other, at, Load::Echo, &mut self.chance);
                asked.into_iter().for_each(|(at, _)| self.answer(other, from, at, Packet::Claim(ClaimKind::Answered)));
            }
        }
    }

    /// Who has just taken the virtual address says so to all.
    fn announce(&mut self, at: Time) {
        for place in 0..self.hosts.len() {
            if std::mem::take(&mut self.hosts[place].announces) {
                let others = (0..self.hosts.len()).filter(|other| *other != place);
                others.for_each(|other| self.answer(place, other, at, Packet::Claim(ClaimKind::Announced)));
            }
        }
    }

    /// What the kernel of a host sends back by itself.
    fn answer(&mut self, from: usize, to: usize, at: Time, packet: Packet) {
        if let Some((arrives, _)) = self.network.carry(from, to, at, Load::Echo, &mut self.chance) {
            self.hosts[to].receive(arrives, from, packet);
        }
    }
}

/// Begin and end of each time that each of them is.
fn events(faults: &[Fault]) -> impl Iterator<Item = (Time, Event)> {
    let of = |(place, fault): (usize, &Fault)| {
        let phases = fault.phases.iter().copied().enumerate();
        let both = phases
            .flat_map(move |(phase, (from, to))| [(from, Event::Begin(place, phase)), (to, Event::End(place, phase))]);
        both.collect::<Vec<_>>()
    };
    faults.iter().enumerate().flat_map(of)
}
