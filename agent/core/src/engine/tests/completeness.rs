//! What evidence verdicts had and lacked.

use super::fleet::Fleet;
use super::stall::{Stall, landed, nothing};
use crate::completeness::Source;
use crate::evidence::{CpuStall, Evidence, Fact, Place};
use crate::incident::{Class, Incident};

fn lacked(incident: &Incident) -> Vec<Source> {
    incident.completeness.lacked.iter().map(|lack| lack.source).collect()
}

#[test]
fn a_peer_that_is_gone_lacks_its_numbers_until_it_is_back() {
    let mut fleet = Fleet::new(3);
    fleet.run(5.0);
    fleet.pause("b");
    fleet.run(12.0);
    let silent = fleet.host("a").incident();
    assert_eq!((silent.verdict.class, lacked(&silent)), (Class::HostDown, vec![Source::Numbers]));
    assert_eq!(silent.completeness.had, [Source::Answers, Source::Witnesses]);
    fleet.resume_where_the_clock_stopped("b");
    fleet.run(12.0);
    let back = fleet.host("a").incident();
    assert_eq!((back.verdict.class, lacked(&back)), (Class::VmPause, vec![]));
    assert!(back.completeness.had.contains(&Source::Numbers));
}

#[test]
fn a_cpu_that_nobody_could_look_at_and_that_no_probe_watches_says_so() {
    let mut fleet = Fleet::new(2);
    fleet.run(5.0);
    let stall = Stall::begin(&mut fleet, 1, CpuStall { stolen_ns: Some(3_000_000_000), ..nothing() });
    stall.go_on(&mut fleet, 3.0);
    stall.end(&mut fleet, landed(Place::User, None));
    fleet.run(4.0);
    let seen = fleet.host("b").incident();
    assert_eq!((seen.verdict.class, lacked(&seen)), (Class::VcpuStall, vec![]));
    let from = fleet.clock("b");
    fleet.run(3.0);
    let over = CpuStall { cpu: 1, of_cpus: 2, over: true, ..CpuStall::default() };
    let to = fleet.clock("b");
    fleet.host("b").engine.handle(Evidence::during("b", from, to, Fact::CpuStall(Box::new(over))));
    fleet.run(4.0);
    let blind = fleet.host("b").incidents().pop().expect("a second one");
    let sources = [Source::Sentinels, Source::Timers, Source::Interrupts, Source::Steal, Source::Landing];
    assert_eq!((blind.verdict.class, lacked(&blind)), (Class::Unknown, sources.to_vec()), "{blind:#?}");
    assert!(blind.verdict.confidence < seen.verdict.confidence);
}

#[test]
fn events_that_were_lost_and_a_begin_that_was_not_watched_count() {
    let mut fleet = Fleet::new(2);
    // It was just started.
    let at = fleet.clock("b");
    let stall = Stall::begin(&mut fleet, 1, nothing());
    stall.go_on(&mut fleet, 1.0);
    fleet.host("b").engine.handle(Evidence::at("b", at, Fact::EventsLost { count: 7 }));
    stall.go_on(&mut fleet, 1.0);
    stall.end(&mut fleet, landed(Place::User, None));
    fleet.run(4.0);
    let incident = fleet.host("b").incident();
    assert_eq!(lacked(&incident), [Source::Steal, Source::Past, Source::Events]);
    let because = incident.completeness.lacked.last().map(|lack| lack.because.as_str());
    assert_eq!(because, Some("7 events of the probes were lost since: the ring buffer was full"));
}
