//! The fleet as it lives: its ticks in the order of true time, and what it sends.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

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
    End(usize),
    Begin(usize),
}

impl World {
    pub(crate) fn new(hosts: Vec<Host>, network: Network, chance: Chance) -> Self {
        Self { hosts, network, chance }
    }

    /// Lets it live until then, with these faults.
    pub(crate) fn run(&mut self, faults: &[Fault], until: Time) {
        let begins = faults.iter().enumerate().map(|(place, fault)| (fault.from, Event::Begin(place)));
        let ends = faults.iter().enumerate().map(|(place, fault)| (fault.to, Event::End(place)));
        let mut events: Vec<(Time, Event)> = begins.chain(ends).filter(|(at, _)| *at < until).collect();
        events.sort();
        let mut events = events.into_iter().peekable();
        let mut ticks = self.ticks();
        while let Some(Reverse((at, place))) = ticks.pop().filter(|Reverse((at, _))| *at < until) {
            if let Some((_, event)) = events.next_if(|(due, _)| *due <= at) {
                self.befall(faults, event);
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
            ticks.push(Reverse((self.hosts[place].next, place)));
        }
    }

    /// The next tick of each host, the earliest first.
    fn ticks(&self) -> BinaryHeap<Reverse<(Time, usize)>> {
        self.hosts.iter().enumerate().map(|(place, host)| Reverse((host.next, place))).collect()
    }

    fn befall(&mut self, faults: &[Fault], event: Event) {
        match event {
            Event::Begin(place) => faults[place].begin(&mut self.hosts, &mut self.network),
            Event::End(place) => faults[place].end(&mut self.hosts, &mut self.network, &mut self.chance),
        }
    }

    fn carry(&mut self, from: usize, at: Time, leaving: Leaving) {
        let Leaving { to, load, packet } = leaving;
        let Some(arrives) = self.network.carry(from, to, at, load, &mut self.chance) else { return };
        match packet {
            None if self.hosts[to].kernel_answers() => self.answer(to, from, arrives, Packet::Answer(at)),
            None => {}
            Some(Packet::Beat(_)) if self.hosts[to].has_ended() => {
                self.answer(to, from, arrives, Packet::Unreachable);
            }
            Some(packet) => self.hosts[to].receive(arrives, from, packet),
        }
    }

    /// What the kernel of a host sends back by itself.
    fn answer(&mut self, from: usize, to: usize, at: Time, packet: Packet) {
        if let Some(arrives) = self.network.carry(from, to, at, Load::Small, &mut self.chance) {
            self.hosts[to].receive(arrives, from, packet);
        }
    }
}
