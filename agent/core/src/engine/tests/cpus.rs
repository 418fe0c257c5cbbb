//! Stories of CPUs that stand still: what host b sees of its own, and what its peers make of that.

use std::collections::BTreeSet;
use std::time::Duration;

use super::fleet::Fleet;
use super::{assert_length, ruled_out};
use crate::evidence::{AgentLate, CpuStall, Evidence, Fact, IoStuck, Landed, Place, Poke, Running};
use crate::incident::{AgentState, Class, ClockState, Incident, State};
use crate::time::{Nanos, nanos};

const TICK: Duration = Duration::from_millis(100);

/// A CPU of b that stands still from now on, and how it looks meanwhile and in the end.
struct Stall {
    cpu: u32,
    from: Nanos,
    look: CpuStall,
}

impl Stall {
    fn begin(fleet: &mut Fleet, cpu: u32, look: CpuStall) -> Self {
        Self { cpu, from: fleet.clock("b"), look }
    }

    fn look(&self, fleet: &mut Fleet) {
        let (from, to) = (self.from, fleet.clock("b").plus(TICK));
        // Figures that grow with time are given for a second.
        let grown = |part: Option<u64>| part.map(|part| (part as f64 * to.since(from).as_secs_f64()) as u64);
        let look = CpuStall {
            cpu: self.cpu,
            of_cpus: 2,
            user_ns: grown(self.look.user_ns),
            system_ns: grown(self.look.system_ns),
            timer_at: self.look.timer_at.map(|at| if at.0 == 0 { from.minus(TICK) } else { to }),
            ..self.look.clone()
        };
        fleet.host("b").engine.handle(Evidence::during("b", from, to, Fact::CpuStall(Box::new(look))));
    }

    fn go_on(&self, fleet: &mut Fleet, seconds: f64) {
        for _ in 0..(seconds * 10.0) as u32 {
            self.look(fleet);
            fleet.run(0.1);
        }
    }

    /// It goes on; where it landed is told once more when it has names.
    fn end(self, fleet: &mut Fleet, landed: Option<Landed>) {
        let to = fleet.clock("b");
        let (cpu, deaf, timer_at) = (self.cpu, self.look.deaf, self.look.timer_at.map(|_| to));
        let over = CpuStall { cpu, of_cpus: 2, over: true, deaf, timer_at, ..CpuStall::default() };
        let named = landed.is_some().then(|| CpuStall { landed, ..over.clone() });
        for stall in [Some(over), named].into_iter().flatten() {
            fleet.host("b").engine.handle(Evidence::during("b", self.from, to, Fact::CpuStall(Box::new(stall))));
        }
    }
}

/// No timer interrupt since.
const DEAD: Option<Nanos> = Some(Nanos(0));
/// Timer interrupts all along.
const TICKS: Option<Nanos> = Some(Nanos(1));

fn nothing() -> CpuStall {
    let poke = Some(Poke::Unanswered);
    CpuStall { timer_at: DEAD, interrupts: Some(0), switches: Some(0), poke, ..CpuStall::default() }
}

fn landed(place: Place, just_enabled: Option<bool>) -> Option<Landed> {
    let stack = if place == Place::Kernel { vec!["spin_for_seconds+0x12".to_owned()] } else { Vec::new() };
    Some(Landed { place, just_enabled, passed: None, stack })
}

/// Just after interrupts were enabled, where so many ticks landed before.
fn passed(ticks: u64) -> Option<Landed> {
    Some(Landed { passed: Some(ticks), ..landed(Place::Kernel, Some(true))? })
}

/// Just after interrupts were enabled, in code that every CPU passes all the time.
fn landed_in(function: &str) -> Option<Landed> {
    let stack = vec![function.into(), "vfs_read+0x1".into()];
    Some(Landed { place: Place::Kernel, just_enabled: Some(true), passed: None, stack })
}

