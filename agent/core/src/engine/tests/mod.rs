//! Stories: what happens to a fleet, and what each host must say of it.

mod chaos;
mod completeness;
mod cpus;
mod faults;
mod fleet;
mod flows;
mod hostile;
mod isolated;
mod last_seen;
mod machine;
mod network;
mod paths;
mod samples;
mod saturated;
mod stall;
mod storage;
mod traces;
mod unnamed;
mod vips;

use std::collections::BTreeSet;
use std::time::Duration;

use fleet::Fleet;

use crate::evidence::{AgentLate, CpuLoad, Evidence, Fact, RetransmitCause};
use crate::incident::{AgentState, Class, Direction, Incident, State};
use crate::settings::Settings;

fn ruled_out(incident: &Incident, class: Class) -> bool {
    incident.ruled_out.iter().any(|out| out.class == class)
}

fn assert_length(incident: &Incident, expected_ms: u64) {
    let off = incident.duration_ms.abs_diff(expected_ms);
    assert!(off <= 200, "{} ms instead of {expected_ms}", incident.duration_ms);
}

#[test]
fn a_quiet_fleet_says_nothing() {
    let mut fleet = Fleet::new(3);
    fleet.run(600.0);
    for name in ["a", "b", "c"] {
        assert_eq!(fleet.host(name).seen, []);
    }
}

#[test]
fn a_cut_both_ways_is_a_path_drop_on_both_hosts_and_nothing_on_the_third() {
    let mut fleet = Fleet::new(3);
    fleet.cut_both("a", "b");
    fleet.run(5.0);
    fleet.heal();
    fleet.run(3.0);
    for (me, peer) in [("a", "b"), ("b", "a")] {
        let incident = fleet.host(me).incident();
        assert_eq!((incident.verdict.class, incident.state), (Class::PathDrop, State::Closed));
        assert_eq!(incident.verdict.detail.direction, Some(Direction::Both));
        assert_eq!(incident.verdict.subject.peer.as_deref(), Some(peer));
        assert!(ruled_out(&incident, Class::AgentStall) && ruled_out(&incident, Class::HostDown));
        assert_eq!(incident.occurrences, 1, "the two directions come back one after the other");
        assert_length(&incident, 5000);
    }
    assert_eq!(fleet.host("c").seen, []);
}

#[test]
fn with_a_third_host_a_cut_is_named_while_it_lasts() {
    let mut fleet = Fleet::new(3);
    fleet.cut_both("a", "b");
    fleet.run(1.4);
    let incident = fleet.host("a").incident();
    assert_eq!((incident.verdict.class, incident.state), (Class::PathDrop, State::Open));
    assert!(incident.provisional);
    assert_eq!(incident.witnesses, ["c"]);
}

#[test]
fn two_hosts_alone_do_not_guess_while_the_cut_lasts() {
    let mut fleet = Fleet::new(2);
    fleet.cut_both("a", "b");
    fleet.run(5.0);
    assert_eq!(fleet.host("a").classes(), BTreeSet::from(["unknown"]));
    fleet.heal();
    fleet.run(3.0);
    assert_eq!(fleet.host("a").incident().verdict.class, Class::PathDrop);
}

#[test]
fn one_direction_is_told_from_the_other() {
    let mut fleet = Fleet::new(2);
    fleet.cut.insert(("a", "b"));
    fleet.run(5.0);
    let seen_by_a = fleet.host("a").incident();
    assert_eq!(seen_by_a.verdict.class, Class::PathDrop, "a hears b say that it hears nothing");
    fleet.heal();
    fleet.run(3.0);
    for (me, direction) in [("a", Direction::ToPeer), ("b", Direction::FromPeer)] {
        let incident = fleet.host(me).incident();
        assert_eq!((incident.verdict.class, incident.state), (Class::PathDrop, State::Closed));
        assert_eq!(incident.verdict.detail.direction, Some(direction), "{me}");
        assert_length(&incident, 5000);
    }
}

#[test]
fn a_filter_on_heartbeats_alone_ends_as_a_path_drop() {
    let mut fleet = Fleet::new(2);
    fleet.filtered.extend([("a", "b"), ("b", "a")]);
    fleet.run(5.0);
    assert_eq!(fleet.host("a").classes(), BTreeSet::from(["unknown"]), "an answering kernel proves nothing");
    fleet.heal();
    fleet.run(3.0);
    assert_eq!(fleet.host("a").incident().verdict.class, Class::PathDrop);
}

