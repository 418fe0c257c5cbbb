use super::*;
use crate::evidence::{Scope, StoryKind, name_hash};

fn at(seconds: f64) -> Nanos {
    Nanos((1000.0 * 1e9 + seconds * 1e9) as u64)
}

fn trace(number: u128) -> TraceId {
    TraceId::new(number).unwrap()
}

/// A story of `host`, or of the path from it to a peer, that began so many seconds ago.
fn story(number: u128, scope: Scope, hosts: &[&str], age: f64) -> Story {
    Story {
        trace: trace(number),
        age: Duration::from_secs_f64(age),
        over: None,
        settled: false,
        kind: StoryKind::Stall,
        scope,
        host: name_hash(hosts[0]),
        peer: hosts.get(1).map(|peer| name_hash(peer)),
    }
}

/// An incident that `me` has of what began at the second 0, as JSON makes it.
fn incident(number: u128, class: &str, subject: &str) -> Incident {
    let text = format!(
        r#"{{"id": "{number}", "trace_id": "{}", "observer": "me", "state": "open", "provisional": true, "started_at": "", "detected_at": "",
        "duration_ms": 0, "occurrences": 1, "verdict": {{"class": "{class}", "subject": {subject}, "confidence": 0.5, "summary": ""}},
        "evidence": [], "evidence_dropped": 0, "ruled_out": [], "missing": [], "witnesses": [],
        "host": {{"kernel": "", "command_line": "", "clock_source": "", "agent_version": ""}}}}"#,
        trace(number)
    );
    serde_json::from_str(&text).unwrap()
}

const UNKNOWN_DB: &str = r#"{"host": "me", "peer": "db"}"#;
const OF_DB: &str = r#"{"host": "db"}"#;

/// Places an incident that began at second 0, at the second `now`.
fn place(stories: &mut Stories, document: &mut Incident, said: Option<&Incident>, now: f64) {
    let plot = Plot::of(document, at(0.0), None);
    stories.place(document, said, plot, at(now));
}

#[test]
fn the_name_that_began_first_is_taken_and_the_one_before_stays_as_a_link() {
    let mut stories = Stories::default();
    let mut first = incident(7, "unknown", UNKNOWN_DB);
    place(&mut stories, &mut first, None, 1.0);
    assert_eq!((first.trace_id, first.links.len()), (trace(7), 0));
    stories.hear("lb", &[story(9, Scope::PathOrHost, &["lb", "db"], 1.2)], at(1.1));
    let mut second = incident(7, "unknown", UNKNOWN_DB);
    place(&mut stories, &mut second, Some(&first), 1.2);
    assert_eq!(second.trace_id, trace(7), "the other one takes this one's");
    stories.hear("db", &[story(3, Scope::Host, &["db"], 5.3)], at(5.5));
    let mut third = incident(7, "agent-stall", OF_DB);
    place(&mut stories, &mut third, Some(&second), 5.6);
    assert_eq!(third.trace_id, trace(3));
    assert_eq!(third.links, [Link { trace_id: trace(7), relation: Relation::Was }]);
    assert_eq!(stories.to_tell(1, at(6.0))[0].trace, trace(3), "and is told");
}

#[test]
fn a_name_that_was_never_told_leaves_no_link() {
    let mut stories = Stories::default();
    stories.hear("db", &[story(3, Scope::Host, &["db"], 1.0)], at(1.0));
    let mut first = incident(7, "unknown", UNKNOWN_DB);
    place(&mut stories, &mut first, None, 1.0);
    assert_eq!((first.trace_id, first.links.len()), (trace(3), 0));
}

#[test]
fn what_somebody_closed_is_better_than_what_began_earlier() {
    let mut stories = Stories::default();
    let mut first = incident(3, "agent-stall", OF_DB);
    place(&mut stories, &mut first, None, 1.0);
    let closed = Story { settled: true, over: Some(Duration::ZERO), ..story(9, Scope::Host, &["db"], 1.0) };
    stories.hear("lb", &[closed], at(1.0));
    let mut second = first.clone();
    place(&mut stories, &mut second, Some(&first), 1.2);
    assert_eq!(second.trace_id, trace(9));
    let told = stories.to_tell(1, at(2.0));
    assert!(told[0].settled, "who hears it from here knows it as well: {told:?}");
    stories.hear("app", &[story(2, Scope::Host, &["db"], 2.0)], at(2.0));
    let mut third = second.clone();
    place(&mut stories, &mut third, Some(&second), 2.1);
    assert_eq!(third.trace_id, trace(9), "app will take it");
}

#[test]
fn others_at_the_same_time_and_the_same_ones_at_another_are_other_stories() {
    let others = [
        story(3, Scope::Host, &["app"], 1.0),
        story(3, Scope::Path, &["me", "app"], 1.0),
        story(3, Scope::Host, &["db"], 100.0),
        Story { over: Some(Duration::from_secs(3)), ..story(3, Scope::Host, &["db"], 20.0) },
        Story { kind: StoryKind::Storage, ..story(3, Scope::Host, &["db"], 9.0) },
        story(3, Scope::PathOrHost, &["db", "me"], 9.0),
    ];
    for other in others {
        let mut stories = Stories::default();
        stories.hear("lb", &[other], at(1.0));
        let mut document = incident(7, "agent-stall", OF_DB);
        place(&mut stories, &mut document, None, 1.0);
        assert_eq!(document.trace_id, trace(7), "{other:?}");
    }
}

