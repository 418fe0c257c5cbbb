//! Stalls that their host cannot name, and what happens to the same hosts soon after.

use std::collections::BTreeMap;

use super::assert_length;
use super::fleet::Fleet;
use super::stall::{Stall, landed, nothing};
use crate::evidence::Place;
use crate::incident::{Class, Incident, State};

/// CPU 1 of b stands still for two seconds; why, nobody finds out.
fn stall_without_a_name(fleet: &mut Fleet) {
    let stall = Stall::begin(fleet, 1, nothing());
    stall.go_on(fleet, 2.0);
    stall.end(fleet, None);
}

/// What a host says in the end, by class: one of each.
fn closed(fleet: &mut Fleet, name: &str) -> BTreeMap<Class, Incident> {
    let all = fleet.host(name).incidents();
    assert!(all.iter().all(|incident| incident.state == State::Closed), "{name}: {}", fleet.host(name).history());
    let by_class: BTreeMap<_, _> = all.iter().map(|incident| (incident.verdict.class, incident.clone())).collect();
    assert_eq!(by_class.len(), all.len(), "{name}: {}", fleet.host(name).history());
    by_class
}

#[test]
fn a_cut_soon_after_a_stall_without_a_name_is_a_case_of_its_own() {
    let mut fleet = Fleet::new(2);
    stall_without_a_name(&mut fleet);
    fleet.run(5.0);
    fleet.cut_both("a", "b");
    fleet.run(3.0);
    fleet.heal();
    fleet.run(10.0);
    for name in ["a", "b"] {
        let said = closed(&mut fleet, name);
        assert_eq!(said.keys().copied().collect::<Vec<_>>(), [Class::PathDrop, Class::Unknown], "{name}");
        assert_length(&said[&Class::Unknown], 2000);
        assert_length(&said[&Class::PathDrop], 3000);
    }
}

#[test]
fn a_stall_soon_after_one_without_a_name_is_told_to_the_peers() {
    let mut fleet = Fleet::new(2);
    stall_without_a_name(&mut fleet);
    fleet.run(5.0);
    let stall = Stall::begin(&mut fleet, 0, nothing());
    stall.go_on(&mut fleet, 3.0);
    stall.end(&mut fleet, landed(Place::User, None));
    fleet.run(10.0);
    for name in ["a", "b"] {
        let said = closed(&mut fleet, name);
        assert_eq!(said.keys().copied().collect::<Vec<_>>(), [Class::VcpuStall, Class::Unknown], "{name}");
        assert_eq!(said[&Class::VcpuStall].verdict.subject.cpu, Some(0), "{name}");
        assert_length(&said[&Class::VcpuStall], 3000);
    }
}

#[test]
fn what_waits_for_a_name_is_no_longer_than_it_was() {
    let mut fleet = Fleet::new(2);
    stall_without_a_name(&mut fleet);
    fleet.run(4.0);
    let waits = fleet.host("a").incident();
    assert_eq!((waits.state, waits.ended_at.is_some()), (State::Open, true));
    assert_length(&waits, 2000);
}

#[test]
fn what_comes_back_before_it_is_closed_goes_on() {
    let mut fleet = Fleet::new(2);
    fleet.cut_both("a", "b");
    fleet.run(3.0);
    assert_eq!(fleet.host("a").incident().ended_at, None);
    fleet.heal();
    fleet.run(0.5);
    let incident = fleet.host("a").incident();
    assert_eq!((incident.state, incident.ended_at.is_some()), (State::Open, true));
    fleet.cut_both("a", "b");
    fleet.run(1.0);
    assert_eq!(fleet.host("a").incident().ended_at, None);
}

#[test]
fn a_peer_that_is_configured_away_ends_what_waits_for_a_name() {
    let mut fleet = Fleet::new(2);
    stall_without_a_name(&mut fleet);
    fleet.run(4.0);
    assert_eq!(fleet.host("a").incident().state, State::Open);
    fleet.watch("a", &[]);
    fleet.run(0.1);
    assert_eq!(fleet.host("a").incident().state, State::Closed);
}

#[test]
fn one_stall_without_a_name_after_another_leaves_one_that_waits() {
    let mut fleet = Fleet::new(2);
    for _ in 0..3 {
        stall_without_a_name(&mut fleet);
        fleet.run(4.0);
    }
    let open = fleet.host("a").incidents().iter().filter(|incident| incident.state == State::Open).count();
    assert_eq!((fleet.host("a").incidents().len(), open), (3, 1), "{}", fleet.host("a").history());
}
