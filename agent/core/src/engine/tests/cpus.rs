//! Stories of single CPUs that stand still: what host b sees of its own, and what its peers make of that.

use std::collections::BTreeSet;

use super::fleet::Fleet;
use super::stall::{Stall, TICK, TICKS, assert_all_say, in_handler, landed, landed_in, nothing, passed};
use super::{assert_length, ruled_out};
use crate::evidence::{AgentLate, CpuStall, Evidence, Fact, Handler, Place, Poke, Running};
use crate::incident::{AgentState, Class, State, Verdict};
use crate::time::nanos;

#[test]
fn a_cpu_whose_timer_died_is_named_while_it_lasts() {
    let mut fleet = Fleet::new(2);
    let look = CpuStall { poke: Some(Poke::Answered), interrupts: Some(3), ..nothing() };
    let stall = Stall::begin(&mut fleet, 1, look);
    stall.go_on(&mut fleet, 1.0);
    for name in ["a", "b"] {
        let incident = fleet.host(name).incident();
        assert_eq!((incident.verdict.class, incident.state), (Class::TimerLockup, State::Open), "{name}");
        assert_eq!(incident.verdict.subject.cpu, Some(1), "{name}");
    }
    stall.go_on(&mut fleet, 4.0);
    stall.end(&mut fleet, None);
    let incident = assert_all_say(&mut fleet, Class::TimerLockup, 5000);
    assert!(ruled_out(&incident, Class::CpuLockup) && ruled_out(&incident, Class::VcpuStall));
    assert!(ruled_out(&incident, Class::VmPause) && ruled_out(&incident, Class::SchedulerStall));
}

/// Seen in a guest: the driver slept on a CPU whose timer died just before it was due, and a tick before the sentinel was.
#[test]
fn an_agent_that_slept_on_a_cpu_whose_timer_had_just_died_was_not_stopped() {
    let mut fleet = Fleet::new(2);
    let due = fleet.clock("b").plus(TICK);
    fleet.stop("b");
    fleet.run(0.3);
    let measured = AgentLate { ran_ns: Some(0), waited_ns: Some(0), timers_watched: true, ..AgentLate::default() };
    fleet.host("b").late = AgentLate { cpus_watched: 2, busy: Some(0.5), ..measured };
    fleet.resume("b");
    for look in 1..20 {
        let (poke, interrupts) = (Some(Poke::Answered), Some(look));
        let last_tick = Some(due.minus(TICK / 30));
        let stall = CpuStall { cpu: 1, of_cpus: 2, timer_at: last_tick, poke, interrupts, ..nothing() };
        let (from, to) = (due.plus(TICK * 6 / 5), fleet.clock("b").plus(TICK));
        fleet.host("b").engine.handle(Evidence::during("b", from, to, Fact::CpuStall(Box::new(stall))));
        fleet.run(0.1);
    }
    assert_eq!(fleet.host("b").classes(), BTreeSet::from(["timer-lockup"]));
    let classes = fleet.host("a").classes();
    assert!(classes.is_subset(&BTreeSet::from(["unknown", "timer-lockup"])), "{classes:?}");
}

#[test]
fn a_cpu_that_did_nothing_is_judged_by_where_it_went_on() {
    let cases = [
        (landed(Place::User, None), Class::VcpuStall),
        (landed(Place::Idle, None), Class::VcpuStall),
        (landed(Place::Kernel, Some(false)), Class::VcpuStall),
        (landed(Place::Kernel, Some(true)), Class::CpuLockup),
        (landed(Place::Kernel, None), Class::Unknown),
        (landed_in("finish_task_switch.isra.0+0x8f"), Class::Unknown),
        (landed_in("_raw_spin_unlock_irqrestore+0x15"), Class::Unknown),
        (landed_in("read_hpet+0x91"), Class::Unknown),
        (passed(1), Class::Unknown),
        (passed(0), Class::CpuLockup),
        (None, Class::Unknown),
    ];
    for (landed, class) in cases {
        let mut fleet = Fleet::new(2);
        let stall = Stall::begin(&mut fleet, 1, nothing());
        stall.go_on(&mut fleet, 3.0);
        assert_eq!(fleet.host("b").classes(), BTreeSet::from(["unknown"]), "nobody can tell while it lasts");
        stall.end(&mut fleet, landed);
        let incident = assert_all_say(&mut fleet, class, 3000);
        if class == Class::CpuLockup {
            assert_eq!(incident.verdict.detail.stack, ["spin_for_seconds+0x12"]);
        }
    }
}