#[test]
fn both_ends_of_a_path_and_all_parts_of_a_fleet_meet() {
    let path = r#"{"host": "me", "peer": "db"}"#;
    let all = r#"{"hosts": ["app", "db", "me"]}"#;
    for (class, subject, other) in [
        ("path-drop", path, story(3, Scope::Path, &["db", "me"], 4.0)),
        ("path-drop", path, story(3, Scope::PathOrHost, &["db", "me"], 1.5)),
        ("partition", all, story(3, Scope::All, &["x"], 1.0)),
        ("hypervisor-stall", r#"{"host": "db", "hosts": ["app", "db"]}"#, story(3, Scope::Host, &["app"], 1.0)),
    ] {
        let mut stories = Stories::default();
        stories.hear("db", &[other], at(1.0));
        let mut document = incident(7, class, subject);
        place(&mut stories, &mut document, None, 1.0);
        assert_eq!(document.trace_id, trace(3), "{class}");
    }
}

#[test]
fn what_begins_while_a_host_of_it_stands_still_is_linked_both_ways() {
    let mut stories = Stories::default();
    let mut stall = incident(3, "vm-pause", OF_DB);
    place(&mut stories, &mut stall, None, 1.0);
    let mut claim = incident(7, "split-brain", r#"{"hosts": ["app", "db"], "vip": "10.0.0.1"}"#);
    claim.state = State::Closed;
    let plot = Plot::of(&claim, at(2.0), Some(at(5.0)));
    stories.place(&mut claim, None, plot, at(6.0));
    assert_eq!(claim.links, [Link { trace_id: trace(3), relation: Relation::Follows }]);
    stall.state = State::Closed;
    let said = stall.clone();
    place(&mut stories, &mut stall, Some(&said), 7.0);
    assert_eq!(stall.links, [Link { trace_id: trace(7), relation: Relation::FollowedBy }]);
}

#[test]
fn stories_take_turns_and_are_told_for_a_minute_after_their_end() {
    let mut stories = Stories::default();
    for number in 1..=5 {
        let mut document = incident(number, "agent-stall", &format!(r#"{{"host": "h{number}"}}"#));
        document.state = State::Closed;
        place(&mut stories, &mut document, None, 1.0);
    }
    let mut told: Vec<u128> =
        (1..=5).flat_map(|beat| stories.to_tell(beat, at(2.0))).map(|story| story.trace.number()).collect();
    assert_eq!(told.len(), 5 * MAX_STORIES);
    told.sort_unstable();
    told.dedup();
    assert_eq!(told, [1, 2, 3, 4, 5]);
    assert_eq!(stories.to_tell(1, at(62.0)), []);
}

#[test]
fn a_peer_that_tells_ever_other_stories_fills_no_memory() {
    let mut stories = Stories::default();
    for number in 1..=100 {
        stories.hear("lb", &[story(number, Scope::Host, &["db"], 1.0)], at(1.0));
    }
    assert_eq!((stories.told["lb"].len(), stories.refused()), (MAX_OF_PEER, 100 - MAX_OF_PEER as u64));
    stories.hear("lb", &[], at(62.0));
    assert!(stories.told.is_empty(), "and they are forgotten");
    for number in 1..=100 {
        place(&mut stories, &mut incident(number, "agent-stall", &format!(r#"{{"host": "h{number}"}}"#)), None, 1.0);
    }
    assert_eq!(stories.own.len(), MAX_OWN);
}

#[test]
fn whatever_the_order_in_which_they_hear_of_each_other_all_end_with_one_name() {
    // Three hosts, each with a name of its own; who hears whom in which order, as the digits say.
    for order in 0..3_u32.pow(6) {
        let names = ["a", "b", "c"];
        let mut hosts: Vec<(Stories, Incident)> = names
            .iter()
            .zip([5, 3, 4])
            .map(|(name, number)| {
                let mut document = incident(number, "agent-stall", OF_DB);
                document.observer = (*name).to_owned();
                let mut stories = Stories::default();
                place(&mut stories, &mut document, None, 1.0);
                (stories, document)
            })
            .collect();
        let mut hears = |to: usize, from: usize, now: f64| {
            let told = hosts[from].0.to_tell(1, at(now));
            let (stories, said) = &mut hosts[to];
            stories.hear(names[from], &told, at(now));
            let mut document = said.clone();
            place(stories, &mut document, Some(said), now);
            *said = document;
        };
        for step in 0..6 {
            let pair = (order / 3_u32.pow(step) % 3) as usize;
            hears(pair, (pair + 1) % 3, 1.0 + f64::from(step) / 10.0);
        }
        (0..3).for_each(|_| (0..3).for_each(|to| hears(to, (to + 1) % 3, 2.0)));
        assert!(hosts.iter().all(|(_, said)| said.trace_id == trace(3)), "{order}");
    }
}
