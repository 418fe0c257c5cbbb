//! Asks the agent, on threads of their own: one each second how all is, one for the changes of incidents.

use std::io;
use std::sync::mpsc::{Receiver, SendError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use lacuna_core::incident::Incident;

use super::incidents::MOST;
use super::stream::{Event, Events};
use crate::cli::client;
use crate::clock;
use crate::export::json::{Incidents, Status};

/// The time from one question for the status to the next.
const EACH: Duration = Duration::from_secs(1);
/// The time until a stream that ended is asked for again.
const AGAIN: Duration = Duration::from_secs(2);
/// Answers that may wait to be drawn; who asks waits where there are more.
const WAITING: usize = 64;

/// What came of it.
#[derive(Debug)]
pub(super) enum Update {
    Status(Box<Status>),
    /// The agent gave none, and why.
    NoStatus(String),
    /// The newest incidents.
    List(Vec<Incident>),
    /// A change of one.
    Changed(Box<Incident>),
    /// Changes come as they happen.
    Follows,
    /// Changes do not come as they happen, and why; the list is asked for instead.
    DoesNotFollow(String),
}

/// Nobody looks any more: the threads end.
struct Gone;

impl<T> From<SendError<T>> for Gone {
    fn from(_: SendError<T>) -> Self {
        Self
    }
}

/// Begins to ask; the threads end with the process, or soon after the receiver is dropped.
pub(super) fn start(agent: &str) -> io::Result<Receiver<Update>> {
    let (updates, receiver) = sync_channel(WAITING);
    let (to, url) = (updates.clone(), agent.to_owned());
    thread::Builder::new().name("watch-status".into()).spawn(move || while ask(&url, &to).is_ok() {})?;
    let url = agent.to_owned();
    thread::Builder::new().name("watch-stream".into()).spawn(move || while follow(&url, &updates).is_ok() {})?;
    Ok(receiver)
}

fn ask(url: &str, to: &SyncSender<Update>) -> Result<(), Gone> {
    let began = clock::boot();
    to.send(match client::get(url, "/api/v1/status") {
        Ok(status) => Update::Status(Box::new(status)),
        Err(error) => Update::NoStatus(format!("{error:#}")),
    })?;
    thread::sleep(EACH.saturating_sub(clock::boot().since(began)));
    Ok(())
}

/// Follows the changes until the stream ends, and waits a moment.
fn follow(url: &str, to: &SyncSender<Update>) -> Result<(), Gone> {
    let ended = match client::get_stream(url, "/api/v1/incidents/stream") {
        Ok(stream) => changes(&mut Events::new(stream), url, to)?,
        Err(error) => {
            list(url, to)?;
            format!("{error:#}")
        }
    };
    to.send(Update::DoesNotFollow(ended))?;
    thread::sleep(AGAIN);
    Ok(())
}

/// Why there are no more. The list is asked for once the stream is there, so that no change is missed between the two.
fn changes<R: io::Read>(events: &mut Events<R>, url: &str, to: &SyncSender<Update>) -> Result<String, Gone> {
    list(url, to)?;
    to.send(Update::Follows)?;
    loop {
        match events.next() {
            Ok(Some(Event::Incident(incident))) => to.send(Update::Changed(incident))?,
            Ok(Some(Event::Lost)) => list(url, to)?,
            Ok(None) => return Ok("the agent ended the stream".to_owned()),
            Err(error) => return Ok(format!("the stream broke off: {error}")),
        }
    }
}

/// Without an answer the one for the status says why.
fn list(url: &str, to: &SyncSender<Update>) -> Result<(), Gone> {
    if let Ok(found) = client::get::<Incidents>(url, &format!("/api/v1/incidents?limit={MOST}")) {
        to.send(Update::List(found.incidents))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use tokio::sync::oneshot;

    use super::*;
    use crate::samples;
    use crate::shared::Shared;

    /// The agent's own web server; ends with the sender.
    fn served(shared: &Arc<Shared>) -> (String, oneshot::Sender<()>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (end, ended) = oneshot::channel();
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let shutdown = async { _ = ended.await };
            runtime.block_on(crate::web::serve(shared, None, None, listener, shutdown)).unwrap();
        });
        (url, end)
    }

    /// The first update that is one of those.
    fn first<T>(updates: &Receiver<Update>, mut which: impl FnMut(Update) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            let update = updates.recv_timeout(Duration::from_secs(20)).expect("no such update");
            if let Some(found) = which(update) {
                return found;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "no such update");
        }
    }

    #[test]
    fn an_agent_is_asked_and_its_changes_are_followed() {
        let shared = samples::busy();
        let (url, end) = served(&shared);
        let updates = start(&url).unwrap();
        // Two threads ask: either may be first.
        let (mut host, mut follows) = (None, false);
        first(&updates, |update| {
            match update {
                Update::Status(status) => host = Some(status.agent.host),
                Update::Follows => follows = true,
                _ => {}
            }
            (host.is_some() && follows).then_some(())
        });
        assert_eq!(host.as_deref(), Some("db1"));
        let closed = Arc::new(samples::path_drop());
        shared.changes.send(Arc::clone(&closed)).unwrap();
        let changed = first(&updates, |update| match update {
            Update::Changed(incident) => Some(incident),
            _ => None,
        });
        assert_eq!(*changed, *closed);
        end.send(()).unwrap();
        let why = first(&updates, |update| match update {
            Update::DoesNotFollow(why) => Some(why),
            _ => None,
        });
        assert!(why.contains("stream"), "{why}");
        let why = first(&updates, |update| match update {
            Update::NoStatus(why) => Some(why),
            _ => None,
        });
        assert!(why.contains("no agent answers at http://127.0.0.1"), "{why}");
        assert!(why.contains("lacuna agent --config"), "and what to do: {why}");
    }
}
