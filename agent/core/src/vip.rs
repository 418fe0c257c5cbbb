//! Who claims a virtual address: from requests and claims to a lasting contest.
//!
//! Signal: this host asks about once a second who has the address, and what comes in until it asks again belongs to that
//! request. Ask: do two hosts own it? The intuition: where one owner takes over from another, each request has one answer;
//! at most one request has two, at the moment of the change. Where both own it, request after request has two. An
//! announcement tells when somebody began, and counts for nothing else: a new owner announces while the old one lets go.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::evidence::{ClaimKind, Evidence, Fact, LinkAddress, VipClaim};
use crate::time::Nanos;

/// So many requests with two answers are a contest; a change of the owner has one.
const REQUESTS: u32 = 2;
/// A contest is over, or called off, after so many requests in a row that at most one host answered.
const CALM: u32 = 5;
/// A claimant that let so many requests pass begins anew with its next claim.
const SILENT: u32 = 2;
/// An announcement that is older has nothing to do with a contest that begins.
const ANNOUNCED: Duration = Duration::from_secs(10);
/// Claimants of one address that are told apart.
const MAX_CLAIMANTS: usize = 8;
/// Link-layer addresses and ways of claiming of one claimant that are told apart.
const MAX_TALLIES: usize = 8;

/// Who claims an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claimant {
    /// A host that is known by name, with whichever of its link-layer addresses.
    Host(String),
    /// Somebody with that link-layer address, which belongs to no host that is known.
    Link(LinkAddress),
}

impl fmt::Display for Claimant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => write!(f, "{name}"),
            Self::Link(link) => write!(f, "{link}"),
        }
    }
}

/// How often something was claimed, and when first and last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tally {
    from: Nanos,
    to: Nanos,
    count: u64,
}

/// The claims of one claimant.
#[derive(Clone, Debug, Default)]
struct Claims {
    /// When it began to claim the address, without a pause since.
    since: Nanos,
    /// Requests in a row without a claim of it.
    silent: u32,
    /// It claimed the address since the last request, in any way.
    claimed: bool,
    /// It answered the last request, or has the address on an interface of this host.
    answered: bool,
    /// Where it claims the address from.
    links: BTreeSet<LinkAddress>,
    tallies: BTreeMap<(LinkAddress, ClaimKind), Tally>,
}

impl Claims {
    fn take(&mut self, at: Nanos, claim: &VipClaim) {
        if self.silent >= SILENT && !self.claimed {
            self.since = at;
        }
        self.claimed = true;
        self.answered |= claim.how != ClaimKind::Announced;
        if self.links.len() < MAX_TALLIES {
            self.links.insert(claim.link);
        }
        let key = (claim.link, claim.how);
        if self.tallies.len() < MAX_TALLIES || self.tallies.contains_key(&key) {
            let tally = self.tallies.entry(key).or_insert(Tally { from: at, to: at, count: 0 });
            tally.to = at;
            tally.count = tally.count.saturating_add(claim.count);
        }
    }

    fn end_request(&mut self) {
        self.silent = if self.claimed { 0 } else { self.silent.saturating_add(1) };
        (self.claimed, self.answered) = (false, false);
    }

    /// Forgets what does not belong to a contest that begins now.
    fn forget(&mut self, now: Nanos) {
        self.tallies.retain(|(_, how), tally| *how == ClaimKind::Announced && tally.to.plus(ANNOUNCED) > now);
    }
}

/// Requests that more than one claimant answered.
#[derive(Clone, Debug)]
struct Contest {
    since: Nanos,
    last: Nanos,
    parties: BTreeSet<Claimant>,
}

/// Who claims one address, request by request.
#[derive(Clone, Debug, Default)]
pub struct VipTrack {
    claimants: BTreeMap<Claimant, Claims>,
    /// When this host last asked.
    asked: Option<Nanos>,
    /// The last request has two answers.
    contested: bool,
    /// Requests with two answers since the contest began.
    requests: u32,
    /// Requests in a row with at most one.
    calm: u32,
    contest: Option<Contest>,
    /// Claims of claimants that found no room.
    pub refused: u64,
}

/// One side of a contest.
#[derive(Clone, Debug, PartialEq)]
pub struct Party {
    /// Who.
    pub who: Claimant,
    /// Its claims, with their first and last time.
    pub claims: Vec<(Nanos, Nanos, VipClaim)>,
}

/// The facts of one contest, as the rules see them.
#[derive(Clone, Debug, PartialEq)]
pub struct VipCase {
    /// The address.
    pub vip: IpAddr,
    /// When the second of the claimants began.
    pub since: Nanos,
    /// The last answer to a request that more than one answered.
    pub last: Nanos,
    /// It is over.
    pub over: bool,
    /// Who answered together with another, two at least.
    pub parties: Vec<Party>,
}

impl VipTrack {
    /// This host asks at `at`; answers with the contest where there is one, over with this very call or not.
    pub fn on_asked(&mut self, vip: IpAddr, at: Nanos) -> Option<VipCase> {
        if self.asked.replace(at).is_some() {
            self.end_request(at);
        }
        let over = self.calm >= CALM;
        let case = self.case(vip, over);
        if over {
            self.call_off();
        }
        case
    }

    /// Somebody claims the address at `at`; answers with the contest where there is one.
    pub fn on_claim(&mut self, at: Nanos, claim: &VipClaim) -> Option<VipCase> {
        let who = self.claimant(claim);
        if !self.claimants.contains_key(&who) && !self.make_room() {
            self.refused = self.refused.saturating_add(1);
            return None;
        }
        let claims = self.claimants.entry(who).or_insert_with(|| Claims { since: at, ..Claims::default() });
        claims.take(at, claim);
        if claim.how != ClaimKind::Announced && self.asked.is_some() {
            self.note_answers(at);
        }
        self.case(claim.vip, false)
    }

