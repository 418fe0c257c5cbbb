use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use lacuna_core::incident::Incident;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::*;
use crate::samples;
use crate::store::{Store, StoreSettings};

/// A served agent; ends with the value.
struct Served {
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    server: Option<tokio::task::JoinHandle<io::Result<()>>>,
    runtime: Runtime,
}

impl Served {
    fn start(shared: Arc<Shared>, store: Option<StoreReader>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = oneshot::channel();
        let shutdown = async {
            let _ = ended.await;
        };
        let server = runtime.spawn(serve(shared, store, listener, shutdown));
        Self { address, end: Some(end), server: Some(server), runtime }
    }

    fn open(&self, method: &str, path: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        BufReader::new(stream)
    }

    /// The status and the whole answer with its headers.
    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let mut answer = String::new();
        self.open(method, path).read_to_string(&mut answer).unwrap();
        (answer[9..12].parse().unwrap(), answer)
    }

    fn json(&self, path: &str) -> (u16, Value) {
        let (status, answer) = self.ask("GET", path);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    fn stop(mut self) -> io::Result<()> {
        self.end.take().unwrap().send(()).unwrap();
        let server = self.server.take().unwrap();
        self.runtime.block_on(server).unwrap()
    }
}

fn ids(answer: &Value) -> Vec<&str> {
    let incidents = answer["incidents"].as_array().unwrap();
    incidents.iter().map(|one| one["id"].as_str().unwrap()).collect()
}

#[test]
fn every_path_of_the_contract_answers() {
    let served = Served::start(samples::busy(), None);
    for (path, word) in [
        ("/", "host-down"),
        ("/metrics", "lacuna_build_info{"),
        ("/healthz", "\"status\":\"degraded\""),
        ("/api/v1/status", "\"kernel\":\"6.18.0\""),
        ("/api/v1/peers", "\"name\":\"lb1\""),
        ("/api/v1/incidents", "\"path-drop\""),
        ("/api/v1/incidents/01JD6QAAAA0000000000000001", "\"evidence\":["),
        ("/incidents/01JD6QAAAA0000000000000001", "NETFILTER_DROP"),
    ] {
        let (status, answer) = served.ask("GET", path);
        assert_eq!(status, 200, "{path}: {answer}");
        assert!(answer.contains(word), "{path}: {answer}");
        assert_eq!(served.ask("POST", path).0, 405, "{path}");
        assert_eq!(served.ask("DELETE", path).0, 405, "{path}");
    }
    assert_eq!(served.json("/api/v2").0, 404);
    served.stop().unwrap();
}

#[test]
fn metrics_are_of_the_type_that_prometheus_reads() {
    let served = Served::start(samples::busy(), None);
    let (_, answer) = served.ask("GET", "/metrics");
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"));
    assert!(answer.contains("process_resident_memory_bytes "));
    assert!(answer.contains("# EOF\n"));
}

#[test]
fn health_is_200_once_it_watches_and_503_with_the_reason_else() {
    let shared = samples::busy();
    let served = Served::start(Arc::clone(&shared), None);
    let (status, body) = served.json("/healthz");
    assert_eq!((status, &body["status"]), (200, &"degraded".into()));
    assert_eq!(body["degraded"]["store"], "the store is read-only");
    *shared.failed.write() = Some("port 9479 is taken".into());
    let (status, body) = served.json("/healthz");
    assert_eq!((status, &body["reason"]), (503, &"port 9479 is taken".into()));
    *shared.ready.write() = false;
    let (status, body) = served.json("/healthz");
    assert_eq!((status, &body["status"]), (503, &"starting".into()));
}

#[test]
fn store_and_memory_are_one_list_and_memory_is_newer() {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings { path: dir.path().to_owned(), ..StoreSettings::default() };
    let mut store = Store::open(&settings).unwrap();
    store.put(&samples::numbered(0)).unwrap();
    let stale = Incident { occurrences: 99, ..samples::host_down() };
    store.put(&stale).unwrap();
    let reader = StoreReader::new(dir.path());
    let served = Served::start(samples::busy(), Some(reader));
    let (_, all) = served.json("/api/v1/incidents");
    let expected = ["id-000000", "01JD6QAAAA0000000000000001", "01JD6RBBBB0000000000000002"];
    let mut sorted = expected;
    sorted.sort_by_key(|id| {
        let one = all["incidents"].as_array().unwrap().iter().find(|one| one["id"] == **id);
        one.unwrap()["started_at"].as_str().unwrap().to_owned()
    });
    assert_eq!(ids(&all), sorted, "oldest first");
    assert_eq!(served.json("/api/v1/incidents/id-000000").0, 200);
    let (_, open) = served.json("/api/v1/incidents?state=open&class=host-down");
    assert_eq!(ids(&open), ["01JD6RBBBB0000000000000002"]);
    assert_eq!(open["incidents"][0]["occurrences"], samples::host_down().occurrences, "the newer one");
    assert!(open["incidents"][0]["duration_ms"].as_u64() > Some(4200), "it goes on, as long as it is open");
    let (_, newest) = served.json("/api/v1/incidents?limit=1");
    assert_eq!((ids(&newest).len(), &newest["truncated"]), (1, &true.into()));
    let (_, none) = served.json("/api/v1/incidents?since=2100-01-01T00:00:00Z&state=closed");
    assert_eq!(ids(&none).len(), 0);
}

