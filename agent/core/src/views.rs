//! What a peer sees of the others. It tells at once of those that are in trouble, of those that are well in turns: fifty
//! views in each heartbeat would be most of what it costs.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::evidence::{Heartbeat, MAX_VIEWS, OtherViews, PeerView};
use crate::time::Nanos;

/// Of a peer that is well every so manieth heartbeat tells.
const TURNS: usize = 10;
/// A view that so many heartbeats did not tell is of a peer that the sender watches no more, where the sum says so too.
const FORGET_AFTER: u64 = 2 * TURNS as u64;
/// One that was silent for so many intervals, or is heard again for fewer than so many, is told of at once.
const LATE: u32 = 2;
const HEARD_AGAIN: u32 = 20;
/// For so long a silence is kept that was told of: longer than it takes to conclude on what happened meanwhile.
const LATELY: Duration = Duration::from_secs(10);

/// What this host sees of all its peers at a moment, of which each of them is told a part.
#[derive(Debug, Default)]
pub struct Telling {
    troubled: Vec<PeerView>,
    /// Those that are well, by their turn.
    turns: [Turn; TURNS],
    /// The hashes of all joined.
    sum: u64,
}

#[derive(Debug, Default)]
struct Turn {
    views: Vec<PeerView>,
    /// The longest time for which one of them was not heard.
    heard_within: Duration,
}

impl Telling {
    /// Of all those; `interval` is that of heartbeats.
    #[must_use]
    pub fn new(all: impl Iterator<Item = PeerView>, interval: Duration) -> Self {
        let mut telling = Self::default();
        for (view, place) in all.zip((0..TURNS).cycle()) {
            telling.sum ^= view.peer;
            match view.heard_age.filter(|age| is_well(&view, *age, interval)) {
                Some(age) => telling.turns[place].add(view, age),
                None => telling.troubled.push(view),
            }
        }
        telling
    }

    /// What the heartbeat of that number tells `to`, one of them: [`MAX_VIEWS`] at most, those in trouble first, and what is true of
    /// the others. Of more hosts than that nobody can be told all; the sum, which is of all, says so.
    #[must_use]
    pub fn part(&self, number: u64, to: Option<u64>) -> (Vec<PeerView>, OtherViews) {
        let turn = usize::try_from(number % TURNS as u64).unwrap_or_default();
        let told = self.troubled.iter().chain(&self.turns[turn].views).filter(|view| Some(view.peer) != to);
        let wait = self.turns.iter().enumerate().filter(|(place, _)| *place != turn);
        let heard_within = wait.map(|(_, turn)| turn.heard_within).max().unwrap_or_default();
        let others = OtherViews { heard_within, all: self.sum ^ to.unwrap_or_default() };
        (told.take(MAX_VIEWS).copied().collect(), others)
    }
}

impl Turn {
    fn add(&mut self, view: PeerView, age: Duration) {
        self.views.push(view);
        self.heard_within = self.heard_within.max(age);
    }
}

fn is_well(view: &PeerView, age: Duration, interval: Duration) -> bool {
    age < interval * LATE && view.heard_for.is_some_and(|heard_for| heard_for >= interval * HEARD_AGAIN)
}

/// What one peer has told, bounded to [`MAX_VIEWS`] others.
#[derive(Clone, Debug, Default)]
pub struct Views {
    told: BTreeMap<u64, Told>,
    /// Their hashes joined, by which both sides know that they mean the same hosts.
    sum: u64,
    /// When the last heartbeat came in, its number among those that did, and what it says of those that it does not tell.
    at: Nanos,
    number: u64,
    /// The number that the sender gave it.
    seq: u64,
    others: Option<OtherViews>,
    complete: bool,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    view: PeerView,
    at: Nanos,
    number: u64,
    /// The longest silence of that host that was told of lately: from when it was heard until when it still was not.
    silence: (Nanos, Nanos),
}

impl Told {
    fn of(view: PeerView, at: Nanos, number: u64, before: Option<&Self>) -> Self {
        let now = (at.minus(view.heard_age.unwrap_or_default()), at);
        let longer = |(since, until): &(Nanos, Nanos)| until.since(*since) > now.1.since(now.0);
        let lately = |(_, until): &(Nanos, Nanos)| at.since(*until) < LATELY;
        let silence = before.map(|before| before.silence).filter(|silence| longer(silence) && lately(silence));
        Self { view, at, number, silence: silence.unwrap_or(now) }
    }
}