/// b and a alike say that of CPU 1 of b, and never another class but `unknown`.
fn assert_all_say(fleet: &mut Fleet, class: Class, length_ms: u64) -> Incident {
    // A peer waits for more where a host does not know itself.
    fleet.run(if class == Class::Unknown { 10.0 } else { 4.0 });
    for name in ["a", "b"] {
        let incident = fleet.host(name).incident();
        assert_eq!((incident.verdict.class, incident.state), (class, State::Closed), "{name}: {incident:#?}");
        assert_eq!(incident.verdict.subject.host.as_deref(), Some("b"), "{name}");
        assert_eq!(incident.verdict.subject.cpu, Some(1), "{name}");
        assert_length(&incident, length_ms);
        assert!(
            fleet.host(name).classes().is_subset(&BTreeSet::from([class.name(), "unknown"])),
            "{name}: {}",
            fleet.host(name).history()
        );
    }
    fleet.host("b").incident()
}

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
    let stall = Stall::begin(&mut fleet, 1, CpuStall { stolen_ns: Some(3_000_000_000), ..nothing() });
    stall.go_on(&mut fleet, 2.0);
    assert_eq!(fleet.host("b").incident().verdict.class, Class::VcpuStall);
}

#[test]
fn a_cpu_inside_one_interrupt_handler_is_locked_up_by_it() {
    let mut fleet = Fleet::new(2);
    let since = fleet.clock("b");
    let handler = Some(crate::evidence::Handler { name: "call_function_single".into(), since });
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
    let within = |since| Some(crate::evidence::Handler { name: "call_function_single".into(), since });
    let look = CpuStall { handler: within(fleet.clock("b")), interrupts: Some(1), ..nothing() };
    let mut stall = Stall::begin(&mut fleet, 1, look);
    stall.go_on(&mut fleet, 4.8);
    stall.look.handler = within(fleet.clock("b"));
    stall.look(&mut fleet);
    stall.end(&mut fleet, landed(Place::Idle, None));
    assert_all_say(&mut fleet, Class::CpuLockup, 4800);
}

#[test]
fn a_cpu_inside_a_handler_that_every_cpu_runs_all_the_time_may_as_well_not_have_been_run() {
    let mut fleet = Fleet::new(2);
    let since = fleet.clock("b");
    let handler = Some(crate::evidence::Handler { name: "local_timer".into(), since });
    let stall = Stall::begin(&mut fleet, 1, CpuStall { handler, interrupts: Some(1), ..nothing() });
    stall.go_on(&mut fleet, 3.0);
    stall.end(&mut fleet, landed(Place::User, None));
    assert_all_say(&mut fleet, Class::Unknown, 3000);
}

