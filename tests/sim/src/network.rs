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
    /// A filter drops all but echoes, and where.
    filter: Option<Filter>,
    /// The part of its packets that is lost.
    loss: f64,
    /// The largest packet that passes whole, and whether fragments do.
    narrow: Option<(u16, bool)>,
    /// By how much everything is later than it was.
    slower: Duration,
    /// What leaves is held up until then.
    held_until: Option<Time>,
    habits: Habits,
}

/// What a way does to some of its packets all the time, and what nobody must be blamed for.
#[derive(Clone, Copy, Debug, Default)]
struct Habits {
    /// The part that others overtake, and by how much these are later.
    overtaken: f64,
    later: Duration,
    /// The part that arrives twice.
    twice: f64,
}

/// The part of the fleets whose ways have habits, and of their ways that do.
const ODD_FLEETS: f64 = 0.4;
const ODD_WAYS: f64 = 0.2;
/// Heartbeats leave at this distance: one that is later by more is overtaken.
const OVERTAKEN: (Duration, Duration) = (Duration::from_millis(60), Duration::from_millis(190));
/// What was held up for 10 s arrives within this time.
const BURST: Duration = Duration::from_millis(5);
/// The most that times on the way vary by.
const MOST_JITTER: Duration = Duration::from_millis(80);

/// Where a filter is that drops packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// On the way.
    Between,
    /// In the kernel of whoever receives them, which counts them.
    OnArrival,
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
    /// An echo request or the answer to it.
    Echo,
    /// One packet of that length that must not be fragmented.
    Whole(u16),
    /// Two fragments.
    Fragments,
}

impl Network {
    /// Ways between so many hosts, of which the two directions differ.
    pub(crate) fn new(hosts: usize, chance: &mut Chance) -> Self {
        let far = chance.hits(0.3);
        let odd = chance.hits(ODD_FLEETS);
        let ways = (0..hosts * hosts).map(|_| Way::new(far, odd && chance.hits(ODD_WAYS), chance)).collect();
        Self { hosts, ways }
    }

    fn way(&mut self, from: usize, to: usize) -> &mut Way {
        &mut self.ways[from * self.hosts + to]
    }

    /// When a packet arrives that leaves at that time, and when it does once more; absent where it is lost.
    pub(crate) fn carry(
        &mut self,
        from: usize,
        to: usize,
        at: Time,
        load: Load,
        chance: &mut Chance,
    ) -> Option<(Time, Option<Time>)> {
        let way = self.way(from, to);
        let fits = match (load, way.narrow) {
            (Load::Whole(bytes), Some((largest, _))) => bytes <= largest,
            (Load::Fragments, Some((_, fragments))) => fragments,
            _ => true,
        };
        let fits = fits && (load == Load::Echo || way.filter.is_none());
        let pieces = if load == Load::Fragments { 2 } else { 1 };
        let lost = way.cut > 0 || !fits || way.loss > 0.0 && (0..pieces).any(|_| chance.hits(way.loss));
        if lost {
            return None;
        }
        let first = way.arrival(at, chance);
        let again = way.habits.twice > 0.0 && chance.hits(way.habits.twice);
        let second = again.then(|| way.arrival(at, chance));
        Some((first, second))
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.way(from, to).cut += 1;
    }

    pub(crate) fn mend(&mut self, from: usize, to: usize) {
        let way = self.way(from, to);
        way.cut = way.cut.saturating_sub(1);
    }

    /// A filter drops all but echoes from now on, or no more.
    pub(crate) fn filter(&mut self, from: usize, to: usize, filter: Option<Filter>) {
        self.way(from, to).filter = filter;
    }

    /// Whether the kernel that it arrives at drops what passes that way.
    pub(crate) fn is_dropped_on_arrival(&mut self, from: usize, to: usize) -> bool {
        self.way(from, to).filter == Some(Filter::OnArrival)
    }

    pub(crate) fn lose(&mut self, from: usize, to: usize, part: f64) {
        self.way(from, to).loss = part;
    }

    /// All that leaves is later by that from now on.
    pub(crate) fn slow(&mut self, from: usize, to: usize, by: Duration) {
        self.way(from, to).slower = by;
    }

    /// All that leaves is held up until then, and arrives at once.
    pub(crate) fn hold(&mut self, from: usize, to: usize, until: Option<Time>) {
        self.way(from, to).held_until = until;
    }

    pub(crate) fn narrow(&mut self, from: usize, to: usize, limit: Option<(u16, bool)>) {
        self.way(from, to).narrow = limit;
    }
}

impl Way {
    fn new(far: bool, odd: bool, chance: &mut Chance) -> Self {
        let most = Duration::from_micros(if far { 15_000 } else { 400 });
        let delay = chance.time(Duration::from_micros(50), most);
        let jitter = chance.time(Duration::ZERO, delay / 4 + Duration::from_micros(50));
        let whole = Self {
            delay,
            jitter,
            cut: 0,
            filter: None,
            loss: 0.0,
            narrow: None,
            slower: Duration::ZERO,
            held_until: None,
            habits: Habits::default(),
        };
        match chance.below(3) {
            _ if !odd => whole,
            0 => Self { jitter: chance.time(jitter, MOST_JITTER), ..whole },
            1 => {
                let (overtaken, later) = (chance.number(0.001, 0.01), chance.time(OVERTAKEN.0, OVERTAKEN.1));
                Self { habits: Habits { overtaken, later, ..Habits::default() }, ..whole }
            }
            _ => Self { habits: Habits { twice: chance.number(0.001, 0.1), ..Habits::default() }, ..whole },
        }
    }

    fn arrival(&self, at: Time, chance: &mut Chance) -> Time {
        let overtaken = self.habits.overtaken > 0.0 && chance.hits(self.habits.overtaken);
        let later = if overtaken { self.habits.later } else { Duration::ZERO };
        match self.held_until.filter(|until| *until > at) {
            // In their order: what was held up for longer comes first.
            Some(until) => until.plus(self.delay + (BURST.saturating_sub(until.since(at) / 2000))),
            None => at.plus(self.delay + self.slower + later + chance.time(Duration::ZERO, self.jitter)),
        }
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
            network.carry(from, to, Time(1_000), load, &mut chance).is_some_and(|(at, _)| at > Time(1_000))
        };
        network.cut(0, 1);
        network.cut(0, 1);
        network.mend(0, 1);
        assert!(!passes(&mut network, 0, 1, Load::Small) && passes(&mut network, 1, 0, Load::Small));
        network.mend(0, 1);
        assert!(passes(&mut network, 0, 1, Load::Small));
        network.filter(0, 1, Some(Filter::Between));
        assert!(!passes(&mut network, 0, 1, Load::Small) && passes(&mut network, 0, 1, Load::Echo));
        network.filter(0, 1, None);
        network.narrow(0, 1, Some((1400, true)));
        let through = [Load::Small, Load::Whole(1400), Load::Whole(1401), Load::Fragments];
        assert_eq!(through.map(|load| passes(&mut network, 0, 1, load)), [true, true, false, true]);
    }
}
