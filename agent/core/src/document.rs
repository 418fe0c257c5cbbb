//! From facts to the public document: citations, identity, times for people.

use std::time::Duration;

use crate::evidence::{Evidence, Fact};
use crate::incident::{Cited, HostFacts, Incident, State};
use crate::rules::Judgement;
use crate::rules::confidence::confidence;
use crate::time::{Nanos, WallNanos, nanos, rfc3339};
use crate::trace::TraceId;

/// Most pieces of evidence that one incident cites.
pub const MAX_CITED: usize = 64;

/// Evidence that an incident cites: bounded, with counts of the same thing added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Citations {
    list: Vec<Evidence>,
    dropped: u64,
}

impl Citations {
    /// Takes one more piece; what does not fit is counted.
    pub fn add(&mut self, evidence: Evidence) {
        if self.list.iter_mut().any(|known| merge(known, &evidence)) {
            return;
        }
        if self.list.len() == MAX_CITED {
            self.dropped += 1;
            return;
        }
        self.list.push(evidence);
    }

    /// What was taken, and how much did not fit.
    #[must_use]
    pub fn parts(&self) -> (&[Evidence], u64) {
        (&self.list, self.dropped)
    }
}

/// Adds `more` to `known` where both count the same thing.
fn merge(known: &mut Evidence, more: &Evidence) -> bool {
    if known.host != more.host {
        return false;
    }
    match (&mut known.fact, &more.fact) {
        (Fact::Retransmits { cause, count, failed }, Fact::Retransmits { cause: c, count: n, failed: f })
            if cause == c =>
        {
            *count += n;
            *failed += f;
        }
        (Fact::Drops { reason, count }, Fact::Drops { reason: r, count: n }) if reason == r => *count += n,
        (
            Fact::HeartbeatDrops { direction, reason, count },
            Fact::HeartbeatDrops { direction: d, reason: r, count: n },
        ) if (&*direction, &*reason) == (d, r) => *count += n,
        (Fact::SendRefused { error, count }, Fact::SendRefused { error: e, count: n }) if error == e => *count += n,
        (Fact::Refused { reason, count }, Fact::Refused { reason: r, count: n }) if reason == r => *count += n,
        (Fact::EventsLost { count }, Fact::EventsLost { count: n }) => *count += n,
        (Fact::SocketOverflow { count }, Fact::SocketOverflow { count: n }) => *count += n,
        (Fact::ArpReply { address, link, count }, Fact::ArpReply { address: a, link: l, count: n })
            if address == a && link == l =>
        {
            *count += n;
        }
        (known, more) => {
            if !add_up(known, more) {
                return false;
            }
        }
    }
    known.from = known.from.min(more.from);
    known.to = known.to.max(more.to);
    true
}

/// The same for what the kernel counts of its network.
fn add_up(known: &mut Fact, more: &Fact) -> bool {
    match (known, more) {
        (Fact::Fragments { direction, result, count }, Fact::Fragments { direction: d, result: r, count: n })
            if (&*direction, &*result) == (d, r) =>
        {
            *count += n
        }
        (Fact::FragNeeded { direction, mtu, count }, Fact::FragNeeded { direction: d, mtu: m, count: n })
            if (&*direction, &*mtu) == (d, m) =>
        {
            *count += n;
        }
        (
            Fact::RetransmitSizes { count, smallest, largest },
            Fact::RetransmitSizes { count: n, smallest: s, largest: l },
        ) => {
            *count += n;
            (*smallest, *largest) = ((*smallest).min(*s), (*largest).max(*l));
        }
        (
            Fact::InterfaceErrors { interface, what, count },
            Fact::InterfaceErrors { interface: i, what: w, count: n },
        ) if (&*interface, &*what) == (i, w) => *count += n,
        (Fact::ZeroWindows { direction, count }, Fact::ZeroWindows { direction: d, count: n }) if direction == d => {
            *count += n;
        }
        (Fact::ReceiveOverflow { count }, Fact::ReceiveOverflow { count: n })
        | (Fact::SoftnetDrops { count }, Fact::SoftnetDrops { count: n }) => *count += n,
        _ => return false,
    }
    true
}

/// Turns points of the boot clock into wall-clock time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wall {
    offset_ns: i64,
}

impl Wall {
    /// From both clocks, read together.
    #[must_use]
    pub fn new(boot: Nanos, wall: WallNanos) -> Self {
        Self { offset_ns: wall.0.wrapping_sub(boot.0).cast_signed() }
    }

