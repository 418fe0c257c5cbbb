//! Cases as data: what a scenario expects, what the agents said, and the judgement.

use serde_json::{Value, json};

use super::*;
use crate::lab::clock::Stamp;
use crate::lab::machine::Reading;

const SECOND: u64 = 1_000_000_000;
const HEAD: &str = r#"
about = "x"
lasts = "9s"
hosts = [{ name = "a" }, { name = "b" }]
steps = [
    { name = "cut", at = "0s", drop = { from = "a", to = "b" } },
    { name = "healed", at = "5s", heal = true },
]
"#;
const DROP: &str = r#"
[[expect]]
host = "a"
class = "path-drop"
subject = { host = "a", peer = "b" }
detail = { direction = "both" }
from = "cut"
to = "healed"
evidence = ["retransmits"]
meanwhile = ["host-down"]
"#;

/// A machine with one CPU that was busy for that part of the seconds 90 to 110, and stolen for that long.
fn machine(busy: f64, steal: f64) -> Machine {
    let reading = |wall, all, idle, steal| Reading { wall, all, idle, steal };
    Machine::of(vec![reading(90 * SECOND, 0.0, 0.0, 0.0), reading(110 * SECOND, 20.0, 20.0 * (1.0 - busy), steal)])
}

/// The cut is at second 100 of both clocks, the healing at 105.
fn truth() -> Truth {
    let moment = |second: u64| {
        let at = Stamp { boot: second * SECOND, wall: second * SECOND };
        Moment { before: at, after: at }
    };
    Truth {
        moments: [("cut".into(), moment(100)), ("healed".into(), moment(105))].into(),
        machine: machine(0.0, 3.0),
        loaded: false,
        ..Truth::default()
    }
}

/// A closed path-drop from second 100 to 105 as `a` tells it, with the members of `other` laid over it.
fn incident(other: Value) -> Value {
    let mut incident = json!({
        "id": "1", "trace_id": "00000000000000000000000000000001", "state": "closed", "provisional": false,
        "started_at": "1970-01-01T00:01:40.000Z", "ended_at": "1970-01-01T00:01:45.000Z",
        "detected_at": "1970-01-01T00:01:40.300Z", "duration_ms": 5000,
        "verdict": { "class": "path-drop", "subject": { "host": "a", "peer": "b" }, "confidence": 0.9,
                     "summary": "s", "detail": { "direction": "both" } },
        "evidence": [{ "kind": "retransmits", "host": "b", "from": "", "to": "" }],
    });
    if let (Some(incident), Value::Object(other)) = (incident.as_object_mut(), other) {
        incident.extend(other);
    }
    incident
}

fn verdict(class: &str, subject: Value, detail: Value) -> Value {
    json!({ "class": class, "subject": subject, "confidence": 0.9, "summary": "s", "detail": detail })
}

/// A verdict on the way, and the final document after it.
fn refined(class: &str, provisional: bool) -> Vec<Value> {
    let subject = json!({ "host": "a", "peer": "b" });
    let way = json!({ "verdict": verdict(class, subject, json!({})), "provisional": provisional,
                      "state": "open", "ended_at": null });
    vec![incident(way), incident(json!({}))]
}

fn seen(said: &[(&str, Vec<Value>)]) -> BTreeMap<String, Seen> {
    let mut all = BTreeMap::new();
    for (host, versions) in said {
        let mut seen = Seen::default();
        for version in versions {
            seen.take_all(vec![version.clone()]);
        }
        all.insert((*host).to_owned(), seen);
    }
    all
}

fn judged(expect: &str, truth: &Truth, said: &[(&str, Vec<Value>)]) -> Judgement {
    let scenario = Scenario::parse("test", &format!("{HEAD}{expect}")).unwrap();
    judge(&scenario, truth, &seen(said)).unwrap()
}

/// The judgement names `missing` and `wrong`; an empty text means that there is none.
fn check(expect: &str, said: &[(&str, Vec<Value>)], missing: &str, wrong: &str) {
    let judgement = judged(expect, &truth(), said);
    for (found, expected) in [(&judgement.missing, missing), (&judgement.wrong, wrong)] {
        let text = found.join("\n");
        assert_eq!(text.is_empty(), expected.is_empty(), "{said:?}\n{judgement:#?}");
        assert!(text.contains(expected), "{expected} is not in {judgement:#?}");
    }
}

#[test]
fn what_is_expected_and_said_passes() {
    check(DROP, &[("a", vec![incident(json!({}))])], "", "");
    let judgement = judged(DROP, &truth(), &[("a", vec![incident(json!({}))])]);
    assert_eq!(judgement.reached.len(), 1);
    check("", &[("a", vec![])], "", "");
}

#[test]
fn what_is_expected_and_not_said_is_missing() {
    let open = json!({ "state": "open", "ended_at": null });
    let one_way = verdict("path-drop", json!({ "host": "a", "peer": "b" }), json!({ "direction": "to-peer" }));
    let cases = [
        (vec![], "no path-drop (host=a, peer=b, direction=both)"),
        (vec![incident(open)], "must be closed"),
        (vec![incident(json!({ "verdict": one_way }))], "direction"),
        (vec![incident(json!({ "evidence": [] }))], "cites no retransmits"),
    ];
    for (versions, missing) in cases {
        check(DROP, &[("a", versions)], missing, "");
    }
}

