//! One incident is one trace on all hosts that witness it. Each tells in its heartbeats of its own incidents: whom they concern,
//! when they began, under which trace. That is a *story*. Whoever has an incident that concerns the same hosts at the same time
//! takes the better of both names, so that all end with one, in whatever order they notice, name and hear of it.
//!
//! The order of names is the same on all hosts and needs no clock ([`TraceId`]): the smaller one is better, unless somebody has
//! closed an incident under another, which cannot be changed any more. A name is only ever left for a better one, so telling ends.
//! Two stories are compared on the clock of the host that hears them: a story tells how long ago it was, not when.

mod plot;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::evidence::{MAX_STORIES, Story};
use crate::incident::{Incident, Link, Relation, State};
use crate::time::Nanos;
use crate::trace::TraceId;

pub use plot::Plot;

/// Own incidents that are known at once; those that are closed make room first.
const MAX_OWN: usize = 64;
/// Stories of one peer that are.
const MAX_OF_PEER: usize = 16;
/// What is over is told, and remembered, for this long.
const TELL: Duration = Duration::from_secs(60);
/// Most links of one incident.
const MAX_LINKS: usize = 8;

/// An incident of this host.
#[derive(Clone, Debug)]
struct Own {
    plot: Plot,
    trace: TraceId,
    settled: bool,
    links: Vec<Link>,
    /// When it closed.
    closed: Option<Nanos>,
    /// Its place was found when so much was known.
    placed: u64,
}

/// What a peer told, on this host's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    plot: Plot,
    /// In which words that was last, and when.
    story: Story,
    at: Nanos,
}

impl Told {
    fn new(story: &Story, at: Nanos) -> Self {
        Self { plot: Plot::told(story, at), story: *story, at }
    }

    /// Takes a newer one; whether anything differs that decides.
    fn become_newer(&mut self, new: Self) -> bool {
        let news = !self.plot.tells_the_same(&new.plot) || self.story.settled != new.story.settled;
        *self = new;
        news
    }

    /// Takes the same words once more, which differ at most in times and in whether it is closed; whether anything differs that
    /// decides.
    fn go_on(&mut self, story: &Story, at: Nanos) -> bool {
        let news = self.plot.go_on(story, at) || self.story.settled != story.settled;
        (self.story, self.at) = (*story, at);
        news
    }
}

/// All stories that a host knows. See the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct Stories {
    own: BTreeMap<String, Own>,
    told: BTreeMap<String, Vec<Told>>,
    /// Grows with what is known.
    known: u64,
    refused: u64,
}

impl Stories {
    /// Takes what a peer tells in a heartbeat that came in at `at`.
    pub fn hear(&mut self, peer: &str, stories: &[Story], at: Nanos) {
        let told = match self.told.get_mut(peer) {
            Some(told) => told,
            None if stories.is_empty() => return,
            None => self.told.entry(peer.to_owned()).or_default(),
        };
        told.retain(|old| old.at.plus(TELL) > at);
        for story in stories.iter().take(MAX_STORIES) {
            if let Some(old) = told.iter_mut().find(|old| old.story.is_told_again_by(story)) {
                self.known += u64::from(old.go_on(story, at));
                continue;
            }
            let room = told.len() < MAX_OF_PEER;
            let new = Told::new(story, at);
            match told.iter_mut().find(|old| old.story.trace == story.trace && old.plot.is_of(&new.plot)) {
                Some(old) => self.known += u64::from(old.become_newer(new)),
                None if room => {
                    self.known += 1;
                    told.push(new);
                }
                None => self.refused += 1,
            }
        }
        if told.is_empty() {
            self.told.remove(peer);
        }
    }

    /// Forgets what peers told that are watched no more.
    pub fn retain(&mut self, is_known: impl Fn(&String) -> bool) {
        self.told.retain(|peer, _| is_known(peer));
    }

    /// Writes into the document of an incident of this host under which trace it goes, and what other traces it belongs with.
    /// `said` is the document before, if any.
    pub fn place(&mut self, document: &mut Incident, said: Option<&Incident>, plot: Plot, now: Nanos) {
        let closes = document.state == State::Closed;
        let known = self.own.remove(&document.id);
        let told = known.is_some() || said.is_some();
        let news = known.as_ref().is_none_or(|own| !own.plot.tells_the_same(&plot));
        let mut own = known.unwrap_or_else(|| Own::new(said.unwrap_or(document), plot.clone()));
        own.plot = plot;
        self.known += u64::from(news);
        if own.placed != self.known {
            self.join(&mut own, told);
        }
        if closes {
            self.note_what_goes_with(&mut own);
            (own.settled, own.closed) = (true, Some(now));
            self.known += 1;
        }
        own.placed = self.known;
        (document.trace_id, document.links) = (own.trace, own.links.clone());
        self.make_room(now);
        self.own.insert(document.id.clone(), own);
    }