impl Views {
    /// A heartbeat that is newer than all before.
    pub fn on_heartbeat(&mut self, beat: &Heartbeat, at: Nanos) {
        // What was in trouble meanwhile, and is well again for long enough, was told of in those that are missing.
        if beat.seq.saturating_sub(self.seq) > u64::from(HEARD_AGAIN) {
            self.keep(|_| false);
        }
        (self.at, self.number, self.seq, self.others) = (at, self.number + 1, beat.seq, beat.others);
        let number = self.number;
        for view in beat.views.iter().take(MAX_VIEWS) {
            let told = Told::of(*view, at, number, self.told.get(&view.peer));
            if self.told.insert(view.peer, told).is_none() {
                self.sum ^= view.peer;
            }
        }
        if beat.others.is_none() {
            self.keep(|told| told.number == number);
        } else if !self.is_all() {
            let beyond = self.others.map_or(0, |others| others.all) ^ self.sum;
            // Where it is one that is too many, the sums tell which.
            let one = self.told.get(&beyond).is_some_and(|told| told.number != number);
            self.keep(|told| if one { told.view.peer != beyond } else { number - told.number < FORGET_AFTER });
        }
        self.complete = self.is_all() && self.told.len() <= MAX_VIEWS;
        if self.told.len() > MAX_VIEWS {
            self.keep(|told| told.number == number);
        }
    }

    fn keep(&mut self, which: impl Fn(&Told) -> bool) {
        self.told.retain(|_, told| which(told));
        self.sum = self.told.keys().fold(0, |sum, hash| sum ^ hash);
    }

    fn is_all(&self) -> bool {
        self.others.is_none_or(|others| others.all == self.sum)
    }

    /// Whether it has told of all that it watches. Until then it is not known what it sees of the others.
    #[must_use]
    pub fn are_complete(&self) -> bool {
        self.complete
    }

    /// What it saw of that host when its last heartbeat left; absent where that is not known.
    #[must_use]
    pub fn of(&self, host: u64) -> Option<PeerView> {
        self.told.get(&host).and_then(|told| self.now(told))
    }

    /// For how much of the time from `since` to `until` it said lately that it did not hear that host.
    #[must_use]
    pub fn silence_of(&self, host: u64, since: Nanos, until: Nanos) -> Duration {
        self.told.get(&host).map_or(Duration::ZERO, |told| until.min(told.silence.1).since(since.max(told.silence.0)))
    }

    /// What it saw of all hosts of which that is known.
    pub fn all(&self) -> impl Iterator<Item = PeerView> {
        self.told.values().filter_map(|told| self.now(told))
    }

