//! Who heard whom while packets were lost: whether a path failed, one host, or the hosts fell apart.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::{Engine, Tracked};
use crate::evidence::PeerView;
use crate::gap::Gap;
use crate::peer::Peer;
use crate::time::Nanos;

/// Stands for all hosts that this one does not watch; no host has this name.
const BEYOND: &str = "";

/// Whoever is silent for so many intervals longer than the gap lasted is not waited for.
pub(super) const TELLS_WITHIN: u32 = 5;

/// What the others told of whom they heard.
pub(super) enum Groups {
    /// The hosts that went on hearing each other, each group sorted, that of this host first.
    Known(Vec<Vec<String>>),
    /// They have not told all that matters, or not yet.
    Unclear,
    /// There is nobody who could.
    Untold,
}

impl Engine {
    /// Which hosts went on hearing each other while `gap` lasted. Hosts that stood still meanwhile, or are silent still, are left out.
    /// Where peers watch hosts that this one does not, all who went on hearing one of those count as together.
    pub(super) fn groups(&self, gap: &Gap) -> Groups {
        let Some(back) = gap.back.filter(|_| !gap.own_clock_stood) else { return Groups::Untold };
        let peers = self.who_may_tell(back, gap.since);
        if peers.len() < 2 || self.tells_nobody_else(&peers, gap.since) {
            return Groups::Untold;
        }
        self.groups_of(&peers, gap.since, back).map_or(Groups::Unclear, Groups::Known)
    }

    /// Absent until every peer was heard after it, and where one does not say what matters.
    fn groups_of(&self, peers: &[(&String, &Peer)], since: Nanos, back: Nanos) -> Option<Vec<Vec<String>>> {
        let told = |peer: &Peer| {
            let after = peer.last.as_ref().is_some_and(|last| last.at > back.plus(self.settings.interval));
            after && peer.views.are_complete()
        };
        if !peers.iter().all(|(_, peer)| told(peer)) {
            return None;
        }
        let me = &self.settings.host;
        let mut together = Together::default();
        together.add(me);
        together.add(BEYOND);
        let unsure = self.join_with_me_and_beyond(&mut together, peers, since, back);
        self.join_by_their_words(&mut together, peers, since)?;
        let apart = |name: &str| !together.are_joined(me, name);
        let beyond_is_apart = apart(BEYOND) && peers.iter().any(|(name, _)| together.are_joined(BEYOND, name));
        // Where those beyond are with this host, or with nobody, it does not matter whom one that is with it heard of them.
        let matters = unsure.iter().any(|name| apart(name)) || beyond_is_apart && !unsure.is_empty();
        (!matters).then(|| together.groups(me))
    }

    /// Whether one of those was lost that watches none but this host, and that no other one watches: whether others lost it as well
    /// nobody knows who tells anything.
    fn tells_nobody_else(&self, peers: &[(&String, &Peer)], since: Nanos) -> bool {
        let known: HashSet<_> = self.hashes.values().collect();
        let alone = |one: (&String, &Peer)| {
            let watches_others = one.1.views.all().any(|view| !known.contains(&view.peer));
            !watches_others && !peers.iter().any(|other| self.tell_of_each_other(one, *other))
        };
        peers.iter().any(|(name, peer)| !self.heard_throughout(name, peer, since) && alone((name, peer)))
    }

    /// The peers that can tell whom they heard since then, now that this host hears one again since `back`.
    fn who_may_tell(&self, back: Nanos, since: Nanos) -> Vec<(&String, &Peer)> {
        let waited = self.now.since(back) >= self.settings.interval * TELLS_WITHIN;
        // One that stood still and lost nothing is with those that it hears.
        let lost_as_well = |gap: &Gap| gap.direction().is_some() && !gap.is_loss_only(self.settings.interval);
        // Nor does one that slept through most of it know whom it would have heard.
        let slept = |other: &Gap| other.unsent * 2 > back.since(since);
        let says_nothing = |open: &Tracked| {
            let own = &open.gap;
            lost_as_well(own) || own.counted_anew() || slept(own) || waited && own.silent
        };
        let stood_still = |name: &String| self.gaps.get(name).is_some_and(says_nothing);
        let tells = |name: &String, peer: &Peer| {
            let never_heard = waited && peer.last.is_none();
            self.settings.peers.contains(name) && !peer.left && !never_heard && !stood_still(name)
        };
        self.peers.iter().filter(|(name, peer)| tells(name, peer)).collect()
    }

    /// Joins whom this host heard throughout with it, and who heard one that it does not watch with those beyond; gives those that
    /// do not say the latter.
    fn join_with_me_and_beyond<'a>(
        &self,
        together: &mut Together,
        peers: &[(&'a String, &Peer)],
        since: Nanos,
        back: Nanos,
    ) -> Vec<&'a String> {
        let known: HashSet<_> = self.hashes.values().collect();
        let mut unsure = Vec::new();
        for (name, peer) in peers {
            together.add(name);
            if self.heard_throughout(name, peer, since) {
                together.join(&self.settings.host, name);
            }
            let strangers: Vec<PeerView> = peer.views.all().filter(|view| !known.contains(&view.peer)).collect();
            match self.hears_any(peer, &strangers, since, back) {
                Some(true) => together.join(BEYOND, name),
                Some(false) => {}
                None => unsure.push(*name),
            }
        }
        unsure
    }