#[test]
fn names_that_come_late_are_waited_for() {
    let mut fleet = Fleet::new(2);
    let stall = Stall::begin(&mut fleet, 1, nothing());
    stall.go_on(&mut fleet, 3.0);
    let (from, to) = (stall.from, fleet.clock("b"));
    let over = CpuStall { cpu: 1, of_cpus: 2, over: true, naming: true, timer_at: Some(to), ..CpuStall::default() };
    let named = CpuStall { landed: landed(Place::User, None), ..over.clone() };
    fleet.host("b").engine.handle(Evidence::during("b", from, to, Fact::CpuStall(Box::new(over))));
    fleet.run(4.0);
    assert_eq!(fleet.host("b").incident().state, State::Open);
    fleet.host("b").engine.handle(Evidence::during("b", from, to, Fact::CpuStall(Box::new(named))));
    assert_all_say(&mut fleet, Class::VcpuStall, 3000);
}

#[test]
fn what_a_cpu_does_before_its_sentinel_runs_again_is_no_sign_of_life() {
    let mut fleet = Fleet::new(2);
    let mut stall = Stall::begin(&mut fleet, 1, nothing());
    stall.go_on(&mut fleet, 3.0);
    stall.look = CpuStall { timer_at: TICKS, interrupts: Some(3), switches: Some(7), ..nothing() };
    stall.look(&mut fleet);
    stall.end(&mut fleet, landed(Place::Kernel, Some(true)));
    assert_all_say(&mut fleet, Class::CpuLockup, 3000);
}

#[test]
fn steal_of_that_cpu_tells_while_it_lasts() {
    let mut fleet = Fleet::new(2);
    let mut stall = Stall::begin(&mut fleet, 1, nothing());
    for tenths in 1..=40 {
        stall.look.stolen_ns = Some(tenths * 100_000_000);
        stall.go_on(&mut fleet, 0.1);
    }
    assert_eq!(fleet.host("b").incident().verdict.class, Class::VcpuStall);
    let said = fleet.host("b").seen.len();
    assert!(said <= 6, "a figure that grows all the time is no news: {said}");
}

#[test]
fn a_cpu_inside_one_interrupt_handler_is_locked_up_by_it() {
    let mut fleet = Fleet::new(2);
    let since = fleet.clock("b");
    let handler = Some(in_handler("call_function_single", since));
    let look = CpuStall { handler, interrupts: Some(1), ..nothing() };
    let stall = Stall::begin(&mut fleet, 1, look);
    stall.go_on(&mut fleet, 3.0);
    stall.end(&mut fleet, landed(Place::User, None));
    let incident = assert_all_say(&mut fleet, Class::CpuLockup, 3000);
    assert_eq!(incident.verdict.detail.handler.as_deref(), Some("call_function_single"));
}

#[test]
fn a_cpu_that_has_just_left_a_long_handler_was_in_it() {
    let mut fleet = Fleet::new(2);
    let within = |since| Some(in_handler("call_function_single", since));
    let look = CpuStall { handler: within(fleet.clock("b")), interrupts: Some(1), ..nothing() };
    let mut stall = Stall::begin(&mut fleet, 1, look);
    stall.go_on(&mut fleet, 4.8);
    stall.look.handler = within(fleet.clock("b"));
    stall.look(&mut fleet);
    stall.end(&mut fleet, landed(Place::Idle, None));
    assert_all_say(&mut fleet, Class::CpuLockup, 4800);
}

#[test]
fn a_cpu_inside_a_handler_that_it_runs_all_the_time_may_as_well_not_have_been_run() {
    let cases = [
        ("local_timer", None, Class::Unknown),
        ("irq 24", Some(4000), Class::Unknown),
        ("call_function", Some(300), Class::Unknown),
        ("irq 24", Some(2), Class::CpuLockup),
        ("irq 24", None, Class::Unknown),
    ];
    for (name, per_second, class) in cases {
        let mut fleet = Fleet::new(2);
        let handler = Handler { per_second, ..in_handler(name, fleet.clock("b")) };
        let look = CpuStall { handler: Some(handler), interrupts: Some(1), ..nothing() };
        let stall = Stall::begin(&mut fleet, 1, look);
        stall.go_on(&mut fleet, 3.0);
        stall.end(&mut fleet, landed(Place::User, None));
        assert_all_say(&mut fleet, class, 3000);
    }
}