#[test]
fn a_store_that_cannot_be_read_is_said_beside_what_is_known() {
    let reader = StoreReader::new(Path::new("/nonexistent"));
    let served = Served::start(samples::busy(), Some(reader));
    let (status, all) = served.json("/api/v1/incidents");
    assert_eq!((status, ids(&all).len()), (200, 2));
    assert!(all["store_error"].as_str().unwrap().contains("there is no store"));
    assert_eq!(served.json("/api/v1/incidents/nobody").0, 503);
}

#[test]
fn a_wrong_parameter_is_told_what_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings { path: dir.path().to_owned(), ..StoreSettings::default() };
    drop(Store::open(&settings).unwrap());
    let served = Served::start(samples::busy(), Some(StoreReader::new(dir.path())));
    for (query, said) in [
        ("class=slow", "class: \"slow\" is not a class; allowed: path-drop, packet-loss"),
        ("state=half", "state: \"half\" is not a state; allowed: open, closed"),
        ("since=yesterday", "since: \"yesterday\" is neither a time nor a length; allowed: RFC 3339"),
        ("limit=0", "limit: \"0\" is not a number of incidents; allowed: 1 to 10000"),
        ("until=now", "\"until\" is not a parameter; allowed: since, class, state, limit"),
    ] {
        let (status, body) = served.json(&format!("/api/v1/incidents?{query}"));
        assert_eq!(status, 400, "{query}");
        assert!(body["error"].as_str().unwrap().starts_with(said), "{query}: {body}");
    }
    let (status, body) = served.json("/api/v1/incidents/nobody");
    assert_eq!(status, 404);
    assert!(body["error"].as_str().unwrap().starts_with("no incident has this id"));
}

/// The next line of an event stream that begins so.
fn next_line(stream: &mut impl BufRead, begin: &str) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the stream ended");
        if line.starts_with(begin) {
            return line;
        }
    }
}

#[test]
fn a_stream_brings_each_change_and_ends_with_the_agent() {
    let shared = samples::busy();
    let served = Served::start(Arc::clone(&shared), None);
    let mut stream = served.open("GET", "/api/v1/incidents/stream");
    next_line(&mut stream, "\r\n");
    shared.changes.send(Arc::new(samples::host_down())).unwrap();
    assert_eq!(next_line(&mut stream, "event: "), "event: incident\n");
    assert!(next_line(&mut stream, "data: ").contains("\"class\":\"host-down\""));
    let begin = Instant::now();
    served.stop().unwrap();
    assert!(begin.elapsed() < GRACE, "an open stream does not hold the agent up");
}

#[test]
fn the_number_of_listeners_is_bounded_and_comes_back() {
    let shared = samples::busy();
    let served = Served::start(Arc::clone(&shared), None);
    let mut listeners: Vec<_> = (0..MAX_STREAMS)
        .map(|_| {
            let mut stream = served.open("GET", "/api/v1/incidents/stream");
            assert!(next_line(&mut stream, "HTTP/").contains("200"));
            stream
        })
        .collect();
    let (status, answer) = served.ask("GET", "/api/v1/incidents/stream");
    assert_eq!(status, 503, "{answer}");
    listeners.pop();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut stream = served.open("GET", "/api/v1/incidents/stream");
        if next_line(&mut stream, "HTTP/").contains("200") {
            break;
        }
        assert!(Instant::now() < deadline, "the place did not come back");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn connections_beyond_the_bound_wait_until_one_ends() {
    let served = Served::start(samples::busy(), None);
    let idle: Vec<_> = (0..MAX_CONNECTIONS).map(|_| TcpStream::connect(served.address).unwrap()).collect();
    let mut waiting = served.open("GET", "/healthz");
    waiting.get_ref().set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(waiting.fill_buf().is_err(), "not served yet");
    drop(idle);
    waiting.get_ref().set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(next_line(&mut waiting, "HTTP/").contains("200"));
}
