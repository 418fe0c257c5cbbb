//! The web page, the API and the metrics: read-only, over HTTP.

mod api;
mod listener;
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
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::clock;
use crate::export::json::{Health, Peers, Status};
use crate::export::{html, prometheus};
use crate::shared::Shared;
use crate::store::{Query, StoreReader};
use listener::Bounded;

pub(crate) use api::{class, since};

/// Connections that are served at once; more wait in the socket's own queue.
pub const MAX_CONNECTIONS: usize = 128;
/// A connection over which nothing goes for so long gives its place to others; nginx has the same default. Streams
/// are kept open by their keep-alive lines.
const IDLE: Duration = Duration::from_secs(75);
/// Listeners to `/api/v1/incidents/stream`.
pub const MAX_STREAMS: usize = 32;
/// Questions to the store that run at once.
const MAX_STORE_READS: usize = 4;
/// Closed incidents on the page.
const ON_THE_PAGE: usize = 50;
/// How long answers under way may take once the agent ends.
const GRACE: Duration = Duration::from_secs(2);

/// What every handler sees.
#[derive(Clone)]
pub(crate) struct App {
    shared: Arc<Shared>,
    store: Option<StoreReader>,
    streams: Arc<Semaphore>,
    store_reads: Arc<Semaphore>,
    ending: watch::Receiver<bool>,
}

/// Serves until `shutdown` is over, then lets answers under way end, for at most 2 s.
///
/// `store` is absent where there is none to read; the incidents in memory are then all there are.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    shared: Arc<Shared>,
    store: Option<StoreReader>,
    listener: std::net::TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = Bounded::new(TcpListener::from_std(listener)?, MAX_CONNECTIONS, IDLE);
    let (end, ended) = watch::channel(false);
    let app = router(shared, store, ended.clone());
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

fn router(shared: Arc<Shared>, store: Option<StoreReader>, ending: watch::Receiver<bool>) -> Router {
    let app = App {
        shared,
        store,
        streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        store_reads: Arc::new(Semaphore::new(MAX_STORE_READS)),
        ending,
    };
    Router::new()
        .route("/", get(page))
        .route("/incidents/{id}", get(incident_page))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/api/v1/status", get(status))
        .route("/api/v1/peers", get(peers))
        .route("/api/v1/incidents", get(api::incidents))
        .route("/api/v1/incidents/stream", get(stream::incidents))
        .route("/api/v1/incidents/{id}", get(api::incident))
        .fallback(unknown_path)
        .with_state(app)
}

async fn unknown_path() -> api::Refusal {
    let what = "no such path; there are /, /metrics, /healthz, /api/v1/status, /api/v1/peers, \
                /api/v1/incidents, /api/v1/incidents/{id} and /api/v1/incidents/stream";
    api::Refusal::new(StatusCode::NOT_FOUND, what)
}

/// The page holds no script and loads nothing.
fn page_headers() -> HeaderMap {
    HeaderMap::from_iter([
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ])
}

async fn page(State(app): State<App>) -> Response {
    let query = Query { limit: ON_THE_PAGE, state: Some(lacuna_core::incident::State::Closed), ..Query::default() };
    let recent = api::find(&app, query).await;
    let page = html::overview(&Status::of(&app.shared, clock::wall()), &recent);
    (page_headers(), Html(page)).into_response()
}

async fn incident_page(
    State(app): State<App>,
    axum::extract::Path(id): axum::extract::Path<String>,
) -> Result<Response, api::Refusal> {
    let incident = api::by_id(&app, &id).await?;
    Ok((page_headers(), Html(html::incident(&incident))).into_response())
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