/// CPU 1 of b is in a handler for 5 s, of which b's agent looks at it for the first ones only, and then stands still itself.
fn a_handler_seen_for(seconds: f64, name: &str) -> (Fleet, Stall) {
    let mut fleet = Fleet::new(2);
    let handler = Some(in_handler(name, fleet.clock("b")));
    let stall = Stall::begin(&mut fleet, 1, CpuStall { handler, interrupts: Some(1), ..nothing() });
    stall.go_on(&mut fleet, seconds);
    fleet.stop("b");
    fleet.run(5.0 - seconds);
    fleet.resume("b");
    (fleet, stall)
}

#[test]
fn a_handler_whose_end_the_probe_saw_is_known_however_seldom_anybody_looked() {
    for seconds in [0.2, 2.0] {
        let (mut fleet, stall) = a_handler_seen_for(seconds, "call_function_single");
        stall.end_of_handler(&mut fleet, landed(Place::Idle, None));
        let incident = assert_all_say(&mut fleet, Class::CpuLockup, 5000);
        assert_eq!(incident.verdict.detail.handler.as_deref(), Some("call_function_single"), "{seconds} s");
    }
    let (mut fleet, stall) = a_handler_seen_for(2.0, "local_timer");
    stall.end_of_handler(&mut fleet, landed(Place::Idle, None));
    assert_all_say(&mut fleet, Class::Unknown, 5000);
}

#[test]
fn a_cpu_last_seen_in_a_handler_is_not_said_to_have_been_taken_away() {
    let (mut fleet, stall) = a_handler_seen_for(2.0, "call_function_single");
    let late = Evidence::during("b", stall.from, fleet.clock("b"), Fact::TimerLate { cpu: 1 });
    fleet.host("b").engine.handle(late);
    stall.end(&mut fleet, landed(Place::Idle, None));
    fleet.run(10.0);
    for name in ["a", "b"] {
        assert_eq!(fleet.host(name).incident().verdict.class, Class::Unknown, "{name}");
        assert!(!fleet.host(name).classes().contains("vcpu-stall"), "{name}: {}", fleet.host(name).history());
    }
}

#[test]
fn what_ended_a_silence_is_no_tick_of_it() {
    let mut fleet = Fleet::new(2);
    let mut stall = Stall::begin(&mut fleet, 1, nothing());
    // Nobody looks at it while it lasts.
    fleet.run(3.0);
    let to = fleet.clock("b");
    // The sentinel waits for its turn, while the CPU takes interrupts again.
    stall.look = CpuStall { timer_at: TICKS, interrupts: Some(70), switches: Some(9), ..nothing() };
    stall.go_on(&mut fleet, 1.5);
    stall.end_at(&mut fleet, to, landed(Place::User, None), None);
    assert_all_say(&mut fleet, Class::VcpuStall, 3000);
}

#[test]
fn who_keeps_a_ticking_cpu_decides() {
    let running = Some(Running { tid: 7, comm: "hog".into(), policy: Some("SCHED_FIFO".into()) });
    let second = Some(1_000_000_000);
    let base = CpuStall { timer_at: TICKS, ..nothing() };
    let (in_program, in_kernel) = ((second, Some(0)), (Some(0), second));
    let stopper = Some(Running { tid: 9, comm: "migration/1".into(), policy: Some("SCHED_FIFO".into()) });
    let spent = |(user_ns, system_ns), running: &Option<Running>| CpuStall {
        user_ns,
        system_ns,
        running: running.clone(),
        ..base.clone()
    };
    let cases = [
        (spent(in_program, &running), Class::SchedulerStall),
        // As a real-time task that copies: others wait for it, and the kernel would reschedule.
        (spent(in_kernel, &running), Class::SchedulerStall),
        (spent(in_kernel, &stopper), Class::CpuLockup),
        (spent(in_kernel, &None), Class::CpuLockup),
    ];
    for (look, class) in cases {
        let mut fleet = Fleet::new(2);
        let stall = Stall::begin(&mut fleet, 1, look);
        stall.go_on(&mut fleet, 3.0);
        assert_eq!(fleet.host("b").incident().verdict.class, class, "while it lasts");
        stall.end(&mut fleet, None);
        let incident = assert_all_say(&mut fleet, class, 3000);
        if class == Class::SchedulerStall {
            assert_eq!(incident.verdict.detail.running.as_deref(), Some("hog (SCHED_FIFO)"));
        }
    }
}

