//! Stories of hosts that are cut off from all others, and of networks that fall apart.

use std::collections::BTreeSet;
use std::time::Duration;

use super::assert_length;
use super::fleet::Fleet;
use crate::incident::{Class, Direction, Incident, State};

/// The one incident of that host, by which a was isolated, and is not any more.
fn says_that_a_was_isolated(fleet: &mut Fleet, name: &str) -> Incident {
    let incident = fleet.host(name).incident();
    assert_eq!((incident.verdict.class, incident.state), (Class::HostIsolated, State::Closed), "{name}");
    assert_eq!(incident.verdict.subject.host.as_deref(), Some("a"), "{name}");
    incident
}

/// That host says the one class, and at no time the other.
fn assert_says(fleet: &mut Fleet, name: &str, class: &str, not: &str) {
    let classes = fleet.host(name).classes();
    let history = fleet.host(name).history();
    assert!(classes.contains(class) && !classes.contains(not), "{name}: {history}");
}

/// Each watches the two beside it: b, a, d, e, c, and b again.
fn in_a_thin_ring() -> Fleet {
    Fleet::watching([
        ("a", &["b", "d"]),
        ("b", &["a", "c"]),
        ("c", &["b", "e"]),
        ("d", &["a", "e"]),
        ("e", &["c", "d"]),
    ])
}

#[test]
fn a_host_that_loses_all_others_is_isolated_for_everybody() {
    let mut fleet = Fleet::new(4);
    fleet.isolate("a", &["b", "c", "d"]);
    fleet.run(5.0);
    fleet.heal();
    fleet.run(5.0);
    for name in ["a", "b", "c", "d"] {
        let incident = says_that_a_was_isolated(&mut fleet, name);
        let classes = fleet.host(name).classes();
        assert!(classes.is_subset(&BTreeSet::from(["host-isolated", "unknown"])), "{name}: {classes:?}");
        assert_length(&incident, 5000);
    }
}

#[test]
fn where_hosts_watch_their_neighbours_only_one_that_lost_all_of_them_is_isolated() {
    let mut fleet = Fleet::in_a_ring();
    for other in ["a", "b", "d", "e"] {
        fleet.cut_both("c", other);
    }
    fleet.run(5.0);
    fleet.heal();
    fleet.run(5.0);
    for name in ["b", "c", "d"] {
        for incident in fleet.host(name).incidents() {
            let history = fleet.host(name).history();
            assert_eq!(
                (incident.verdict.class, incident.state),
                (Class::HostIsolated, State::Closed),
                "{name}: {history}"
            );
            assert_eq!(incident.verdict.subject.host.as_deref(), Some("c"), "{name}");
        }
    }
}

#[test]
fn where_hosts_watch_their_neighbours_only_one_that_is_isolated_is_so_beside_another_that_stands_still() {
    let mut fleet = Fleet::in_a_ring();
    for other in ["a", "b", "d", "e"] {
        fleet.cut_both("c", other);
    }
    fleet.pause("d");
    fleet.run(5.0);
    fleet.heal();
    fleet.run(0.5);
    fleet.resume("d");
    fleet.run(5.0);
    let incident = fleet.host("b").incident();
    assert_eq!(incident.verdict.class, Class::HostIsolated, "{}", fleet.host("b").history());
}

#[test]
fn of_two_hosts_that_are_cut_off_at_once_each_is_isolated() {
    let mut fleet = Fleet::new(5);
    for (alone, other) in [("a", "b"), ("a", "c"), ("a", "d"), ("a", "e"), ("b", "c"), ("b", "d"), ("b", "e")] {
        fleet.cut_both(alone, other);
    }
    fleet.run(5.0);
    fleet.heal();
    fleet.run(5.0);
    for (name, isolated) in
        [("a", BTreeSet::from(["a"])), ("b", BTreeSet::from(["b"])), ("c", BTreeSet::from(["a", "b"]))]
    {
        let incidents = fleet.host(name).incidents();
        let history = fleet.host(name).history();
        assert!(incidents.iter().all(|incident| incident.verdict.class == Class::HostIsolated), "{name}: {history}");
        let said: BTreeSet<&str> =
            incidents.iter().filter_map(|incident| incident.verdict.subject.host.as_deref()).collect();
        assert_eq!(said, isolated, "{name}: {history}");
    }
}

