use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use super::*;
use crate::samples;
use crate::shared::Shared;
use crate::store::{Store, StoreReader, StoreSettings, Writer, spawn_writer};

/// A control socket with a store behind it, served on a thread until it is dropped.
struct Served {
    dir: tempfile::TempDir,
    shared: Arc<Shared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    writer: Option<Writer>,
}

impl Served {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shared = samples::shared();
        let settings = StoreSettings { path: dir.path().join("store"), ..StoreSettings::default() };
        let opened = Store::open(&settings);
        let writer = spawn_writer(settings, opened, Arc::clone(&shared)).unwrap();
        let socket = ControlSocket::bind(&dir.path().join("run/control.sock")).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (marker, told) = (writer.marker(), Arc::clone(&shared));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = socket.listener().unwrap();
                tokio::select! {
                    () = serve(listener, Behind { marker, recorder: None, shared: told }) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { dir, shared, stop: Some(stop), thread: Some(thread), writer: Some(writer) }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.dir.path().join("run/control.sock")
    }

    fn ask(&self, request: &[u8]) -> Answer {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        // It may have answered and closed before all of a request that is too long was sent.
        let _ = stream.write_all(request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn end(mut self) -> tempfile::TempDir {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
        assert!(self.writer.take().unwrap().finish());
        self.dir
    }
}

fn refusal(answer: Answer) -> String {
    let Answer::Refused(error) = answer else { panic!("{answer:?}") };
    error
}

#[test]
fn a_mark_is_kept_and_answered() {
    let served = Served::start();
    let answer = served.ask(b"{\"do\":\"mark\",\"text\":\" new kernel parameters \"}\n");
    let Answer::Marked(note) = answer else { panic!("{answer:?}") };
    assert_eq!((note.id, note.text.as_str()), (1, "new kernel parameters"));
    assert!(humantime::parse_rfc3339(&note.at).is_ok());
    let dir = served.end();
    let past = StoreReader::new(&dir.path().join("store")).past(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(past.marks.len(), 1);
    assert_eq!(past.marks[0].text, "new kernel parameters");
    assert!(!dir.path().join("run/control.sock").exists(), "an agent that ends takes its socket along");
}

#[test]
fn what_is_no_request_is_refused_with_what_is_allowed_and_counted() {
    let served = Served::start();
    let long = format!("{{\"do\":\"mark\",\"text\":\"{}\"}}\n", "x".repeat(201));
    let huge = vec![b' '; 1 << 20];
    let cases: [(&[u8], &str); 7] = [
        (b"{\"do\":\"reboot\"}\n", "unknown variant `reboot`, expected `mark`"),
        (b"{\"do\":\"mark\",\"text\":\"x\",\"at\":0}\n", "unknown field `at`"),
        (b"{\"do\":\"mark\",\"text\":\"\\u001b[2J\"}\n", "allowed: 1 to 200 printable characters"),
        (b"{\"do\":\"mark\",\"text\":\"  \"}\n", "allowed: 1 to 200 printable characters"),
        (long.as_bytes(), "allowed: 1 to 200 printable characters"),
        (b"{\"do\":\"mark\",\"text\":\"cut off\"}", "one line of at most 4096 bytes"),
        (&huge, "one line of at most 4096 bytes"),
    ];
    for (request, said) in cases {
        let error = refusal(served.ask(request));
        assert!(error.contains(said), "{error}");
    }
    assert_eq!(served.shared.counters.read().control_refused, 7);
    served.end();
}

#[test]
fn a_client_that_says_nothing_keeps_nobody_waiting() {
    let served = Served::start();
    let _silent: Vec<_> = (0..MAX_CONNECTIONS - 1).map(|_| UnixStream::connect(served.socket()).unwrap()).collect();
    assert!(matches!(served.ask(b"{\"do\":\"mark\",\"text\":\"x\"}\n"), Answer::Marked(_)));
    served.end();
}

#[test]
fn the_socket_is_for_root_and_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lacuna/control.sock");
    let _socket = ControlSocket::bind(&path).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&path), 0o660);
    assert_eq!(mode(&dir.path().join("lacuna")), 0o750);
}

#[test]
fn a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(UnixStream::connect(&path).is_err(), "nobody listens any more");
    let socket = ControlSocket::bind(&path).unwrap();
    let error = ControlSocket::bind(&path).unwrap_err();
    assert!(matches!(error, ControlError::InUse { .. }), "{error}");
    UnixStream::connect(&path).unwrap();
    drop(socket);
    assert!(!path.exists());
    std::fs::write(&path, "notes").unwrap();
    let error = ControlSocket::bind(&path).unwrap_err();
    assert!(matches!(error, ControlError::NotASocket { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "notes");
}

#[test]
fn an_agent_that_records_nothing_says_so() {
    let served = Served::start();
    assert!(refusal(served.ask(b"{\"do\":\"record\"}\n")).contains("records nothing"));
    served.end();
}
