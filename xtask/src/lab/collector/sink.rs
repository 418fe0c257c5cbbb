//! Where the collector hands on what it has: a server for the requests that it makes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::lab::helper::Helper;
use crate::stop::Stop;

/// In the namespace of the collector.
pub(super) const LISTEN: &str = "127.0.0.1:4319";
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Lines of a head, and bytes of a line and of a body, at most.
const LINES: usize = 64;
const LINE: u64 = 8 << 10;
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
        let listener = TcpListener::bind(LISTEN).with_context(|| format!("cannot listen on {LISTEN}"))?;
        listener.set_nonblocking(true)?;
        let held = Arc::new(Mutex::new(Held::default()));
        let into = Arc::clone(&held);
        let thread = Helper::spawn("sink", stop, move |stop| {
            while !stop.raised() {
                match listener.accept() {
                    Ok((stream, _)) => {
                        if let Err(error) = serve(stream, &into) {
                            lock(&into).broken.push(format!("{error:#}"));
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        let _ = stop.sleep_until(Instant::now() + Duration::from_millis(20));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
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

/// One request; the connection is closed with the answer.
fn serve(mut stream: TcpStream, into: &Mutex<Held>) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let Some(body) = read(&mut BufReader::new(&stream))? else { return Ok(()) };
    lock(into).take(ExportTraceServiceRequest::decode(body.as_slice())?);
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    )?;
    Ok(())
}

/// The body of a request; absent where the connection was closed without one.
fn read(from: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
    let first = line(from)?;
    if first.is_empty() {
        return Ok(None);
    }
    let (mut length, mut packed) = (None, false);
    for _ in 0..LINES {
        let line = line(from)?;
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = Some(value.trim().parse::<u64>()?),
            "content-encoding" => packed = value.trim() == "gzip",
            _ => {}
        }
    }
    let length = length.with_context(|| format!("no length: {first}"))?;
    ensure!(length <= BODY, "{length} bytes are too many");
    let mut body = Vec::new();
    from.take(length).read_to_end(&mut body)?;
    ensure!(body.len() as u64 == length, "a torn body");
    if !packed {
        return Ok(Some(body));
    }
    let mut whole = Vec::new();
    GzDecoder::new(&*body).take(BODY + 1).read_to_end(&mut whole)?;
    ensure!(whole.len() as u64 <= BODY, "more than {BODY} bytes once unpacked");
    Ok(Some(whole))
}

fn line(from: &mut impl BufRead) -> Result<String> {
    let mut text = String::new();
    from.take(LINE).read_line(&mut text)?;
    Ok(text.trim_end().to_owned())
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
    fn a_body_is_read_whole_or_not_at_all() {
        let request =
            |length: usize, body: &str| format!("POST /v1/traces HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{body}");
        assert_eq!(read(&mut request(3, "abc").as_bytes()).unwrap(), Some(b"abc".to_vec()));
        assert_eq!(read(&mut &b""[..]).unwrap(), None);
        assert!(read(&mut request(4, "abc").as_bytes()).is_err());
        assert!(read(&mut request(BODY as usize + 1, "").as_bytes()).is_err());
        assert!(read(&mut &b"POST / HTTP/1.1\r\n\r\n"[..]).is_err());
    }

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
