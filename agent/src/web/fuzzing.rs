//! What fuzz targets feed.

use std::collections::BTreeMap;
use std::time::SystemTime;

use axum::extract::Query;
use axum::http::Uri;

use super::api;
use crate::store;

/// What is asked for by what stands behind the question mark of an address, at `now`.
///
/// # Errors
/// Why it is refused, as it is answered.
pub fn query(text: &str, now: SystemTime) -> Result<store::Query, String> {
    let uri: Uri = format!("/api/v1/incidents?{text}").parse().map_err(|_| "no address".to_owned())?;
    let Query(parameters) = Query::<BTreeMap<_, _>>::try_from_uri(&uri).map_err(|error| error.body_text())?;
    api::query(&parameters, now)
}
