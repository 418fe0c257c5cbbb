//! Several machines of one hypervisor.

use super::{timers_were_late, watched};
use crate::engine::tests::assert_length;
use crate::engine::tests::fleet::Fleet;
use crate::engine::tests::stall::{DEAD, Stall, landed, nothing};
use crate::evidence::{AgentLate, CpuStall, Place};
use crate::incident::{Class, Incident, State};

#[test]
fn machines_of_one_hypervisor_that_pause_together_are_its_stall() {
    let mut fleet = Fleet::with_hypervisor(3, &["b", "c"], "kvm3");
    fleet.pause("b");
    fleet.pause("c");
    fleet.run(3.0);
    fleet.resume_where_the_clock_stopped("b");
    fleet.resume_where_the_clock_stopped("c");
    fleet.run(5.0);
    for name in ["a", "b", "c"] {
        let incident = fleet.host(name).incident();
        assert_eq!((incident.verdict.class, incident.state), (Class::HypervisorStall, State::Closed), "{name}");
        assert_eq!(incident.verdict.subject.hosts, ["b", "c"], "{name}");
        assert_length(&incident, 3000);
    }
}

#[test]
fn a_machine_knows_of_its_pause_though_another_one_was_paused_meanwhile() {
    let mut fleet = Fleet::new(5);
    fleet.pause("b");
    fleet.run(1.0);
    fleet.pause("c");
    fleet.run(2.0);
    fleet.resume_where_the_clock_stopped("b");
    fleet.run(1.0);
    fleet.resume_where_the_clock_stopped("c");
    fleet.run(5.0);
    for name in ["b", "c"] {
        let own =
            |one: &Incident| one.verdict.class == Class::VmPause && one.verdict.subject.host.as_deref() == Some(name);
        let history = fleet.host(name).history();
        assert!(fleet.host(name).incidents().iter().any(own), "{name}: {history}");
        assert!(!fleet.host(name).classes().contains("path-drop"), "what was sent to either found no room: {history}");
    }
}

#[test]
fn whoever_watches_one_machine_only_of_a_stalled_hypervisor_has_its_word() {
    let mut fleet = Fleet::with_hypervisor(4, &["b", "c"], "kvm3");
    fleet.watch("a", &["b", "d"]);
    fleet.watch("c", &["b", "d"]);
    fleet.run(2.0);
    fleet.pause("b");
    fleet.pause("c");
    fleet.run(3.0);
    fleet.resume_where_the_clock_stopped("b");
    fleet.resume_where_the_clock_stopped("c");
    fleet.run(5.0);
    for name in ["a", "b", "c", "d"] {
        let history = fleet.host(name).history();
        let incident = fleet.host(name).incident();
        assert_eq!(
            (incident.verdict.class, incident.state),
            (Class::HypervisorStall, State::Closed),
            "{name}: {history}"
        );
    }
}

#[test]
fn of_two_machines_of_one_hypervisor_that_fall_silent_together_each_is_told_once_they_differ() {
    let mut fleet = Fleet::with_hypervisor(3, &["b", "c"], "kvm3");
    fleet.pause("b");
    fleet.cut_both("a", "c");
    fleet.run(3.0);
    fleet.heal();
    fleet.resume_where_the_clock_stopped("b");
    fleet.run(5.0);
    let classes: Vec<_> = fleet.host("a").incidents().into_iter().map(|incident| incident.verdict.class).collect();
    assert_eq!(classes.len(), 2, "{classes:?}");
    assert!(classes.contains(&Class::VmPause) && classes.contains(&Class::PathDrop), "{classes:?}");
}

/// Of `e`, which did not send then, it is not known by how much its clock is ahead since.
#[test]
fn a_peer_that_was_silent_while_a_clock_stood_shows_no_step_of_it_later() {
    let mut fleet = Fleet::with_hypervisor(5, &["a", "b", "c"], "kvm1");
    fleet.watch("a", &["b", "c", "e"]);
    fleet.run(5.0);
    fleet.pause("a");
    fleet.run(5.0);
    fleet.pause("e");
    fleet.run(0.6);
    fleet.resume_where_the_clock_stopped("a");
    fleet.run(3.0);
    fleet.resume_where_the_clock_stopped("e");
    fleet.run(8.0);
    for name in ["a", "b"] {
        let (classes, history) = (fleet.host(name).classes(), fleet.host(name).history());
        assert!(!classes.contains("hypervisor-stall") && !classes.contains("path-drop"), "{name}: {history}");
    }
    let own = |one: &&Incident| one.verdict.subject.host.as_deref() == Some("a");
    assert_eq!(fleet.host("a").incidents().iter().filter(own).count(), 1, "{}", fleet.host("a").history());
}

/// The other one may have stood still for reasons of its own.
#[test]
fn a_stall_without_a_name_beside_a_pause_is_their_hypervisors_where_they_begin_and_end_at_once() {
    for (later, longer, is_one) in [(0.0, 0.0, true), (0.3, 0.4, false)] {
        let mut fleet = Fleet::with_hypervisor(4, &["b", "c"], "kvm3");
        fleet.run(5.0);
        let stalls = [0, 1].map(|cpu| Stall::begin(&mut fleet, cpu, CpuStall { timer_at: DEAD, ..nothing() }));
        fleet.pause("b");
        fleet.run(later);
        fleet.pause("c");
        fleet.run(8.0);
        fleet.host("b").late = watched();
        let (from, to) = (stalls[0].from, fleet.clock("b"));
        fleet.resume("b");
        timers_were_late(&mut fleet, from, to);
        stalls.into_iter().for_each(|stall| stall.end(&mut fleet, landed(Place::User, None)));
        fleet.run(longer);
        fleet.host("c").late = AgentLate::default();
        fleet.resume("c");
        fleet.run(5.0);
        for name in ["a", "b", "d"] {
            let said = fleet.host(name).classes().contains("hypervisor-stall");
            assert_eq!(said, is_one, "{name}, {later} s later: {}", fleet.host(name).history());
        }
    }
}

#[test]
fn machines_of_one_hypervisor_that_pause_one_after_the_other_are_two_pauses() {
    let mut fleet = Fleet::with_hypervisor(4, &["b", "c"], "kvm3");
    for (name, seconds) in [("b", 1.1), ("c", 2.3)] {
        fleet.pause(name);
        fleet.run(seconds);
        fleet.resume_where_the_clock_stopped(name);
        fleet.run(0.9);
    }
    fleet.run(5.0);
    for name in ["a", "d"] {
        let classes: Vec<Class> = fleet.host(name).incidents().iter().map(|one| one.verdict.class).collect();
        assert_eq!(classes, [Class::VmPause, Class::VmPause], "{name}: {}", fleet.host(name).history());
    }
}
