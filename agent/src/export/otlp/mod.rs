//! Incidents as spans of OpenTelemetry's protocol (OTLP): one incident is one trace, and every host that witnesses it adds its own
//! spans.
//!
//! | span | when it is sent | what it covers |
//! |---|---|---|
//! | the stall, named by its class | once, when the incident is closed | begin to end; facts of a moment are its events, other traces its links |
//! | `opened` | at once, and again where the incident takes another trace | the moment of the detection |
//! | a piece of evidence, named by its kind | as soon as it has ended, by the next word about the incident | its interval |
//!
//! The last two are children of the first, which comes after them. The id of a span follows from what it says (that of the stall from
//! the incident, since it is said once), so whatever is sent again is the same span with the same content.

mod attributes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use lacuna_core::incident::{Cited, Incident, Link, State};
use lacuna_core::trace::TraceId;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{self, SpanKind};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use attributes::{Attributes, text};

/// Incidents that are followed at once; of those beyond, evidence may be sent twice.
const MAX_FOLLOWED: usize = 1024;

type SpanId = [u8; 8];

/// What was sent of the incidents that are open.
#[derive(Debug, Default)]
pub struct Spans {
    open: BTreeMap<String, Followed>,
}

#[derive(Debug, Default)]
struct Followed {
    /// The trace under which its opening was sent.
    opened: Option<TraceId>,
    /// The evidence of its version before.
    before: BTreeSet<SpanId>,
    /// The evidence that was sent.
    sent: BTreeSet<SpanId>,
}

impl Spans {
    /// What there is to send now that `incident` was said; nothing where it tells nothing that has ended.
    pub fn of(&mut self, incident: &Incident) -> Vec<Span> {
        let about = About::of(incident);
        let mut followed = self.open.remove(&incident.id).unwrap_or_default();
        let closed = incident.state == State::Closed;
        let evidence = incident.evidence.iter().filter_map(|cited| about.evidence(cited));
        let evidence: BTreeMap<SpanId, Span> = evidence.map(|span| (id_of(&span), span)).collect();
        let known: BTreeSet<SpanId> = evidence.keys().copied().collect();
        let mut spans = Vec::new();
        for (id, span) in evidence {
            let ended = closed || followed.before.contains(&id);
            if ended && followed.sent.insert(id) {
                spans.push(span);
            }
        }
        let opened = followed.opened.replace(incident.trace_id);
        if opened.is_none() || !closed && opened != Some(incident.trace_id) {
            spans.push(about.opening());
        }
        if closed {
            spans.push(about.stall());
            return spans;
        }
        followed.before = known;
        if self.open.len() >= MAX_FOLLOWED {
            self.open.pop_first();
        }
        self.open.insert(incident.id.clone(), followed);
        spans
    }
}

/// The spans of that host as a request. Several of them, one after the other, are a request as well.
#[must_use]
pub fn request(host: &str, spans: Vec<Span>) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let attributes = vec![text("service.name", "lacuna"), text("service.version", version), text("host.name", host)];
    let scope = InstrumentationScope { name: "lacuna".into(), version: version.into(), ..Default::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }];
    let resource = Some(Resource { attributes, ..Default::default() });
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// An incident whose spans are made.
struct About<'a> {
    incident: &'a Incident,
    trace: Vec<u8>,
    /// The id of the span of the stall, which all others belong to.
    stall: SpanId,
}

impl<'a> About<'a> {
    fn of(incident: &'a Incident) -> Self {
        let stall = stall_id(incident, incident.trace_id);
        Self { incident, trace: incident.trace_id.number().to_be_bytes().to_vec(), stall }
    }

    fn stall(&self) -> Span {
        let incident = self.incident;
        let events = incident.evidence.iter().filter(|cited| is_of_a_moment(cited)).map(event).collect();
        let start = nanos(&incident.started_at);
        let end = incident.ended_at.as_deref().map_or(start, nanos);
        Span {
            span_id: self.stall.to_vec(),
            parent_span_id: Vec::new(),
            events,
            links: incident.links.iter().map(|link| self.link(link)).collect(),
            ..self.span(incident.verdict.class.name(), (start, end), self.verdict())
        }
    }