    /// Nobody asks any more: what was contested is over as far as this host knows.
    pub fn end(&mut self, vip: IpAddr) -> Option<VipCase> {
        let case = self.case(vip, true);
        *self = Self { refused: self.refused, ..Self::default() };
        case
    }

    /// When this host last asked.
    #[must_use]
    pub fn asked(&self) -> Option<Nanos> {
        self.asked
    }

    /// Whose claim it is. A link-layer address that got its name is the same claimant as before; one that several hosts may
    /// share is nobody's.
    fn claimant(&mut self, claim: &VipClaim) -> Claimant {
        let nameless = Claimant::Link(claim.link);
        let owns = |(who, claims): (&Claimant, &Claims)| {
            (matches!(who, Claimant::Host(_)) && claims.links.contains(&claim.link)).then(|| who.clone())
        };
        match &claim.owner {
            Some(name) => {
                let named = Claimant::Host(name.clone());
                if !claim.link.is_virtual() {
                    self.rename(&nameless, &named);
                }
                named
            }
            None if claim.link.is_virtual() => nameless,
            None => self.claimants.iter().find_map(owns).unwrap_or(nameless),
        }
    }

    fn rename(&mut self, before: &Claimant, now: &Claimant) {
        if let Some(claims) = self.claimants.remove(before) {
            self.claimants.entry(now.clone()).or_insert(claims);
        }
        let Some(contest) = &mut self.contest else { return };
        if contest.parties.remove(before) {
            contest.parties.insert(now.clone());
        }
        // Two cards of one host: that was none.
        if contest.parties.len() < 2 && self.requests < REQUESTS {
            self.call_off();
        }
    }

    /// Whether one more claimant has room, if need be that of one which was silent.
    fn make_room(&mut self) -> bool {
        if self.claimants.len() < MAX_CLAIMANTS {
            return true;
        }
        let silent = self.claimants.iter().filter(|(_, claims)| claims.silent > 0 && !claims.claimed);
        let Some(who) = silent.max_by_key(|(_, claims)| claims.silent).map(|(who, _)| who.clone()) else {
            return false;
        };
        self.claimants.remove(&who);
        true
    }

    fn note_answers(&mut self, at: Nanos) {
        let answered: Vec<_> = self.claimants.iter().filter(|(_, claims)| claims.answered).collect();
        let mut begins: Vec<Nanos> = answered.iter().map(|(_, claims)| claims.since).collect();
        begins.sort_unstable();
        // Two answer: it began with the second.
        let Some(since) = begins.get(1).copied() else { return };
        let parties: Vec<Claimant> = answered.into_iter().map(|(who, _)| who.clone()).collect();
        if !self.contested {
            (self.contested, self.calm) = (true, 0);
            self.requests = self.requests.saturating_add(1);
        }
        let contest = self.contest.get_or_insert_with(|| Contest { since, last: at, parties: BTreeSet::new() });
        contest.last = contest.last.max(at);
        let room = MAX_CLAIMANTS.saturating_sub(contest.parties.len());
        let new: Vec<_> = parties.into_iter().filter(|who| !contest.parties.contains(who)).take(room).collect();
        contest.parties.extend(new);
    }

    fn end_request(&mut self, now: Nanos) {
        self.calm = if self.contested { 0 } else { self.calm.saturating_add(1) };
        self.contested = false;
        let contest = self.contest.is_some();
        for claims in self.claimants.values_mut() {
            claims.end_request();
            if !contest {
                claims.forget(now);
            }
        }
    }

    fn call_off(&mut self) {
        (self.contest, self.requests) = (None, 0);
        self.claimants.retain(|_, claims| claims.silent < CALM);
    }

    fn case(&self, vip: IpAddr, over: bool) -> Option<VipCase> {
        let Contest { since, last, parties } = self.contest.as_ref().filter(|_| self.requests >= REQUESTS)?;
        let party = |who: &Claimant| Party { who: who.clone(), claims: self.claims(vip, who) };
        Some(VipCase { vip, since: *since, last: *last, over, parties: parties.iter().map(party).collect() })
    }

    fn claims(&self, vip: IpAddr, who: &Claimant) -> Vec<(Nanos, Nanos, VipClaim)> {
        let owner = match who {
            Claimant::Host(name) => Some(name.clone()),
            Claimant::Link(_) => None,
        };
        let tallies = self.claimants.get(who).into_iter().flat_map(|claims| &claims.tallies);
        let claim = |(&(link, how), tally): (&(LinkAddress, ClaimKind), &Tally)| {
            let claim = VipClaim { vip, link, owner: owner.clone(), how, count: tally.count };
            (tally.from, tally.to, claim)
        };
        tallies.map(claim).collect()
    }
}

impl VipCase {
    /// What an incident about it cites, as `observer` saw it.
    #[must_use]
    pub fn evidence(&self, observer: &str) -> Vec<Evidence> {
        let claims = self.parties.iter().flat_map(|party| &party.claims);
        let cited =
            claims.map(|(from, to, claim)| Evidence::during(observer, *from, *to, Fact::VipClaim(claim.clone())));
        cited.collect()
    }

    /// The link-layer addresses that answer, sorted.
    #[must_use]
    pub fn links(&self) -> Vec<LinkAddress> {
        let claims = self.parties.iter().flat_map(|party| &party.claims);
        let links: BTreeSet<_> = claims.map(|(.., claim)| claim.link).collect();
        links.into_iter().collect()
    }
}
