use serde_json::{Value, json};

use super::*;
use crate::samples;

const BEGAN_MS: i64 = 1_795_383_364_000;

fn rfc3339(ms: i64) -> String {
    let since = std::time::Duration::from_millis(u64::try_from(ms).unwrap());
    humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since).to_string()
}

/// A piece of evidence of `host`, with its times in milliseconds from the begin of the incident.
fn cited(host: &str, from: i64, to: i64, kind: &str, detail: &Value) -> Cited {
    let [from, to] = [from, to].map(|ms| rfc3339(BEGAN_MS + ms));
    let mut document = json!({ "host": host, "from": from, "to": to, "kind": kind });
    if !detail.is_null() {
        document["detail"] = detail.clone();
    }
    serde_json::from_value(document).unwrap()
}

/// An incident of that length that `observer` tells of, noticed after 300 ms.
fn incident(observer: &str, length_ms: i64, evidence: Vec<Cited>) -> Incident {
    Incident {
        observer: observer.into(),
        started_at: rfc3339(BEGAN_MS),
        detected_at: rfc3339(BEGAN_MS + 300),
        ended_at: Some(rfc3339(BEGAN_MS + length_ms)),
        duration_ms: length_ms.unsigned_abs(),
        evidence,
        ..samples::path_drop()
    }
}

fn timeline(incident: &Incident) -> Timeline {
    Timeline::of(incident, &[]).unwrap()
}

fn names(timeline: &Timeline) -> Vec<String> {
    timeline.lanes.iter().map(lane_name).collect()
}

/// What a peer knows of a CPU of db1 that stood still: its own gap, what db1 tells, and that another host did not hear it either.
fn lockup_seen_by_a_peer(gap_after_ms: i64) -> Incident {
    let account = json!({ "from": 0, "to": 4_900_000_000_u64, "class": "timer-lockup", "cpu": 1 });
    let gap = gap_after_ms;
    let evidence = vec![
        cited("db1", gap - 100, gap + 4600, "silence", &json!({ "lost": 0, "unsent_ns": 4_600_000_000_u64 })),
        cited("db1", 0, 4900, "account", &account),
        cited("db1", gap + 700, gap + 4500, "view", &json!({ "witness": "lb2", "hears": false })),
        cited("db1", 500, 4500, "echo", &json!({ "sent": 5, "answered": 5 })),
    ];
    incident("lb1", 4900, evidence)
}

#[test]
fn what_stopped_first_is_the_first_lane_and_the_first_words() {
    let timeline = timeline(&lockup_seen_by_a_peer(400));
    assert_eq!(names(&timeline), ["db1 CPU 1", "lb1", "lb2", "db1"]);
    assert_eq!(first(&timeline), "db1 CPU 1 stopped first, lb1's gap 300 ms later, lb2's gap 1.1 s later");
    assert_eq!(timeline.lanes[3].stopped, None, "its kernel answered");
}

/// Heartbeats and sentinels look every 100 ms: what is dated a little earlier need not have been earlier.
#[test]
fn what_stood_still_goes_before_what_noticed_at_the_same_moment() {
    let mut seen = lockup_seen_by_a_peer(100);
    seen.evidence[1] = cited("db1", 90, 4900, "account", &json!({ "from": 0, "to": 1, "class": "vm-pause" }));
    let timeline = timeline(&seen);
    assert_eq!(names(&timeline)[..2], ["db1", "lb1"]);
    assert!(first(&timeline).starts_with("db1 stopped first, lb1's gap at the same moment"), "{}", first(&timeline));
}

/// The silence is cited from the last heartbeat on that came in, one interval before the first that is missing.
#[test]
fn a_gap_begins_with_the_first_heartbeat_that_is_missing() {
    let timeline = timeline(&incident("a", 5000, vec![cited("b", -100, 5000, "silence", &json!({ "lost": 50 }))]));
    assert_eq!(timeline.lanes[0].stopped, Some((BEGAN_MS, Sort::Gap)));
    assert_eq!(first(&timeline), "Only a's gap is known");
}

#[test]
fn a_cut_is_a_gap_of_both_ends_and_drops_of_the_kernel_that_made_it() {
    let evidence = vec![
        cited("b", -100, 5100, "silence", &json!({ "lost": 50, "unsent_ns": 0 })),
        cited("b", -100, 5200, "unheard", &json!({ "sent": 52, "heard": 2 })),
        cited(
            "b",
            -33,
            5000,
            "heartbeat-drops",
            &json!({ "direction": "in", "reason": "NETFILTER_DROP", "count": 50 }),
        ),
        cited("b", 200, 5200, "view", &json!({ "witness": "c", "hears": true, "kernel_answers": true })),
        cited("b", 900, 5200, "retransmits", &json!({ "cause": "timeout", "count": 4, "failed": 0 })),
    ];
    let timeline = timeline(&incident("a", 5000, evidence));
    assert_eq!(names(&timeline), ["a", "b", "c"]);
    assert_eq!(first(&timeline), "a's gap and b's gap began at the same moment");
    let sorts: Vec<_> = timeline.lanes[0].rows.iter().map(|row| row.sort).collect();
    assert_eq!(sorts, [Sort::Gap, Sort::Drop, Sort::Resent]);
    assert_eq!(timeline.lanes[2].stopped, None);
}