    /// Takes the best name of those that the same thing has. What nobody was told leaves no link.
    fn join(&mut self, own: &mut Own, told: bool) {
        let best = self.others().filter(|other| own.plot.is_same(other.plot)).map(Other::name).min();
        let Some((open, trace)) = best.filter(|best| *best < own.name()) else { return };
        own.settled = !open;
        if trace == own.trace {
            return;
        }
        let before = std::mem::replace(&mut own.trace, trace);
        own.links.retain(|link| link.trace_id != trace);
        self.refused += u64::from(told && !own.link(before, Relation::Was));
        self.known += 1;
    }

    /// Links what began while something else lasted that concerns one of its hosts.
    fn note_what_goes_with(&mut self, own: &mut Own) {
        let mut found: Vec<(TraceId, Relation)> = Vec::new();
        for other in self.others().filter(|other| other.trace != own.trace) {
            if own.plot.follows(other.plot) {
                found.push((other.trace, Relation::Follows));
            } else if other.plot.follows(&own.plot) {
                found.push((other.trace, Relation::FollowedBy));
            }
        }
        found.sort_unstable();
        found.dedup_by_key(|(trace, _)| *trace);
        for (trace, relation) in found {
            self.refused += u64::from(!own.link(trace, relation));
        }
    }

    /// Forgets what is no news any more, and the oldest that is over where there is no room.
    fn make_room(&mut self, now: Nanos) {
        self.own.retain(|_, own| own.closed.is_none_or(|closed| closed.plus(TELL) > now));
        while self.own.len() >= MAX_OWN {
            let least = self.own.iter().min_by_key(|(_, own)| (own.closed.is_none(), own.plot.from));
            let Some(id) = least.map(|(id, _)| id.clone()) else { return };
            self.own.remove(&id);
            self.refused += 1;
        }
    }

    fn others(&self) -> impl Iterator<Item = Other<'_>> {
        let own = self.own.values().map(|own| Other { plot: &own.plot, trace: own.trace, settled: own.settled });
        let told = self.told.values().flatten();
        own.chain(told.map(|told| Other { plot: &told.plot, trace: told.story.trace, settled: told.story.settled }))
    }

    /// What the heartbeat of that number, which leaves at `now`, tells: a few, in turns.
    #[must_use]
    pub fn to_tell(&self, number: u64, now: Nanos) -> Vec<Story> {
        let news = |own: &&Own| own.closed.is_none_or(|closed| closed.plus(TELL) > now);
        let all: Vec<&Own> = self.own.values().filter(news).collect();
        let (count, most) = (all.len() as u64, MAX_STORIES as u64);
        let from = if count <= most { 0 } else { number.wrapping_mul(most) % count };
        let turn = all.iter().cycle().skip(usize::try_from(from).unwrap_or(0));
        turn.take(all.len().min(MAX_STORIES)).map(|own| own.plot.tell(own.trace, own.settled, now)).collect()
    }

    /// Stories and links that found no room, since the engine began.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

/// An incident that may be the same.
struct Other<'a> {
    plot: &'a Plot,
    trace: TraceId,
    settled: bool,
}

impl Other<'_> {
    fn name(self) -> (bool, TraceId) {
        (!self.settled, self.trace)
    }
}

impl Own {
    /// One that was not placed before, or was forgotten since.
    fn new(document: &Incident, plot: Plot) -> Self {
        let (trace, links) = (document.trace_id, document.links.clone());
        Self { plot, trace, settled: false, links, closed: None, placed: 0 }
    }

    fn name(&self) -> (bool, TraceId) {
        (!self.settled, self.trace)
    }

    /// Whether there was room for it, or it is there.
    fn link(&mut self, trace_id: TraceId, relation: Relation) -> bool {
        if trace_id == self.trace || self.links.iter().any(|link| link.trace_id == trace_id) {
            return true;
        }
        let room = self.links.len() < MAX_LINKS;
        if room {
            self.links.push(Link { trace_id, relation });
        }
        room
    }
}
