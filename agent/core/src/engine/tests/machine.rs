//! Stories of machines that stand still as a whole, alone or with others of their hypervisor, and of storage that hangs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::fleet::Fleet;
use super::stall::{DEAD, Stall, TICK, TICKS, assert_all_say, landed, landed_in, nothing};
use super::{assert_length, ruled_out};
use crate::evidence::{AgentLate, CpuStall, Evidence, Fact, IoStuck, Landed, Place};
use crate::incident::{AgentState, Class, ClockState, Incident, State};
use crate::time::{Nanos, nanos};

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

#[test]
fn storage_that_does_not_answer_is_an_io_stall() {
    let mut fleet = Fleet::new(2);
    let from = fleet.clock("b");
    for look in 1..=10 {
        fleet.run(0.5);
        let stuck = IoStuck { over: look == 10, tasks: vec!["dd".into()], ..IoStuck::default() };
        let to = fleet.clock("b");
        fleet.host("b").engine.handle(Evidence::during("b", from, to, Fact::IoStuck(stuck)));
    }
    fleet.run(4.0);
    for name in ["a", "b"] {
        let incident = fleet.host(name).incident();
        assert_eq!((incident.verdict.class, incident.state), (Class::IoStall, State::Closed), "{name}");
        assert_eq!(incident.verdict.subject.host.as_deref(), Some("b"), "{name}");
        assert_length(&incident, 5000);
    }
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
