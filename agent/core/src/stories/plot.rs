//! As much of an incident as it takes to see that another is the same.

use std::time::Duration;

use crate::evidence::{Scope, Story, StoryKind, name_hash};
use crate::incident::{Class, Incident};
use crate::time::Nanos;
use crate::trace::TraceId;

/// Begins that lie no further apart are one: of what lasts as long as a few heartbeats, seen by hosts that exchange them.
const TOGETHER: Duration = Duration::from_secs(1);
/// Two ends of a path that keeps packets back for long notice that one after the other.
const BOTH_ENDS: Duration = Duration::from_secs(3);
/// A stall that comes back is one incident for one host, and may be several for another: up to this long after its begin.
const COMES_BACK: Duration = Duration::from_secs(60);

/// Whom an incident concerns, and when it was, on this host's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plot {
    /// What befell them.
    kind: StoryKind,
    /// How far it reaches.
    scope: Scope,
    /// Whom it concerns, by [`name_hash`].
    hosts: Vec<u64>,
    /// Those of them that it may be of, where it may be of a host: whoever stands still himself knows that, and says so.
    suspects: Vec<u64>,
    /// All who are named, and who says so.
    cast: Vec<u64>,
    /// When it began.
    pub from: Nanos,
    /// When it ended; absent while it goes on.
    until: Option<Nanos>,
}

impl Plot {
    /// Of an incident of this host.
    #[must_use]
    pub fn of(document: &Incident, from: Nanos, until: Option<Nanos>) -> Self {
        let (class, subject) = (document.verdict.class, &document.verdict.subject);
        let scope = match (&subject.peer, class) {
            _ if subject.vip.is_some() => Scope::Host,
            (_, Class::Partition) => Scope::All,
            (Some(_), Class::Unknown) => Scope::PathOrHost,
            (Some(_), _) => Scope::Path,
            _ => Scope::Host,
        };
        let hash = |name: &String| name_hash(name);
        let named = subject.host.iter().chain(&subject.peer).chain(&subject.hosts).map(hash);
        let hosts: Vec<u64> = match &subject.vip {
            Some(vip) => vec![name_hash(vip)],
            None => named.clone().collect(),
        };
        let from = until.map_or(from, |until| from.min(until));
        let me = name_hash(&document.observer);
        let suspects = hosts.iter().copied().filter(|host| scope != Scope::PathOrHost || *host != me).collect();
        let cast = in_order(named.chain([me]).collect());
        Self { kind: kind(document), scope, hosts: in_order(hosts), suspects, cast, from, until }
    }

    /// As a peer tells of it, in a heartbeat that came in at `at`.
    #[must_use]
    pub fn told(story: &Story, at: Nanos) -> Self {
        let hosts = in_order([story.host].into_iter().chain(story.peer).collect());
        let suspects = match (story.scope, story.peer) {
            (Scope::PathOrHost, Some(peer)) => vec![peer],
            _ => hosts.clone(),
        };
        let (from, until) = times(story, at);
        Self { kind: story.kind, scope: story.scope, cast: hosts.clone(), hosts, suspects, from, until }
    }

    /// As a peer tells of it again, in a heartbeat that came in at `at`; whether anything differs that decides.
    pub(super) fn go_on(&mut self, story: &Story, at: Nanos) -> bool {
        let (from, until) = times(story, at);
        let news = !self.is_as_long(from, until);
        (self.from, self.until) = (from, until);
        news
    }

    /// As peers are told of it, at `now`.
    #[must_use]
    pub fn tell(&self, trace: TraceId, settled: bool, now: Nanos) -> Story {
        let (host, peer) = match (self.scope, self.suspects.first().copied()) {
            (Scope::PathOrHost, Some(suspect)) => {
                (self.hosts.iter().copied().find(|host| *host != suspect), Some(suspect))
            }
            _ => (self.hosts.first().copied(), self.hosts.get(1).copied()),
        };
        Story {
            trace,
            age: now.since(self.from),
            over: self.until.map(|until| now.since(until)),
            settled,
            kind: self.kind,
            scope: self.scope,
            host: host.unwrap_or_default(),
            peer,
        }
    }

    /// Whether it is of the same hosts in the same way.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        (self.kind, &self.hosts) == (other.kind, &other.hosts)
    }

    /// Whether nothing that decides differs. When one and the same thing began is told a little differently each time.
    #[must_use]
    pub fn tells_the_same(&self, other: &Self) -> bool {
        self.is_of(other) && self.scope == other.scope && self.is_as_long(other.from, other.until)
    }

    fn is_as_long(&self, from: Nanos, until: Option<Nanos>) -> bool {
        self.until.is_some() == until.is_some() && self.from.is_near(from, TOGETHER / 10)
    }

    /// Whether both are of one thing that happened.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let together = self.from.is_near(other.from, TOGETHER);
        if !self.overlaps(other) || self.kind != other.kind && !together {
            return false;
        }
        let soon = self.kind != StoryKind::Stall || self.from.is_near(other.from, COMES_BACK);
        let same_ends = self.hosts == other.hosts;
        match (self.scope, other.scope) {
            (Scope::Host, Scope::Host) => self.meets(other) && soon,
            (Scope::All, Scope::All | Scope::PathOrHost) | (Scope::PathOrHost, Scope::All) => together,
            (Scope::Host, Scope::PathOrHost) | (Scope::PathOrHost, Scope::Host) => self.meets(other) && together,
            (Scope::Path, Scope::Path) => same_ends && soon,
            (Scope::Path, Scope::PathOrHost) | (Scope::PathOrHost, Scope::Path) => same_ends && together,
            // Each end may miss the other one for a reason of its own.
            (Scope::PathOrHost, Scope::PathOrHost) => match self.meets(other) {
                true => together || same_ends && soon,
                false => same_ends && self.from.is_near(other.from, BOTH_ENDS),
            },
            (Scope::Host | Scope::Path, _) | (Scope::All, Scope::Host | Scope::Path) => false,
        }
    }

    /// Whether it began while the other one lasted, after it, and somebody of the one is named by the other.
    #[must_use]
    pub fn follows(&self, other: &Self) -> bool {
        let later = self.from > other.from && other.until.is_none_or(|until| self.from <= until.plus(TOGETHER));
        later && other.hosts.iter().any(|host| self.cast.contains(host))
    }

    fn overlaps(&self, other: &Self) -> bool {
        let begins = |one: &Self, two: &Self| one.until.is_none_or(|until| two.from <= until.plus(TOGETHER));
        begins(self, other) && begins(other, self)
    }

    fn meets(&self, other: &Self) -> bool {
        self.suspects.iter().any(|host| other.suspects.contains(host))
    }
}

/// Begin and end by a story that came in at `at`.
fn times(story: &Story, at: Nanos) -> (Nanos, Option<Nanos>) {
    (at.minus(story.age), story.over.map(|over| at.minus(over)))
}

fn kind(document: &Incident) -> StoryKind {
    match document.verdict.class {
        _ if document.verdict.subject.vip.is_some() => StoryKind::Address,
        Class::PacketLoss => StoryKind::Loss,
        Class::MtuBlackhole => StoryKind::Hole,
        Class::CpuSaturation => StoryKind::Load,
        Class::IoStall => StoryKind::Storage,
        _ => StoryKind::Stall,
    }
}

fn in_order(mut hosts: Vec<u64>) -> Vec<u64> {
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}