#[test]
fn a_stopped_agent_is_an_agent_stall_for_all_and_blames_nobody() {
    let mut fleet = Fleet::new(3);
    fleet.stop("b");
    fleet.run(5.0);
    fleet.host("b").late.continued = true;
    fleet.resume("b");
    fleet.run(3.0);
    for name in ["a", "b", "c"] {
        let incident = fleet.host(name).incident();
        assert_eq!((incident.verdict.class, incident.state), (Class::AgentStall, State::Closed), "{name}");
        assert_eq!(incident.verdict.subject.host.as_deref(), Some("b"));
        assert_eq!(incident.verdict.detail.state, Some(AgentState::Stopped));
        assert_length(&incident, 5000);
        assert!(ruled_out(&incident, Class::PathDrop));
        assert!(fleet.host(name).classes().is_subset(&BTreeSet::from(["agent-stall", "unknown"])));
    }
}

#[test]
fn a_killed_agent_is_not_running_and_its_host_is_not_down() {
    let mut fleet = Fleet::new(3);
    fleet.kill("b");
    fleet.run(20.0);
    let incident = fleet.host("a").incident();
    assert_eq!((incident.verdict.class, incident.state), (Class::AgentStall, State::Open));
    assert_eq!(incident.verdict.detail.state, Some(AgentState::NotRunning));
    assert!(ruled_out(&incident, Class::HostDown));
    fleet.start_anew("b", false);
    fleet.run(3.0);
    let incident = fleet.host("a").incident();
    assert_eq!((incident.verdict.class, incident.state), (Class::AgentStall, State::Closed));
    assert_length(&incident, 20_000);
}

#[test]
fn whoever_was_booted_anew_while_this_host_stood_still_did_not_do_so_now() {
    let mut fleet = Fleet::new(4);
    fleet.run(2.0);
    fleet.pause("a");
    fleet.run(1.0);
    fleet.start_anew("b", true);
    fleet.run(60.0);
    fleet.resume_where_the_clock_stopped("a");
    fleet.run(5.0);
    assert!(!fleet.host("a").classes().contains("restart"), "{}", fleet.host("a").history());
}

#[test]
fn a_host_that_is_gone_for_all_is_down_and_then_restarted() {
    let mut fleet = Fleet::new(3);
    fleet.gone("b");
    fleet.run(15.0);
    for name in ["a", "c"] {
        let incident = fleet.host(name).incident();
        assert_eq!((incident.verdict.class, incident.state), (Class::HostDown, State::Open));
        assert!(fleet.host(name).classes().is_subset(&BTreeSet::from(["host-down", "unknown"])));
    }
    fleet.start_anew("b", true);
    fleet.run(3.0);
    let incident = fleet.host("a").incident();
    assert_eq!((incident.verdict.class, incident.state), (Class::Restart, State::Closed));
    assert!(ruled_out(&incident, Class::PathDrop));
}

#[test]
fn a_host_whose_kernel_is_up_before_its_agent_is_restarted_and_its_agent_is_not_to_blame() {
    for answers_echoes in [true, false] {
        let mut fleet = Fleet::new(3);
        fleet.host("b").answers_echoes = answers_echoes;
        fleet.run(15.0);
        fleet.gone("b");
        fleet.run(15.0);
        fleet.boot_the_kernel("b");
        fleet.run(8.0);
        assert_eq!(fleet.host("a").incident().verdict.class, Class::Unknown, "{}", fleet.host("a").history());
        fleet.start_anew("b", true);
        fleet.run(3.0);
        for name in ["a", "c"] {
            let incident = fleet.host(name).incident();
            assert_eq!((incident.verdict.class, incident.state), (Class::Restart, State::Closed));
            assert!(!fleet.host(name).classes().contains("agent-stall"), "{}", fleet.host(name).history());
        }
    }
}

