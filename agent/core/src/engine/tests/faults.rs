//! Stories of two things that go wrong, one after the other or at once, and of clocks and numbers that go back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::fleet::Fleet;
use super::{assert_length, ruled_out};
use crate::engine::{Engine, Me};
use crate::evidence::{AgentLate, CpuLoad, Evidence, Fact, Heartbeat, StallReport};
use crate::incident::{AgentState, Cited, Class, ClockState, Direction, State};
use crate::settings::Settings;
use crate::time::{Nanos, WallNanos};

#[test]
fn a_peer_with_another_key_is_refused_and_neither_its_path_nor_its_agent_is_blamed() {
    let both = [("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")];
    let only_of_c = [("c", "a"), ("c", "b")];
    for ways in [&both[..], &only_of_c] {
        let mut fleet = Fleet::new(3);
        fleet.refused.extend(ways);
        fleet.run(15.0);
        for name in ["a", "c"] {
            let summary = fleet.host(name).incidents()[0].verdict.summary.clone();
            assert!(summary.contains("another key"), "{name}: {summary}");
        }
        fleet.heal();
        fleet.run(5.0);
        for name in ["a", "b", "c"] {
            let host = fleet.host(name);
            assert_eq!(host.classes(), BTreeSet::from(["unknown"]), "{name}: {}", host.history());
            for incident in host.incidents() {
                assert_eq!(incident.state, State::Closed, "{}", host.history());
                let lost = |cited: &Cited| match cited.fact {
                    Fact::Lost { .. } => true,
                    Fact::Silence { lost, .. } => lost > Some(1),
                    _ => false,
                };
                assert!(!incident.evidence.iter().any(lost), "{name}: {:?}", incident.evidence);
            }
        }
        let cited = fleet.host("a").incident().evidence;
        assert!(cited.iter().any(|cited| matches!(cited.fact, Fact::Refused { .. })), "{cited:?}");
    }
}

#[test]
fn a_few_forged_packets_do_not_hide_a_cut_path() {
    let mut fleet = Fleet::new(3);
    fleet.cut_both("a", "b");
    let now = fleet.now;
    fleet.host("a").engine.handle(Evidence::at("b", now, Fact::Refused { reason: "tag".into(), count: 5 }));
    fleet.run(5.0);
    fleet.heal();
    fleet.run(3.0);
    assert_eq!(fleet.host("a").incident().verdict.class, Class::PathDrop);
}

#[test]
fn a_host_that_dies_soon_after_a_cut_is_down() {
    let mut fleet = Fleet::new(3);
    fleet.cut_both("a", "b");
    fleet.run(0.6);
    fleet.heal();
    fleet.run(0.5);
    fleet.gone("b");
    fleet.run(15.0);
    let incident = fleet.host("a").incident();
    assert_eq!((incident.verdict.class, incident.state), (Class::HostDown, State::Open));
    assert_eq!(incident.occurrences, 2);
}

#[test]
fn a_host_that_dies_while_it_hears_nothing_is_down() {
    let mut fleet = Fleet::new(3);
    fleet.filtered.insert(("a", "b"));
    fleet.run(5.0);
    assert_eq!(fleet.host("a").incident().verdict.class, Class::PathDrop);
    fleet.gone("b");
    fleet.run(15.0);
    assert_eq!(fleet.host("a").incident().verdict.class, Class::HostDown);
}

#[test]
fn a_host_that_dies_after_its_agent_is_down() {
    let mut fleet = Fleet::new(3);
    fleet.kill("b");
    fleet.run(5.0);
    assert_eq!(fleet.host("a").incident().verdict.class, Class::AgentStall);
    fleet.gone("b");
    fleet.run(15.0);
    for name in ["a", "c"] {
        let incident = fleet.host(name).incident();
        assert_eq!((incident.verdict.class, incident.state), (Class::HostDown, State::Open), "{name}");
    }
    fleet.start_anew("b", true);
    fleet.run(3.0);
    assert_eq!(fleet.host("a").incident().verdict.class, Class::Restart);
}