    fn now(&self, told: &Told) -> Option<PeerView> {
        if told.number == self.number {
            return Some(told.view);
        }
        let others = self.others.filter(|_| self.complete)?;
        let heard_for = told.view.heard_for.map(|heard_for| heard_for.saturating_add(self.at.since(told.at)));
        Some(PeerView { heard_age: Some(others.heard_within), heard_for, ..told.view })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::name_hash;

    const INTERVAL: Duration = Duration::from_millis(100);

    /// Small numbers would be the sums of others.
    fn hash(peer: u64) -> u64 {
        name_hash(&peer.to_string())
    }

    fn view(peer: u64, age: u64, heard_for: u64) -> PeerView {
        let [heard_age, heard_for] = [age, heard_for].map(|ms| Some(Duration::from_millis(ms)));
        PeerView { peer: hash(peer), heard_age, kernel_answers: Some(true), heard_for }
    }

    fn well(peers: std::ops::Range<u64>) -> Vec<PeerView> {
        peers.map(|peer| view(peer, 50 + peer, 9000)).collect()
    }

    /// What a sender with those views tells, heartbeat by heartbeat, 100 ms apart.
    fn tell(views: &mut Views, numbers: std::ops::Range<u64>, all: &[PeerView]) {
        let telling = Telling::new(all.iter().copied(), INTERVAL);
        for number in numbers {
            let (told, others) = telling.part(number, None);
            let beat = Heartbeat { seq: number, views: told, others: Some(others), ..Heartbeat::default() };
            views.on_heartbeat(&beat, Nanos(number * 100_000_000));
        }
    }

    #[test]
    fn those_that_are_well_take_turns_and_the_others_do_not_wait() {
        let mut all = well(0..40);
        all.push(view(100, 250, 9000));
        all.push(view(101, 50, 1500));
        all.push(PeerView { peer: hash(102), heard_age: None, kernel_answers: None, heard_for: None });
        for number in 1..=20 {
            let (told, others) = Telling::new(all.iter().copied(), INTERVAL).part(number, None);
            let trouble = [100, 101, 102].map(hash);
            let troubled: Vec<u64> = told.iter().map(|view| view.peer).filter(|peer| trouble.contains(peer)).collect();
            assert_eq!((told.len(), troubled), (4 + 3, trouble.to_vec()), "{number}");
            assert!(others.heard_within >= Duration::from_millis(88), "{others:?}");
        }
    }

    #[test]
    fn what_was_told_before_many_are_missing_is_not_what_is_so_now() {
        let (mut views, all) = (Views::default(), well(0..30));
        tell(&mut views, 1..13, &all);
        tell(&mut views, 30..31, &all);
        assert!(views.are_complete(), "who was in trouble for a moment is told of for two seconds");
        tell(&mut views, 60..69, &all);
        assert!(!views.are_complete(), "one of ten is missing");
        tell(&mut views, 69..71, &all);
        assert!(views.are_complete());
    }

    #[test]
    fn after_a_turn_all_are_known_as_they_are_now() {
        let (mut views, all) = (Views::default(), well(0..30));
        tell(&mut views, 1..10, &all);
        assert!(!views.are_complete(), "one of ten is missing");
        let known = views.all().count();
        assert_eq!(known, 3, "what others may see since is not known: {known}");
        tell(&mut views, 10..13, &all);
        assert!(views.are_complete());
        assert_eq!(views.all().count(), 30);
        // Told of with number 10: 200 ms before the last.
        let other = views.of(hash(0)).unwrap();
        assert_eq!(other.heard_age, Some(Duration::from_millis(79)), "the longest of those that are not told");
        assert_eq!(other.heard_for, Some(Duration::from_millis(9200)), "no gap since");
        assert_eq!(views.of(hash(99)), None);
    }

    #[test]
    fn of_more_hosts_than_can_be_told_nothing_is_complete() {
        let (mut views, all) = (Views::default(), well(0..100));
        tell(&mut views, 1..100, &all);
        assert!(!views.are_complete(), "{} are known", views.all().count());
        let all: Vec<PeerView> = (0..100).map(|peer| view(peer, 5000, 0)).collect();
        let (told, _) = Telling::new(all.iter().copied(), INTERVAL).part(1, None);
        assert_eq!(told.len(), MAX_VIEWS);
    }

    #[test]
    fn nobody_is_told_of_itself_and_those_in_trouble_come_before_all_that_are_well() {
        let mut all: Vec<PeerView> = (0..900).map(|peer| view(peer, 50, 9000)).collect();
        all.push(view(1000, 5000, 0));
        let (told, others) = Telling::new(all.iter().copied(), INTERVAL).part(5, Some(hash(5)));
        assert_eq!((told[0].peer, told.len()), (hash(1000), MAX_VIEWS));
        assert!(told.iter().all(|view| view.peer != hash(5)));
        assert_eq!(others.all, all.iter().fold(hash(5), |sum, view| sum ^ view.peer));
    }

    #[test]
    fn a_silence_is_known_for_a_while_after_it() {
        let (mut views, mut all) = (Views::default(), well(0..3));
        let silence = |views: &Views| views.silence_of(hash(1), Nanos(2_000_000_000), Nanos(4_000_000_000)).as_millis();
        tell(&mut views, 1..30, &all);
        assert!(silence(&views) < 100, "{}", silence(&views));
        all[1] = view(1, 1500, 9000);
        tell(&mut views, 30..31, &all);
        all[1] = view(1, 50, 9000);
        tell(&mut views, 31..100, &all);
        assert_eq!(silence(&views), 1000);
        tell(&mut views, 100..141, &all);
        assert_eq!(silence(&views), 0);
        assert_eq!(views.silence_of(hash(9), Nanos(0), Nanos(4_000_000_000)), Duration::ZERO);
    }

    #[test]
    fn trouble_is_known_at_once() {
        let (mut views, mut all) = (Views::default(), well(0..30));
        tell(&mut views, 1..20, &all);
        all[7] = view(7, 200, 9000);
        tell(&mut views, 20..21, &all);
        assert_eq!(views.of(hash(7)), Some(all[7]));
    }

    #[test]
    fn a_peer_that_is_watched_no_more_is_forgotten() {
        let (mut views, mut all) = (Views::default(), well(0..30));
        tell(&mut views, 1..20, &all);
        all.remove(7);
        tell(&mut views, 20..21, &all);
        assert_eq!(views.of(hash(7)), None, "nothing is said of it: it is not among them");
        tell(&mut views, 21..45, &all);
        assert!(views.are_complete());
        assert_eq!(views.all().count(), 29);
    }

    #[test]
    fn one_that_is_watched_no_more_is_known_at_once_and_several_are_after_their_turns() {
        for (gone, at_once) in [(1, true), (2, false)] {
            let (mut views, mut all) = (Views::default(), well(0..30));
            tell(&mut views, 1..20, &all);
            all.drain(7..7 + gone);
            tell(&mut views, 20..21, &all);
            assert_eq!(views.are_complete(), at_once, "{gone}");
            tell(&mut views, 21..45, &all);
            assert!(views.are_complete());
            assert_eq!(views.all().count(), 30 - gone);
        }
    }

    #[test]
    fn what_no_list_goes_with_is_all_that_is_known() {
        let mut views = Views::default();
        tell(&mut views, 1..20, &well(0..30));
        views.on_heartbeat(&Heartbeat { views: well(3..5), ..Heartbeat::default() }, Nanos(3_000_000_000));
        assert!(views.are_complete());
        let mut known: Vec<PeerView> = views.all().collect();
        known.sort_by_key(|view| view.heard_age);
        assert_eq!(known, well(3..5));
    }

    #[test]
    fn a_peer_that_tells_of_ever_others_fills_no_memory() {
        let mut views = Views::default();
        for number in 0..100_u64 {
            let all = well(number * 50..number * 50 + 50);
            let others = Some(OtherViews::default());
            views.on_heartbeat(&Heartbeat { views: all, others, ..Heartbeat::default() }, Nanos(number));
            assert!(views.told.len() <= MAX_VIEWS);
        }
    }
}