#[test]
fn what_is_lost_later_leaves_an_agent_that_ended_what_it_was() {
    let mut fleet = Fleet::new(3);
    fleet.run(5.0);
    fleet.kill("b");
    fleet.run(5.0);
    fleet.cut.insert(("c", "a"));
    fleet.run(0.15);
    fleet.heal();
    fleet.run(5.0);
    let stalled = |fleet: &mut Fleet| {
        let b = |one: &Incident| one.verdict.subject.host.as_deref() == Some("b");
        fleet.host("a").incidents().into_iter().find(b).map(|incident| incident.verdict.class)
    };
    assert_eq!(stalled(&mut fleet), Some(Class::AgentStall), "{}", fleet.host("a").history());
    fleet.start_anew("b", false);
    fleet.run(5.0);
    assert_eq!(stalled(&mut fleet), Some(Class::AgentStall), "{}", fleet.host("a").history());
}

#[test]
fn an_agent_that_ended_is_known_however_late_its_silence_is_noticed() {
    let mut fleet = Fleet::new(3);
    let settings = fleet.host("a").engine.settings.clone();
    fleet.host("a").engine.configure(Settings { gap: Duration::from_millis(1500), ..settings });
    fleet.run(5.0);
    fleet.kill("b");
    fleet.run(5.0);
    assert_eq!(fleet.host("a").incident().verdict.class, Class::AgentStall, "{}", fleet.host("a").history());
}

#[test]
fn a_host_that_is_cut_off_calls_nobody_down() {
    let mut fleet = Fleet::new(3);
    fleet.cut_both("a", "b");
    fleet.cut_both("a", "c");
    fleet.run(10.0);
    fleet.heal();
    fleet.run(3.0);
    let incident = fleet.host("a").incident();
    assert_eq!((incident.verdict.class, incident.state), (Class::HostIsolated, State::Closed));
    assert_eq!(fleet.host("a").classes(), BTreeSet::from(["host-isolated", "unknown"]));
}

#[test]
fn a_goodbye_is_no_incident() {
    let mut fleet = Fleet::new(3);
    fleet.goodbye("b");
    fleet.run(10.0);
    fleet.start_anew("b", false);
    fleet.run(3.0);
    assert_eq!(fleet.host("a").seen, []);
    assert_eq!(fleet.host("c").seen, []);
}

#[test]
fn what_the_agent_slept_through_by_steal_is_the_hypervisors() {
    let mut fleet = Fleet::new(2);
    fleet.stop("a");
    fleet.run(2.0);
    fleet.host("a").late.steal = Some((1, 1_900_000_000));
    fleet.resume("a");
    fleet.run(3.0);
    for name in ["a", "b"] {
        let incident = fleet.host(name).incident();
        assert_eq!(incident.verdict.class, Class::VcpuStall, "{name}");
        assert_eq!(incident.verdict.subject.host.as_deref(), Some("a"));
    }
}

#[test]
fn a_starved_agent_is_saturation_and_not_the_network() {
    let mut fleet = Fleet::new(2);
    fleet.stop("a");
    fleet.run(2.0);
    let late = &mut fleet.host("a").late;
    (late.waited_ns, late.busy) = (Some(1_950_000_000), Some(1.0));
    fleet.resume("a");
    fleet.run(3.0);
    assert_eq!(fleet.host("a").incident().verdict.class, Class::CpuSaturation);
    assert_eq!(fleet.host("b").incident().verdict.class, Class::CpuSaturation);
}

#[test]
fn an_agent_that_ran_and_waited_for_most_of_the_time_was_not_stopped() {
    for (waited_ns, class) in [(600_000_000, Class::Unknown), (100_000_000, Class::AgentStall)] {
        let mut fleet = Fleet::new(2);
        fleet.stop("a");
        fleet.run(2.0);
        let late = &mut fleet.host("a").late;
        (late.ran_ns, late.waited_ns, late.busy) = (Some(700_000_000), Some(waited_ns), Some(0.9));
        fleet.resume("a");
        fleet.run(3.0);
        assert_eq!(fleet.host("a").incident().verdict.class, class);
    }
}

#[test]
fn a_path_that_flaps_is_one_incident_with_a_count() {
    let mut fleet = Fleet::new(2);
    for _ in 0..4 {
        fleet.cut_both("a", "b");
        fleet.run(0.6);
        fleet.heal();
        fleet.run(0.5);
    }
    fleet.run(5.0);
    let incident = fleet.host("a").incident();
    assert_eq!((incident.verdict.class, incident.occurrences), (Class::PathDrop, 4));
}