#[test]
fn a_cpu_that_is_shared_out_is_no_stall() {
    let mut fleet = Fleet::new(2);
    let look = CpuStall { timer_at: TICKS, switches: Some(500), user_ns: Some(1_000_000_000), ..nothing() };
    let stall = Stall::begin(&mut fleet, 1, look);
    stall.go_on(&mut fleet, 3.0);
    stall.end(&mut fleet, None);
    fleet.run(3.0);
    assert_eq!(fleet.host("b").seen, []);
    assert_eq!(fleet.host("a").seen, []);
}

#[test]
fn an_agent_that_is_throttled_again_and_again_is_one_stall_and_none_of_a_cpu() {
    let mut fleet = Fleet::new(2);
    for _ in 0..3 {
        let from = fleet.clock("b");
        fleet.pause("b");
        fleet.run(2.9);
        fleet.host("b").late = AgentLate {
            cpus_watched: 2,
            throttled_ns: Some(2_900_000_000),
            waited_ns: Some(2_900_000_000),
            busy: Some(0.1),
            timers_watched: true,
            ..AgentLate::default()
        };
        fleet.resume("b");
        let to = fleet.clock("b");
        // One of the sentinels is woken later than the agent, or earlier.
        for cpu in 0..1 {
            let over = CpuStall { cpu, of_cpus: 2, over: true, timer_at: Some(to), ..CpuStall::default() };
            let stall = CpuStall { throttled_ns: Some(nanos(to.since(from))), ..over };
            fleet.host("b").engine.handle(Evidence::during("b", from, to, Fact::CpuStall(Box::new(stall))));
        }
        fleet.run(0.1);
    }
    fleet.run(4.0);
    let incident = fleet.host("b").incident();
    assert_eq!((incident.verdict.class, incident.occurrences), (Class::AgentStall, 3));
    let told = fleet.host("a").incident();
    assert_eq!((told.verdict.class, told.verdict.detail.state), (Class::AgentStall, Some(AgentState::Throttled)));
}

#[test]
fn an_agent_that_is_throttled_on_one_cpu_tells_its_peers_how_it_was_held() {
    let mut fleet = Fleet::new(2);
    let from = fleet.clock("b");
    fleet.stop("b");
    fleet.run(4.4);
    fleet.host("b").late = AgentLate { cpus_watched: 2, timers_watched: true, ..AgentLate::default() };
    fleet.resume("b");
    let to = fleet.clock("b");
    let throttled_ns = Some(nanos(to.since(from)) * 6 / 10);
    let over = CpuStall { cpu: 1, of_cpus: 2, over: true, timer_at: Some(to), throttled_ns, ..CpuStall::default() };
    fleet.host("b").engine.handle(Evidence::during("b", from, to, Fact::CpuStall(Box::new(over))));
    fleet.run(4.0);
    for name in ["a", "b"] {
        let Verdict { class, detail, .. } = fleet.host(name).incident().verdict;
        assert_eq!((class, detail.state), (Class::AgentStall, Some(AgentState::Throttled)), "{name}");
    }
}

#[test]
fn an_agent_that_is_held_again_before_its_sentinels_tell_is_one_stall() {
    let mut fleet = Fleet::new(2);
    let from = fleet.clock("b").plus(TICK);
    fleet.stop("b");
    fleet.run(2.2);
    let throttled = |seconds: u64| AgentLate {
        cpus_watched: 2,
        throttled_ns: Some(seconds * 1_000_000_000),
        busy: Some(0.1),
        timers_watched: true,
        ..AgentLate::default()
    };
    let first = Evidence::during("b", from, fleet.clock("b"), Fact::AgentLate(Box::new(throttled(2))));
    fleet.host("b").engine.handle(first);
    fleet.stop("b");
    fleet.run(2.7);
    // The sentinel still waits for the quota, of which the kernel counts only what is over.
    let waits = CpuStall { cpu: 1, of_cpus: 2, timer_at: Some(fleet.clock("b")), throttled_ns: Some(0), ..nothing() };
    let look = |stall: CpuStall, to| Evidence::during("b", from, to, Fact::CpuStall(Box::new(stall)));
    let now = fleet.clock("b");
    fleet.host("b").engine.handle(look(waits.clone(), now));
    fleet.host("b").late = throttled(3);
    fleet.resume("b");
    fleet.run(0.1);
    let over = CpuStall { over: true, throttled_ns: Some(nanos(now.since(from))), ..waits };
    fleet.host("b").engine.handle(look(over, now));
    fleet.run(4.0);
    let incident = fleet.host("b").incident();
    assert_eq!((incident.verdict.class, incident.occurrences), (Class::AgentStall, 2));
    assert_length(&incident, 4800);
}

