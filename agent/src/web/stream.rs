//! `/api/v1/incidents/stream`: each change of an incident as a server-sent event.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use lacuna_core::incident::Incident;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::api::Refusal;
use super::{App, MAX_STREAMS};

/// A comment line goes out after so long without an event, so that a listener that is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The event `incident` carries the whole document; `lost` carries how many changes a slow listener missed.
pub(super) async fn incidents(
    State(app): State<App>,
) -> Result<Sse<impl tokio_stream::Stream<Item = Result<Event, Infallible>>>, Refusal> {
    let Ok(permit) = Arc::clone(&app.streams).try_acquire_owned() else {
        let what = format!("{MAX_STREAMS} listeners are served already; try again later");
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, what));
    };
    let changes = app.shared.changes.subscribe();
    // The channel between is short: what a slow listener leaves waits in `changes`, which loses its oldest.
    let (events, receiver) = mpsc::channel(1);
    tokio::spawn(forward(changes, events, app.ending.clone(), permit));
    let stream = ReceiverStream::new(receiver);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Until the listener is gone, the agent ends, or nobody writes changes any more.
async fn forward(
    mut changes: Receiver<Arc<Incident>>,
    events: mpsc::Sender<Result<Event, Infallible>>,
    mut ending: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    let pump = async {
        while let Some(event) = event(changes.recv().await) {
            if events.send(Ok(event)).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = pump => (),
        () = events.closed() => (),
        _ = ending.wait_for(|ending| *ending) => (),
    }
}

/// Absent where there will be no more.
fn event(change: Result<Arc<Incident>, RecvError>) -> Option<Event> {
    match change {
        Ok(incident) => {
            let event = Event::default().event("incident").id(&incident.id);
            event.json_data(&*incident).ok()
        }
        Err(RecvError::Lagged(lost)) => Some(Event::default().event("lost").data(lost.to_string())),
        Err(RecvError::Closed) => None,
    }
}
