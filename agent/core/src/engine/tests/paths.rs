//! Stories of networks that lose a part of the packets, the large ones, or tear the hosts apart.

use std::collections::BTreeSet;
use std::time::Duration;

use super::fleet::Fleet;
use super::ruled_out;
use crate::evidence::{Evidence, Fact, HoleReason, RetransmitCause};
use crate::incident::{Class, Direction, Incident, Reason, State};

/// Both ends of the path a–b tell the same of it, each from its side, and of nothing else but `unknown`.
fn on_both_ends(fleet: &mut Fleet, class: Class, state: State) -> [Incident; 2] {
    ["a", "b"].map(|name| {
        let classes = fleet.host(name).classes();
        assert!(
            classes.is_subset(&BTreeSet::from([class.name(), "unknown"])),
            "{name}: {}",
            fleet.host(name).history()
        );
        let incident = fleet.host(name).incident();
        assert_eq!((incident.verdict.class, incident.state), (class, state), "{name}: {incident:#?}");
        incident
    })
}

#[test]
fn a_steady_loss_is_told_with_its_rate_and_direction() {
    for (rate, seed) in [(0.05, 11), (0.1, 12), (0.3, 13), (0.3, 14), (0.3, 15), (0.3, 16)] {
        let mut fleet = Fleet::new(3);
        fleet.seed(seed);
        fleet.lossy.insert(("b", "a"), rate);
        fleet.run(60.0);
        let [at_a, at_b] = on_both_ends(&mut fleet, Class::PacketLoss, State::Open);
        let of_a = at_a.verdict.detail.loss_from_peer.expect("a measured it");
        let of_b = at_b.verdict.detail.loss_to_peer.expect("b was told of it");
        for stated in [of_a, of_b] {
            assert_eq!(stated.packets, 300, "{rate}");
            assert!((stated.low..=stated.high).contains(&rate), "{stated:?}");
        }
        assert_eq!(at_a.verdict.detail.direction, Some(Direction::FromPeer));
        assert_eq!(at_b.verdict.detail.direction, Some(Direction::ToPeer));
        assert!(fleet.host("c").incidents().is_empty());
        fleet.heal();
        fleet.run(30.0);
        on_both_ends(&mut fleet, Class::PacketLoss, State::Closed);
    }
}

#[test]
fn a_loss_that_begins_with_many_is_one_incident_and_its_first_word_is_true() {
    for seed in 1..=60 {
        let mut fleet = Fleet::new(2);
        fleet.run(30.0);
        fleet.seed(seed);
        fleet.lossy.insert(("a", "b"), 0.05);
        fleet.run(60.0);
        let losses: Vec<Incident> =
            fleet.host("b").incidents().into_iter().filter(|one| one.verdict.class == Class::PacketLoss).collect();
        assert_eq!(losses.len(), 1, "seed {seed}: {}", fleet.host("b").history());
        for said in fleet.host("b").seen.iter().filter(|one| one.verdict.class == Class::PacketLoss) {
            let rate = said.verdict.detail.loss_from_peer.unwrap();
            assert!(rate.low <= 0.05 && rate.high >= 0.05, "seed {seed}: {rate:?}");
        }
    }
}

#[test]
fn a_loss_in_both_directions_is_one_incident() {
    let mut fleet = Fleet::new(2);
    fleet.seed(21);
    fleet.lossy.extend([(("a", "b"), 0.1), (("b", "a"), 0.2)]);
    fleet.run(90.0);
    let [at_a, _] = on_both_ends(&mut fleet, Class::PacketLoss, State::Open);
    assert_eq!(at_a.verdict.detail.direction, Some(Direction::Both));
    assert!(ruled_out(&at_a, Class::PathDrop));
}

#[test]
fn a_run_of_misses_at_the_begin_of_a_steady_loss_is_no_cut() {
    let mut fleet = Fleet::new(2);
    fleet.seed(22);
    fleet.cut.insert(("b", "a"));
    fleet.run(0.4);
    fleet.heal();
    // Of one in ten steady losses of 20 % nothing more shows for a second.
    fleet.run(1.2);
    fleet.lossy.insert(("b", "a"), 0.2);
    fleet.run(60.0);
    on_both_ends(&mut fleet, Class::PacketLoss, State::Open);
}

/// At 7 % none of forty more is lost in one case of twenty.
#[test]
fn two_misses_at_the_begin_of_a_slight_loss_are_no_cut() {
    let mut fleet = Fleet::new(2);
    fleet.seed(22);
    fleet.cut.insert(("b", "a"));
    fleet.run(0.2);
    fleet.heal();
    fleet.run(5.0);
    fleet.lossy.insert(("b", "a"), 0.07);
    fleet.run(90.0);
    on_both_ends(&mut fleet, Class::PacketLoss, State::Open);
}