#[test]
fn a_cpu_that_idles_while_the_agents_thread_is_held_is_no_stall_of_it() {
    let mut fleet = Fleet::new(2);
    let running = Some(Running { tid: 0, comm: "idle".into(), policy: None });
    let stall = Stall::begin(&mut fleet, 1, CpuStall { timer_at: TICKS, running, ..nothing() });
    stall.go_on(&mut fleet, 3.0);
    stall.end(&mut fleet, None);
    fleet.run(3.0);
    assert_eq!(fleet.host("b").seen, []);
}

#[test]
fn short_stalls_are_no_incident_and_repeated_ones_are_one() {
    let mut fleet = Fleet::new(2);
    let stall = Stall::begin(&mut fleet, 1, CpuStall { timer_at: TICKS, ..nothing() });
    stall.go_on(&mut fleet, 0.4);
    stall.end(&mut fleet, None);
    fleet.run(3.0);
    assert_eq!(fleet.host("b").seen, []);
    let running = Some(Running { tid: 7, comm: "hog".into(), policy: None });
    for _ in 0..5 {
        let second = Some(1_000_000_000);
        let system_ns = Some(0);
        let look = CpuStall { timer_at: TICKS, user_ns: second, system_ns, running: running.clone(), ..nothing() };
        let stall = Stall::begin(&mut fleet, 1, look);
        stall.go_on(&mut fleet, 0.9);
        stall.end(&mut fleet, None);
        fleet.run(0.1);
    }
    let incident = assert_all_say(&mut fleet, Class::SchedulerStall, 4900);
    assert_eq!(incident.occurrences, 5);
}

#[test]
fn a_cpu_that_waits_for_a_locked_one_is_an_effect() {
    let mut fleet = Fleet::new(2);
    let locked = Stall::begin(&mut fleet, 1, nothing());
    fleet.run(0.1);
    let look = CpuStall { timer_at: TICKS, system_ns: Some(1_000_000_000), ..nothing() };
    let waits = Stall::begin(&mut fleet, 0, look);
    Stall::all_go_on(&[&locked, &waits], &mut fleet, 3.0);
    locked.end(&mut fleet, landed(Place::Kernel, Some(true)));
    waits.end(&mut fleet, None);
    let incident = assert_all_say(&mut fleet, Class::CpuLockup, 3100);
    assert!(incident.verdict.summary.contains("CPU 0 waited for it"), "{}", incident.verdict.summary);
}

#[test]
fn a_cpu_that_waited_for_a_locked_one_and_tells_its_end_later_is_an_effect() {
    let mut fleet = Fleet::new(2);
    let locked = Stall::begin(&mut fleet, 1, nothing());
    let look = CpuStall { timer_at: TICKS, system_ns: Some(1_000_000_000), ..nothing() };
    let waits = Stall::begin(&mut fleet, 0, look);
    Stall::all_go_on(&[&locked, &waits], &mut fleet, 3.0);
    locked.end(&mut fleet, landed(Place::Kernel, Some(true)));
    // A turn goes by before the other sentinel has told.
    let now = fleet.clock("b");
    fleet.host("b").engine.handle_timeout(now);
    waits.end(&mut fleet, None);
    assert_all_say(&mut fleet, Class::CpuLockup, 3000);
    let cpus: BTreeSet<_> = fleet.host("b").seen.iter().map(|one| one.verdict.subject.cpu).collect();
    assert_eq!(cpus, BTreeSet::from([Some(1)]), "{}", fleet.host("b").history());
}

#[test]
fn a_host_that_lost_the_cpu_of_its_network_card_blames_nobody() {
    let mut fleet = Fleet::new(3);
    let stall = Stall::begin(&mut fleet, 1, CpuStall { deaf: true, ..nothing() });
    fleet.cut.extend([("a", "b"), ("c", "b")]);
    stall.go_on(&mut fleet, 5.0);
    fleet.heal();
    stall.end(&mut fleet, landed(Place::User, None));
    assert_all_say(&mut fleet, Class::VcpuStall, 5000);
}

