//! Stories of a CPU whose kernel does not leave it while its timer ticks: the stack of a tick tells in what it is.

use super::fleet::Fleet;
use super::stall::{Stall, TICKS, assert_all_say, nothing};
use crate::evidence::{CpuStall, Evidence, Fact};
use crate::incident::{Class, State};

fn in_the_kernel() -> CpuStall {
    CpuStall { timer_at: TICKS, user_ns: Some(0), system_ns: Some(1_000_000_000), ..nothing() }
}

fn stack() -> Vec<String> {
    vec!["spin_for_seconds+0x12".into()]
}

/// It ends now, while the names of its sample are looked for; hands back what is told once they are found.
fn end_without_names(stall: &Stall, fleet: &mut Fleet) -> Evidence {
    let (from, to) = (stall.from, fleet.clock("b"));
    let told = |stall: CpuStall| Evidence::during("b", from, to, Fact::CpuStall(Box::new(stall)));
    let over = CpuStall { cpu: 1, of_cpus: 2, over: true, naming: true, timer_at: Some(to), ..CpuStall::default() };
    fleet.host("b").engine.handle(told(over.clone()));
    told(CpuStall { sampled: stack(), naming: false, ..over })
}

#[test]
fn a_sample_stays_though_later_looks_have_none() {
    let mut fleet = Fleet::new(2);
    let mut stall = Stall::begin(&mut fleet, 1, in_the_kernel());
    stall.go_on(&mut fleet, 1.0);
    stall.look.sampled = stack();
    stall.look(&mut fleet);
    stall.look.sampled.clear();
    stall.go_on(&mut fleet, 2.0);
    assert_eq!(fleet.host("b").incident().verdict.detail.stack, stack());
    stall.end(&mut fleet, None);
    let incident = assert_all_say(&mut fleet, Class::CpuLockup, 3000);
    assert_eq!(incident.verdict.detail.stack, stack());
}

/// Seen in a slow guest, where a real-time task left others a moment every second.
#[test]
fn names_that_come_once_the_next_stall_is_over_too_do_not_make_it_shorter() {
    let mut fleet = Fleet::new(2);
    let first = Stall::begin(&mut fleet, 1, in_the_kernel());
    first.go_on(&mut fleet, 2.0);
    let named = end_without_names(&first, &mut fleet);
    fleet.run(0.1);
    let second = Stall::begin(&mut fleet, 1, in_the_kernel());
    second.go_on(&mut fleet, 2.0);
    second.end(&mut fleet, None);
    fleet.host("b").engine.handle(named);
    let incident = assert_all_say(&mut fleet, Class::CpuLockup, 4100);
    assert_eq!((incident.occurrences, incident.verdict.detail.stack), (2, stack()));
}

/// Seen in a slow guest: five seconds were over before the names were found.
#[test]
fn a_sample_counts_whose_names_come_after_the_end() {
    let mut fleet = Fleet::new(2);
    let stall = Stall::begin(&mut fleet, 1, in_the_kernel());
    stall.go_on(&mut fleet, 3.0);
    let named = end_without_names(&stall, &mut fleet);
    fleet.run(4.0);
    assert_eq!(fleet.host("b").incident().state, State::Open);
    fleet.host("b").engine.handle(named);
    let incident = assert_all_say(&mut fleet, Class::CpuLockup, 3000);
    assert_eq!(incident.verdict.detail.stack, stack());
}

/// Seen in a slow guest: the sample was of user mode, and the CPU had been found to be shared out meanwhile.
#[test]
fn a_stall_that_is_told_once_more_without_names_is_no_new_one() {
    let mut fleet = Fleet::new(2);
    let look = CpuStall { switches: Some(500), user_ns: Some(900_000_000), ..in_the_kernel() };
    let stall = Stall::begin(&mut fleet, 1, look);
    stall.go_on(&mut fleet, 2.0);
    let mut told = end_without_names(&stall, &mut fleet);
    fleet.run(1.4);
    if let Fact::CpuStall(stall) = &mut told.fact {
        stall.sampled.clear();
    }
    fleet.host("b").engine.handle(told);
    fleet.run(3.0);
    assert_eq!(fleet.host("b").seen, []);
}