    fn opening(&self) -> Span {
        let detected = nanos(&self.incident.detected_at);
        let links = self.incident.links.iter().map(|link| self.link(link)).collect();
        with_id(Span { links, ..self.span("opened", (detected, detected), self.verdict()) })
    }

    /// Absent for what is of a moment.
    fn evidence(&self, cited: &Cited) -> Option<Span> {
        if is_of_a_moment(cited) {
            return None;
        }
        let (kind, mut all) = evidence(cited);
        all.text("lacuna.incident.id", &self.incident.id);
        Some(with_id(self.span(&kind, (nanos(&cited.from), nanos(&cited.to)), all)))
    }

    /// A child of the stall that has no id yet.
    fn span(&self, name: &str, (start, end): (u64, u64), attributes: Attributes) -> Span {
        let (attributes, dropped_attributes_count) = attributes.into_parts();
        Span {
            trace_id: self.trace.clone(),
            parent_span_id: self.stall.to_vec(),
            name: name.to_owned(),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: start,
            end_time_unix_nano: end.max(start),
            attributes,
            dropped_attributes_count,
            ..Default::default()
        }
    }

    fn verdict(&self) -> Attributes {
        let Incident { verdict, .. } = self.incident;
        let mut all = Attributes::default();
        all.text("lacuna.incident.id", &self.incident.id);
        all.text("lacuna.verdict.class", verdict.class.name());
        all.number("lacuna.verdict.confidence", verdict.confidence);
        all.text("lacuna.verdict.summary", &verdict.summary);
        all.flag("lacuna.verdict.provisional", self.incident.provisional);
        all.all("lacuna.subject", &verdict.subject);
        all.all("lacuna.verdict.detail", &verdict.detail);
        all.all("lacuna.incident.occurrences", &self.incident.occurrences);
        all.all("lacuna.incident.witnesses", &self.incident.witnesses);
        all
    }

    /// Names the stall that the incident has in that trace, or would have: of another incident no span is known.
    fn link(&self, link: &Link) -> span::Link {
        span::Link {
            trace_id: link.trace_id.number().to_be_bytes().to_vec(),
            span_id: stall_id(self.incident, link.trace_id).to_vec(),
            attributes: vec![text("lacuna.link.relation", link.relation.name())],
            ..Default::default()
        }
    }
}

fn evidence(cited: &Cited) -> (String, Attributes) {
    let mut all = Attributes::default();
    let value = serde_json::to_value(&cited.fact).unwrap_or_default();
    let kind = value["kind"].as_str().unwrap_or_default().to_owned();
    all.text("lacuna.evidence.host", &cited.host);
    all.all("lacuna.evidence", &value["detail"]);
    (kind, all)
}

fn event(cited: &Cited) -> span::Event {
    let (name, attributes) = evidence(cited);
    let (attributes, dropped_attributes_count) = attributes.into_parts();
    span::Event { time_unix_nano: nanos(&cited.from), name, attributes, dropped_attributes_count }
}

fn is_of_a_moment(cited: &Cited) -> bool {
    cited.from == cited.to
}

/// It is said once, so the incident and who says so are enough.
fn stall_id(incident: &Incident, trace: TraceId) -> SpanId {
    let parts = [&trace.number().to_be_bytes()[..], incident.observer.as_bytes(), incident.id.as_bytes()];
    hash(&parts)
}

fn with_id(span: Span) -> Span {
    Span { span_id: hash(&[&span.encode_to_vec()]).to_vec(), ..span }
}

fn id_of(span: &Span) -> SpanId {
    span.span_id.as_slice().try_into().unwrap_or_default()
}

/// Never all zero, which is no id.
fn hash(parts: &[&[u8]]) -> SpanId {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes()).update(part);
    }
    let mut id = SpanId::default();
    id.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    if id == SpanId::default() { [1; 8] } else { id }
}

/// Nanoseconds since 1970; 0 for what is no time.
fn nanos(rfc3339: &str) -> u64 {
    let since = humantime::parse_rfc3339(rfc3339).ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or(0, lacuna_core::time::nanos)
}
