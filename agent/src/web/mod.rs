//! The web page, the API and the metrics: read-only, over HTTP.

mod api;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod listener;
mod pages;
mod stream;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::clock;
use crate::export::json::{Health, Peers, Status};
use crate::export::prometheus;
use crate::recorder::Exporter;
use crate::shared::Shared;
use crate::store::StoreReader;
use listener::Bounded;

pub(crate) use api::{class, since};

/// The header of a recording that says where it is damaged, once for each place.
pub(crate) const DAMAGED: &str = "lacuna-damaged";
/// Connections that are served at once; more wait in the socket's own queue.
pub const MAX_CONNECTIONS: usize = 128;
/// A connection over which nothing goes for so long gives its place to others; nginx has the same default. Streams
/// are kept open by their keep-alive lines.
const IDLE: Duration = Duration::from_secs(75);
/// Listeners to `/api/v1/incidents/stream`.
pub const MAX_STREAMS: usize = 32;
/// Questions to the store that run at once.
const MAX_STORE_READS: usize = 4;
/// How long answers under way may take once the agent ends.
const GRACE: Duration = Duration::from_secs(2);

/// What every handler sees.
#[derive(Clone)]
pub(crate) struct App {
    shared: Arc<Shared>,
    store: Option<StoreReader>,
    recorder: Option<Exporter>,
    streams: Arc<Semaphore>,
    store_reads: Arc<Semaphore>,
    ending: watch::Receiver<bool>,
}

/// Serves until `shutdown` is over, then lets answers under way end, for at most 2 s.
///
/// `store` is absent where there is none to read; the incidents in memory are then all there are. `recorder` is absent where
/// recordings are not given to whoever asks.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    shared: Arc<Shared>,
    store: Option<StoreReader>,
    recorder: Option<Exporter>,
    listener: std::net::TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = Bounded::new(TcpListener::from_std(listener)?, MAX_CONNECTIONS, IDLE);
    let (end, ended) = watch::channel(false);
    let app = router(shared, store, recorder, ended.clone());
    let serving = axum::serve(listener, app).with_graceful_shutdown(over(ended));
    let ending = async move {
        shutdown.await;
        // Streams have no end of their own: this is what ends them.
        let _ = end.send(true);
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = serving.into_future() => served,
        () = ending => Ok(()),
    }
}

async fn over(mut ended: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the end as well.
    let _ = ended.wait_for(|ended| *ended).await;
}

fn router(
    shared: Arc<Shared>,
    store: Option<StoreReader>,
    recorder: Option<Exporter>,
    ending: watch::Receiver<bool>,
) -> Router {
    let app = App {
        shared,
        store,
        recorder,
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        store_reads: Arc::new(Semaphore::new(MAX_STORE_READS)),
        ending,
    };
    Router::new()
        .route("/", get(pages::overview))
        .route("/incidents/{id}", get(pages::incident))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/api/v1/status", get(status))
        .route("/api/v1/peers", get(peers))
        .route("/api/v1/incidents", get(api::incidents))
        .route("/api/v1/incidents/stream", get(stream::incidents))
        .route("/api/v1/incidents/{id}", get(api::incident))
        .route("/api/v1/recording", get(recording))
        .fallback(unknown_path)
        .with_state(app)
}

async fn unknown_path() -> api::Refusal {
    let what = "no such path; there are /, /metrics, /healthz, /api/v1/status, /api/v1/peers, \
                /api/v1/incidents, /api/v1/incidents/{id}, /api/v1/incidents/stream and /api/v1/recording";
    api::Refusal::new(StatusCode::NOT_FOUND, what)
}

/// `/api/v1/recording`
async fn recording(State(app): State<App>) -> Result<Response, api::Refusal> {
    let Some(recorder) = app.recorder else {
        let what = "recordings are for root on this host (`lacuna record`), unless `http.recordings = true`";
        return Err(api::Refusal::new(StatusCode::FORBIDDEN, what));
    };
    let failed = |error: String| api::Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error);
    let _permit = app.store_reads.acquire().await.map_err(|error| failed(error.to_string()))?;
    let exported = tokio::task::spawn_blocking(move || recorder.export()).await;
    let exported = exported.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
    let damaged: Vec<_> =
        exported.places_of_damage().filter_map(|place| HeaderValue::from_bytes(place.as_bytes()).ok()).collect();
    let mut answer = ([(header::CONTENT_TYPE, "application/octet-stream")], exported.bytes).into_response();
    answer.headers_mut().extend(damaged.into_iter().map(|place| (HeaderName::from_static(DAMAGED), place)));
    Ok(answer)
}

async fn metrics(State(app): State<App>) -> Response {
    match prometheus::render(&app.shared, Path::new("/")) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            let what = format!("the metrics cannot be written: {error}");
            api::Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, what).into_response()
        }
    }
}

async fn healthz(State(app): State<App>) -> Response {
    let health = Health::of(&app.shared);
    let code = if health.status.watches() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, axum::Json(health)).into_response()
}

async fn status(State(app): State<App>) -> axum::Json<Status> {
    axum::Json(Status::of(&app.shared, clock::wall()))
}

async fn peers(State(app): State<App>) -> axum::Json<Peers> {
    axum::Json(Peers::of(&app.shared))
}