#[test]
fn a_host_that_is_isolated_is_so_beside_one_that_stands_still_for_a_while() {
    let mut fleet = Fleet::new(4);
    fleet.isolate("a", &["b", "c", "d"]);
    fleet.run(2.0);
    fleet.pause("d");
    fleet.run(2.0);
    fleet.host("d").late.cpus_watched = 0;
    fleet.resume("d");
    fleet.run(2.0);
    fleet.heal();
    fleet.run(5.0);
    for name in ["a", "b", "c", "d"] {
        let isolated: Vec<Incident> =
            fleet.host(name).incidents().into_iter().filter(|one| one.verdict.class == Class::HostIsolated).collect();
        let history = fleet.host(name).history();
        assert!(!isolated.is_empty(), "{name}: {history}");
        assert!(isolated.iter().all(|one| one.verdict.subject.host.as_deref() == Some("a")), "{name}: {history}");
        assert!(!fleet.host(name).classes().contains("path-drop"), "{name}: {history}");
    }
}

#[test]
fn a_path_that_is_cut_while_a_third_host_is_isolated_is_a_path_all_the_same() {
    let mut fleet = Fleet::new(5);
    fleet.isolate("a", &["b", "c", "d", "e"]);
    fleet.cut_both("c", "d");
    fleet.run(5.0);
    fleet.heal();
    fleet.run(5.0);
    for name in ["c", "d"] {
        let classes: BTreeSet<Class> = fleet.host(name).incidents().iter().map(|one| one.verdict.class).collect();
        assert_eq!(classes, BTreeSet::from([Class::HostIsolated, Class::PathDrop]), "{}", fleet.host(name).history());
    }
}

#[test]
fn with_a_gateway_a_host_knows_that_it_is_isolated_while_it_lasts() {
    let mut fleet = Fleet::new(3);
    fleet.with_gateway("a");
    fleet.run(3.0);
    fleet.isolate("a", &["b", "c"]);
    fleet.run(3.0);
    assert_eq!(fleet.host("a").incident().verdict.class, Class::Unknown, "its gateway answers: the others may be gone");
    fleet.heal();
    fleet.run(3.0);
    fleet.gateway_answers = false;
    fleet.isolate("a", &["b", "c"]);
    fleet.run(3.0);
    let last = fleet.host("a").incidents().pop().expect("an incident");
    assert_eq!((last.verdict.class, last.state), (Class::HostIsolated, State::Open));
}

#[test]
fn hosts_that_are_cut_off_together_are_not_down_however_long_it_lasts() {
    let mut fleet = Fleet::new(4);
    for (one, other) in [("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")] {
        fleet.cut_both(one, other);
    }
    fleet.run(30.0);
    fleet.heal();
    fleet.run(5.0);
    for name in ["a", "b", "c", "d"] {
        let (classes, history) = (fleet.host(name).classes(), fleet.host(name).history());
        assert_eq!(classes, BTreeSet::from(["partition", "unknown"]), "{name}: {history}");
    }
}

#[test]
fn a_host_that_is_lost_with_the_gateway_is_not_down_while_that_lasts() {
    let mut fleet = Fleet::new(3);
    fleet.with_gateway("a");
    fleet.with_gateway("b");
    fleet.run(3.0);
    fleet.gateway_answers = false;
    fleet.gone("c");
    fleet.run(15.0);
    for name in ["a", "b"] {
        let history = fleet.host(name).history();
        assert_eq!(fleet.host(name).classes(), BTreeSet::from(["unknown"]), "one switch for both: {name}: {history}");
    }
    fleet.gateway_answers = true;
    fleet.run(5.0);
    for name in ["a", "b"] {
        assert_eq!(fleet.host(name).incident().verdict.class, Class::HostDown, "it is c alone: {name}");
    }
}

#[test]
fn a_host_that_nobody_hears_is_isolated_one_way() {
    let mut fleet = Fleet::new(4);
    for other in ["b", "c", "d"] {
        fleet.cut.insert(("a", other));
    }
    fleet.run(5.0);
    assert_eq!(fleet.host("a").incident().verdict.class, Class::HostIsolated);
    fleet.heal();
    fleet.run(5.0);
    for (name, direction) in [("a", Direction::ToPeer), ("b", Direction::FromPeer), ("c", Direction::FromPeer)] {
        let incident = says_that_a_was_isolated(&mut fleet, name);
        assert_eq!(incident.verdict.detail.direction, Some(direction), "{name}");
        assert!(!fleet.host(name).classes().contains("path-drop"), "{name}");
    }
}