#[test]
fn what_a_deaf_cpu_missed_is_no_loss_though_another_one_stood_still_for_longer() {
    let mut fleet = Fleet::new(3);
    let longer = Stall::begin(&mut fleet, 0, CpuStall { poke: Some(Poke::Answered), ..nothing() });
    longer.go_on(&mut fleet, 1.5);
    let deaf = Stall::begin(&mut fleet, 1, CpuStall { deaf: true, ..nothing() });
    fleet.cut.extend([("a", "b"), ("c", "b")]);
    Stall::all_go_on(&[&longer, &deaf], &mut fleet, 3.0);
    fleet.heal();
    deaf.end(&mut fleet, landed(Place::User, None));
    longer.go_on(&mut fleet, 1.5);
    longer.end(&mut fleet, None);
    fleet.run(5.0);
    for name in ["a", "b", "c"] {
        assert!(!fleet.host(name).classes().contains("path-drop"), "{name}: {}", fleet.host(name).history());
    }
}

#[test]
fn a_stall_of_another_cpu_does_not_excuse_the_network() {
    let mut fleet = Fleet::new(2);
    let stall = Stall::begin(&mut fleet, 1, CpuStall { poke: Some(Poke::Answered), ..nothing() });
    fleet.cut_both("a", "b");
    stall.go_on(&mut fleet, 3.0);
    fleet.heal();
    stall.end(&mut fleet, None);
    fleet.run(4.0);
    assert!(fleet.host("b").classes().contains("path-drop") && fleet.host("b").classes().contains("timer-lockup"));
    assert!(fleet.host("a").classes().contains("path-drop"));
}

#[test]
fn a_cpu_that_stands_still_beside_a_machine_that_pauses_is_no_stall_of_their_hypervisor() {
    let mut fleet = Fleet::with_hypervisor(4, &["b", "c"], "kvm3");
    let stall = Stall::begin(&mut fleet, 0, CpuStall { deaf: true, ..nothing() });
    // It would take the interrupts of the network card.
    fleet.cut.extend(["a", "c", "d"].map(|other| (other, "b")));
    stall.go_on(&mut fleet, 1.0);
    fleet.pause("c");
    stall.go_on(&mut fleet, 1.4);
    fleet.resume_where_the_clock_stopped("c");
    stall.go_on(&mut fleet, 2.0);
    fleet.heal();
    stall.end(&mut fleet, landed(Place::Kernel, None));
    fleet.run(8.0);
    for name in ["a", "d"] {
        let history = fleet.host(name).history();
        assert!(!fleet.host(name).classes().contains("hypervisor-stall"), "{name}: {history}");
        assert!(fleet.host(name).classes().contains("vm-pause"), "{name}: {history}");
    }
}

#[test]
fn what_a_machine_told_before_its_clock_stood_still_is_no_account_of_that() {
    let mut fleet = Fleet::new(3);
    let stall = Stall::begin(&mut fleet, 1, nothing());
    stall.go_on(&mut fleet, 7.0);
    stall.end(&mut fleet, landed(Place::Kernel, Some(true)));
    fleet.run(3.0);
    fleet.pause("b");
    fleet.run(4.0);
    fleet.resume_where_the_clock_stopped("b");
    fleet.run(8.0);
    for name in ["a", "b", "c"] {
        let classes: Vec<Class> = fleet.host(name).incidents().iter().map(|one| one.verdict.class).collect();
        assert_eq!(classes, [Class::CpuLockup, Class::VmPause], "{name}: {}", fleet.host(name).history());
    }
}

#[test]
fn a_goodbye_that_was_said_while_nothing_could_be_heard_may_have_been_said() {
    let mut fleet = Fleet::new(3);
    let stall = Stall::begin(&mut fleet, 0, CpuStall { deaf: true, ..nothing() });
    fleet.cut.extend(["a", "c"].map(|other| (other, "b")));
    stall.go_on(&mut fleet, 1.0);
    fleet.goodbye("a");
    stall.go_on(&mut fleet, 0.8);
    fleet.heal();
    stall.end(&mut fleet, landed(Place::User, None));
    fleet.run(0.7);
    fleet.start_anew("a", false);
    fleet.run(5.0);
    assert!(!fleet.host("b").classes().contains("agent-stall"), "{}", fleet.host("b").history());
}