#[test]
fn retransmits_to_the_peer_are_cited_and_added_up() {
    let mut fleet = Fleet::new(2);
    fleet.cut_both("a", "b");
    for _ in 0..5 {
        fleet.run(1.0);
        let now = fleet.now;
        let fact = Fact::Retransmits { cause: RetransmitCause::Timeout, count: 3, failed: 0 };
        fleet.host("a").engine.handle(Evidence::at("b", now, fact));
    }
    fleet.heal();
    fleet.run(3.0);
    let incident = fleet.host("a").incident();
    let counts: Vec<u64> = incident
        .evidence
        .iter()
        .filter_map(|cited| match cited.fact {
            Fact::Retransmits { count, .. } => Some(count),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [15]);
}

#[test]
fn datagrams_that_the_peer_had_no_room_for_are_not_the_networks_loss() {
    let mut fleet = Fleet::new(2);
    fleet.stop("b");
    fleet.run(5.0);
    fleet.overflow("b", 30);
    fleet.host("b").late.continued = true;
    fleet.resume("b");
    fleet.run(3.0);
    for name in ["a", "b"] {
        assert_eq!(fleet.host(name).incident().verdict.class, Class::AgentStall, "{name}");
    }
}

#[test]
fn saturation_opens_while_it_lasts_and_closes() {
    let mut fleet = Fleet::new(2);
    let load = |busy, runnable| CpuLoad { cpus: 2, busy, steal: 0.0, runnable, pressure: Some(0.9) };
    let read = |fleet: &mut Fleet, load: CpuLoad| {
        fleet.run(1.0);
        let (from, to) = (fleet.now.minus(Duration::from_secs(1)), fleet.now);
        fleet.host("a").engine.handle(Evidence::during("a", from, to, Fact::CpuLoad(load)));
    };
    (0..29).for_each(|_| read(&mut fleet, load(1.0, 9)));
    assert_eq!(fleet.host("a").seen, []);
    (0..11).for_each(|_| read(&mut fleet, load(1.0, 9)));
    assert_eq!(fleet.host("a").incident().state, State::Open);
    (0..4).for_each(|_| read(&mut fleet, load(0.2, 1)));
    fleet.run(0.1);
    let incident = fleet.host("a").incident();
    assert_eq!((incident.verdict.class, incident.state), (Class::CpuSaturation, State::Closed));
    assert_length(&incident, 40_000);
}

#[test]
fn a_peer_that_is_configured_away_closes_its_incident() {
    let mut fleet = Fleet::new(3);
    fleet.gone("b");
    fleet.run(5.0);
    let settings = Settings { host: "a".into(), peers: vec!["c".into()], ..Default::default() };
    fleet.host("a").engine.configure(settings);
    fleet.run(0.1);
    assert_eq!(fleet.host("a").incident().state, State::Closed);
}

#[test]
fn an_incident_of_an_earlier_run_closes_when_the_peer_is_heard() {
    let mut fleet = Fleet::new(3);
    fleet.gone("b");
    fleet.run(5.0);
    let open = fleet.host("a").incident();
    fleet.start_anew("a", false);
    let now = fleet.now;
    fleet.host("a").engine.handle(Evidence::at(
        "a",
        now,
        Fact::Clock { wall: crate::time::WallNanos(1_800_000_007_000_000_000) },
    ));
    fleet.host("a").engine.adopt(open.clone(), now);
    fleet.run(5.0);
    assert_eq!(fleet.host("a").incident().state, State::Open, "it is still gone");
    fleet.start_anew("b", true);
    fleet.run(3.0);
    let incident = fleet.host("a").incident();
    assert_eq!((incident.id, incident.state), (open.id, State::Closed));
}

#[test]
fn the_same_story_gives_the_same_bytes() {
    let tell = || {
        let mut fleet = Fleet::new(3);
        fleet.stop("c");
        fleet.run(1.0);
        fleet.cut_both("a", "b");
        fleet.run(3.0);
        fleet.host("c").late = AgentLate { continued: true, ..AgentLate::default() };
        fleet.resume("c");
        fleet.heal();
        fleet.run(3.0);
        serde_json::to_string(&fleet.host("a").seen).expect("JSON")
    };
    let first = tell();
    assert!(first.len() > 1000);
    assert_eq!(first, tell());
}
