//! Stories of machines that stand still as a whole, alone or with others of their hypervisor.

mod aftermath;
mod hypervisor;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fleet::Fleet;
use super::stall::{DEAD, Stall, TICK, TICKS, in_handler, landed, landed_in, nothing};
use super::{assert_length, ruled_out};
use crate::evidence::{AgentLate, CpuStall, Evidence, Fact, Landed, Place};
use crate::incident::{AgentState, Class, ClockState, Incident, State};
use crate::time::Nanos;

/// An agent that waited for no CPU, and watches the timers of both.
fn watched() -> AgentLate {
    AgentLate { cpus_watched: 2, waited_ns: Some(0), timers_watched: true, ..AgentLate::default() }
}

/// Those of both CPUs of b were.
fn timers_were_late(fleet: &mut Fleet, from: Nanos, to: Nanos) {
    for cpu in 0..2 {
        fleet.host("b").engine.handle(Evidence::during("b", from, to, Fact::TimerLate { cpu }));
    }
}

/// The whole of b stands still for so many seconds, and its agent with it.
fn stand_still(fleet: &mut Fleet, timer_at: Option<Nanos>, places: [Option<Landed>; 2], late: AgentLate, seconds: f64) {
    let stalls = [0, 1].map(|cpu| Stall::begin(fleet, cpu, CpuStall { timer_at, ..nothing() }));
    fleet.pause("b");
    fleet.run(seconds);
    fleet.host("b").late = late;
    fleet.resume("b");
    let now = fleet.clock("b");
    for (stall, landed) in stalls.into_iter().zip(places) {
        if timer_at == DEAD {
            let late = Fact::TimerLate { cpu: stall.cpu };
            fleet.host("b").engine.handle(Evidence::during("b", stall.from, now, late));
        }
        stall.end(fleet, landed);
    }
}

/// As above, for three seconds, and then it goes on.
fn all_stand_still(fleet: &mut Fleet, timer_at: Option<Nanos>, places: [Option<Landed>; 2], late: AgentLate) {
    stand_still(fleet, timer_at, places, late, 3.0);
    fleet.run(4.0);
}

#[test]
fn a_machine_that_stood_still_as_a_whole_is_paused() {
    let mut fleet = Fleet::new(3);
    let places = [landed(Place::Idle, None), landed(Place::User, None)];
    all_stand_still(&mut fleet, DEAD, places, watched());
    for name in ["a", "b", "c"] {
        let incident = fleet.host(name).incident();
        assert_eq!((incident.verdict.class, incident.state), (Class::VmPause, State::Closed), "{name}");
        assert_eq!(incident.verdict.detail.clock, Some(ClockState::RanOn), "{name}");
        assert_eq!(incident.verdict.subject.cpu, None, "{name}");
        assert_length(&incident, 3000);
    }
}

#[test]
fn a_cpu_may_have_waited_with_its_interrupts_off_for_one_that_was_not_run() {
    let mut fleet = Fleet::new(2);
    let places = [landed(Place::Kernel, Some(false)), landed_in("_raw_spin_unlock_irqrestore+0x15")];
    all_stand_still(&mut fleet, DEAD, places, watched());
    for name in ["a", "b"] {
        assert_eq!(fleet.host(name).classes(), BTreeSet::from(["unknown"]), "{name}");
    }
}

#[test]
fn a_cpu_of_which_nobody_knows_where_it_went_on_may_have_been_waited_for() {
    let mut fleet = Fleet::new(2);
    let places = [landed_in("finish_task_switch.isra.0+0x9d"), None];
    all_stand_still(&mut fleet, DEAD, places, watched());
    for name in ["a", "b"] {
        assert_eq!(fleet.host(name).classes(), BTreeSet::from(["unknown"]), "{name}");
    }
}

#[test]
fn a_cpu_that_idles_holds_nothing_that_another_could_have_waited_for() {
    let mut fleet = Fleet::new(2);
    let places = [landed(Place::Idle, None), landed_in("_raw_spin_unlock_irqrestore+0x15")];
    all_stand_still(&mut fleet, DEAD, places, watched());
    assert_eq!(fleet.host("b").incident().verdict.class, Class::VmPause);
}

