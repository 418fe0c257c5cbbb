//! Stories of a host with more work than CPUs: who waits, waits for its turn.

use super::fleet::Fleet;
use super::stall::{Stall, TICK, TICKS, nothing};
use crate::evidence::{AgentLate, CpuLoad, CpuStall, Evidence, Fact, Running};
use crate::incident::Class;

/// Two hosts, of which `b` was as busy as it can for two seconds.
fn busy_fleet() -> Fleet {
    let mut fleet = Fleet::new(2);
    for _ in 0..2 {
        let from = fleet.clock("b");
        fleet.run(1.0);
        let load = CpuLoad { cpus: 2, busy: 1.0, steal: 0.0, runnable: 8, pressure: Some(1.0) };
        let to = fleet.clock("b");
        fleet.host("b").engine.handle(Evidence::during("b", from, to, Fact::CpuLoad(load)));
    }
    fleet
}

fn waited(nanoseconds: u64) -> AgentLate {
    AgentLate { cpus_watched: 2, waited_ns: Some(nanoseconds), busy: Some(1.0), ..AgentLate::default() }
}

/// A CPU that runs a task of that policy in user mode.
fn running(policy: &str) -> CpuStall {
    let running = Some(Running { tid: 7, comm: "stress-ng-cpu".into(), policy: Some(policy.into()) });
    CpuStall { timer_at: TICKS, user_ns: Some(700_000_000), system_ns: Some(10_000_000), running, ..nothing() }
}

/// Seen in a guest with more work than CPUs: its peer was left without a reason.
#[test]
fn an_agent_that_waits_again_before_its_turn_is_over_says_so_of_all_of_it() {
    let mut fleet = busy_fleet();
    let from = fleet.clock("b").plus(TICK);
    fleet.stop("b");
    fleet.run(0.2);
    // Its next turn is due a tick after the one before, which has just been over.
    fleet.stop("b");
    fleet.run(0.1);
    let first = Evidence::during("b", from, fleet.clock("b"), Fact::AgentLate(Box::new(waited(200_000_000))));
    fleet.host("b").engine.handle(first);
    fleet.run(0.2);
    fleet.host("b").late = waited(200_000_000);
    fleet.resume("b");
    fleet.run(4.0);
    assert_eq!(fleet.host("a").incident().verdict.class, Class::CpuSaturation);
}

/// Seen in such a guest: an ordinary task was not taken off its CPU for 0.6 s.
#[test]
fn an_ordinary_task_that_keeps_a_cpu_from_others_is_load_and_a_real_time_task_is_not() {
    for (policy, classes) in [("SCHED_OTHER", &[][..]), ("SCHED_FIFO", &[Class::SchedulerStall][..])] {
        let mut fleet = busy_fleet();
        let stall = Stall::begin(&mut fleet, 1, running(policy));
        stall.go_on(&mut fleet, 0.7);
        stall.end(&mut fleet, None);
        fleet.run(4.0);
        for name in ["a", "b"] {
            let mut seen: Vec<Class> = fleet.host(name).seen.iter().map(|said| said.verdict.class).collect();
            seen.dedup();
            assert_eq!(seen, classes, "{name}, {policy}");
        }
    }
}

/// It is judged while its CPU still keeps others waiting.
#[test]
fn an_agent_that_waits_for_a_busy_cpu_says_so() {
    let mut fleet = busy_fleet();
    let stall = Stall::begin(&mut fleet, 1, running("SCHED_OTHER"));
    fleet.stop("b");
    fleet.run(0.6);
    fleet.host("b").late = waited(500_000_000);
    fleet.resume("b");
    stall.go_on(&mut fleet, 0.5);
    stall.end(&mut fleet, None);
    fleet.run(4.0);
    for name in ["a", "b"] {
        assert_eq!(fleet.host(name).incident().verdict.class, Class::CpuSaturation, "{name}");
    }
}
