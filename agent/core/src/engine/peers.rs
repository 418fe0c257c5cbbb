//! The peers and anchors by their names. One is taken out while the engine works on it, and keeps its place.

use std::collections::BTreeSet;

use crate::peer::Peer;

/// Names whose places are remembered.
const FOUND: usize = 64;

/// See the module's documentation.
pub(super) struct Peers {
    /// By name; a peer is absent while it is out. Each in a box, since it goes out and in with each heartbeat.
    places: Vec<(String, Option<Box<Peer>>)>,
    /// Where a name was found last, by where its letters lie: all that a recording tells shares the names of its hosts.
    found: [usize; FOUND],
}

impl Default for Peers {
    fn default() -> Self {
        Self { places: Vec::new(), found: [0; FOUND] }
    }
}

impl Peers {
    /// As [`Self::place`], with one comparison where the letters lie as before.
    fn find(&mut self, name: &str) -> Option<usize> {
        let slot = (name.as_ptr().addr() / 16) % FOUND;
        let known = self.found[slot];
        if self.places.get(known).is_some_and(|(known, _)| known == name) {
            return Some(known);
        }
        let place = self.place(name).ok()?;
        self.found[slot] = place;
        Some(place)
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.places.binary_search_by(|(known, _)| known.as_str().cmp(name))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Peer> {
        self.places[self.place(name).ok()?].1.as_deref()
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Peer> {
        let place = self.find(name)?;
        self.places[place].1.as_deref_mut()
    }

    /// Takes one out until [`Self::put_back`], with its place.
    pub(super) fn take(&mut self, name: &str) -> Option<(usize, Box<Peer>)> {
        let place = self.find(name)?;
        Some((place, self.places[place].1.take()?))
    }

    /// Puts back what was taken out; no peer may have come or gone meanwhile.
    pub(super) fn put_back(&mut self, place: usize, peer: Box<Peer>) {
        if let Some((_, empty)) = self.places.get_mut(place) {
            *empty = Some(peer);
        }
    }

    pub(super) fn insert_where_absent(&mut self, name: String, peer: impl FnOnce() -> Peer) {
        if let Err(place) = self.place(&name) {
            self.places.insert(place, (name, Some(Box::new(peer()))));
        }
    }

    pub(super) fn retain(&mut self, known: &BTreeSet<String>) {
        self.places.retain(|(name, _)| known.contains(name));
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.places.iter().map(|(name, _)| name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Peer)> {
        self.places.iter().filter_map(|(name, peer)| Some((name, peer.as_deref()?)))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.places.iter_mut().filter_map(|(_, peer)| peer.as_deref_mut())
    }
}