#[test]
fn an_optional_verdict_may_be_missing_but_not_wrong() {
    let optional = format!("{DROP}optional = true\n");
    check(&optional, &[], "", "");
    let long = incident(json!({ "duration_ms": 6000 }));
    check(&optional, &[("a", vec![long])], "", "lasted +1.000 s");
}

#[test]
fn of_some_verdicts_any_number_passes_and_each_is_judged() {
    let any_number = format!("{DROP}any-number = true\n");
    let both = ["1", "2"].map(|id| incident(json!({ "id": id })));
    check(&any_number, &[], "", "");
    check(&any_number, &[("a", both.to_vec())], "", "");
    let long = incident(json!({ "duration_ms": 6000 }));
    check(&any_number, &[("a", vec![long])], "", "a: path-drop");
}

#[test]
fn what_may_last_so_long_at_most_must_not_last_longer() {
    let short = |most| format!("{DROP}at-most = \"{most}\"\n");
    check(&short("5s"), &[("a", vec![incident(json!({}))])], "", "");
    check(&short("4999ms"), &[("a", vec![incident(json!({}))])], "", "lasted 5000 ms, allowed are at most 4.999s");
    let any_number = format!("{}any-number = true\n", short("4999ms"));
    check(&any_number, &[("a", vec![incident(json!({}))])], "", "a: path-drop");
}

#[test]
fn times_are_judged_against_the_truth() {
    let cases = [
        (json!({ "duration_ms": 5199 }), ""),
        (json!({ "duration_ms": 5201 }), "lasted +0.201 s"),
        (json!({ "duration_ms": 4700 }), "lasted -0.300 s"),
        (json!({ "started_at": "1970-01-01T00:01:39.801Z" }), ""),
        (json!({ "started_at": "1970-01-01T00:01:39.799Z" }), "began -0.201 s"),
        (json!({ "ended_at": "1970-01-01T00:01:45.300Z" }), "ended +0.300 s"),
    ];
    for (over, wrong) in cases {
        check(DROP, &[("a", vec![incident(over)])], "", wrong);
    }
}

#[test]
fn what_is_said_on_the_way_counts() {
    let cases = [
        (refined("path-drop", true), ""),
        (refined("unknown", true), ""),
        (refined("host-down", true), ""),
        (refined("host-down", false), "was host-down and not called provisional"),
        (refined("partition", true), "was partition"),
        (refined("agent-stall", true), "was agent-stall"),
    ];
    for (versions, wrong) in cases {
        check(DROP, &[("a", versions)], "", wrong);
    }
}

#[test]
fn what_nobody_expected_is_wrong() {
    let stall = |host: &str| verdict("agent-stall", json!({ "host": host }), json!({ "state": "stopped" }));
    let wrong_subject = incident(json!({ "verdict": stall("b"), "id": "2" }));
    let cases: [(&str, Vec<Value>, &str); 4] = [
        ("", vec![incident(json!({}))], "a: path-drop"),
        ("", refined("unknown", true), "a: unknown → path-drop"),
        ("", vec![wrong_subject], "a: agent-stall (host=b"),
        (DROP, vec![incident(json!({})), incident(json!({ "id": "2" }))], "a: path-drop"),
    ];
    for (expect, versions, wrong) in cases {
        check(expect, &[("a", versions)], "", wrong);
    }
}

#[test]
fn what_one_step_does_is_one_trace_for_all_who_see_it() {
    let expect =
        format!("{DROP}{}", DROP.replace("\"a\"", "\"x\"").replace("\"b\"", "\"a\"").replace("\"x\"", "\"b\""));
    let end = |trace: &str| {
        let verdict = verdict("path-drop", json!({ "host": "b", "peer": "a" }), json!({ "direction": "both" }));
        vec![incident(json!({ "verdict": verdict, "trace_id": trace }))]
    };
    let other = "00000000000000000000000000000002";
    let here = ("a", vec![incident(json!({}))]);
    check(&expect, &[here.clone(), ("b", end("00000000000000000000000000000001"))], "", "");
    check(&expect, &[here, ("b", end(other))], "path-drop of a - b since `cut` is in several traces", "");
}

#[test]
fn an_incident_does_not_close_as_provisional_nor_vanish() {
    check(DROP, &[("a", vec![incident(json!({ "provisional": true }))])], "", "still provisional");
    let open = incident(json!({ "state": "open", "ended_at": null }));
    let scenario = Scenario::parse("test", HEAD).unwrap();
    let mut all = seen(&[("a", vec![open])]);
    all.get_mut("a").unwrap().take_all(Vec::new());
    let judgement = judge(&scenario, &truth(), &all).unwrap();
    assert!(judgement.wrong.join("\n").contains("vanished while it was open"));
}

