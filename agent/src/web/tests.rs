use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use lacuna_core::incident::Incident;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::*;
use crate::samples;

#[path = "../../tests/support/many.rs"]
mod many;
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
        let server = runtime.spawn(serve(shared, store, None, listener, shutdown));
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

#[test]
fn pages_let_nothing_in_but_their_own_style_and_script() {
    let served = Served::start(samples::busy(), None);
    for path in ["/", "/incidents/01JD6QAAAA0000000000000001"] {
        let (_, answer) = served.ask("GET", path);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert!(head.contains("cache-control: no-store") && head.contains("x-content-type-options: nosniff"), "{head}");
        assert!(!body.contains("style=\"") && !body.contains(" onclick"), "the policy would refuse these");
        assert_eq!((body.matches("<script").count(), body.matches("<style").count()), (1, 1), "{path}");
    }
}

/// A store with that many incidents.
fn full(count: u32) -> (tempfile::TempDir, StoreReader) {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings { path: dir.path().to_owned(), ..StoreSettings::default() };
    Store::open(&settings).unwrap().put(&samples::path_drop()).unwrap();
    many::multiply(&dir.path().join("incidents.db"), count).unwrap();
    let reader = StoreReader::new(dir.path());
    (dir, reader)
}

#[test]
fn ten_thousand_incidents_weigh_no_more_than_a_page() {
    let (_dir, reader) = full(10_000);
    let all = crate::store::Query { bare: true, limit: crate::store::MAX_LIMIT, ..crate::store::Query::default() };
    assert_eq!(reader.find(&all).unwrap().incidents.len(), 10_000);
    let served = Served::start(samples::busy(), Some(reader));
    let (status, page) = served.ask("GET", "/");
    assert_eq!(status, 200);
    assert!(page.len() < 100_000, "{}", page.len());
    let rows = |page: &str| page.matches("<a href=\"/incidents/").count();
    assert_eq!(rows(&page), pages::ON_A_PAGE + 1, "and one that is open");
    let older = page.split_once("<a href=\"/?before=").unwrap().1.split_once('"').unwrap().0;
    let (status, next) = served.ask("GET", &format!("/?before={older}"));
    assert_eq!((status, rows(&next)), (200, pages::ON_A_PAGE + 1));
    assert!(next.contains(">Newest</a>") && next.contains(">Older</a>"));
    let first_of_next = format!("/incidents/copy-{:06}\"", pages::ON_A_PAGE);
    assert!(next.contains(&first_of_next) && !page.contains(&first_of_next), "{first_of_next}");
}

#[test]
fn a_page_is_asked_for_by_class_and_place_only() {
    let (_dir, reader) = full(3);
    let served = Served::start(samples::busy(), Some(reader));
    let (_, drops) = served.ask("GET", "/?class=path-drop");
    assert!(drops.contains("copy-000002") && drops.contains("Only <b>path-drop</b>"), "{drops}");
    assert!(!served.ask("GET", "/?class=restart").1.contains("copy-"));
    for (query, said) in [
        ("class=slow", "class: \"slow\" is not a class"),
        ("before=yesterday", "before: not a place in a list"),
        ("limit=3", "\"limit\" is not a parameter; allowed: class, before"),
    ] {
        let (status, answer) = served.ask("GET", &format!("/?{query}"));
        assert_eq!(status, 400, "{query}");
        let said = said.replace('"', "&quot;");
        assert!(answer.contains(&format!("<p>{said}")), "{query}: {answer}");
    }
}

#[test]
fn who_asks_for_a_page_is_refused_with_a_page() {
    let (_dir, reader) = full(1);
    let served = Served::start(samples::busy(), Some(reader));
    let (status, answer) = served.ask("GET", "/incidents/%3Cnobody%3E");
    assert_eq!(status, 404);
    assert!(answer.contains("content-type: text/html") && answer.contains("content-security-policy: "), "{answer}");
    assert!(answer.contains("no incident has this id") && answer.contains("href=\"/\""), "{answer}");
}

#[test]
fn the_page_says_who_hears_whom_and_what_was_changed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings { path: dir.path().to_owned(), ..StoreSettings::default() };
    let mut store = Store::open(&settings).unwrap();
    store.put(&samples::path_drop()).unwrap();
    let before = humantime::parse_rfc3339(&samples::path_drop().started_at).unwrap() - Duration::from_secs(7200);
    store.mark("an early change", std::time::UNIX_EPOCH + Duration::from_secs(3600)).unwrap();
    store.mark("noapictimer on the kernel command line", before).unwrap();
    let shared = samples::busy();
    let silent = crate::sights::Sight::Silent(Duration::from_secs(4));
    let rows = vec![vec![crate::sights::Sight::Itself, silent], vec![crate::sights::Sight::Unknown; 2]];
    *shared.sights.write() = crate::sights::Matrix { hosts: vec!["db1".into(), "lb1".into()], rows, left_out: 0 };
    let served = Served::start(shared, Some(StoreReader::new(dir.path())));
    let (_, page) = served.ask("GET", "/");
    for said in ["silent 4.0 s", "an early change", "path-drop"] {
        assert!(page.contains(said), "{said} not in {page}");
    }
    let (_, one) = served.ask("GET", "/incidents/01JD6QAAAA0000000000000001");
    assert!(one.contains("noapictimer on the kernel command line&quot;, 2.0 h before"), "{one}");
    assert!(one.contains("<svg width=\"100%\""));
}

#[test]
fn recordings_are_not_for_everybody() {
    let served = Served::start(samples::shared(), None);
    let (status, answer) = served.json("/api/v1/recording");
    assert_eq!(status, 403);
    assert!(answer["error"].as_str().unwrap().contains("http.recordings"), "{answer}");
    served.stop().unwrap();
}