#[test]
fn a_witness_that_has_lost_the_peer_too_is_believed() {
    let mut fleet = Fleet::new(3);
    fleet.cut_both("a", "b");
    fleet.run(5.0);
    assert_eq!(fleet.host("a").incident().verdict.class, Class::PathDrop);
    fleet.gone("b");
    fleet.run(15.0);
    assert_eq!(fleet.host("a").incident().verdict.class, Class::HostDown);
}

#[test]
fn a_witness_that_was_deaf_to_the_peer_before_does_not_count() {
    let mut fleet = Fleet::new(3);
    fleet.cut_both("b", "c");
    fleet.run(60.0);
    fleet.cut_both("a", "b");
    fleet.run(10.0);
    assert_eq!(fleet.host("a").classes(), BTreeSet::from(["unknown"]));
}

#[test]
fn what_was_lost_to_a_paused_machine_is_not_the_networks_loss() {
    let mut fleet = Fleet::new(2);
    fleet.pause("b");
    fleet.run(3.0);
    fleet.host("b").late.steal = Some((0, 2_900_000_000));
    fleet.resume("b");
    fleet.run(3.0);
    assert_eq!(fleet.host("a").incident().verdict.class, Class::VcpuStall);
    assert!(ruled_out(&fleet.host("a").incident(), Class::PathDrop));
    assert!(!fleet.host("a").classes().contains("path-drop"));
    assert_eq!(fleet.host("b").classes(), BTreeSet::from(["vcpu-stall"]));
}

#[test]
fn a_pause_that_stops_the_clock_is_one_for_all() {
    let mut fleet = Fleet::new(3);
    fleet.pause("b");
    fleet.run(5.0);
    fleet.resume_where_the_clock_stopped("b");
    fleet.run(5.0);
    for name in ["a", "b", "c"] {
        let incident = fleet.host(name).incident();
        assert_eq!((incident.verdict.class, incident.state), (Class::VmPause, State::Closed), "{name}");
        assert_eq!(incident.verdict.subject.host.as_deref(), Some("b"), "{name}");
        assert_eq!(incident.verdict.detail.clock, Some(ClockState::Stopped), "{name}");
        assert!(ruled_out(&incident, Class::PathDrop), "{name}");
        assert_length(&incident, 5000);
        assert!(fleet.host(name).classes().is_subset(&BTreeSet::from(["vm-pause", "unknown"])), "{name}");
    }
}

/// `b` hears nobody whose clock went on, so that it does not notice; that its clock agrees with the one of `a` says that it stood as well.
#[test]
fn clocks_of_one_hypervisor_that_stand_together_are_its_stall_where_one_of_them_alone_notices() {
    let mut fleet = Fleet::with_hypervisor(4, &["a", "b"], "kvm1");
    fleet.watch("b", &["a"]);
    fleet.run(5.0);
    for name in ["a", "b"] {
        fleet.pause(name);
    }
    fleet.run(2.0);
    for name in ["a", "b"] {
        fleet.resume_where_the_clock_stopped(name);
    }
    fleet.run(5.0);
    for name in ["a", "c", "d"] {
        let incidents = fleet.host(name).incidents();
        let incident = incidents.iter().find(|one| one.verdict.class != Class::Unknown).expect("a verdict");
        assert_eq!(incident.verdict.class, Class::HypervisorStall, "{name}: {}", fleet.host(name).history());
        assert_eq!(incident.verdict.subject.host.as_deref(), Some("a"), "{name}");
    }
    assert_eq!(fleet.host("a").incident().verdict.subject.hosts, ["a", "b"]);
}

#[test]
fn a_clock_that_stands_alone_is_no_stall_of_the_hypervisor() {
    let mut fleet = Fleet::with_hypervisor(4, &["a", "b"], "kvm1");
    fleet.run(5.0);
    fleet.pause("a");
    fleet.run(2.0);
    fleet.resume_where_the_clock_stopped("a");
    fleet.run(5.0);
    for name in ["a", "b", "c", "d"] {
        assert_eq!(fleet.host(name).incident().verdict.class, Class::VmPause, "{name}");
        assert!(!fleet.host(name).classes().contains("hypervisor-stall"), "{name}");
    }
}