#[test]
fn a_host_that_hears_nobody_is_isolated_one_way() {
    let mut fleet = Fleet::new(4);
    for other in ["b", "c", "d"] {
        fleet.cut.insert((other, "a"));
    }
    fleet.run(5.0);
    fleet.heal();
    fleet.run(5.0);
    for name in ["a", "b", "c", "d"] {
        says_that_a_was_isolated(&mut fleet, name);
        assert!(!fleet.host(name).classes().contains("path-drop"), "{name}");
    }
}

#[test]
fn hosts_that_fall_apart_are_a_partition_with_its_groups() {
    let groups: [(&[&str], &[&str]); 2] = [(&["a", "b"], &["c", "d", "e"]), (&["a", "c"], &["b", "d"])];
    for (one, other) in groups {
        let mut fleet = Fleet::new(one.len() + other.len());
        for near in one {
            for far in other {
                fleet.cut_both(near, far);
            }
        }
        fleet.run(5.0);
        fleet.heal();
        fleet.run(5.0);
        for name in one.iter().chain(other) {
            let incident = fleet.host(name).incident();
            assert_eq!((incident.verdict.class, incident.state), (Class::Partition, State::Closed), "{name}");
            let (mine, theirs) = if one.contains(name) { (one, other) } else { (other, one) };
            assert_eq!(incident.verdict.detail.groups, [mine.to_vec(), theirs.to_vec()], "{name}");
            let classes = fleet.host(name).classes();
            assert!(classes.is_subset(&BTreeSet::from(["partition", "unknown"])), "{name}: {classes:?}");
        }
    }
}

#[test]
fn a_host_that_is_a_moment_late_as_a_partition_heals_did_not_stand_still() {
    let mut fleet = Fleet::new(4);
    for near in ["a", "b"] {
        ["c", "d"].into_iter().for_each(|far| fleet.cut_both(near, far));
    }
    fleet.run(5.0);
    fleet.heal();
    fleet.stop("d");
    fleet.run(0.2);
    fleet.resume("d");
    fleet.run(5.0);
    for name in ["a", "b", "c", "d"] {
        let classes: BTreeSet<Class> = fleet.host(name).incidents().iter().map(|one| one.verdict.class).collect();
        let moment = BTreeSet::from([Class::Partition, Class::Unknown]);
        let history = fleet.host(name).history();
        assert!(classes.contains(&Class::Partition) && classes.is_subset(&moment), "{name}: {history}");
    }
}

#[test]
fn a_switch_that_dies_leaves_every_host_alone() {
    let mut fleet = Fleet::new(3);
    fleet.cut_both("a", "b");
    fleet.cut_both("b", "c");
    fleet.cut_both("a", "c");
    fleet.run(5.0);
    fleet.heal();
    fleet.run(5.0);
    for name in ["a", "b", "c"] {
        let incident = fleet.host(name).incident();
        assert_eq!((incident.verdict.class, incident.state), (Class::Partition, State::Closed), "{name}");
        assert_eq!(incident.verdict.detail.groups.len(), 3, "{name}");
    }
}

#[test]
fn a_host_is_isolated_beside_one_that_stood_still_before_and_longer() {
    for later in [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7] {
        let mut fleet = Fleet::new(5);
        fleet.run(2.0);
        fleet.pause("e");
        fleet.run(3.5);
        fleet.isolate("a", &["b", "c", "d", "e"]);
        fleet.run(3.0);
        fleet.heal();
        fleet.run(later);
        let host = fleet.host("e");
        host.late.cpus_watched = 0;
        // Its card has no room for more, so that its first word is of what came before.
        host.queue.truncate(40);
        fleet.resume("e");
        fleet.run(5.0);
        for name in ["a", "b"] {
            let classes = fleet.host(name).classes();
            let history = fleet.host(name).history();
            assert!(
                classes.contains("host-isolated") && !classes.contains("path-drop"),
                "{name}, {later} s later: {history}"
            );
        }
    }
}

/// A peer that is down since before this agent was started tells nothing, and is not waited for.
#[test]
fn a_host_is_isolated_beside_one_that_its_agent_never_heard() {
    let mut fleet = Fleet::new(4);
    fleet.gone("d");
    fleet.run(1.0);
    fleet.start_anew("a", false);
    fleet.run(20.0);
    fleet.isolate("a", &["b", "c", "d"]);
    fleet.run(5.0);
    fleet.heal();
    fleet.run(5.0);
    assert_says(&mut fleet, "a", "host-isolated", "path-drop");
}

