//! Incidents over HTTP: what the store holds and what is in memory, as one list.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use lacuna_core::incident::{Class, Incident, State};

use super::App;
use crate::clock;
use crate::export::json::Incidents;
use crate::store::{DEFAULT_LIMIT, Found, MAX_LIMIT, Query, StoreError, StoreReader};

/// A refusal with its reason, as JSON.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: StatusCode,
    pub(super) error: String,
}

impl Refusal {
    pub(super) fn new(code: StatusCode, error: impl Into<String>) -> Self {
        Self { code, error: error.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.error });
        (self.code, Json(body)).into_response()
    }
}

pub(super) type Parameters = Result<extract::Query<BTreeMap<String, String>>, QueryRejection>;

/// `/api/v1/incidents?since=&class=&state=&limit=`
pub(super) async fn incidents(
    extract::State(app): extract::State<App>,
    parameters: Parameters,
) -> Result<Json<Incidents>, Refusal> {
    let extract::Query(parameters) = parameters.map_err(|error| wrong(error.body_text()))?;
    let query = query(&parameters, clock::wall()).map_err(wrong)?;
    Ok(Json(find(&app, query).await))
}

/// A question that cannot be answered as it is asked.
pub(super) fn wrong(what: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, what)
}

/// `/api/v1/incidents/{id}`
pub(super) async fn incident(
    extract::State(app): extract::State<App>,
    Path(id): Path<String>,
) -> Result<Json<Incident>, Refusal> {
    by_id(&app, &id).await.map(Json)
}

/// The incident of that id; memory is newer than the store.
pub(super) async fn by_id(app: &App, id: &str) -> Result<Incident, Refusal> {
    let known = app.shared.incidents.read().all(clock::wall());
    if let Some(incident) = known.into_iter().find(|one| one.id == id) {
        return Ok(Arc::unwrap_or_clone(incident));
    }
    let query = Query { id_prefix: Some(id.to_owned()), ..Query::default() };
    let found = find(app, query).await;
    if let Some(incident) = found.incidents.into_iter().find(|one| one.id == id) {
        return Ok(incident);
    }
    Err(match found.store_error {
        Some(error) => {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("not among the incidents in memory, and {error}"))
        }
        None => Refusal::new(StatusCode::NOT_FOUND, "no incident has this id; /api/v1/incidents lists them"),
    })
}

/// What memory and the store hold together; memory wins by id.
pub(super) async fn find(app: &App, query: Query) -> Incidents {
    let asked = query.clone();
    let stored = read(app, move |store| store.find(&asked)).await;
    let (stored, store_error) = match stored {
        Ok(found) => (found, None),
        Err(error) => (Found::default(), Some(error)),
    };
    let mut answer = merge(app.shared.incidents.read().all(clock::wall()), stored, &query);
    answer.store_error = store_error;
    answer
}

/// What the store answers, or why it does not.
pub(super) async fn read<T: Send + 'static>(
    app: &App,
    question: impl FnOnce(&StoreReader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, String> {
    let Some(store) = app.store.clone() else {
        return Err("there is no store: these are the incidents in memory".to_owned());
    };
    // Nobody closes the semaphore; a permit only bounds the threads that wait for the disk.
    let permit = Arc::clone(&app.store_reads).acquire_owned().await.ok();
    let reading = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        question(&store).map_err(|error| error.to_string())
    });
    reading.await.map_err(|error| format!("the store cannot be read: {error}"))?
}

fn merge(memory: Vec<Arc<Incident>>, stored: Found, query: &Query) -> Incidents {
    let stored_ones = stored.incidents.into_iter().map(Arc::new);
    let by_id: BTreeMap<String, Arc<Incident>> =
        stored_ones.chain(memory).map(|incident| (incident.id.clone(), incident)).collect();
    let mut incidents: Vec<_> = by_id.into_values().filter(|incident| query.wants(incident)).collect();
    incidents.sort_by(|a, b| (&a.started_at, &a.id).cmp(&(&b.started_at, &b.id)));
    let beyond = incidents.len().saturating_sub(query.limit.min(MAX_LIMIT));
    incidents.drain(..beyond);
    // Only those that are left are copied.
    let incidents = incidents.into_iter().map(|incident| taken(incident, query.bare)).collect();
    Incidents { incidents, truncated: stored.truncated || beyond > 0, unreadable: stored.unreadable, store_error: None }
}

fn taken(incident: Arc<Incident>, bare: bool) -> Incident {
    let mut incident = Arc::unwrap_or_clone(incident);
    if bare {
        incident.evidence = Vec::new();
    }
    incident
}

pub(super) fn query(parameters: &BTreeMap<String, String>, now: SystemTime) -> Result<Query, String> {
    let mut query = Query { limit: DEFAULT_LIMIT, ..Query::default() };
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        match name.as_str() {
            "since" => query.since = Some(since(value, now)?),
            "class" => query.class = Some(class(value)?),
            "state" => query.state = Some(state(value)?),
            "limit" => query.limit = limit(value)?,
            _ => {
                let name = name.escape_debug();
                return Err(format!("\"{name}\" is not a parameter; allowed: since, class, state, limit"));
            }
        }
    }
    Ok(query)
}

/// A point of time, or how long ago.
pub(crate) fn since(value: &str, now: SystemTime) -> Result<SystemTime, String> {
    if let Ok(time) = humantime::parse_rfc3339_weak(value) {
        return Ok(time);
    }
    let ago: Option<Duration> = humantime::parse_duration(value).ok();
    // RFC 3339 as this agent writes it begins in 1970, and so does everything there is to find.
    ago.and_then(|ago| now.checked_sub(ago)).map(|time| time.max(SystemTime::UNIX_EPOCH)).ok_or_else(|| {
        format!(
            "since: \"{}\" is neither a time nor a length; allowed: RFC 3339 in UTC such as 2026-11-22T21:36:04Z, or how long ago such as 2h",
            value.escape_debug()
        )
    })
}

/// A verdict class by its public name.
pub(crate) fn class(value: &str) -> Result<Class, String> {
    Class::from_name(value).ok_or_else(|| {
        let names: Vec<_> = Class::ALL.iter().map(|(_, name, _)| *name).collect();
        let value = value.escape_debug();
        format!("class: \"{value}\" is not a class; allowed: {}", names.join(", "))
    })
}

fn state(value: &str) -> Result<State, String> {
    match value {
        "open" => Ok(State::Open),
        "closed" => Ok(State::Closed),
        other => {
            let other = other.escape_debug();
            Err(format!("state: \"{other}\" is not a state; allowed: open, closed"))
        }
    }
}

fn limit(value: &str) -> Result<usize, String> {
    let number = value.parse().ok();
    number.filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(|| {
        let value = value.escape_debug();
        format!("limit: \"{value}\" is not a number of incidents; allowed: 1 to {MAX_LIMIT}")
    })
}