/// The last that `b` sent before it was gone waits in the buffer of `a`, as if no time had passed for either.
#[test]
fn a_neighbour_that_is_gone_while_a_clock_stands_did_not_stand_with_it() {
    let mut fleet = Fleet::with_hypervisor(4, &["a", "b"], "kvm1");
    fleet.run(5.0);
    fleet.pause("a");
    fleet.run(0.2);
    fleet.gone("b");
    fleet.run(2.0);
    fleet.resume_where_the_clock_stopped("a");
    fleet.run(5.0);
    for name in ["a", "c", "d"] {
        let classes = fleet.host(name).classes();
        assert!(classes.contains("vm-pause") && !classes.contains("hypervisor-stall"), "{name}: {classes:?}");
    }
}

#[test]
fn a_real_loss_to_a_peer_that_also_stalled_is_the_networks() {
    let mut fleet = Fleet::new(2);
    fleet.cut.insert(("a", "b"));
    fleet.run(2.0);
    fleet.stop("b");
    fleet.run(0.6);
    fleet.host("b").late.continued = true;
    fleet.resume("b");
    fleet.run(2.0);
    fleet.heal();
    fleet.run(3.0);
    let incident = fleet.host("a").incident();
    assert_eq!((incident.verdict.class, incident.state), (Class::PathDrop, State::Closed));
    assert_eq!(incident.verdict.detail.direction, Some(Direction::ToPeer));
}

#[test]
fn an_agent_that_is_late_at_every_tick_still_sees_a_dead_peer() {
    for late_ms in [60, 99, 150] {
        let mut fleet = Fleet::new(2);
        fleet.gone("b");
        for _ in 0..40 {
            let (from, to) =
                (fleet.now.plus(Duration::from_millis(200 - late_ms)), fleet.now.plus(Duration::from_millis(200)));
            let late = Fact::AgentLate(Box::default());
            fleet.host("a").engine.handle(Evidence::during("a", from, to, late));
            fleet.run(0.2);
        }
        let of_b = |incident: &crate::incident::Incident| incident.verdict.subject.peer.as_deref() == Some("b");
        assert!(fleet.host("a").incidents().iter().any(of_b), "{late_ms}");
    }
}

#[test]
fn a_peer_that_leaves_while_it_hears_nothing_closes_its_incident() {
    let mut fleet = Fleet::new(2);
    fleet.cut.insert(("a", "b"));
    fleet.run(5.0);
    fleet.goodbye("b");
    fleet.run(3.0);
    let incident = fleet.host("a").incident();
    assert_eq!((incident.verdict.class, incident.state), (Class::PathDrop, State::Closed));
    assert_length(&incident, 5000);
}

#[test]
fn a_new_agent_that_leaves_before_it_heard_anybody_closes_the_incident() {
    let mut fleet = Fleet::new(2);
    fleet.cut.insert(("a", "b"));
    fleet.run(5.0);
    fleet.start_anew("b", false);
    fleet.run(2.0);
    fleet.goodbye("b");
    fleet.run(3.0);
    assert_eq!(fleet.host("a").incident().state, State::Closed);
}

#[test]
fn an_agent_that_starts_with_a_lower_incarnation_is_heard() {
    let mut fleet = Fleet::new(2);
    fleet.start_as("b", false, 1000);
    fleet.run(5.0);
    fleet.host("a").seen.clear();
    fleet.goodbye("b");
    fleet.run(3.0);
    fleet.start_as("b", false, 10);
    fleet.run(5.0);
    for name in ["a", "b"] {
        assert_eq!(fleet.host(name).seen, [], "the wall clock was set back, nothing else");
    }
    fleet.gone("b");
    fleet.run(5.0);
    assert_eq!(fleet.host("a").incident().state, State::Open, "it is watched again");
}