/// Of one that sent nothing meanwhile nothing is lost, so that it was not heard throughout either.
#[test]
fn where_hosts_watch_their_neighbours_only_one_that_slept_meanwhile_was_not_heard_by_the_isolated() {
    let mut fleet = Fleet::watching([
        ("a", &["b", "e"]),
        ("b", &["a", "c"]),
        ("c", &["b", "d", "e"]),
        ("d", &["c", "e"]),
        ("e", &["a", "c", "d"]),
    ]);
    fleet.stop("d");
    fleet.run(3.0);
    fleet.isolate("c", &["a", "b", "d", "e"]);
    fleet.run(1.0);
    fleet.heal();
    fleet.run(0.1);
    fleet.resume("d");
    fleet.run(5.0);
    assert_says(&mut fleet, "b", "host-isolated", "path-drop");
}

/// Whether that one heard it nobody asks, as long as it does not matter whom the others hear beyond.
#[test]
fn a_host_is_isolated_though_all_that_another_one_watches_slept_meanwhile() {
    let mut fleet = in_a_thin_ring();
    fleet.run(3.0);
    fleet.isolate("c", &["a", "b", "d", "e"]);
    fleet.run(0.5);
    fleet.stop("d");
    fleet.run(3.5);
    fleet.resume("d");
    fleet.run(1.0);
    fleet.heal();
    fleet.run(5.0);
    assert_says(&mut fleet, "b", "host-isolated", "path-drop");
}

/// What the others said after that is not of the time that it remembers.
#[test]
fn a_host_whose_clock_stood_before_the_others_told_does_not_know_whom_they_heard() {
    let mut fleet = Fleet::new(4);
    fleet.run(5.0);
    fleet.isolate("c", &["a", "b", "d"]);
    fleet.run(1.0);
    fleet.heal();
    fleet.run(0.1);
    fleet.pause("a");
    fleet.run(30.0);
    fleet.resume_where_the_clock_stopped("a");
    // Between two of its heartbeats.
    fleet.host("a").behind -= Duration::from_millis(90);
    fleet.run(8.0);
    assert!(!fleet.host("a").classes().contains("path-drop"), "{}", fleet.host("a").history());
}

/// Whether `c` lost `e` as well is not known, as that one did not send.
#[test]
fn a_host_of_which_all_others_slept_is_neither_isolated_nor_lost_by_one_path() {
    let mut fleet = in_a_thin_ring();
    fleet.stop("e");
    fleet.run(3.0);
    fleet.isolate("c", &["a", "b", "d", "e"]);
    fleet.run(1.0);
    fleet.heal();
    fleet.run(0.1);
    fleet.resume("e");
    fleet.run(5.0);
    let classes = fleet.host("b").classes();
    assert!(classes.is_subset(&BTreeSet::from(["unknown"])), "{}", fleet.host("b").history());
}

/// By its own clock it heard that one a moment ago.
#[test]
fn a_host_that_slept_while_another_died_does_not_hear_it() {
    for settle in [0.0, 0.04, 0.08] {
        let mut fleet = Fleet::new(4);
        fleet.run(5.0 + settle);
        fleet.pause("c");
        fleet.run(0.2);
        fleet.gone("b");
        fleet.run(15.0);
        fleet.resume_where_the_clock_stopped("c");
        fleet.run(5.0);
        for name in ["a", "d"] {
            let history = fleet.host(name).history();
            assert!(!fleet.host(name).classes().contains("path-drop"), "{name}: {history}");
        }
    }
}

/// Its other neighbour does not run, so that nobody knows what others heard of it.
#[test]
fn a_host_of_which_nobody_else_tells_is_not_isolated_by_what_one_path_lost() {
    let mut fleet = Fleet::watching([
        ("a", &["b", "c", "d"]),
        ("b", &["a", "c"]),
        ("c", &["a", "b"]),
        ("d", &["a", "e"]),
        ("e", &["d"]),
    ]);
    fleet.kill("c");
    fleet.run(5.0);
    fleet.cut.insert(("b", "a"));
    fleet.run(5.0);
    fleet.heal();
    fleet.run(5.0);
    assert_says(&mut fleet, "a", "path-drop", "host-isolated");
}

/// It was silent to this host already when it said goodbye, and its kernel answered again before its agent was started anew.
#[test]
fn a_goodbye_that_was_lost_is_no_agent_that_ended_without_one() {
    let mut fleet = Fleet::new(4);
    fleet.run(5.0);
    fleet.isolate("a", &["b", "c", "d"]);
    fleet.run(3.0);
    fleet.goodbye("b");
    fleet.run(1.0);
    fleet.heal();
    fleet.run(5.0);
    fleet.start_anew("b", false);
    fleet.run(5.0);
    assert!(!fleet.host("a").classes().contains("agent-stall"), "{}", fleet.host("a").history());
}
