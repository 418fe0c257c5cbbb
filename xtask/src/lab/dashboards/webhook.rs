//! What Alertmanager sends, as the one who is paged gets it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::lab::helper::Helper;
use crate::stop::Stop;

/// Where alertmanager.yml sends to.
const LISTEN: &str = "127.0.0.1:9095";
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Lines of a head, and bytes of a line and of a body, at most.
const LINES: usize = 64;
const LINE: u64 = 8 << 10;
const BODY: u64 = 1 << 20;
/// Notifications that are kept.
const KEPT: usize = 1000;

/// A notification.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Notification {
    /// The receiver that it came to.
    #[serde(skip)]
    pub(super) path: String,
    /// `firing` or `resolved`.
    pub(super) status: String,
    /// The alerts of the group.
    pub(super) alerts: Vec<Alert>,
}

/// One of its alerts.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Alert {
    /// `firing` or `resolved`.
    pub(super) status: String,
    /// With `alertname`.
    pub(super) labels: BTreeMap<String, String>,
    /// What people read.
    pub(super) annotations: BTreeMap<String, String>,
}

/// Takes notifications until it is dropped.
pub(super) struct Webhook {
    got: Arc<Mutex<Vec<Notification>>>,
    _thread: Helper,
}

impl Webhook {
    /// To be made in the namespace of Alertmanager.
    pub(super) fn start(stop: &Stop) -> Result<Self> {
        let listener = TcpListener::bind(LISTEN).with_context(|| format!("cannot listen on {LISTEN}"))?;
        listener.set_nonblocking(true)?;
        let got = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&got);
        let thread = Helper::spawn("webhook", stop, move |stop| {
            loop {
                match listener.accept() {
                    Ok((stream, _)) => match take(stream) {
                        Ok(notification) => keep(&to, notification),
                        Err(error) => eprintln!("warning: a notification that cannot be read: {error:#}"),
                    },
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        if stop.sleep_until(Instant::now() + Duration::from_millis(50)).is_err() {
                            return Ok(());
                        }
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        })?;
        Ok(Self { got, _thread: thread })
    }

    /// What came so far to that receiver.
    pub(super) fn got(&self, path: &str) -> Vec<Notification> {
        let all = self.got.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|notification| notification.path == path).cloned().collect()
    }
}

fn keep(to: &Mutex<Vec<Notification>>, notification: Notification) {
    let mut all = to.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() < KEPT {
        all.push(notification);
    }
}

/// Reads one request and answers it.
fn take(mut stream: TcpStream) -> Result<Notification> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let notification = read(&mut BufReader::new(&stream))?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(notification)
}

/// A request as Alertmanager makes it: POST with the length of its body.
fn read(from: &mut impl std::io::BufRead) -> Result<Notification> {
    let first = line(from)?;
    let path = first.split(' ').nth(1).context("no path")?.to_owned();
    let mut length = None;
    for _ in 0..LINES {
        let line = line(from)?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse::<u64>()?);
        }
    }
    let length = length.context("no length")?;
    ensure!(length <= BODY, "{length} bytes are too many");
    let mut body = Vec::new();
    from.take(length).read_to_end(&mut body)?;
    let notification: Notification = serde_json::from_slice(&body)?;
    Ok(Notification { path, ..notification })
}

fn line(from: &mut impl std::io::BufRead) -> Result<String> {
    let mut text = String::new();
    from.take(LINE).read_line(&mut text)?;
    ensure!(text.ends_with('\n'), "a line without an end");
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_read_from_its_request() {
        let body = r#"{"status":"firing","alerts":[{"status":"firing","labels":{"subject":"a - b"},"annotations":{}}],"more":1}"#;
        let text = format!("POST /page HTTP/1.1\r\nHost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let notification = read(&mut text.as_bytes()).unwrap();
        assert_eq!((&*notification.path, &*notification.status), ("/page", "firing"));
        assert_eq!(notification.alerts[0].labels["subject"], "a - b");
    }

    #[test]
    fn what_is_too_long_or_torn_is_refused() {
        let long = format!("POST /page HTTP/1.1\r\nContent-Length: {}\r\n\r\n", BODY + 1);
        assert!(read(&mut long.as_bytes()).unwrap_err().to_string().contains("too many"));
        let endless = "x".repeat(100_000);
        assert!(read(&mut endless.as_bytes()).is_err());
        assert!(read(&mut &b"POST /page HTTP/1.1\r\n\r\n"[..]).is_err(), "no length");
    }
}
