use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use lacuna_core::incident::State;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::OtlpProtocol;
use crate::samples;

/// What a collector has, by span id; each in all forms in which it came.
type Held = Arc<Mutex<BTreeMap<Vec<u8>, Vec<Span>>>>;

fn hold(held: &Held, request: ExportTraceServiceRequest) {
    let spans = request.resource_spans.into_iter().flat_map(|of| of.scope_spans).flat_map(|of| of.spans);
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    spans.for_each(|span| held.entry(span.span_id.clone()).or_default().push(span));
}

fn names(held: &Held) -> Vec<String> {
    let held = held.lock().unwrap_or_else(PoisonError::into_inner);
    let mut names: Vec<String> = held.values().map(|forms| forms[0].name.clone()).collect();
    names.sort();
    names
}

struct Grpc {
    held: Held,
    rejects: i64,
}

#[tonic::async_trait]
impl TraceService for Grpc {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        hold(&self.held, request.into_inner());
        let partial = ExportTracePartialSuccess { rejected_spans: self.rejects, ..Default::default() };
        Ok(tonic::Response::new(ExportTraceServiceResponse { partial_success: Some(partial) }))
    }
}

/// A collector on a thread of its own, until it is dropped.
struct Server {
    runtime: Option<Runtime>,
    address: SocketAddr,
    held: Held,
}

impl Server {
    fn new(address: &str, protocol: OtlpProtocol, held: &Held, answer: &'static str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
        let (address, of_server) = (listener.local_addr().unwrap(), Arc::clone(held));
        runtime.spawn(async move {
            match protocol {
                OtlpProtocol::Grpc => {
                    let service = TraceServiceServer::new(Grpc { held: of_server, rejects: answer.len() as i64 });
                    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
                    tonic::transport::Server::builder()
                        .add_service(service)
                        .serve_with_incoming(incoming)
                        .await
                        .unwrap();
                }
                OtlpProtocol::Http => loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(answer_http(stream, Arc::clone(&of_server), answer));
                },
            }
        });
        Self { runtime: Some(runtime), address, held: Arc::clone(held) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// One request, and that answer to it.
async fn answer_http(mut stream: TcpStream, held: Held, answer: &str) {
    let mut read = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await.unwrap();
        read.extend_from_slice(&part[..count]);
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(read[..end].to_vec()).unwrap().to_lowercase();
        let length: usize =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        if count > 0 && read.len() < end + 4 + length {
            continue;
        }
        assert!(
            head.starts_with("post /v1/traces ") && head.contains("content-type: application/x-protobuf"),
            "{head}"
        );
        if answer.starts_with("200") {
            hold(&held, ExportTraceServiceRequest::decode(&read[end + 4..]).unwrap());
        }
        let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

fn otlp(address: SocketAddr, protocol: OtlpProtocol) -> Otlp {
    Otlp { endpoint: format!("http://{address}"), protocol, spool: 1 << 20 }
}

fn start(folder: &Path, otlp: &Otlp) -> (Traces, Arc<Shared>) {
    let shared = samples::shared();
    (Traces::start(otlp, Spool::open(folder, otlp.spool).unwrap(), Arc::clone(&shared)).unwrap(), shared)
}

fn put_both(traces: &Traces) {
    let closed = samples::path_drop();
    let open = Incident { state: State::Open, ended_at: None, evidence: Vec::new(), ..closed.clone() };
    [open, closed].into_iter().for_each(|incident| traces.put(Arc::new(incident)));
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("{what}");
}

fn figures(shared: &Shared) -> OtlpFigures {
    shared.counters.read().otlp.clone().unwrap()
}

#[test]
fn spans_reach_a_collector_by_grpc_and_by_http() {
    for protocol in [OtlpProtocol::Grpc, OtlpProtocol::Http] {
        let (dir, held) = (tempfile::tempdir().unwrap(), Held::default());
        let answer = if protocol == OtlpProtocol::Http { "200 OK" } else { "" };
        let server = Server::new("127.0.0.1:0", protocol, &held, answer);
        let otlp = otlp(server.address, protocol);
        assert_eq!(try_out(&otlp), Ok(()));
        let (traces, shared) = start(dir.path(), &otlp);
        put_both(&traces);
        eventually("all is sent", || names(&server.held).contains(&"path-drop".to_owned()));
        eventually("and counted", || figures(&shared).sent == names(&held).len() as u64);
        assert_eq!((figures(&shared).up, figures(&shared).waiting_spans), (Some(true), 0));
        traces.finish();
    }
}

#[test]
fn what_a_collector_that_is_away_cannot_take_waits_also_for_the_next_run() {
    let (dir, held) = (tempfile::tempdir().unwrap(), Held::default());
    let address = Server::new("127.0.0.1:0", OtlpProtocol::Grpc, &held, "").address;
    let otlp = otlp(address, OtlpProtocol::Grpc);
    assert!(matches!(try_out(&otlp), Err(SendError::Away(_))));
    let (traces, shared) = start(dir.path(), &otlp);
    put_both(&traces);
    eventually("it is tried", || figures(&shared).failures > 0);
    traces.finish();
    let waiting = figures(&shared).waiting_spans;
    assert!(waiting > 2 && names(&held).is_empty());
    let (traces, shared) = start(dir.path(), &otlp);
    eventually("the next run knows of it", || figures(&shared).waiting_spans == waiting);
    let _server = Server::new(&address.to_string(), OtlpProtocol::Grpc, &held, "");
    eventually("all is sent", || figures(&shared).sent == waiting);
    assert_eq!(names(&held).len() as u64, waiting);
    traces.finish();
}

#[test]
fn what_is_refused_for_good_is_given_up_and_what_may_be_taken_later_is_not() {
    for (answer, dropped) in [("400 Bad Request", true), ("503 Service Unavailable", false), ("404 Not Found", false)] {
        let (dir, held) = (tempfile::tempdir().unwrap(), Held::default());
        let server = Server::new("127.0.0.1:0", OtlpProtocol::Http, &held, answer);
        let (traces, shared) = start(dir.path(), &otlp(server.address, OtlpProtocol::Http));
        put_both(&traces);
        eventually(answer, || if dropped { figures(&shared).rejected > 2 } else { figures(&shared).failures > 0 });
        assert_eq!((figures(&shared).waiting_spans == 0, figures(&shared).up), (dropped, Some(dropped)), "{answer}");
        traces.finish();
    }
}

#[test]
fn spans_that_the_collector_leaves_out_are_counted() {
    let (dir, held) = (tempfile::tempdir().unwrap(), Held::default());
    let server = Server::new("127.0.0.1:0", OtlpProtocol::Grpc, &held, "x");
    let (traces, shared) = start(dir.path(), &otlp(server.address, OtlpProtocol::Grpc));
    traces.put(Arc::new(samples::path_drop()));
    eventually("one is rejected", || figures(&shared).rejected == 1 && figures(&shared).sent > 0);
    traces.finish();
}
