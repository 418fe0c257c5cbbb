//! What a browser is given: `/`, and a page for each incident.

use std::collections::BTreeMap;
use std::time::SystemTime;

use axum::extract::{self, Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use lacuna_core::incident::{self, Class};
use lacuna_core::recurrence::{Mark, MarkNote};

use super::App;
use super::api::{self, Parameters, Refusal, wrong};
use crate::clock;
use crate::export::html::{self, Beside, Overview, Place};
use crate::export::json::Status;
use crate::store::{Cursor, Query};

/// Closed incidents on a page.
pub(super) const ON_A_PAGE: usize = 50;
/// Changes on a page, the newest ones.
const CHANGES: u32 = 20;

/// Its own style and script, and nothing else; nothing of it is kept by the browser.
fn headers() -> HeaderMap {
    HeaderMap::from_iter([
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(html::policy())),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ])
}

fn page(text: String) -> Response {
    (headers(), Html(text)).into_response()
}

/// A refusal that a person reads, with the way back.
pub(super) struct RefusedPage(Refusal);

impl From<Refusal> for RefusedPage {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for RefusedPage {
    fn into_response(self) -> Response {
        (self.0.code, page(html::refused(&self.0.error))).into_response()
    }
}

/// `/?class=&before=`
pub(super) async fn overview(State(app): State<App>, parameters: Parameters) -> Result<Response, RefusedPage> {
    let extract::Query(parameters) = parameters.map_err(|error| wrong(error.body_text()))?;
    let (class, before) = asked(&parameters).map_err(wrong)?;
    let earlier = before.is_some();
    let closed = Some(incident::State::Closed);
    let query = Query { class, before, state: closed, bare: true, limit: ON_A_PAGE, ..Query::default() };
    let recent = api::find(&app, query).await;
    let now = clock::wall();
    let marks: Vec<MarkNote> = marks(&app, now).await.iter().map(MarkNote::from).collect();
    let (status, matrix) = (Status::of(&app.shared, now), app.shared.sights.read().clone());
    let shown = Overview { status: &status, matrix: &matrix, recent: &recent, marks: &marks, class, earlier };
    Ok(page(html::overview(&shown)))
}

/// `/incidents/{id}`
pub(super) async fn incident(State(app): State<App>, Path(id): Path<String>) -> Result<Response, RefusedPage> {
    let incident = api::by_id(&app, &id).await?;
    let ended = incident.ended_at.as_deref().and_then(|ended| humantime::parse_rfc3339_weak(ended).ok());
    let marks = marks(&app, ended.unwrap_or_else(clock::wall)).await;
    let earlier = api::read(&app, move |store| store.earlier_evidence(&id)).await.unwrap_or_default();
    let beside = Beside { earlier: &html::only_earlier(earlier, &incident), marks: &marks };
    Ok(page(html::incident(&incident, beside, Place::Served)))
}

/// The newest changes until then; none where the store cannot say, which the page says beside its incidents.
async fn marks(app: &App, until: SystemTime) -> Vec<Mark> {
    api::read(app, move |store| store.marks(until, CHANGES)).await.unwrap_or_default()
}

fn asked(parameters: &BTreeMap<String, String>) -> Result<(Option<Class>, Option<Cursor>), String> {
    let (mut class, mut before) = (None, None);
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        match name.as_str() {
            "class" => class = Some(api::class(value)?),
            "before" => before = Some(value.parse::<Cursor>().map_err(|error| format!("before: {error}"))?),
            _ => return Err(format!("\"{}\" is not a parameter; allowed: class, before", name.escape_debug())),
        }
    }
    Ok((class, before))
}