    /// Joins those that say so of each other; absent where one of them does not say.
    fn join_by_their_words(&self, together: &mut Together, peers: &[(&String, &Peer)], since: Nanos) -> Option<()> {
        for (place, (one, said)) in peers.iter().enumerate() {
            for (other, also_said) in &peers[place + 1..] {
                let words = [self.says_throughout(said, other, since)?, self.says_throughout(also_said, one, since)?];
                if words.contains(&Some(true)) && !words.contains(&Some(false)) {
                    together.join(one, other);
                }
            }
        }
        Some(())
    }

    /// Whether `peer` says that it has heard one of those in that time without a gap; absent where it does not say. Of one that sent
    /// nothing for most of it nothing was lost, which does not count.
    fn hears_any(&self, peer: &Peer, of: &[PeerView], since: Nanos, until: Nanos) -> Option<bool> {
        let slept = |view: &PeerView| peer.views.silence_of(view.peer, since, until) * 2 > until.since(since);
        let word = |view: &PeerView| {
            let heard = throughout(peer, view, since, self.settings.gap);
            (heard != Some(true) || !slept(view)).then_some(heard)
        };
        let words: Vec<Option<bool>> = of.iter().filter_map(word).collect();
        if words.contains(&Some(true)) {
            return Some(true);
        }
        let says = !words.contains(&None) && words.is_empty() == of.is_empty();
        says.then_some(false)
    }

    /// Whether one of those two watches the other.
    fn tell_of_each_other(&self, one: (&String, &Peer), other: (&String, &Peer)) -> bool {
        let watches = |who: &Peer, whom: &str| self.hashes.get(whom).is_some_and(|hash| who.views.of(*hash).is_some());
        watches(one.1, other.0) || watches(other.1, one.0)
    }

    fn heard_throughout(&self, name: &str, peer: &Peer, since: Nanos) -> bool {
        let overlaps = |open: &Tracked| open.gap.direction().is_some() && open.gap.back.is_none_or(|back| back > since);
        let lost = self.gaps.get(name).is_some_and(overlaps);
        !lost && peer.heard_since.is_some_and(|heard| heard <= since)
    }

    /// Whether `peer` says that it has heard `other` since then without a gap: absent inside where it does not watch it, and
    /// absent altogether where it does not say.
    fn says_throughout(&self, peer: &Peer, other: &str, since: Nanos) -> Option<Option<bool>> {
        let hash = self.hashes.get(other)?;
        match peer.views.of(*hash) {
            Some(view) => throughout(peer, &view, since, self.settings.gap).map(Some),
            None => Some(None),
        }
    }

    /// Whether that holds of the gaps with all peers at the moment. There have to be two at least, or it is just a path.
    pub(super) fn of_all_peers(&self, holds: impl Fn(&Gap) -> bool) -> bool {
        let mut peers = self.settings.peers.iter().filter(|name| self.peers.get(name).is_some_and(|peer| !peer.left));
        peers.clone().count() >= 2 && peers.all(|name| self.gaps.get(name).is_some_and(|open| holds(&open.gap)))
    }

    /// Whether the peer itself says that it hears nobody: this host does not count, and there must be another.
    pub(super) fn hears_nobody(&self, peer: &Peer) -> bool {
        let others: Vec<_> =
            peer.views.all().filter(|view| self.hashes.values().any(|known| *known == view.peer)).collect();
        let deaf = others.iter().all(|view| view.heard_age.is_none_or(|age| age >= self.settings.gap));
        deaf && !others.is_empty() && peer.views.are_complete()
    }
}

/// Whether that view of the peer's says that it has heard it since then without a gap; absent where it does not say. One that is
/// silent at the moment was heard up to some time ago.
fn throughout(peer: &Peer, view: &PeerView, since: Nanos, gap: Duration) -> Option<bool> {
    let said_at = peer.last.as_ref()?.at;
    match view.heard_for {
        Some(heard_for) => Some(said_at.minus(heard_for) <= since && view.heard_age.is_none_or(|age| age < gap)),
        None => view.heard_age.is_none().then_some(false),
    }
}

/// Sets of hosts that are joined two by two (union-find, by the smallest name).
#[derive(Default)]
struct Together {
    leader: BTreeMap<String, String>,
}

impl Together {
    fn add(&mut self, name: &str) {
        self.leader.entry(name.to_owned()).or_insert_with(|| name.to_owned());
    }

    fn leader(&self, name: &str) -> String {
        self.leader.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }

    fn are_joined(&self, one: &str, other: &str) -> bool {
        self.leader(one) == self.leader(other)
    }

    fn join(&mut self, one: &str, other: &str) {
        let (one, other) = (self.leader(one), self.leader(other));
        let (first, second) = if one <= other { (one, other) } else { (other, one) };
        for leader in self.leader.values_mut().filter(|leader| **leader == second) {
            leader.clone_from(&first);
        }
    }

    /// Every set, sorted; the one with `me` first.
    fn groups(self, me: &str) -> Vec<Vec<String>> {
        let mut by_leader: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, leader) in self.leader.into_iter().filter(|(name, _)| name != BEYOND) {
            by_leader.entry(leader).or_default().push(name);
        }
        let mut groups: Vec<Vec<String>> = by_leader.into_values().collect();
        groups.sort_by_key(|group| !group.iter().any(|name| name == me));
        groups
    }
}