#[test]
fn a_killed_agent_that_is_back_with_a_lower_incarnation_is_back() {
    let mut fleet = Fleet::new(2);
    fleet.start_as("b", false, 1000);
    fleet.run(5.0);
    fleet.host("a").seen.clear();
    fleet.kill("b");
    fleet.run(5.0);
    fleet.start_as("b", false, 10);
    fleet.run(3.0);
    let incident = fleet.host("a").incident();
    assert_eq!((incident.verdict.class, incident.state), (Class::AgentStall, State::Closed));
    assert_eq!(incident.verdict.detail.state, Some(AgentState::NotRunning));
    assert_length(&incident, 5000);
}

#[test]
fn a_restored_snapshot_is_heard_again_and_nobody_is_blamed() {
    let mut fleet = Fleet::new(3);
    fleet.run(60.0);
    fleet.restore("b", Duration::from_secs(30));
    fleet.run(10.0);
    let incident = fleet.host("a").incident();
    assert_eq!((incident.verdict.class, incident.state), (Class::Unknown, State::Closed));
    assert!(incident.verdict.summary.contains("went back"), "{}", incident.verdict.summary);
    assert_eq!(fleet.host("a").classes(), BTreeSet::from(["unknown"]));
    fleet.gone("b");
    fleet.run(15.0);
    assert_eq!(fleet.host("a").incidents()[1].verdict.class, Class::HostDown, "it is watched again");
}

#[test]
fn packets_that_come_twice_or_overtake_each_other_are_counted_once() {
    let mut fleet = Fleet::new(2);
    let (received, now) = (fleet.host("a").engine.peer("b").expect("a peer").received, fleet.now);
    let first = fleet.host("b").engine.heartbeat("a", now).expect("a peer");
    for (place, ahead) in (1..).zip([0, 2, 1, 2, 0, 1, 5, 5, 3, 3, 0]) {
        let mut beat = first.clone();
        beat.seq += ahead;
        let at = now.plus(Duration::from_millis(place));
        fleet.host("a").engine.handle(Evidence::at("b", at, Fact::Heartbeat(Arc::new(beat))));
    }
    let peer = fleet.host("a").engine.peer("b").expect("a peer");
    assert_eq!((peer.received - received, peer.lost_from), (5, 1), "0, 1, 2, 3 and 5 came, 4 did not");
}

#[test]
fn a_peer_that_is_configured_away_and_back_hears_numbers_that_go_on() {
    let mut fleet = Fleet::new(3);
    fleet.run(30.0);
    let settings = |peers: &[&str]| {
        let peers = peers.iter().map(|name| (*name).to_owned()).collect();
        Settings { host: "a".into(), peers, ..Settings::default() }
    };
    fleet.host("a").engine.configure(settings(&["c"]));
    fleet.run(0.1);
    fleet.host("a").engine.configure(settings(&["b", "c"]));
    fleet.run(60.0);
    for name in ["a", "b", "c"] {
        assert_eq!(fleet.host(name).seen, [], "{name}");
    }
    assert_eq!(fleet.host("b").engine.peer("a").expect("a peer").lost_to(), Some(0));
}

#[test]
fn every_adopted_incident_closes() {
    let mut fleet = Fleet::new(3);
    fleet.gone("b");
    fleet.run(5.0);
    let first = fleet.host("a").incident();
    let second = crate::incident::Incident { id: "another".into(), ..first.clone() };
    fleet.start_anew("a", false);
    fleet.host("a").seen.clear();
    let now = fleet.now;
    fleet.host("a").engine.adopt(first, now);
    fleet.host("a").engine.adopt(second, now);
    let settings = Settings { host: "a".into(), peers: vec!["c".into()], ..Settings::default() };
    fleet.host("a").engine.configure(settings);
    fleet.run(0.1);
    let states: Vec<State> = fleet.host("a").incidents().iter().map(|incident| incident.state).collect();
    assert_eq!(states, [State::Closed, State::Closed]);
}