/// Where the interrupt landed that came after the handler says nothing of the time in it.
#[test]
fn the_only_cpu_may_have_been_in_the_handler_that_it_left() {
    for (handler, class) in [(None, Class::VmPause), (Some("local_timer"), Class::Unknown)] {
        let mut fleet = Fleet::new(2);
        let began = fleet.clock("b");
        let handler = handler.map(|name| in_handler(name, began));
        let stall = Stall::begin(&mut fleet, 0, CpuStall { handler, ..nothing() });
        fleet.pause("b");
        fleet.run(3.0);
        fleet.host("b").late = AgentLate { cpus_watched: 1, ..watched() };
        fleet.resume("b");
        let now = fleet.clock("b");
        let late = Fact::TimerLate { cpu: 0 };
        fleet.host("b").engine.handle(Evidence::during("b", began, now, late));
        stall.end_of_handler(&mut fleet, landed(Place::User, None));
        fleet.run(4.0);
        for name in ["a", "b"] {
            let history = fleet.host(name).history();
            assert_eq!(fleet.host(name).incident().verdict.class, class, "{name}: {history}");
        }
    }
}

#[test]
fn sentinels_that_tell_one_after_another_tell_of_one_pause() {
    let mut fleet = Fleet::new(2);
    let [one, two] = [0, 1].map(|cpu| Stall::begin(&mut fleet, cpu, nothing()));
    fleet.pause("b");
    fleet.run(3.0);
    fleet.host("b").late = watched();
    fleet.resume("b");
    for stall in [one, two] {
        let late = Fact::TimerLate { cpu: stall.cpu };
        let to = fleet.clock("b");
        fleet.host("b").engine.handle(Evidence::during("b", stall.from, to, late));
        stall.end(&mut fleet, landed(Place::Idle, None));
        fleet.run(0.05);
    }
    fleet.run(4.0);
    assert_eq!(fleet.host("b").incident().verdict.class, Class::VmPause);
}

#[test]
fn a_machine_that_is_run_a_tenth_of_the_time_is_paused_again_and_again() {
    let mut fleet = Fleet::new(2);
    for _ in 0..5 {
        let from = fleet.clock("b");
        fleet.pause("b");
        fleet.run(0.9);
        fleet.host("b").late = AgentLate {
            cpus_watched: 2,
            waited_ns: Some(800_000_000),
            busy: Some(1.0),
            timers_watched: true,
            ..AgentLate::default()
        };
        fleet.resume("b");
        let to = fleet.clock("b");
        timers_were_late(&mut fleet, from, to);
        Stall { cpu: 1, from, look: nothing() }.end(&mut fleet, None);
        fleet.run(0.1);
    }
    fleet.run(4.0);
    let incident = fleet.host("b").incident();
    assert_eq!((incident.verdict.class, incident.occurrences), (Class::VmPause, 5));
    assert_eq!(incident.verdict.detail.clock, Some(ClockState::RanOn));
    assert!(ruled_out(&incident, Class::CpuSaturation) && ruled_out(&incident, Class::AgentStall));
    assert_eq!(fleet.host("a").incident().verdict.class, Class::VmPause);
}

#[test]
fn a_pause_among_others_that_cannot_be_named_alone_takes_no_name_from_them() {
    let mut fleet = Fleet::new(2);
    let clear = [landed(Place::Idle, None), landed(Place::User, None)];
    let unclear = [landed(Place::Kernel, Some(false)), landed_in("_raw_spin_unlock_irqrestore+0x15")];
    for places in [clear.clone(), clear, unclear] {
        stand_still(&mut fleet, DEAD, places, watched(), 1.0);
        fleet.run(0.5);
    }
    fleet.run(4.0);
    for name in ["a", "b"] {
        let incident = fleet.host(name).incident();
        let history = fleet.host(name).history();
        assert_eq!((incident.verdict.class, incident.state), (Class::VmPause, State::Closed), "{name}: {history}");
        assert_length(&incident, 4000);
    }
}

