//! What follows a pause: agents that wait, CPUs that make up for what they missed, packets that found no room.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{timers_were_late, watched};
use crate::engine::tests::assert_length;
use crate::engine::tests::fleet::Fleet;
use crate::engine::tests::stall::{Stall, TICKS, assert_all_say, landed, nothing};
use crate::evidence::{AgentLate, CpuStall, Evidence, Fact, Place};
use crate::incident::{AgentState, Class, State};
use crate::time::nanos;

#[test]
fn what_a_cpu_is_late_for_after_a_stall_is_not_that_stall() {
    let mut fleet = Fleet::new(2);
    let stall = Stall::begin(&mut fleet, 1, nothing());
    stall.go_on(&mut fleet, 3.0);
    stall.end(&mut fleet, landed(Place::User, None));
    fleet.run(1.0);
    let busy = CpuStall { timer_at: TICKS, system_ns: Some(1_000_000_000), ..nothing() };
    let late = Stall::begin(&mut fleet, 1, busy);
    late.go_on(&mut fleet, 0.3);
    late.end(&mut fleet, None);
    let incident = assert_all_say(&mut fleet, Class::VcpuStall, 3000);
    assert_eq!(incident.occurrences, 1);
}

#[test]
fn a_sentinel_that_waits_for_its_turn_after_a_pause_until_that_is_told_is_no_stall_of_its_cpu() {
    let mut fleet = Fleet::new(2);
    let [one, two] = [0, 1].map(|cpu| Stall::begin(&mut fleet, cpu, nothing()));
    fleet.pause("b");
    fleet.run(1.5);
    fleet.host("b").late = watched();
    fleet.resume("b");
    let to = fleet.clock("b");
    timers_were_late(&mut fleet, one.from, to);
    one.end(&mut fleet, landed(Place::Idle, None));
    let busy = CpuStall { timer_at: TICKS, switches: Some(500), ..nothing() };
    let waits = Stall { look: busy, ..two };
    waits.go_on(&mut fleet, 1.8);
    let ended = fleet.clock("b");
    fleet.run(0.5);
    let (user_ns, system_ns) = (Some(900_000_000), Some(1_200_000_000));
    let (cpu, from) = (waits.cpu, waits.from);
    let over =
        CpuStall { cpu, of_cpus: 2, over: true, timer_at: Some(ended), user_ns, system_ns, ..Default::default() };
    fleet.host("b").engine.handle(Evidence::during("b", from, ended, Fact::CpuStall(Box::new(over))));
    fleet.run(4.0);
    assert_eq!(fleet.host("b").classes(), BTreeSet::from(["vm-pause"]));
}

#[test]
fn what_follows_a_pause_before_its_names_are_found_does_not_take_its_place() {
    let mut fleet = Fleet::new(2);
    let stalls = [0, 1].map(|cpu| Stall::begin(&mut fleet, cpu, nothing()));
    fleet.pause("b");
    fleet.run(3.0);
    let late = watched();
    fleet.host("b").late = late.clone();
    fleet.resume("b");
    let to = fleet.clock("b");
    let mut named = Vec::new();
    for stall in stalls {
        let timer = Evidence::during("b", stall.from, to, Fact::TimerLate { cpu: stall.cpu });
        let over = CpuStall {
            cpu: stall.cpu,
            of_cpus: 2,
            over: true,
            naming: true,
            timer_at: Some(to),
            ..CpuStall::default()
        };
        let told = |over: CpuStall| Evidence::during("b", stall.from, to, Fact::CpuStall(Box::new(over)));
        named.push(told(CpuStall { landed: landed(Place::Idle, None), ..over.clone() }));
        [timer, told(over)].into_iter().for_each(|evidence| fleet.host("b").engine.handle(evidence));
    }
    fleet.run(0.4);
    fleet.stop("b");
    fleet.run(0.4);
    fleet.host("b").late = AgentLate { ran_ns: Some(250_000_000), ..late };
    fleet.resume("b");
    fleet.run(0.6);
    named.into_iter().for_each(|evidence| fleet.host("b").engine.handle(evidence));
    fleet.run(4.0);
    let history = fleet.host("b").history();
    let incidents = fleet.host("b").incidents();
    assert_eq!(incidents[0].verdict.class, Class::VmPause, "{history}");
}

#[test]
fn an_agent_that_waits_or_catches_up_right_after_a_pause_pays_for_it() {
    let ns = |seconds| Some(nanos(Duration::from_secs_f64(seconds)));
    for (ran, waited) in [(0.0, 1.4), (0.5, 0.6)] {
        let mut fleet = Fleet::new(2);
        for (paused, after, ran, waited) in [(2.9, 0.0, 0.0, 0.0), (0.5, 1.4, ran, waited)] {
            let from = fleet.clock("b");
            fleet.pause("b");
            fleet.run(paused);
            let to = from.plus(Duration::from_secs_f64(paused));
            fleet.run(after);
            fleet.host("b").late = AgentLate { ran_ns: ns(ran), waited_ns: ns(waited), busy: Some(1.0), ..watched() };
            fleet.resume("b");
            timers_were_late(&mut fleet, from, to);
            fleet.run(0.1);
        }
        fleet.run(4.0);
        assert_eq!(fleet.host("b").incident().verdict.class, Class::VmPause);
        assert_length(&fleet.host("b").incident(), 3500);
    }
}