#[test]
fn a_step_of_the_wall_clock_bends_no_incident() {
    for step in [-3_600_000_000_000_i64, 3_600_000_000_000] {
        let mut fleet = Fleet::new(2);
        fleet.cut_both("a", "b");
        fleet.run(3.0);
        let (now, elapsed) = (fleet.now, fleet.now.0 - 1_000_000_000_000);
        let wall = WallNanos((1_800_000_000_000_000_000 + elapsed).saturating_add_signed(step));
        fleet.host("a").engine.handle(Evidence::at("a", now, Fact::Clock { wall }));
        fleet.run(2.0);
        fleet.heal();
        fleet.run(3.0);
        let incident = fleet.host("a").incident();
        let parse = |text: &str| humantime::parse_rfc3339(text).expect("RFC 3339");
        let ended = incident.ended_at.clone().expect("it is closed");
        let length = parse(&ended).duration_since(parse(&incident.started_at)).expect("it ends after it began");
        assert!(length.as_millis().abs_diff(u128::from(incident.duration_ms)) <= 1, "{length:?}");
        assert!(incident.evidence.iter().all(|cited| parse(&cited.to) <= parse(&ended) + Duration::from_secs(2)));
    }
}

#[test]
fn work_that_comes_every_third_second_is_no_saturation() {
    let mut fleet = Fleet::new(2);
    for second in 0..120 {
        let (from, to) = (fleet.now, fleet.now.plus(Duration::from_secs(1)));
        fleet.run(1.0);
        let (busy, runnable) = if second % 3 == 0 { (1.0, 9) } else { (0.1, 1) };
        let load = CpuLoad { cpus: 2, busy, steal: 0.0, runnable, pressure: Some(busy) };
        fleet.host("a").engine.handle(Evidence::during("a", from, to, Fact::CpuLoad(load)));
    }
    fleet.run(0.1);
    assert_eq!(fleet.host("a").seen, []);
}

#[test]
fn an_agent_that_starts_while_its_peer_is_paused_blames_no_network() {
    let mut fleet = Fleet::new(3);
    fleet.kill("c");
    fleet.pause("b");
    fleet.run(0.3);
    fleet.start_anew("c", false);
    fleet.run(0.4);
    fleet.resume("b");
    fleet.run(3.0);
    assert_eq!(fleet.host("c").seen, [], "it began to listen when b stood still");
}

#[test]
fn what_an_earlier_pause_lost_and_only_a_later_one_tells_is_no_drop() {
    let mut fleet = Fleet::new(3);
    fleet.pause("a");
    fleet.run(2.3);
    // Nothing of c tells a what it missed in its pause, until c runs again and a has just paused once more.
    fleet.stop("c");
    fleet.run(0.1);
    fleet.resume("a");
    fleet.run(2.0);
    fleet.pause("a");
    fleet.run(0.1);
    fleet.resume("c");
    fleet.run(0.2);
    fleet.resume("a");
    fleet.run(5.0);
    let history = fleet.host("c").history();
    assert!(!fleet.host("c").classes().contains("path-drop"), "{history}");
}

#[test]
fn what_a_throttled_host_cannot_name_of_a_cpu_for_a_moment_does_not_hide_that_it_was_throttled() {
    let mut fleet = Fleet::new(3);
    fleet.stop("b");
    fleet.run(5.0);
    let now = fleet.clock("b");
    let host = fleet.host("b");
    host.late.throttled_ns = Some(4_900_000_000);
    let from = now.minus(Duration::from_millis(500));
    host.engine.report(StallReport { from, to: now, class: Class::Unknown, cpu: Some(1), ..StallReport::default() });
    fleet.resume("b");
    fleet.run(4.0);
    for name in ["a", "c"] {
        let incident = fleet.host(name).incident();
        assert_eq!(incident.verdict.class, Class::AgentStall, "{name}: {}", fleet.host(name).history());
        assert_eq!(incident.verdict.detail.state, Some(AgentState::Throttled), "{name}");
    }
}

#[test]
fn what_a_peer_tells_of_the_time_before_this_hosts_boot_is_no_news() {
    let mut fleet = Fleet::new(3);
    fleet.boot_anew("a", Duration::from_secs(3));
    let now = fleet.clock("b");
    let (from, to) = (now.minus(Duration::from_secs(30)), now.minus(Duration::from_secs(28)));
    let report = StallReport { from, to, class: Class::TimerLockup, cpu: Some(1), ..StallReport::default() };
    fleet.host("b").engine.report(report);
    fleet.run(2.0);
    assert_eq!(fleet.host("a").seen, []);
}