#[test]
fn a_short_pause_at_the_begin_of_a_steady_loss_is_the_same_incident() {
    let mut fleet = Fleet::new(2);
    fleet.seed(22);
    fleet.run(10.0);
    let lose_one = |fleet: &mut Fleet| {
        fleet.cut.insert(("b", "a"));
        fleet.run(0.1);
        fleet.cut.clear();
    };
    lose_one(&mut fleet);
    fleet.run(0.3);
    lose_one(&mut fleet);
    fleet.stop("b");
    fleet.run(0.2);
    // Between two turns: 350 ms after the last that was heard.
    let late = fleet.clock("a").plus(Duration::from_millis(50));
    fleet.host("a").engine.handle_timeout(late);
    fleet.resume("b");
    fleet.run(1.0);
    fleet.lossy.insert(("b", "a"), 0.2);
    fleet.run(60.0);
    let [at_a, _] = on_both_ends(&mut fleet, Class::PacketLoss, State::Open);
    let gap = |one: &&Incident| one.verdict.summary.ends_with("of what it sent one did not arrive");
    let gap = fleet.host("a").seen.iter().find(gap).map(|gap| gap.id.clone());
    assert_eq!(gap, Some(at_a.id), "{}", fleet.host("a").history());
}

#[test]
fn a_path_that_flaps_is_cut_again_and_again() {
    let mut fleet = Fleet::new(2);
    for _ in 0..8 {
        fleet.cut_both("a", "b");
        fleet.run(0.8);
        fleet.heal();
        fleet.run(5.0);
    }
    let classes = fleet.host("a").classes();
    assert!(classes.contains("path-drop") && !classes.contains("packet-loss"), "{classes:?}");
}

#[test]
fn large_packets_that_vanish_are_told_with_reason_and_size() {
    for (narrow, reason, mtu) in [
        ((1400, false), HoleReason::DfDropped, 1400),
        ((1400, true), HoleReason::FragNeededLost, 1400),
        ((1500, false), HoleReason::FragmentsLost, 1500),
    ] {
        let mut fleet = Fleet::new(2);
        fleet.narrow.insert(("a", "b"), narrow);
        fleet.run(15.0);
        let [at_a, at_b] = on_both_ends(&mut fleet, Class::MtuBlackhole, State::Open);
        for (incident, direction) in [(&at_a, Direction::ToPeer), (&at_b, Direction::FromPeer)] {
            assert_eq!(incident.verdict.subject.mtu, Some(mtu));
            assert_eq!(incident.verdict.detail.reason, Some(Reason::Hole(reason)));
            assert_eq!(incident.verdict.detail.direction, Some(direction));
        }
        assert!(ruled_out(&at_a, Class::PathDrop));
        fleet.heal();
        fleet.run(5.0);
        for incident in on_both_ends(&mut fleet, Class::MtuBlackhole, State::Closed) {
            assert!((14_000..17_000).contains(&incident.duration_ms), "{}", incident.duration_ms);
        }
    }
}

#[test]
fn a_hole_in_both_directions_is_one_incident() {
    let mut fleet = Fleet::new(2);
    fleet.narrow.extend([(("a", "b"), (1400, false)), (("b", "a"), (1400, false))]);
    fleet.run(15.0);
    for incident in on_both_ends(&mut fleet, Class::MtuBlackhole, State::Open) {
        assert_eq!(incident.verdict.detail.direction, Some(Direction::Both));
        assert_eq!(incident.verdict.subject.mtu, Some(1400));
    }
    fleet.heal();
    fleet.run(5.0);
    on_both_ends(&mut fleet, Class::MtuBlackhole, State::Closed);
}

#[test]
fn of_ways_that_differ_both_ends_name_the_one_that_lets_less_pass() {
    let mut fleet = Fleet::new(2);
    fleet.narrow.extend([(("a", "b"), (1400, false)), (("b", "a"), (1300, true))]);
    fleet.run(30.0);
    for incident in on_both_ends(&mut fleet, Class::MtuBlackhole, State::Open) {
        assert_eq!(incident.verdict.detail.direction, Some(Direction::Both));
        assert_eq!(incident.verdict.subject.mtu, Some(1300));
        assert_eq!(incident.verdict.detail.reason, Some(Reason::Hole(HoleReason::FragNeededLost)));
        for each in
            ["above 1400 bytes vanish from a to b", "above 1300 bytes that must not be fragmented vanish from b to a"]
        {
            assert!(incident.verdict.summary.contains(each), "{}", incident.verdict.summary);
        }
    }
}

