//! Where the collector hands on what it has: a server for the requests that it makes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::lab::helper::Helper;
use crate::lab::receiver;
use crate::stop::Stop;

/// In the namespace of the collector.
pub(super) const LISTEN: &str = "127.0.0.1:4319";
/// Most bytes of a request.
const BODY: u64 = 16 << 20;
/// Spans that are kept.
const KEPT: usize = 100_000;

/// A span, and the host that it is of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Received {
    pub(crate) host: String,
    pub(crate) span: Span,
}

/// Every span by its id, in every form in which it came, and how often it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pub(crate) spans: BTreeMap<Vec<u8>, Vec<(Received, usize)>>,
    /// What could not be read, or found no room.
    pub(crate) broken: Vec<String>,
}

/// Takes requests until it is dropped.
pub(crate) struct Sink {
    held: Arc<Mutex<Held>>,
    _thread: Helper,
}

impl Sink {
    /// To be made in the namespace of the collector.
    pub(crate) fn start(stop: &Stop) -> Result<Self> {
        let held = Arc::new(Mutex::new(Held::default()));
        let into = Arc::clone(&held);
        let thread = receiver::listen(LISTEN, BODY, stop, move |request| {
            let spans = request.and_then(|request| Ok(ExportTraceServiceRequest::decode(&*request.body)?));
            let taken = spans.is_ok();
            match spans {
                Ok(spans) => lock(&into).take(spans),
                Err(error) => lock(&into).broken.push(format!("{error:#}")),
            }
            taken
        })?;
        Ok(Self { held, _thread: thread })
    }

    pub(crate) fn held(&self) -> Held {
        lock(&self.held).clone()
    }
}

fn lock(held: &Mutex<Held>) -> std::sync::MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Held {
    /// Takes all spans of a request.
    pub(super) fn take(&mut self, request: ExportTraceServiceRequest) {
        for of in request.resource_spans {
            let attributes = of.resource.map(|resource| resource.attributes).unwrap_or_default();
            let host = text(&attributes, "host.name").unwrap_or_default().to_owned();
            if text(&attributes, "service.name") != Some("lacuna") {
                self.broken.push(format!("spans of {host:?} without service.name = lacuna"));
            }
            for span in of.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                self.keep(Received { host: host.clone(), span });
            }
        }
    }

    fn keep(&mut self, one: Received) {
        if self.spans.len() >= KEPT {
            return self.broken.push("more spans than are kept".into());
        }
        let forms = self.spans.entry(one.span.span_id.clone()).or_default();
        match forms.iter_mut().find(|(known, _)| *known == one) {
            Some((_, times)) => *times += 1,
            None => forms.push((one, 1)),
        }
    }

    /// Every span once.
    pub(super) fn all(&self) -> impl Iterator<Item = &Received> {
        self.spans.values().filter_map(|forms| forms.first()).map(|(one, _)| one)
    }
}

/// An attribute that is a text.
pub(super) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?;
    match value.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_that_came_twice_is_one_and_two_forms_of_it_are_seen() {
        let mut held = Held::default();
        let one = |name: &str| Received {
            host: "a".into(),
            span: Span { span_id: vec![1], name: name.into(), ..Span::default() },
        };
        for name in ["x", "x", "y"] {
            held.keep(one(name));
        }
        assert_eq!(held.spans[&vec![1]].iter().map(|(_, times)| *times).collect::<Vec<_>>(), [2, 1]);
    }
}