#[test]
fn who_keeps_a_ticking_cpu_decides() {
    let running = Some(Running { tid: 7, comm: "hog".into(), policy: Some("SCHED_FIFO".into()) });
    let second = Some(1_000_000_000);
    let base = CpuStall { timer_at: TICKS, ..nothing() };
    let cases = [
        (CpuStall { user_ns: second, system_ns: Some(0), running, ..base.clone() }, Class::SchedulerStall),
        (CpuStall { user_ns: Some(0), system_ns: second, ..base }, Class::CpuLockup),
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
    let first = Evidence::during("b", from, fleet.clock("b"), Fact::AgentLate(throttled(2)));
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

/// The whole of b stands still for three seconds, and its agent with it.
fn all_stand_still(fleet: &mut Fleet, timer_at: Option<Nanos>, places: [Option<Landed>; 2], late: AgentLate) {
    let stalls = [0, 1].map(|cpu| Stall::begin(fleet, cpu, CpuStall { timer_at, ..nothing() }));
    fleet.pause("b");
    fleet.run(3.0);
    fleet.host("b").late = AgentLate { cpus_watched: 2, waited_ns: Some(0), timers_watched: true, ..late };
    fleet.resume("b");
    let now = fleet.clock("b");
    for (stall, landed) in stalls.into_iter().zip(places) {
        if timer_at == DEAD {
            let late = Fact::TimerLate { cpu: stall.cpu };
            fleet.host("b").engine.handle(Evidence::during("b", stall.from, now, late));
        }
        stall.end(fleet, landed);
    }
    fleet.run(4.0);
}

#[test]
fn a_machine_that_stood_still_as_a_whole_is_paused() {
    let mut fleet = Fleet::new(3);
    let places = [landed(Place::Idle, None), landed(Place::User, None)];
    all_stand_still(&mut fleet, DEAD, places, AgentLate::default());
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
    all_stand_still(&mut fleet, DEAD, places, AgentLate::default());
    for name in ["a", "b"] {
        assert_eq!(fleet.host(name).classes(), BTreeSet::from(["unknown"]), "{name}");
    }
}

#[test]
fn a_cpu_that_idles_holds_nothing_that_another_could_have_waited_for() {
    let mut fleet = Fleet::new(2);
    let places = [landed(Place::Idle, None), landed_in("_raw_spin_unlock_irqrestore+0x15")];
    all_stand_still(&mut fleet, DEAD, places, AgentLate::default());
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
    fleet.host("b").late =
        AgentLate { cpus_watched: 2, waited_ns: Some(0), timers_watched: true, ..AgentLate::default() };
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
        for cpu in 0..2 {
            fleet.host("b").engine.handle(Evidence::during("b", from, to, Fact::TimerLate { cpu }));
        }
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
fn a_sentinel_that_tells_late_still_tells_of_the_pause() {
    let mut fleet = Fleet::new(2);
    let from = fleet.clock("b");
    fleet.pause("b");
    fleet.run(3.0);
    fleet.host("b").late =
        AgentLate { cpus_watched: 2, waited_ns: Some(0), timers_watched: true, ..AgentLate::default() };
    fleet.resume("b");
    let to = fleet.clock("b");
    for cpu in 0..2 {
        fleet.host("b").engine.handle(Evidence::during("b", from, to, Fact::TimerLate { cpu }));
    }
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
fn an_agent_that_waits_right_after_a_pause_pays_for_it() {
    let mut fleet = Fleet::new(2);
    let late = |waited: f64| AgentLate {
        cpus_watched: 2,
        waited_ns: Some(nanos(Duration::from_secs_f64(waited))),
        busy: Some(1.0),
        timers_watched: true,
        ..AgentLate::default()
    };
    for (paused, waited) in [(2.9, 0.0), (0.5, 1.4)] {
        let from = fleet.clock("b");
        fleet.pause("b");
        fleet.run(paused);
        let to = from.plus(Duration::from_secs_f64(paused));
        fleet.run(waited);
        fleet.host("b").late = late(waited);
        fleet.resume("b");
        for cpu in 0..2 {
            fleet.host("b").engine.handle(Evidence::during("b", from, to, Fact::TimerLate { cpu }));
        }
        fleet.run(0.1);
    }
    fleet.run(4.0);
    assert_eq!(fleet.host("b").incident().verdict.class, Class::VmPause);
    assert_length(&fleet.host("b").incident(), 3500);
}

#[test]
fn an_agent_that_was_stopped_is_no_pause_though_all_sentinels_are_late() {
    let mut fleet = Fleet::new(2);
    let late = AgentLate { continued: true, ..AgentLate::default() };
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
    fleet.host("b").late =
        AgentLate { cpus_watched: 2, waited_ns: Some(0), timers_watched: true, ..AgentLate::default() };
    fleet.resume("b");
    fleet.run(4.0);
    assert_eq!(fleet.host("b").incident().verdict.class, Class::VcpuStall);
}

#[test]
fn a_cpu_that_waits_for_a_locked_one_is_an_effect() {
    let mut fleet = Fleet::new(2);
    let locked = Stall::begin(&mut fleet, 1, nothing());
    fleet.run(0.1);
    let look = CpuStall { timer_at: TICKS, system_ns: Some(1_000_000_000), ..nothing() };
    let waits = Stall::begin(&mut fleet, 0, look);
    for _ in 0..30 {
        locked.look(&mut fleet);
        waits.look(&mut fleet);
        fleet.run(0.1);
    }
    locked.end(&mut fleet, landed(Place::Kernel, Some(true)));
    waits.end(&mut fleet, None);
    let incident = assert_all_say(&mut fleet, Class::CpuLockup, 3100);
    assert!(incident.verdict.summary.contains("CPU 0 waited for it"), "{}", incident.verdict.summary);
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
        fleet.host("a").engine.handle(Evidence::at("b", at, Fact::Heartbeat(Box::new(beat))));
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