    /// The wall clock at `at`, now that its offset is known.
    #[must_use]
    pub fn at(self, at: Nanos) -> WallNanos {
        WallNanos(at.0.saturating_add_signed(self.offset_ns))
    }

    /// `at` as RFC 3339 in UTC, to the millisecond.
    #[must_use]
    pub fn text(self, at: Nanos) -> String {
        rfc3339(Duration::from_nanos(self.at(at).0))
    }
}

/// What does not change about an incident once it is opened, whatever its class turns out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    id: String,
    trace: TraceId,
    started: Nanos,
    /// The wall clock as it was then: all times of one incident are by it, or a step would bend it.
    wall: Wall,
    started_at: String,
    detected_at: String,
}

impl Identity {
    /// The identity of what happens to `subject` of that fleet from `started` on.
    #[must_use]
    pub fn new(fleet: u64, subject: &str, started: Nanos, detected: Nanos, wall: Wall) -> Self {
        let started_ms = wall.at(started).0 / 1_000_000;
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"lacuna incident 1\0").update(subject.as_bytes()).update(&started_ms.to_be_bytes());
        if fleet != 0 {
            hasher.update(&fleet.to_be_bytes());
        }
        let hash = hasher.finalize();
        let bytes = hash.as_bytes();
        let mut tail = [0; 16];
        tail.copy_from_slice(&bytes[16..]);
        Self {
            id: ulid(started_ms, bytes),
            trace: TraceId::of(started_ms, u128::from_be_bytes(tail)),
            started,
            wall,
            started_at: wall.text(started),
            detected_at: wall.text(detected),
        }
    }

    /// When it began.
    #[must_use]
    pub fn started(&self) -> Nanos {
        self.started
    }
}

/// 48 bits of milliseconds and 80 bits of hash in Crockford's base 32, as in the ULID specification: sorts by time.
fn ulid(ms: u64, hash: &[u8; 32]) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut random = [0; 16];
    random[6..].copy_from_slice(&hash[..10]);
    let value = (u128::from(ms & 0xffff_ffff_ffff) << 80) | u128::from_be_bytes(random);
    (0..26).rev().map(|digit| char::from(DIGITS[(value >> (digit * 5)) as usize & 31])).collect()
}

/// What a document is made of beside the judgement.
pub struct Draft<'a> {
    /// Its identity.
    pub identity: &'a Identity,
    /// When the stall ended; absent while it goes on.
    pub ended: Option<Nanos>,
    /// The end is confirmed.
    pub closed: bool,
    /// When the document is written.
    pub now: Nanos,
    /// How often the stall came back.
    pub occurrences: u32,
    /// What is cited, in any order.
    pub evidence: Vec<Evidence>,
    /// What did not fit.
    pub dropped: u64,
}

/// Writes the document.
#[must_use]
pub fn incident(draft: Draft<'_>, judgement: Judgement, observer: &str, host: &HostFacts) -> Incident {
    let Draft { identity, mut evidence, .. } = draft;
    let wall = identity.wall;
    evidence.sort_by_key(|piece| (piece.from, piece.to));
    let overflow = evidence.len().saturating_sub(MAX_CITED) as u64;
    evidence.truncate(MAX_CITED);
    let mut verdict = judgement.verdict;
    verdict.confidence = confidence(verdict.class, verdict.confidence, draft.closed, &judgement.completeness);
    let length = draft.ended.unwrap_or(draft.now).since(identity.started);
    Incident {
        id: identity.id.clone(),
        trace_id: identity.trace,
        links: Vec::new(),
        observer: observer.to_owned(),
        state: if draft.closed { State::Closed } else { State::Open },
        provisional: !draft.closed && judgement.provisional,
        started_at: identity.started_at.clone(),
        ended_at: draft.ended.map(|at| wall.text(at)),
        detected_at: identity.detected_at.clone(),
        duration_ms: nanos(length) / 1_000_000,
        occurrences: draft.occurrences,
        verdict,
        evidence: evidence.into_iter().map(|piece| cite(piece, wall)).collect(),
        evidence_dropped: draft.dropped + overflow,
        ruled_out: judgement.ruled_out,
        missing: judgement.missing,
        completeness: judgement.completeness,
        witnesses: judgement.witnesses,
        host: host.clone(),
    }
}

fn cite(piece: Evidence, wall: Wall) -> Cited {
    Cited { host: piece.host.to_string(), from: wall.text(piece.from), to: wall.text(piece.to), fact: piece.fact }
}
