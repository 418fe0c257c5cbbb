//! Stories of packets that one of two kernels dropped, or neither did.

use super::fleet::Fleet;
use crate::evidence::{Evidence, Fact, KernelDrops};
use crate::incident::{Class, Direction, Incident, LastSeen, Reason, State};

/// Both ends of the path a–b after five seconds and once it is over; all hosts count what their kernels drop.
fn after_five_seconds(hosts: usize, begin: impl Fn(&mut Fleet)) -> [Incident; 2] {
    let mut fleet = Fleet::new(hosts);
    ["a", "b"].into_iter().for_each(|name| fleet.count_drops(name));
    begin(&mut fleet);
    fleet.run(5.0);
    fleet.heal();
    fleet.run(3.0);
    ends(&mut fleet)
}

fn ends(fleet: &mut Fleet) -> [Incident; 2] {
    ["a", "b"].map(|name| {
        let incident = fleet.host(name).incident();
        assert_eq!((incident.verdict.class, incident.state), (Class::PathDrop, State::Closed), "{name}");
        incident
    })
}

/// Where the packets were last seen that went both ways, to the peer and from it, and why.
fn seen(incident: &Incident) -> ([Option<LastSeen>; 3], Option<&str>) {
    let detail = &incident.verdict.detail;
    let reason = match &detail.reason {
        Some(Reason::Drop(reason)) => Some(reason.as_str()),
        _ => None,
    };
    ([detail.last_seen, detail.last_seen_to_peer, detail.last_seen_from_peer], reason)
}

#[test]
fn what_the_receivers_kernel_drops_is_told_by_both_with_the_reason() {
    let [at_a, at_b] = after_five_seconds(2, |fleet| {
        fleet.dropped.insert(("a", "b"), ("b", "NETFILTER_DROP"));
    });
    assert_eq!(at_a.verdict.detail.direction, Some(Direction::ToPeer));
    assert_eq!(seen(&at_a), ([Some(LastSeen::PeerKernel), None, None], Some("NETFILTER_DROP")));
    assert_eq!(seen(&at_b), ([Some(LastSeen::ThisKernel), None, None], Some("NETFILTER_DROP")));
    assert!(at_a.verdict.summary.starts_with("the kernel of b dropped 50 heartbeats"), "{}", at_a.verdict.summary);
    assert!(at_b.verdict.summary.starts_with("the kernel of b dropped 50 heartbeats"), "{}", at_b.verdict.summary);
    let told =
        |cited: &crate::incident::Cited| matches!(&cited.fact, Fact::PeerDrops(KernelDrops { received: 50, .. }));
    assert!(at_a.evidence.iter().any(told), "{:#?}", at_a.evidence);
}

#[test]
fn what_the_senders_kernel_drops_is_told_by_both() {
    let [at_a, at_b] = after_five_seconds(2, |fleet| {
        fleet.dropped.insert(("a", "b"), ("a", "IP_OUTNOROUTES"));
    });
    assert_eq!(seen(&at_a), ([Some(LastSeen::ThisKernel), None, None], Some("IP_OUTNOROUTES")));
    assert_eq!(seen(&at_b), ([Some(LastSeen::PeerKernel), None, None], Some("IP_OUTNOROUTES")));
}

#[test]
fn what_neither_kernel_drops_is_lost_in_between() {
    for both in [false, true] {
        let incidents = after_five_seconds(3, |fleet| {
            fleet.cut.insert(("a", "b"));
            if both {
                fleet.cut.insert(("b", "a"));
            }
        });
        for incident in incidents {
            assert_eq!(seen(&incident), ([Some(LastSeen::Between), None, None], None));
            assert!(incident.verdict.summary.starts_with("the network lost"), "{}", incident.verdict.summary);
        }
    }
}

#[test]
fn one_kernel_that_drops_both_ways_is_one_place() {
    let [at_a, at_b] = after_five_seconds(3, |fleet| {
        fleet.dropped.insert(("a", "b"), ("a", "NETFILTER_DROP"));
        fleet.dropped.insert(("b", "a"), ("a", "NETFILTER_DROP"));
    });
    assert_eq!(seen(&at_a), ([Some(LastSeen::ThisKernel), None, None], Some("NETFILTER_DROP")));
    assert_eq!(seen(&at_b), ([Some(LastSeen::PeerKernel), None, None], Some("NETFILTER_DROP")));
}