#[test]
fn a_document_that_breaks_the_contract_is_wrong() {
    let mut broken = incident(json!({}));
    broken.as_object_mut().unwrap().remove("state");
    check("", &[("a", vec![broken])], "", "breaks the contract");
}

fn stolen(host: &str, seconds: Option<f64>) -> Value {
    let detail = seconds.map_or(json!({}), |seconds| json!({ "steal_seconds": seconds }));
    incident(json!({ "verdict": verdict("vcpu-stall", json!({ "host": host, "cpu": 1 }), detail) }))
}

#[test]
fn steal_excuses_only_what_the_machine_accounts_for() {
    let cases = [
        (stolen("a", Some(2.6)), true),
        (stolen("a", Some(4.0)), false),
        (stolen("a", Some(0.1)), false),
        (stolen("a", None), false),
    ];
    for (incident, excused) in cases {
        let judgement = judged("", &truth(), &[("a", vec![incident])]);
        assert_eq!(judgement.passed(), excused, "{judgement:?}");
        assert_eq!(judgement.excused.len(), usize::from(excused));
    }
    let unknown = Truth { machine: Machine::default(), ..truth() };
    assert!(!judged("", &unknown, &[("a", vec![stolen("a", Some(2.6))])]).passed());
}

#[test]
fn a_peers_account_is_excused_by_the_stall_of_the_one_it_is_about() {
    let own = ("a", vec![stolen("a", Some(2.6))]);
    let account = ("b", vec![stolen("a", None)]);
    assert!(judged("", &truth(), &[own, account.clone()]).passed());
    assert!(!judged("", &truth(), &[account]).passed());
}

#[test]
fn load_excuses_the_machine_but_no_blame() {
    let loaded = Truth { loaded: true, ..truth() };
    let saturated = verdict("cpu-saturation", json!({ "host": "a" }), json!({}));
    let saturated = incident(json!({ "verdict": saturated }));
    assert!(judged("", &loaded, &[("a", vec![saturated.clone()])]).passed());
    let busy = Truth { machine: machine(0.97, 0.0), ..truth() };
    assert!(judged("", &busy, &[("a", vec![saturated.clone()])]).passed());
    assert!(!judged("", &busy, &[("a", vec![incident(json!({}))])]).passed());
    assert!(!judged("", &truth(), &[("a", vec![saturated.clone()])]).passed());
    assert!(!judged("", &loaded, &[("a", vec![incident(json!({}))])]).passed());
    let mut refined = refined("path-drop", true);
    refined[1] = saturated;
    assert!(!judged("", &loaded, &[("a", refined)]).passed(), "blamed on the way");
}

#[test]
fn a_guest_that_had_to_catch_up_on_half_a_cpu_is_a_disturbance_of_times_alone() {
    use crate::lab::guest::threads::{Reading, Waits};
    let tenth = |number: u64| Reading { wall: 105 * SECOND + number * SECOND / 10, waits: vec![number * SECOND / 20] };
    let truth = Truth { waits: [("b".into(), Waits::of((0..=10).map(tenth).collect()))].into(), ..truth() };
    let late = incident(json!({ "ended_at": "1970-01-01T00:01:46.800Z", "duration_ms": 6800 }));
    let judgement = judged(DROP, &truth, &[("a", vec![late])]);
    assert!(!judgement.passed());
    let why = "this machine let b wait for 0.50 s in the second after a step";
    assert_eq!(judgement.disturbed.as_deref(), Some(why));
    assert_eq!(judged(DROP, &truth, &[("a", vec![])]).disturbed, None, "it was never said");
}

#[test]
fn a_guest_that_the_machine_held_is_a_disturbance_unless_another_was_blamed() {
    use crate::lab::guest::threads::{Reading, Waits};
    let tenth =
        |number: u64, wait| Reading { wall: 100 * SECOND + number * SECOND / 10, waits: vec![wait * SECOND / 10] };
    let held = Waits::of(vec![tenth(0, 0), tenth(1, 1), tenth(2, 2), tenth(3, 2)]);
    let truth = Truth { waits: [("b".into(), held)].into(), ..truth() };
    let judgement = judged(DROP, &truth, &[("a", vec![])]);
    assert_eq!(judgement.disturbed.as_deref(), Some("this machine did not run b for 0.20 s, beside the steps"));
    let nameless = |host: &str, peer: &str| {
        let verdict = verdict("unknown", json!({ "host": host, "peer": peer }), json!({}));
        vec![incident(json!({ "verdict": verdict, "duration_ms": 300 }))]
    };
    assert!(judged("", &truth, &[("a", nameless("a", "b"))]).passed(), "it did not run, so it sent nothing");
    assert!(!judged("", &truth, &[("a", nameless("a", "c"))]).passed());
    let lockup = incident(json!({ "verdict": verdict("cpu-lockup", json!({ "host": "b", "cpu": 0 }), json!({})) }));
    let judgement = judged(DROP, &truth, &[("b", vec![lockup])]);
    assert!(!judgement.passed() && judgement.disturbed.is_none(), "{judgement:?}");
}