#[test]
fn a_task_that_waits_soon_after_a_pause_pays_for_it() {
    for (after, stalled) in [(0.6, false), (1.5, true)] {
        let mut fleet = Fleet::new(2);
        let from = fleet.clock("b");
        fleet.pause("b");
        fleet.run(3.0);
        let to = fleet.clock("b");
        fleet.host("b").late = AgentLate { waited_ns: Some(0), ..watched() };
        fleet.resume("b");
        timers_were_late(&mut fleet, from, to);
        fleet.run(after);
        let second = Some(1_000_000_000);
        let look = CpuStall { timer_at: TICKS, user_ns: second, system_ns: Some(0), ..nothing() };
        let stall = Stall::begin(&mut fleet, 0, look);
        stall.go_on(&mut fleet, 0.7);
        stall.end(&mut fleet, None);
        fleet.run(4.0);
        assert_eq!(fleet.host("b").classes().contains("scheduler-stall"), stalled, "{after} s after it");
    }
}

#[test]
fn what_a_cpu_makes_up_for_is_no_stall_of_the_agent() {
    let mut fleet = Fleet::new(2);
    let stall = Stall::begin(&mut fleet, 1, nothing());
    stall.go_on(&mut fleet, 3.0);
    stall.end(&mut fleet, landed(Place::User, None));
    fleet.pause("b");
    fleet.run(0.6);
    fleet.host("b").late = watched();
    fleet.resume("b");
    fleet.run(4.0);
    assert_eq!(fleet.host("b").incident().verdict.class, Class::VcpuStall);
}

#[test]
fn what_is_sent_to_a_machine_before_it_is_found_anew_is_no_loss_of_its_own() {
    let others = ["a", "c", "d"];
    for clock_ran_on in [false, true] {
        let mut fleet = Fleet::new(4);
        fleet.run(2.0);
        let from = fleet.clock("b");
        fleet.pause("b");
        fleet.cut.extend(others.map(|other| (other, "b")));
        fleet.run(1.5);
        if clock_ran_on {
            let to = fleet.clock("b");
            fleet.host("b").late = AgentLate { waited_ns: Some(0), ..watched() };
            fleet.resume("b");
            timers_were_late(&mut fleet, from, to);
        } else {
            fleet.resume_where_the_clock_stopped("b");
        }
        fleet.run(1.0);
        fleet.heal();
        fleet.run(12.0);
        for name in ["a", "b", "c", "d"] {
            let history = fleet.host(name).history();
            assert!(
                fleet.host(name).classes().is_subset(&BTreeSet::from(["unknown", "vm-pause"])),
                "{name}: {history}"
            );
            let last = fleet.host(name).incidents();
            assert!(last.iter().any(|one| one.verdict.class == Class::VmPause), "{name}: {history}");
        }
    }
}

#[test]
fn a_slow_turn_right_after_a_pause_does_not_end_what_is_found_of_it() {
    let mut fleet = Fleet::with_hypervisor(3, &["b", "c"], "kvm3");
    fleet.pause("b");
    fleet.pause("c");
    fleet.run(3.0);
    fleet.resume_where_the_clock_stopped("b");
    let from = fleet.clock("b");
    fleet.pause("b");
    fleet.run(0.4);
    let length = Some(nanos(fleet.clock("b").since(from)));
    fleet.host("b").late = AgentLate { ran_ns: length, ..watched() };
    fleet.resume("b");
    fleet.resume_where_the_clock_stopped("c");
    fleet.run(5.0);
    let history = fleet.host("b").history();
    assert!(fleet.host("b").classes().contains("hypervisor-stall"), "{history}");
    assert!(
        fleet
            .host("b")
            .seen
            .iter()
            .any(|one| one.verdict.class == Class::HypervisorStall && one.state == State::Closed)
    );
}

/// On a busy host a sentinel is a little late once more while the agent's own stall still waits to be judged.
#[test]
fn what_a_sentinel_is_late_for_right_after_does_not_hide_that_the_agent_was_stopped() {
    let mut fleet = Fleet::new(2);
    let [one, two] = [0, 1].map(|cpu| Stall::begin(&mut fleet, cpu, CpuStall { timer_at: TICKS, ..nothing() }));
    fleet.pause("b");
    fleet.run(3.0);
    fleet.host("b").late = AgentLate {
        continued: true,
        cpus_watched: 2,
        waited_ns: Some(0),
        timers_watched: true,
        ..AgentLate::default()
    };
    fleet.resume("b");
    [one, two].into_iter().for_each(|stall| stall.end(&mut fleet, None));
    fleet.run(0.1);
    let late = Stall::begin(&mut fleet, 1, CpuStall { timer_at: TICKS, ..nothing() });
    fleet.run(0.1);
    late.end(&mut fleet, None);
    fleet.run(4.0);
    for name in ["a", "b"] {
        let incident = fleet.host(name).incident();
        assert_eq!(incident.verdict.class, Class::AgentStall, "{name}: {}", fleet.host(name).history());
        assert_eq!(incident.verdict.detail.state, Some(AgentState::Stopped), "{name}");
        assert_length(&incident, 3000);
    }
}