#[test]
fn where_the_directions_end_in_different_places_each_is_told() {
    let [at_a, at_b] = after_five_seconds(3, |fleet| {
        fleet.dropped.insert(("a", "b"), ("b", "NETFILTER_DROP"));
        fleet.dropped.insert(("b", "a"), ("a", "NETFILTER_DROP"));
    });
    for incident in [&at_a, &at_b] {
        let places = [None, Some(LastSeen::PeerKernel), Some(LastSeen::ThisKernel)];
        assert_eq!(seen(incident), (places, Some("NETFILTER_DROP")));
    }
    assert!(at_a.verdict.summary.contains("those to b ended in the kernel of b"), "{}", at_a.verdict.summary);
    let [at_a, _] = after_five_seconds(3, |fleet| {
        fleet.cut.insert(("a", "b"));
        fleet.dropped.insert(("b", "a"), ("a", "IP_RPFILTER"));
    });
    let places = [None, Some(LastSeen::Between), Some(LastSeen::ThisKernel)];
    assert_eq!(seen(&at_a), (places, Some("IP_RPFILTER")));
}

#[test]
fn a_kernel_that_counts_nothing_leaves_it_open() {
    for counts in ["a", "b"] {
        let mut fleet = Fleet::new(2);
        fleet.count_drops(counts);
        fleet.cut_both("a", "b");
        fleet.run(5.0);
        fleet.heal();
        fleet.run(3.0);
        for incident in ends(&mut fleet) {
            assert_eq!(seen(&incident), ([None; 3], None), "{counts}");
        }
    }
}

#[test]
fn drops_that_are_too_few_are_not_the_cause() {
    let mut fleet = Fleet::new(2);
    ["a", "b"].into_iter().for_each(|name| fleet.count_drops(name));
    fleet.dropped.insert(("a", "b"), ("b", "NETFILTER_DROP"));
    fleet.run(2.0);
    fleet.heal();
    fleet.cut.insert(("a", "b"));
    fleet.run(3.0);
    fleet.heal();
    fleet.run(3.0);
    for incident in ends(&mut fleet) {
        assert_eq!(seen(&incident), ([None; 3], None), "{}", incident.verdict.summary);
    }
}

#[test]
fn drops_of_an_earlier_gap_do_not_explain_a_later_one() {
    let mut fleet = Fleet::new(2);
    ["a", "b"].into_iter().for_each(|name| fleet.count_drops(name));
    fleet.dropped.insert(("a", "b"), ("b", "NETFILTER_DROP"));
    fleet.run(5.0);
    fleet.heal();
    fleet.run(20.0);
    fleet.cut.insert(("a", "b"));
    fleet.run(5.0);
    fleet.heal();
    fleet.run(3.0);
    for name in ["a", "b"] {
        let last = fleet.host(name).incidents().pop().expect("an incident");
        assert_eq!(seen(&last), ([Some(LastSeen::Between), None, None], None), "{name}: {}", last.verdict.summary);
    }
}

#[test]
fn a_host_that_drops_what_comes_knows_while_it_lasts_that_its_peer_sends() {
    let mut fleet = Fleet::new(2);
    fleet.count_drops("a");
    fleet.dropped.insert(("b", "a"), ("a", "NETFILTER_DROP"));
    fleet.run(4.0);
    let incident = fleet.host("a").incident();
    assert_eq!((incident.verdict.class, incident.state), (Class::PathDrop, State::Open));
    assert_eq!(seen(&incident), ([Some(LastSeen::ThisKernel), None, None], Some("NETFILTER_DROP")));
    // What it dropped before says nothing of a silence that has another cause.
    let mut fleet = Fleet::new(2);
    fleet.count_drops("a");
    fleet.dropped.insert(("b", "a"), ("a", "NETFILTER_DROP"));
    fleet.run(0.8);
    fleet.heal();
    fleet.gone("b");
    fleet.run(4.0);
    assert_eq!(fleet.host("a").incident().verdict.class, Class::Unknown, "{}", fleet.host("a").history());
}

#[test]
fn what_this_host_refuses_to_send_ends_here_though_nothing_is_counted() {
    let mut fleet = Fleet::new(2);
    fleet.cut.insert(("a", "b"));
    for _ in 0..50 {
        let error = "Network is unreachable (os error 101)".to_owned();
        let refused = Evidence::at("b", fleet.now, Fact::SendRefused { error, count: 1 });
        fleet.host("a").engine.handle(refused);
        fleet.run(0.1);
    }
    fleet.heal();
    fleet.run(3.0);
    let [at_a, _] = ends(&mut fleet);
    assert_eq!(seen(&at_a), ([Some(LastSeen::ThisKernel), None, None], None));
}
