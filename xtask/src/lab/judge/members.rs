//! The members of an incident's document: whether they are those that are wanted, and in words.

use std::collections::BTreeMap;

use lacuna_core::loss::MEASURED;
use serde_json::Value;

use crate::lab::api::Incident;
use crate::lab::clock::seconds;
use crate::lab::scenario::Expect;
use crate::lab::watch::History;

/// Whether the document has the members that are wanted.
pub(super) fn about(members: &BTreeMap<String, Value>, wanted: &BTreeMap<String, String>) -> bool {
    let has = |key: &String, value: &String| members.get(key).is_some_and(|member| plain(member) == *value);
    wanted.iter().all(|(key, value)| has(key, value))
}

/// Whether each of these members is an interval with that value in it, and was measured over as many packets as a stated rate is.
pub(super) fn holds(members: &BTreeMap<String, Value>, wanted: &BTreeMap<String, f64>) -> bool {
    let has = |(key, value): (&String, &f64)| {
        let figure = |name| members.get(key)?.get(name)?.as_f64();
        let is_measured = figure("packets") == Some(MEASURED as f64);
        is_measured && figure("low").zip(figure("high")).is_some_and(|(low, high)| (low..=high).contains(value))
    };
    wanted.iter().all(has)
}

/// Whether the document has another value for a member that is wanted; one that comes later, such as a size that is still
/// being found out, is none.
pub(super) fn contradicts(members: &BTreeMap<String, Value>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().any(|(key, value)| members.get(key).is_some_and(|member| plain(member) != *value))
}

pub(super) fn wanted(expect: &Expect) -> String {
    let members = expect.subject.iter().chain(&expect.detail);
    let members: Vec<_> = members.map(|(key, value)| format!("{key}={value}")).collect();
    format!("{} ({})", expect.class.name(), members.join(", "))
}

pub(super) fn listed(members: &BTreeMap<String, Value>) -> String {
    let members = members.iter().map(|(key, value)| format!("{key}={}", plain(value)));
    members.collect::<Vec<_>>().join(", ")
}

/// A member without the quotes of JSON, and without digits that nobody reads.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(figure) if number.is_f64() => format!("{figure:.3}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// An incident in one line, with the classes that it had on the way.
pub(crate) fn told(history: &History) -> String {
    let Incident { state, verdict, duration_ms, .. } = &history.last;
    let mut members = verdict.subject.clone();
    members.extend(verdict.detail.clone());
    let mut ways: Vec<_> = history.versions.iter().map(|version| version.class.name()).collect();
    ways.dedup();
    format!(
        "{} ({}), {}, {:.2} s",
        ways.join(" → "),
        listed(&members),
        format!("{state:?}").to_lowercase(),
        seconds(0, duration_ms.saturating_mul(1_000_000)),
    )
}