#[test]
fn a_sentinel_that_tells_late_still_tells_of_the_pause() {
    let mut fleet = Fleet::new(2);
    let from = fleet.clock("b");
    fleet.pause("b");
    fleet.run(3.0);
    fleet.host("b").late = watched();
    fleet.resume("b");
    let to = fleet.clock("b");
    timers_were_late(&mut fleet, from, to);
    fleet.run(0.6);
    let places = [landed(Place::Kernel, Some(false)), landed_in("_raw_spin_unlock_irqrestore+0x15")];
    for (cpu, landed) in (0..).zip(places) {
        let over = CpuStall { cpu, of_cpus: 2, over: true, landed, ..CpuStall::default() };
        fleet.host("b").engine.handle(Evidence::during("b", from, to, Fact::CpuStall(Box::new(over))));
    }
    fleet.run(4.0);
    assert_eq!(fleet.host("b").classes(), BTreeSet::from(["unknown"]));
}

#[test]
fn an_agent_that_was_stopped_is_no_pause_though_all_sentinels_are_late() {
    let mut fleet = Fleet::new(2);
    let late = AgentLate { continued: true, ..watched() };
    all_stand_still(&mut fleet, TICKS, [None, None], late);
    for name in ["a", "b"] {
        let incident = fleet.host(name).incident();
        assert_eq!(incident.verdict.class, Class::AgentStall, "{name}");
        assert_eq!(incident.verdict.detail.state, Some(AgentState::Stopped), "{name}");
    }
}

#[test]
fn stalls_of_different_kinds_in_a_row_are_all_told_and_closed_beyond_what_is_followed_at_once() {
    let mut fleet = Fleet::new(2);
    for number in 0..7 {
        let from = fleet.clock("b");
        fleet.pause("b");
        fleet.run(0.6);
        let to = fleet.clock("b");
        fleet.host("b").late = AgentLate { continued: number % 2 == 0, ..watched() };
        fleet.resume("b");
        if number % 2 == 1 {
            timers_were_late(&mut fleet, from, to);
        }
        fleet.run(0.1);
    }
    fleet.run(12.0);
    let incidents = fleet.host("b").incidents();
    let own = incidents.iter().filter(|one| one.verdict.subject.peer.is_none());
    let (classes, open): (Vec<_>, Vec<_>) = own.map(|one| (one.verdict.class.name(), one.state == State::Open)).unzip();
    assert!(open.iter().all(|open| !open), "{}", fleet.host("b").history());
    let of = |class: &str| classes.iter().filter(|one| **one == class).count();
    assert_eq!((of("agent-stall"), of("vm-pause")), (4, 3), "{}", fleet.host("b").history());
}

#[test]
fn an_agent_that_started_while_a_machine_was_paused_has_the_length_from_its_account() {
    let mut fleet = Fleet::new(4);
    fleet.pause("b");
    fleet.run(2.0);
    fleet.start_anew("a", false);
    fleet.run(1.0);
    fleet.resume_where_the_clock_stopped("b");
    fleet.run(5.0);
    let history = fleet.host("a").history();
    let of_b: Vec<Incident> = fleet
        .host("a")
        .incidents()
        .into_iter()
        .filter(|one| one.verdict.subject.host.as_deref() == Some("b"))
        .collect();
    assert!(of_b.iter().all(|one| one.verdict.class == Class::VmPause), "{history}");
    assert_length(of_b.last().unwrap(), 3000);
}

#[test]
fn packets_that_are_all_late_are_no_pause_of_the_peer() {
    let mut fleet = Fleet::new(2);
    let held: Vec<_> = (0..30)
        .filter_map(|_| {
            fleet.cut.insert(("b", "a"));
            let now = fleet.clock("b");
            let beat = fleet.host("b").engine.heartbeat("a", now.plus(TICK));
            fleet.run(0.1);
            beat
        })
        .collect();
    fleet.heal();
    let at = fleet.clock("a");
    for beat in held {
        fleet.host("a").engine.handle(Evidence::at("b", at, Fact::Heartbeat(Arc::new(beat))));
    }
    fleet.run(4.0);
    assert!(!fleet.host("a").classes().contains("vm-pause"), "{:#?}", fleet.host("a").incidents());
}
