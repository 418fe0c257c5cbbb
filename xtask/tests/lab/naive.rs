//! A stand-in for the agent that knows nothing but silence: whoever is not heard for 300 ms, it blames the network.
//! Right for a drop, wrong for everything else.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

const GAP: Duration = Duration::from_millis(300);
const INTERVAL: Duration = Duration::from_millis(100);
/// All of it is one trace.
const TRACE: &str = "00000000000000000000000000000001";

#[derive(Clone)]
struct Peer {
    name: String,
    addr: SocketAddr,
    heard: Option<(Instant, SystemTime)>,
    open: Option<Value>,
}

#[derive(Default)]
struct Book {
    peers: BTreeMap<IpAddr, Peer>,
    closed: Vec<Value>,
}

#[test]
#[ignore = "the stand-in for the agent, started by the lab"]
fn agent() {
    let Ok(path) = std::env::var("NAIVE_CONFIG") else {
        return;
    };
    let config: toml::Table = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let end = Arc::new(std::sync::atomic::AtomicBool::new(false));
    signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGTERM, 0, Arc::clone(&end)).unwrap();
    end.store(true, std::sync::atomic::Ordering::Relaxed);
    let book = Arc::new(Mutex::new(Book::default()));
    for peer in config.get("peers").and_then(toml::Value::as_array).into_iter().flatten() {
        let addr: SocketAddr = peer["addr"].as_str().unwrap().parse().unwrap();
        let name = peer["name"].as_str().unwrap().to_owned();
        let peer = Peer { name, addr, heard: None, open: None };
        book.lock().unwrap().peers.insert(addr.ip(), peer);
    }
    let served = Arc::clone(&book);
    let listener = TcpListener::bind(config["http"]["listen"].as_str().unwrap()).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let book = Arc::clone(&served);
            std::thread::spawn(move || serve(stream, &book));
        }
    });
    beat(&config, &book);
}

/// Sends to all, hears from all; a packet is the age in milliseconds of what was last heard.
fn beat(config: &toml::Table, book: &Mutex<Book>) {
    let host = config["host"].as_str().unwrap();
    let socket = UdpSocket::bind(config["heartbeat"]["listen"].as_str().unwrap()).unwrap();
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next {
            next = Instant::now() + INTERVAL;
            book.lock().unwrap().tick(host, &socket);
        }
        let left = next.saturating_duration_since(Instant::now());
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
        let mut packet = [0; 8];
        if let Ok((8, from)) = socket.recv_from(&mut packet) {
            book.lock().unwrap().hear(host, from.ip(), u64::from_be_bytes(packet));
        }
    }
}

impl Book {
    fn tick(&mut self, host: &str, socket: &UdpSocket) {
        for peer in self.peers.values_mut() {
            let age = peer.heard.map(|(at, _)| at.elapsed());
            if let (Some((at, wall)), None) = (peer.heard, &peer.open)
                && at.elapsed() > GAP
            {
                peer.open = Some(incident(host, &peer.name, wall, "from-peer"));
            }
            let age = age.map_or(0, |age| u64::try_from(age.as_millis()).unwrap());
            let _ = socket.send_to(&age.to_be_bytes(), peer.addr);
        }
    }

    fn hear(&mut self, host: &str, from: IpAddr, age: u64) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        let unheard = u128::from(age) > GAP.as_millis();
        let silent = peer.heard.is_some_and(|(at, _)| at.elapsed() > GAP);
        peer.heard = Some((Instant::now(), SystemTime::now()));
        match peer.open.take() {
            None if unheard => {
                let began = SystemTime::now() - Duration::from_millis(age);
                peer.open = Some(incident(host, &peer.name, began, "to-peer"));
            }
            Some(mut open) if silent || !unheard => {
                if silent && unheard {
                    open["verdict"]["detail"]["direction"] = "both".into();
                }
                self.closed.push(close(open));
            }
            still => peer.open = still,
        }
    }

    fn incidents(&self) -> Value {
        let open = self.peers.values().filter_map(|peer| peer.open.as_ref());
        json!({ "incidents": self.closed.iter().chain(open).collect::<Vec<_>>() })
    }

    fn peers(&self) -> Value {
        let peers = self.peers.values().map(|peer| {
            let up = peer.heard.map(|(at, _)| at.elapsed() < GAP);
            json!({ "name": peer.name, "addr": peer.addr, "role": "peer", "up": up })
        });
        json!({ "peers": peers.collect::<Vec<_>>() })
    }
}

fn incident(host: &str, peer: &str, began: SystemTime, direction: &str) -> Value {
    let time = |at| humantime::format_rfc3339_millis(at).to_string();
    json!({
        "id": format!("{peer}-{}", time(began)), "trace_id": TRACE, "state": "open", "provisional": true, "duration_ms": 0,
        "started_at": time(began), "detected_at": time(SystemTime::now()), "evidence": [],
        "verdict": { "class": "path-drop", "subject": { "host": host, "peer": peer }, "summary": "silence",
                     "confidence": 0.5, "detail": { "direction": direction } },
    })
}

fn close(mut open: Value) -> Value {
    let now = SystemTime::now();
    let began = humantime::parse_rfc3339_weak(open["started_at"].as_str().unwrap()).unwrap();
    let length = now.duration_since(began).unwrap().as_millis();
    open["ended_at"] = humantime::format_rfc3339_millis(now).to_string().into();
    open["duration_ms"] = u64::try_from(length).unwrap().into();
    open["state"] = "closed".into();
    open["provisional"] = false.into();
    open
}

fn serve(mut stream: TcpStream, book: &Mutex<Book>) {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        request.extend_from_slice(&piece[..read]);
        if !request.ends_with(b"\r\n\r\n") {
            continue;
        }
        let line = String::from_utf8_lossy(&request).into_owned();
        let book = book.lock().unwrap();
        let body = match line.split_whitespace().nth(1) {
            Some("/healthz") => "ok".to_owned(),
            Some("/api/v1/peers") => book.peers().to_string(),
            _ => book.incidents().to_string(),
        };
        drop(book);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
        request.clear();
    }
}
