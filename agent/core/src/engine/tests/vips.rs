//! Stories of one virtual address and of who answers for it, as a host sees it that asks once a second.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use crate::engine::{Engine, Me};
use crate::evidence::{ClaimKind, Evidence, Fact, LinkAddress, VipClaim};
use crate::incident::{Class, Incident, State};
use crate::settings::Settings;
use crate::time::{Nanos, WallNanos};

const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 77, 0, 100));
const A: LinkAddress = LinkAddress([2, 0, 0, 0, 0, 0xa]);
const B: LinkAddress = LinkAddress([2, 0, 0, 0, 0, 0xb]);
const VIRTUAL: LinkAddress = LinkAddress([0, 0, 0x5e, 0, 1, 51]);

/// A claim as a story tells it.
type Claim = (ClaimKind, LinkAddress, Option<&'static str>);

fn answers(link: LinkAddress, owner: &'static str) -> Claim {
    (ClaimKind::Answered, link, Some(owner))
}

fn announces(link: LinkAddress, owner: &'static str) -> Claim {
    (ClaimKind::Announced, link, Some(owner))
}

/// The host `c`, which watches the address.
struct Watcher {
    engine: Engine,
    now: Nanos,
    seen: Vec<Incident>,
}

impl Watcher {
    fn new() -> Self {
        let settings = Settings { host: "c".into(), vips: vec![VIP], ..Settings::default() };
        let mut engine = Engine::new(settings, Me::default());
        let now = Nanos(1_000_000_000_000);
        engine.handle(Evidence::at("c", now, Fact::Clock { wall: WallNanos(1_800_000_000_000_000_000) }));
        Self { engine, now, seen: Vec::new() }
    }

    fn claim(&mut self, (how, link, owner): Claim) {
        let claim = VipClaim { vip: VIP, link, owner: owner.map(str::to_owned), how, count: 1 };
        self.engine.handle(Evidence::at("c", self.now, Fact::VipClaim(claim)));
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus(Duration::from_millis(ms));
        self.engine.handle_timeout(self.now);
        self.seen.extend(std::iter::from_fn(|| self.engine.poll()));
    }

    /// A request and what comes in within the second after it.
    fn second(&mut self, claims: &[Claim]) {
        self.engine.handle(Evidence::at("c", self.now, Fact::VipAsked { vip: VIP }));
        self.pass(10);
        claims.iter().for_each(|claim| self.claim(*claim));
        self.pass(990);
    }

    fn seconds(&mut self, count: u32, claims: &[Claim]) {
        (0..count).for_each(|_| self.second(claims));
    }

    fn incident(&self) -> Incident {
        let last = self.seen.last().expect("an incident").clone();
        assert!(self.seen.iter().all(|one| one.id == last.id), "{:#?}", self.seen);
        last
    }
}

#[test]
fn an_owner_is_no_incident_and_neither_is_a_failover() {
    let mut watcher = Watcher::new();
    watcher.seconds(10, &[answers(A, "a")]);
    watcher.claim(announces(B, "b"));
    watcher.seconds(10, &[answers(B, "b")]);
    watcher.seconds(3, &[]);
    watcher.seconds(10, &[announces(A, "a"), answers(A, "a")]);
    assert_eq!(watcher.seen, []);
}

#[test]
fn a_failover_that_one_request_meets_in_the_middle_is_none() {
    let mut watcher = Watcher::new();
    watcher.seconds(5, &[answers(A, "a")]);
    watcher.second(&[answers(A, "a"), announces(B, "b"), answers(B, "b")]);
    watcher.seconds(5, &[answers(B, "b")]);
    watcher.second(&[answers(B, "b"), announces(A, "a"), answers(A, "a")]);
    watcher.seconds(5, &[answers(A, "a")]);
    assert_eq!(watcher.seen, []);
}

#[test]
fn an_address_that_goes_to_and_fro_is_none() {
    let mut watcher = Watcher::new();
    for _ in 0..10 {
        watcher.second(&[answers(A, "a"), announces(B, "b")]);
        watcher.second(&[answers(B, "b"), announces(A, "a")]);
    }
    assert_eq!(watcher.seen, [], "each request has one answer");
}

#[test]
fn two_that_both_answer_are_a_split_brain_until_one_stops() {
    let mut watcher = Watcher::new();
    watcher.seconds(5, &[answers(A, "a")]);
    let began = watcher.now;
    watcher.claim(announces(B, "b"));
    watcher.seconds(1, &[answers(A, "a"), answers(B, "b")]);
    assert_eq!(watcher.seen, [], "once may be a change of the owner");
    watcher.seconds(1, &[answers(B, "b"), answers(A, "a")]);
    let incident = watcher.incident();
    assert_eq!((incident.verdict.class, incident.state), (Class::SplitBrain, State::Open));
    assert!(!incident.provisional);
    assert_eq!(incident.verdict.subject.vip.as_deref(), Some("10.77.0.100"));
    assert_eq!(incident.verdict.subject.hosts, ["a", "b"]);
    assert_eq!(incident.verdict.detail.links, ["02:00:00:00:00:0a", "02:00:00:00:00:0b"]);
    watcher.seconds(8, &[answers(A, "a"), answers(B, "b")]);
    assert_eq!(watcher.incident().state, State::Open);
    let ended = watcher.now;
    watcher.seconds(8, &[answers(A, "a")]);
    let incident = watcher.incident();
    assert_eq!((incident.verdict.class, incident.state), (Class::SplitBrain, State::Closed));
    let expected = ended.since(began).as_millis().try_into().unwrap_or(u64::MAX);
    assert!(incident.duration_ms.abs_diff(expected) <= 1000, "{} ms of {expected}", incident.duration_ms);
    assert_eq!(incident.verdict.subject.hosts, ["a", "b"]);
    let announced = |cited: &crate::incident::Cited| matches!(&cited.fact, Fact::VipClaim(claim) if claim.how == ClaimKind::Announced && claim.link == B);
    assert!(incident.evidence.iter().any(announced), "{:#?}", incident.evidence);
}

#[test]
fn the_second_one_is_a_new_incident() {
    let mut watcher = Watcher::new();
    let split = [answers(A, "a"), answers(B, "b")];
    watcher.seconds(4, &split);
    watcher.seconds(10, &[answers(A, "a")]);
    watcher.seconds(4, &split);
    let ids: std::collections::BTreeSet<_> = watcher.seen.iter().map(|one| &one.id).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(watcher.seen.last().map(|last| last.state), Some(State::Open));
}

#[test]
fn an_answer_that_is_lost_now_and_then_does_not_end_it() {
    let mut watcher = Watcher::new();
    for _ in 0..10 {
        watcher.second(&[answers(A, "a"), answers(B, "b")]);
        watcher.seconds(2, &[answers(A, "a")]);
    }
    assert_eq!(watcher.incident().state, State::Open);
}

#[test]
fn what_this_host_has_itself_while_another_answers_is_a_split_brain() {
    let mut watcher = Watcher::new();
    watcher.seconds(3, &[(ClaimKind::Held, A, Some("c")), answers(B, "b")]);
    assert_eq!(watcher.incident().verdict.subject.hosts, ["b", "c"]);
}

#[test]
fn two_cards_of_one_host_are_one_owner() {
    let mut watcher = Watcher::new();
    watcher.seconds(10, &[answers(A, "a"), answers(B, "a")]);
    assert_eq!(watcher.seen, []);
}

#[test]
fn one_virtual_link_address_is_one_owner_unless_this_host_is_the_other() {
    let mut watcher = Watcher::new();
    watcher.seconds(10, &[(ClaimKind::Answered, VIRTUAL, None), (ClaimKind::Answered, VIRTUAL, None)]);
    assert_eq!(watcher.seen, [], "who looks on cannot tell");
    watcher.seconds(3, &[(ClaimKind::Held, VIRTUAL, Some("c")), (ClaimKind::Answered, VIRTUAL, None)]);
    let incident = watcher.incident();
    assert_eq!(incident.verdict.class, Class::SplitBrain);
    assert_eq!(incident.verdict.subject.hosts, ["00:00:5e:00:01:33", "c"]);
    assert!(incident.verdict.confidence < 0.9);
}

#[test]
fn a_link_address_that_gets_its_name_is_the_same_claimant() {
    let mut watcher = Watcher::new();
    let nameless = (ClaimKind::Answered, A, None);
    watcher.seconds(5, &[nameless, answers(A, "a"), nameless]);
    assert_eq!(watcher.seen, []);
    watcher.seconds(3, &[nameless, answers(B, "b")]);
    assert_eq!(watcher.incident().verdict.subject.hosts, ["a", "b"]);
}

#[test]
fn strangers_are_named_by_their_link_addresses() {
    let mut watcher = Watcher::new();
    watcher.seconds(3, &[(ClaimKind::Answered, A, None), (ClaimKind::Answered, B, None)]);
    let incident = watcher.incident();
    assert_eq!(incident.verdict.subject.hosts, ["02:00:00:00:00:0a", "02:00:00:00:00:0b"]);
    assert!(incident.verdict.confidence < 0.8, "they may be two cards of one host");
}

#[test]
fn a_flood_of_forged_claims_neither_grows_nor_hides_the_two() {
    let mut watcher = Watcher::new();
    watcher.seconds(3, &[answers(A, "a"), answers(B, "b")]);
    for round in 0..50_u8 {
        let forged = |i: u8| (ClaimKind::Announced, LinkAddress([2, 9, 9, 9, round, i]), None);
        let mut claims: Vec<Claim> = (0..100).map(forged).collect();
        claims.extend([answers(A, "a"), answers(B, "b")]);
        watcher.second(&claims);
    }
    let incident = watcher.incident();
    assert_eq!(incident.state, State::Open);
    assert_eq!(incident.verdict.subject.hosts, ["a", "b"]);
    assert!(incident.evidence.len() <= 16);
}

#[test]
fn an_address_that_is_not_watched_any_more_closes_its_incident() {
    let mut configured = Watcher::new();
    configured.seconds(3, &[answers(A, "a"), answers(B, "b")]);
    configured.engine.configure(Settings { host: "c".into(), ..Settings::default() });
    configured.pass(10);
    assert_eq!(configured.incident().state, State::Closed);
    let mut deaf = Watcher::new();
    deaf.seconds(3, &[answers(A, "a"), answers(B, "b")]);
    (0..400).for_each(|_| deaf.pass(100));
    assert_eq!(deaf.incident().state, State::Closed, "its interface is gone");
}

#[test]
fn claims_of_other_addresses_and_before_any_request_are_nothing() {
    let mut watcher = Watcher::new();
    for _ in 0..5 {
        watcher.claim(answers(A, "a"));
        watcher.claim(answers(B, "b"));
        watcher.pass(1000);
    }
    let other = "10.77.0.200".parse().expect("an address");
    for (link, owner) in [(A, "a"), (B, "b")].repeat(5) {
        let claim = VipClaim { vip: other, link, owner: Some(owner.into()), how: ClaimKind::Answered, count: 1 };
        watcher.engine.handle(Evidence::at("c", watcher.now, Fact::VipAsked { vip: other }));
        watcher.engine.handle(Evidence::at("c", watcher.now, Fact::VipClaim(claim)));
        watcher.pass(500);
    }
    assert_eq!(watcher.seen, []);
}

/// A claim of anybody, in any way.
fn any_claim() -> impl Strategy<Value = Claim> {
    let how = prop_oneof![Just(ClaimKind::Answered), Just(ClaimKind::Announced), Just(ClaimKind::Held)];
    let link = prop_oneof![Just(A), Just(B), Just(VIRTUAL), any::<[u8; 6]>().prop_map(LinkAddress)];
    (how, link, proptest::option::of(prop_oneof![Just("a"), Just("b"), Just("c")]))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 50, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_claimed_it_stays_small_and_ends(
        seconds in proptest::collection::vec(proptest::collection::vec(any_claim(), 0..40), 0..30)
    ) {
        let mut watcher = Watcher::new();
        for claims in seconds {
            let before = watcher.seen.len();
            watcher.second(&claims);
            let said = &watcher.seen[before..];
            prop_assert!(said.len() <= 40, "{} documents in one second", said.len());
            for one in said {
                let two = one.verdict.subject.hosts.len() >= 2;
                prop_assert!(one.evidence.len() <= 64 && two == (one.verdict.class == Class::SplitBrain), "{one:#?}");
            }
        }
        watcher.seconds(10, &[answers(A, "a")]);
        let open = watcher.engine.vips.values().any(|tracked| tracked.is_open());
        prop_assert!(!open, "one owner is no split brain, whatever was before");
    }
}
