//! What the collector has beside what the agents said. Pure.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use lacuna_core::incident::State;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::Value;

use super::sink::{Held, text};
use crate::lab::api::wall;
use crate::lab::judge::{Judgement, told};
use crate::lab::watch::{History, Seen};

/// Adds to the judgement whether every incident that was closed is in the collector as its host said it: the stall and all
/// evidence in its trace, and an opening; and whether whatever came twice was the same.
pub(crate) fn judge(held: &Held, seen: &BTreeMap<String, Seen>, judgement: &mut Judgement) -> Result<()> {
    judgement.wrong.extend(held.broken.iter().map(|broken| format!("collector: {broken}")));
    for (id, forms) in held.spans.iter().filter(|(_, forms)| forms.len() > 1) {
        let names: Vec<_> = forms.iter().map(|(one, _)| format!("{} of {}", one.span.name, one.host)).collect();
        judgement.wrong.push(format!("collector: {} spans have the id {id:02x?}: {names:?}", forms.len()));
    }
    let (mut whole, mut traces) = (0, BTreeMap::<Vec<u8>, BTreeSet<&str>>::new());
    for (host, history) in seen.iter().flat_map(|(host, seen)| seen.incidents.values().map(move |one| (host, one))) {
        if history.last.state != State::Closed {
            continue;
        }
        let spans: Vec<&Span> = spans_of(held, host, &history.last.id);
        let lacking = lacking(&spans, history)?;
        if lacking.is_empty() {
            whole += 1;
            traces.entry(trace(&history.last.trace_id)).or_default().insert(host);
        }
        judgement.wrong.extend(lacking.into_iter().map(|what| format!("collector: {host}: {}: {what}", told(history))));
    }
    let again: usize = held.spans.values().flatten().map(|(_, times)| times - 1).sum();
    let count = held.spans.len();
    judgement
        .reached
        .push(format!("collector: {count} spans of {whole} incidents, {again} came again and were the same"));
    for (trace, hosts) in traces {
        judgement.reached.push(format!("collector: trace {} has spans of {hosts:?}", hex(&trace)));
    }
    Ok(())
}

/// The stalls in that trace: by which host each was told, and as what.
pub(crate) fn stalls_in<'a>(held: &'a Held, trace_id: &str) -> BTreeSet<(&'a str, &'a str)> {
    let trace = trace(trace_id);
    let stalls = held.all().filter(|one| one.span.trace_id == trace && one.span.parent_span_id.is_empty());
    stalls.map(|one| (one.host.as_str(), one.span.name.as_str())).collect()
}

fn spans_of<'a>(held: &'a Held, host: &str, incident: &str) -> Vec<&'a Span> {
    let is_of = |span: &Span| text(&span.attributes, "lacuna.incident.id") == Some(incident);
    held.all().filter(|one| one.host == host && is_of(&one.span)).map(|one| &one.span).collect()
}

/// What is not there of an incident that is closed.
fn lacking(spans: &[&Span], history: &History) -> Result<Vec<String>> {
    let trace = trace(&history.last.trace_id);
    let mut lacking = Vec::new();
    let stall = spans.iter().find(|span| span.parent_span_id.is_empty()).copied();
    match stall {
        Some(stall) => lacking.extend(wrong_stall(stall, &trace, history)?),
        None => lacking.push("its stall is not there".to_owned()),
    }
    if !spans.iter().any(|span| span.name == "opened") {
        lacking.push("its opening is not there".into());
    }
    for cited in history.document.get("evidence").and_then(Value::as_array).into_iter().flatten() {
        let part = |name: &str| cited.get(name).and_then(Value::as_str).unwrap_or_default();
        let (kind, from, to) = (part("kind"), part("from"), part("to"));
        let times = (wall(from)?, wall(to)?);
        let is_span = |span: &&Span| {
            let of = (span.start_time_unix_nano, span.end_time_unix_nano);
            span.name == kind && span.trace_id == trace && of == times
        };
        let is_event = |stall: &Span| stall.events.iter().any(|event| event.name == kind);
        let there =
            if from == to { stall.is_some_and(is_event) } else { spans.iter().copied().any(|one| is_span(&one)) };
        if !there {
            lacking.push(format!("{kind} from {from} to {to} is not there"));
        }
    }
    Ok(lacking)
}

/// What its span says that the incident does not.
fn wrong_stall(stall: &Span, trace: &[u8], history: &History) -> Result<Vec<String>> {
    let last = &history.last;
    let (class, said) =
        (last.verdict.class.name(), text(&stall.attributes, "lacuna.verdict.class").unwrap_or_default());
    let times = (stall.start_time_unix_nano, Some(stall.end_time_unix_nano));
    let mut wrong = Vec::new();
    if (stall.name.as_str(), said) != (class, class) {
        wrong.push(format!("its stall is named {} and called {said}", stall.name));
    }
    if times != (wall(&last.started_at)?, last.ended_at.as_deref().map(wall).transpose()?) {
        wrong.push(format!("its stall is at {times:?}"));
    }
    if stall.trace_id != trace {
        wrong.push("its stall is in another trace".into());
    }
    Ok(wrong)
}

fn trace(hex: &str) -> Vec<u8> {
    u128::from_str_radix(hex, 16).map(|number| number.to_be_bytes().to_vec()).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