#[test]
fn a_peer_that_was_late_by_a_third_of_the_gap_is_not_what_it_is_about() {
    let mut fleet = Fleet::new(3);
    fleet.cut.insert(("b", "a"));
    fleet.run(0.1);
    fleet.heal();
    fleet.stop("b");
    fleet.run(0.2);
    fleet.host("b").late = AgentLate { waited_ns: Some(100_000_000), busy: Some(1.0), ..AgentLate::default() };
    fleet.resume("b");
    fleet.run(5.0);
    assert!(!fleet.host("a").classes().contains("cpu-saturation"), "{}", fleet.host("a").history());
}

/// `d` was booted anew while the clock of `a` stood: what it tells of is of its new life.
#[test]
fn what_a_peer_did_after_its_boot_does_not_tell_why_it_was_missed_before() {
    let mut fleet = Fleet::new(4);
    fleet.run(5.0);
    fleet.pause("a");
    fleet.run(3.0);
    fleet.start_anew("d", true);
    fleet.run(3.0);
    fleet.resume_where_the_clock_stopped("a");
    fleet.run(0.1);
    fleet.stop("d");
    fleet.run(0.2);
    fleet.host("d").late = AgentLate { waited_ns: Some(100_000_000), busy: Some(1.0), ..AgentLate::default() };
    fleet.resume("d");
    fleet.run(5.0);
    assert!(!fleet.host("a").classes().contains("cpu-saturation"), "{}", fleet.host("a").history());
}

/// Each starts anew, and is then held up by its own first turns, or later by something else.
#[test]
fn an_agent_that_begins_slowly_did_not_stall() {
    for (after, held, said) in [(0.3, 0.5, false), (0.3, 1.5, true), (1.5, 0.5, true)] {
        let mut fleet = Fleet::new(2);
        fleet.goodbye("b");
        fleet.run(3.0);
        for name in ["a", "b"] {
            fleet.host(name).seen.clear();
        }
        fleet.start_anew("b", false);
        fleet.run(after);
        fleet.stop("b");
        fleet.run(held);
        fleet.resume("b");
        fleet.run(12.0);
        for name in ["a", "b"] {
            let history = fleet.host(name).history();
            assert_eq!(
                !fleet.host(name).seen.is_empty(),
                said,
                "{name}, {held} s, {after} s after its start: {history}"
            );
        }
    }
}

#[test]
fn what_found_no_room_in_the_card_of_a_cpu_that_stood_still_is_no_loss_though_its_sender_pauses_next() {
    let settings = Settings { host: "a".into(), peers: vec!["b".into()], ..Settings::default() };
    let mut engine = Engine::new(settings, Me { incarnation: 1, ..Me::default() });
    let at = |tenths: u64| Nanos(1_000_000_000_000 + tenths * 100_000_000);
    // Number, when it left, and when it came in, in tenths of a second.
    let mut beat = |seq: u64, sent: u64, came: u64| {
        let beat = Heartbeat { seq, sent_at: at(sent), incarnation: 7, ..Heartbeat::default() };
        engine.handle(Evidence::at("b", at(came), Fact::Heartbeat(Arc::new(beat))));
        engine.handle_timeout(at(came));
        if came == 100 {
            engine.excuse(at(100), at(150));
        }
        std::iter::from_fn(|| engine.poll()).map(|incident| incident.verdict.class).collect::<Vec<_>>()
    };
    let on_time = (1..=100).map(|tenth| (tenth, tenth, tenth));
    let kept = (101..=120).map(|tenth| (tenth, tenth, 150));
    // Up to 140 they found no room; then b stood still for 8 s together with its clock.
    let later = (141..=240).map(|tenth| (tenth, tenth, tenth + 80));
    let said: Vec<Class> =
        on_time.chain(kept).chain(later).flat_map(|(seq, sent, came)| beat(seq, sent, came)).collect();
    assert!(!said.contains(&Class::PathDrop), "{said:?}");
}
