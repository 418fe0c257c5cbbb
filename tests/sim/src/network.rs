//! The ways between hosts: each direction by itself, with its own delay, and with what is broken of it.

use std::time::Duration;

use crate::chance::Chance;
use crate::clock::Time;

/// What an interface takes, and what is fragmented, as IP packets in bytes.
pub(crate) const MTU: u16 = 1500;
pub(crate) const FRAGMENTED: u16 = 2000;

/// One direction between two hosts.
#[derive(Clone, Debug)]
struct Way {
    delay: Duration,
    jitter: Duration,
    /// How many faults cut it at present.
    cut: u32,
    /// The part of its packets that is lost.
    loss: f64,
    /// The largest packet that passes whole, and whether fragments do.
    narrow: Option<(u16, bool)>,
}

/// All of them.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    hosts: usize,
    ways: Vec<Way>,
}

/// What is sent, as the network sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// A small packet.
    Small,
    /// One packet of that length that must not be fragmented.
    Whole(u16),
    /// Two fragments.
    Fragments,
}

impl Network {
    /// Ways between so many hosts, of which the two directions differ.
    pub(crate) fn new(hosts: usize, chance: &mut Chance) -> Self {
        let far = chance.hits(0.3);
        let way = |_| {
            let most = Duration::from_micros(if far { 15_000 } else { 400 });
            let delay = chance.time(Duration::from_micros(50), most);
            let jitter = chance.time(Duration::ZERO, delay / 4 + Duration::from_micros(50));
            Way { delay, jitter, cut: 0, loss: 0.0, narrow: None }
        };
        Self { hosts, ways: (0..hosts * hosts).map(way).collect() }
    }

    fn way(&mut self, from: usize, to: usize) -> &mut Way {
        &mut self.ways[from * self.hosts + to]
    }

    /// When a packet arrives that leaves at that time; absent where it is lost.
    pub(crate) fn carry(&mut self, from: usize, to: usize, at: Time, load: Load, chance: &mut Chance) -> Option<Time> {
        let way = self.way(from, to).clone();
        let fits = match (load, way.narrow) {
            (Load::Whole(bytes), Some((largest, _))) => bytes <= largest,
            (Load::Fragments, Some((_, fragments))) => fragments,
            _ => true,
        };
        let pieces = if load == Load::Fragments { 2 } else { 1 };
        let lost = way.cut > 0 || !fits || way.loss > 0.0 && (0..pieces).any(|_| chance.hits(way.loss));
        (!lost).then(|| at.plus(way.delay + chance.time(Duration::ZERO, way.jitter)))
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.way(from, to).cut += 1;
    }

    pub(crate) fn mend(&mut self, from: usize, to: usize) {
        let way = self.way(from, to);
        way.cut = way.cut.saturating_sub(1);
    }

    pub(crate) fn lose(&mut self, from: usize, to: usize, part: f64) {
        self.way(from, to).loss = part;
    }

    pub(crate) fn narrow(&mut self, from: usize, to: usize, limit: Option<(u16, bool)>) {
        self.way(from, to).narrow = limit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_direction_breaks_by_itself_and_a_way_is_whole_when_nothing_cuts_it() {
        let mut chance = Chance::new(1);
        let mut network = Network::new(2, &mut chance);
        let mut passes = |network: &mut Network, from, to, load| {
            network.carry(from, to, Time(1_000), load, &mut chance).is_some_and(|at| at > Time(1_000))
        };
        network.cut(0, 1);
        network.cut(0, 1);
        network.mend(0, 1);
        assert!(!passes(&mut network, 0, 1, Load::Small) && passes(&mut network, 1, 0, Load::Small));
        network.mend(0, 1);
        assert!(passes(&mut network, 0, 1, Load::Small));
        network.narrow(0, 1, Some((1400, true)));
        let through = [Load::Small, Load::Whole(1400), Load::Whole(1401), Load::Fragments];
        assert_eq!(through.map(|load| passes(&mut network, 0, 1, load)), [true, true, false, true]);
    }
}
