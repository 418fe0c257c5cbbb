use lacuna_core::incident::Relation;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;

use super::*;
use crate::samples;

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

/// What one attribute says.
fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?;
    match value.value.as_ref()? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The first words about an incident that is closed later.
fn opened(closed: &Incident) -> Incident {
    Incident { state: State::Open, ended_at: None, provisional: true, evidence: Vec::new(), ..closed.clone() }
}

#[test]
fn an_incident_is_opened_at_once_and_told_in_full_when_it_is_closed() {
    let closed = samples::path_drop();
    let mut spans = Spans::default();
    let first = spans.of(&opened(&closed));
    assert_eq!(names(&first), ["opened"]);
    assert_eq!(first[0].start_time_unix_nano, first[0].end_time_unix_nano);
    assert_eq!(spans.of(&opened(&closed)), [], "said once");
    let last = spans.of(&closed);
    let stall = last.last().unwrap();
    assert_eq!((stall.name.as_str(), stall.parent_span_id.len()), ("path-drop", 0));
    assert_eq!(stall.start_time_unix_nano, nanos(&closed.started_at));
    assert_eq!(stall.end_time_unix_nano, nanos(closed.ended_at.as_ref().unwrap()));
    assert_eq!(attribute(&stall.attributes, "lacuna.incident.id"), Some(closed.id.as_str()));
    assert_eq!(attribute(&stall.attributes, "lacuna.verdict.class"), Some("path-drop"));
    assert_eq!(attribute(&stall.attributes, "lacuna.subject.host"), closed.verdict.subject.host.as_deref());
    assert_eq!(attribute(&stall.attributes, "lacuna.subject.peer"), closed.verdict.subject.peer.as_deref());
    let moments = closed.evidence.iter().filter(|cited| is_of_a_moment(cited)).count();
    assert_eq!((stall.events.len(), last.len()), (moments, 1 + closed.evidence.len() - moments));
    for span in first.iter().chain(&last) {
        assert_eq!(span.trace_id, closed.trace_id.number().to_be_bytes());
        assert_eq!(span.parent_span_id.is_empty(), span == stall);
        assert!(span.parent_span_id.is_empty() || span.parent_span_id == stall.span_id);
    }
}

#[test]
fn evidence_is_sent_once_it_does_not_change_any_more_and_not_again() {
    let closed = samples::path_drop();
    let intervals = closed.evidence.iter().filter(|cited| !is_of_a_moment(cited)).count();
    assert!(intervals > 0);
    let mut spans = Spans::default();
    let open = Incident { evidence: closed.evidence.clone(), ..opened(&closed) };
    assert_eq!(names(&spans.of(&open)), ["opened"], "it may still grow");
    assert_eq!(spans.of(&open).len(), intervals);
    assert_eq!(spans.of(&open).len(), 0);
    assert_eq!(names(&spans.of(&closed)), ["path-drop"]);
}

#[test]
fn what_is_said_again_has_the_same_ids_and_another_observer_has_others() {
    let closed = samples::path_drop();
    let all = |incident: &Incident| -> Vec<Span> {
        let mut spans = Spans::default();
        [opened(incident), incident.clone()].iter().flat_map(|incident| spans.of(incident)).collect()
    };
    assert_eq!(all(&closed), all(&closed));
    let other = all(&Incident { observer: "lb9".into(), ..closed.clone() });
    let stall = |spans: &[Span]| spans.last().unwrap().span_id.clone();
    assert_ne!(stall(&other), stall(&all(&closed)));
    let mut ids: Vec<Vec<u8>> = all(&closed).into_iter().map(|span| span.span_id).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn an_incident_that_takes_another_trace_is_told_there_in_full_with_a_link_back() {
    let closed = samples::path_drop();
    let mut spans = Spans::default();
    let open = Incident { evidence: closed.evidence.clone(), ..opened(&closed) };
    let before: Vec<Span> = [spans.of(&open), spans.of(&open)].concat();
    let trace_id = TraceId::of(1, 2);
    let links = vec![Link { trace_id: closed.trace_id, relation: Relation::Was }];
    let joined = spans.of(&Incident { trace_id, links: links.clone(), ..open.clone() });
    assert_eq!(names(&joined), ["opened"]);
    assert_eq!(joined[0].links[0].trace_id, closed.trace_id.number().to_be_bytes());
    assert_eq!(joined[0].links[0].span_id, before[0].parent_span_id);
    let last = spans.of(&Incident { trace_id, links, ..closed.clone() });
    assert_eq!(last.len(), before.len(), "evidence as before, and the stall in place of the opening");
    assert!(last.iter().all(|span| span.trace_id == trace_id.number().to_be_bytes()));
    assert_eq!(attribute(&last.last().unwrap().links[0].attributes, "lacuna.link.relation"), Some("was"));
}

#[test]
fn two_requests_one_after_the_other_are_one() {
    let spans = Spans::default().of(&samples::path_drop());
    let bytes = [request("db1", spans.clone()), request("db1", spans.clone())].concat();
    let both = ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap();
    assert_eq!(both.resource_spans.len(), 2);
    let resource = both.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(attribute(&resource.attributes, "service.name"), Some("lacuna"));
    assert_eq!(attribute(&resource.attributes, "host.name"), Some("db1"));
    assert_eq!(both.resource_spans[1].scope_spans[0].spans, spans);
}

#[test]
fn members_of_members_are_attributes_and_too_many_are_counted() {
    let mut all = Attributes::default();
    all.all("x", &serde_json::json!({"a": {"b": 1, "c": null}, "d": ["e", "f"], "g": [{"h": 1}], "i": 0.5, "j": []}));
    let (list, dropped) = all.into_parts();
    let keys: Vec<&str> = list.iter().map(|one| one.key.as_str()).collect();
    assert_eq!((keys, dropped), (vec!["x.a.b", "x.d", "x.g", "x.i"], 0));
    let value = |place: usize| list[place].value.clone().unwrap().value.unwrap();
    assert_eq!(value(0), Any::IntValue(1));
    assert_eq!(value(2), Any::StringValue("[{\"h\":1}]".into()));
    let mut all = Attributes::default();
    (0..100).for_each(|place| all.number(&format!("n{place}"), 0.0));
    let (list, dropped) = all.into_parts();
    assert_eq!((list.len(), dropped), (64, 36));
}

#[test]
fn incidents_that_never_close_fill_no_memory() {
    let (mut spans, sample) = (Spans::default(), opened(&samples::path_drop()));
    for number in 0..2 * MAX_FOLLOWED {
        spans.of(&Incident { id: format!("{number:026}"), ..sample.clone() });
    }
    assert_eq!(spans.open.len(), MAX_FOLLOWED);
}