#[test]
fn without_a_stop_nothing_is_said_to_be_first() {
    let drops = cited("a", 0, 1000, "drops", &json!({ "reason": "NO_SOCKET", "count": 3 }));
    let timeline = timeline(&incident("a", 1000, vec![drops]));
    assert_eq!(first(&timeline), "What stopped first is not among the evidence");
}

#[test]
fn what_is_far_away_does_not_squeeze_the_incident() {
    let hour = 3_600_000;
    let evidence = vec![
        cited("a", -2 * hour, 5000, "drops", &json!({ "reason": "NO_SOCKET", "count": 3 })),
        cited("a", 0, 5000, "agent-late", &json!({ "continued": false, "suspended_ns": 0, "timers_watched": true })),
        cited("a", hour, hour, "drops", &json!({ "reason": "LATER", "count": 3 })),
    ];
    let timeline = timeline(&incident("a", 5000, evidence));
    assert_eq!((timeline.from_ms, timeline.to_ms), (BEGAN_MS - 2000, BEGAN_MS + 7000));
    assert_eq!(timeline.left_out, LeftOut { pieces: 1, ..LeftOut::default() });
    assert!(
        (timeline.percent(BEGAN_MS - 2 * hour) - 0.0).abs() < 1e-9
            && (timeline.percent(BEGAN_MS + hour) - 100.0).abs() < 1e-9
    );
    assert!((timeline.percent(BEGAN_MS + 2500) - 50.0).abs() < 1e-9);
}

#[test]
fn lanes_rows_bars_and_changes_are_bounded_and_what_is_left_out_is_counted() {
    let steal = json!({ "cpu": 0, "stolen_ns": 1000 });
    let many_bars = (0..30).map(|number| cited("db1", number * 10, number * 10 + 5, "steal", &steal));
    let many_lanes = (1..20).map(|cpu| cited("db1", 100, 200, "timer-late", &json!({ "cpu": cpu })));
    let evidence = many_lanes.chain(many_bars).collect();
    let marks: Vec<_> = (0..11).map(|id| Mark { id, at_ms: BEGAN_MS + id, text: format!("change {id}") }).collect();
    let timeline = Timeline::of(&incident("db1", 1000, evidence), &marks).unwrap();
    assert_eq!(timeline.lanes.len(), MAX_LANES);
    assert_eq!(timeline.changes.len(), MAX_CHANGES);
    assert_eq!(timeline.changes[0].1, "change 3", "the newest stay");
    // Nineteen CPUs that were late, and CPU 0, which only lost time, behind them.
    assert_eq!(timeline.left_out, LeftOut { lanes: 8, pieces: 6, changes: 3 });
}

#[test]
fn kinds_beyond_the_rows_of_a_lane_are_counted() {
    let kinds = [
        ("drops", json!({ "reason": "X", "count": 1 })),
        ("agent-late", json!({ "continued": false, "suspended_ns": 0, "timers_watched": true })),
        ("new-incarnation", Value::Null),
        ("arp-reply", json!({ "address": "10.0.0.1", "link": "02:00:00:00:00:01", "count": 1 })),
        ("port-unreachable", Value::Null),
        ("softnet-drops", json!({ "count": 1 })),
        ("receive-overflow", json!({ "count": 1 })),
        ("rcu-stall", json!({ "detail": "x" })),
    ];
    let evidence = kinds.iter().map(|(kind, detail)| cited("a", 0, 100, kind, detail)).collect();
    let timeline = timeline(&incident("a", 1000, evidence));
    assert_eq!((timeline.lanes[0].rows.len(), timeline.left_out.pieces), (MAX_ROWS, 2));
    assert_eq!(timeline.lanes[0].rows[0].sort, Sort::Stall, "what tells most stays");
}

#[test]
fn an_open_incident_reaches_to_now_and_an_unreadable_one_has_no_timeline() {
    let mut open = Incident { ended_at: None, duration_ms: 4200, ..lockup_seen_by_a_peer(100) };
    assert_eq!(timeline(&open).until_ms, BEGAN_MS + 4200);
    open.started_at = "yesterday".into();
    assert_eq!(Timeline::of(&open, &[]), None);
}

#[test]
fn every_drawing_is_inside_of_its_width() {
    for one in [lockup_seen_by_a_peer(400), samples::path_drop(), samples::host_down()] {
        let drawing = draw(&timeline(&one), &one).into_string();
        let percents = drawing.split('"').filter_map(|text| text.strip_suffix('%')?.parse::<f64>().ok());
        let percents: Vec<_> = percents.collect();
        assert!(percents.len() > 5 && percents.iter().all(|percent| (0.0..=100.0).contains(percent)), "{drawing}");
        assert_eq!(drawing.matches("<a ").count(), one.evidence.len(), "each piece can be reached");
        assert!(drawing.contains("<title id=\"drawing-title\">Timeline</title><desc id=\"drawing-text\">"));
    }
}

#[test]
fn a_label_cannot_end_the_drawing() {
    let one = incident("a", 1000, vec![cited("</svg><b>", 0, 500, "silence", &json!({}))]);
    let drawing = draw(&timeline(&one), &one).into_string();
    assert_eq!(drawing.matches("</svg>").count(), 1, "{drawing}");
    assert!(!drawing.contains("<b>"));
}