#[test]
fn retransmits_beside_a_hole_are_one_incident_with_it() {
    let mut fleet = Fleet::new(2);
    fleet.narrow.insert(("a", "b"), (1400, true));
    for second in 0..15_u64 {
        let now = fleet.now;
        let facts = [
            Fact::Retransmits { cause: RetransmitCause::Timeout, count: 40, failed: 0 },
            Fact::RetransmitSizes { count: 40, smallest: 1440 + second, largest: 1448 },
        ];
        for fact in facts {
            // The first ones are told before the hole is known.
            let told = Evidence::during("b", now.minus(Duration::from_secs(1)), now, fact);
            fleet.host("a").engine.handle(told);
        }
        fleet.run(1.0);
    }
    fleet.heal();
    fleet.run(5.0);
    let [at_a, _] = on_both_ends(&mut fleet, Class::MtuBlackhole, State::Closed);
    let sizes = Fact::RetransmitSizes { count: 560, smallest: 1441, largest: 1448 };
    let sent_again = Fact::Retransmits { cause: RetransmitCause::Timeout, count: 560, failed: 0 };
    assert_eq!(fleet.host("a").incidents().len(), 1);
    assert!(at_a.verdict.summary.ends_with("; every TCP segment that was sent again to b is larger"), "{at_a:?}");
    for fact in [sizes, sent_again] {
        assert!(at_a.evidence.iter().any(|cited| cited.fact == fact), "{:#?}", at_a.evidence);
    }
}

#[test]
fn a_router_that_begins_to_tell_ends_the_hole() {
    let mut fleet = Fleet::new(2);
    fleet.narrow.insert(("a", "b"), (1400, true));
    fleet.run(10.0);
    on_both_ends(&mut fleet, Class::MtuBlackhole, State::Open);
    let told = Evidence::at("b", fleet.now, Fact::TooBig { mtu: 1400 });
    fleet.host("a").engine.handle(told);
    fleet.run(5.0);
    on_both_ends(&mut fleet, Class::MtuBlackhole, State::Closed);
}

#[test]
fn a_router_that_tells_its_mtu_makes_no_hole() {
    // By its word to this agent, or to others on this host, which takes longer to be known.
    let known = [(0.5, Fact::TooBig { mtu: 1400 }), (2.0, Fact::PathMtu { before: None, now: Some(1400) })];
    for (after, word) in known {
        let mut fleet = Fleet::new(2);
        fleet.narrow.insert(("a", "b"), (1400, true));
        fleet.run(after);
        let told = Evidence::at("b", fleet.now, word);
        fleet.host("a").engine.handle(told);
        fleet.run(20.0);
        for name in ["a", "b"] {
            assert!(fleet.host(name).incidents().is_empty(), "{name}: {}", fleet.host(name).history());
        }
    }
}

#[test]
fn a_steady_loss_makes_no_hole_and_a_cut_neither() {
    for seed in 31..51 {
        let mut fleet = Fleet::new(2);
        fleet.run(30.0);
        fleet.seed(seed);
        let rate = if seed % 2 == 0 { 0.3 } else { 0.1 };
        fleet.lossy.extend([(("a", "b"), rate), (("b", "a"), rate)]);
        fleet.run(60.0);
        for name in ["a", "b"] {
            let classes = fleet.host(name).classes();
            assert!(!classes.contains("mtu-blackhole"), "{name} {seed}: {}", fleet.host(name).history());
        }
    }
    let mut fleet = Fleet::new(2);
    fleet.cut_both("a", "b");
    fleet.run(10.0);
    fleet.heal();
    fleet.run(10.0);
    on_both_ends(&mut fleet, Class::PathDrop, State::Closed);
}

#[test]
fn where_hosts_watch_their_neighbours_only_a_cut_between_two_is_one_path() {
    let mut fleet = Fleet::in_a_ring();
    fleet.cut_both("b", "c");
    fleet.run(5.0);
    fleet.heal();
    fleet.run(5.0);
    for name in ["b", "c"] {
        let incident = fleet.host(name).incident();
        assert_eq!((incident.verdict.class, incident.state), (Class::PathDrop, State::Closed), "{name}");
    }
}

#[test]
fn two_hosts_that_die_together_are_named_together() {
    let mut fleet = Fleet::new(4);
    fleet.gone("c");
    fleet.gone("d");
    fleet.run(5.0);
    let incident = fleet.host("a").incident();
    assert_eq!(incident.verdict.class, Class::Unknown);
    assert_eq!(incident.verdict.subject.hosts, ["c", "d"]);
    fleet.run(15.0);
    let incident = fleet.host("a").incident();
    assert_eq!(incident.verdict.class, Class::Unknown, "they may be cut off together: {}", fleet.host("a").history());
    assert_eq!(incident.verdict.subject.hosts, ["c", "d"]);
}
