//! One incident is one trace on all hosts that witness it.

use std::collections::BTreeSet;

use super::fleet::Fleet;
use crate::evidence::{AgentLate, Evidence, Fact};
use crate::incident::{Class, Incident, Relation, State};
use crate::time::WallNanos;
use crate::trace::TraceId;

/// The last versions of what those hosts say.
fn said(fleet: &mut Fleet, names: &[&str]) -> Vec<Incident> {
    names.iter().flat_map(|name| fleet.host(name).incidents()).collect()
}

fn traces(incidents: &[Incident]) -> BTreeSet<TraceId> {
    incidents.iter().map(|incident| incident.trace_id).collect()
}

/// All of those hosts have an incident, and all of these are in one trace.
fn assert_one(fleet: &mut Fleet, names: &[&str]) -> TraceId {
    let all = said(fleet, names);
    let observers: BTreeSet<&str> = all.iter().map(|incident| incident.observer.as_str()).collect();
    assert_eq!(observers, names.iter().copied().collect());
    let lines: String = names.iter().map(|name| fleet.host(name).history()).collect();
    assert_eq!(traces(&all).len(), 1, "{:?}\n{lines}", traces(&all));
    all[0].trace_id
}

#[test]
fn a_host_that_stood_still_and_all_who_missed_it_agree() {
    let mut fleet = Fleet::new(4);
    fleet.stop("b");
    fleet.run(5.0);
    fleet.host("b").late.continued = true;
    fleet.resume("b");
    fleet.run(4.0);
    assert_one(&mut fleet, &["a", "b", "c", "d"]);
}

#[test]
fn while_it_lasts_those_that_can_talk_agree_already() {
    let mut fleet = Fleet::new(4);
    fleet.gone("b");
    fleet.run(1.5);
    assert_one(&mut fleet, &["a", "c", "d"]);
}

#[test]
fn a_machine_whose_clock_stood_still_finds_the_trace_of_the_others() {
    let mut fleet = Fleet::new(3);
    fleet.pause("c");
    fleet.run(6.0);
    fleet.resume_where_the_clock_stopped("c");
    fleet.run(5.0);
    assert_one(&mut fleet, &["a", "b", "c"]);
}

#[test]
fn both_ends_of_a_path_agree_although_they_could_not_talk() {
    let mut fleet = Fleet::new(2);
    fleet.cut_both("a", "b");
    fleet.run(5.0);
    let apart = said(&mut fleet, &["a", "b"]);
    assert!(apart.iter().all(|incident| incident.state == State::Open && incident.links.is_empty()));
    fleet.heal();
    fleet.run(3.0);
    let trace = assert_one(&mut fleet, &["a", "b"]);
    for before in apart.iter().filter(|incident| incident.trace_id != trace) {
        let now = fleet.host(&before.observer).incident();
        assert_eq!((now.links[0].trace_id, now.links[0].relation), (before.trace_id, Relation::Was));
    }
}

#[test]
fn a_host_that_was_cut_off_meets_the_others_afterwards() {
    let mut fleet = Fleet::new(4);
    fleet.isolate("a", &["b", "c", "d"]);
    fleet.run(6.0);
    fleet.heal();
    fleet.run(4.0);
    let all = said(&mut fleet, &["a", "b", "c", "d"]);
    assert!(all.iter().all(|incident| incident.verdict.class == Class::HostIsolated));
    assert_one(&mut fleet, &["a", "b", "c", "d"]);
}

#[test]
fn the_parts_of_a_fleet_that_fell_apart_meet_again() {
    let mut fleet = Fleet::new(4);
    for (one, other) in [("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")] {
        fleet.cut_both(one, other);
    }
    fleet.run(6.0);
    fleet.heal();
    fleet.run(4.0);
    let all = said(&mut fleet, &["a", "b", "c", "d"]);
    assert!(all.iter().all(|incident| incident.verdict.class == Class::Partition), "{all:?}");
    assert_one(&mut fleet, &["a", "b", "c", "d"]);
}

#[test]
fn machines_of_one_hypervisor_that_stand_still_together_are_one_trace() {
    let mut fleet = Fleet::with_hypervisor(4, &["a", "b"], "kvm1");
    for name in ["a", "b"] {
        fleet.pause(name);
    }
    fleet.run(4.0);
    for name in ["a", "b"] {
        fleet.host(name).late = AgentLate { cpus_watched: 1, ..AgentLate::default() };
        fleet.resume(name);
    }
    fleet.run(6.0);
    assert_one(&mut fleet, &["a", "b", "c", "d"]);
}

#[test]
fn what_befalls_two_hosts_one_after_the_other_are_two_traces() {
    let mut fleet = Fleet::new(3);
    for name in ["b", "c"] {
        fleet.stop(name);
        fleet.run(3.0);
        fleet.host(name).late.continued = true;
        fleet.resume(name);
        fleet.run(4.0);
    }
    assert_eq!(traces(&said(&mut fleet, &["a"])).len(), 2);
    assert_eq!(traces(&said(&mut fleet, &["a", "b", "c"])).len(), 2);
}

#[test]
fn a_loss_on_a_path_is_one_trace_for_both_ends_and_a_stall_meanwhile_another() {
    let mut fleet = Fleet::new(3);
    fleet.lossy.extend([(("a", "b"), 0.2), (("b", "a"), 0.2)]);
    fleet.run(60.0);
    fleet.stop("c");
    fleet.run(3.0);
    fleet.host("c").late.continued = true;
    fleet.resume("c");
    fleet.run(4.0);
    let of = |class: Class, all: &[Incident]| -> Vec<Incident> {
        all.iter().filter(|incident| incident.verdict.class == class).cloned().collect()
    };
    let all = said(&mut fleet, &["a", "b", "c"]);
    let (losses, stalls) = (of(Class::PacketLoss, &all), of(Class::AgentStall, &all));
    assert_eq!((losses.len(), stalls.len()), (2, 3));
    assert_eq!((traces(&losses).len(), traces(&stalls).len()), (1, 1));
    assert!(traces(&losses).is_disjoint(&traces(&stalls)));
}

#[test]
fn an_agent_that_was_started_anew_goes_on_in_the_trace_of_the_run_before() {
    let mut fleet = Fleet::new(3);
    fleet.gone("b");
    fleet.run(15.0);
    let open = fleet.host("a").incident();
    fleet.start_anew("a", false);
    let (now, wall) = (fleet.now, WallNanos(1_800_000_017_000_000_000));
    fleet.host("a").engine.handle(Evidence::at("a", now, Fact::Clock { wall }));
    fleet.host("a").engine.adopt(open.clone(), now);
    fleet.run(5.0);
    fleet.start_anew("b", true);
    fleet.run(3.0);
    assert!(
        fleet.host("a").seen.iter().all(|incident| incident.trace_id == open.trace_id),
        "{}",
        fleet.host("a").history()
    );
}

#[test]
fn a_trace_never_goes_back_to_a_name_it_left() {
    let mut fleet = Fleet::new(4);
    fleet.isolate("a", &["b", "c", "d"]);
    fleet.run(4.0);
    fleet.heal();
    fleet.run(4.0);
    for name in ["a", "b", "c", "d"] {
        let mut last = None;
        for incident in &fleet.host(name).seen {
            assert!(last.is_none_or(|last: TraceId| incident.trace_id <= last), "{name}");
            last = Some(incident.trace_id);
        }
    }
}
