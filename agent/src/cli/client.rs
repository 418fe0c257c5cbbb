//! Asks a running agent over HTTP.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::de::DeserializeOwned;
use ureq::config::Config;
use ureq::http::Response;
use ureq::{Body, BodyReader};

use super::WrongUsage;

/// Where an agent answers unless its configuration says otherwise.
pub(super) const DEFAULT_AGENT: &str = "http://127.0.0.1:9480";
/// An agent answers from memory; one that does not for so long is not well.
const PATIENCE: Duration = Duration::from_secs(5);
/// A stream has a keep-alive line each 15 s; one that says nothing for so long is broken.
const SILENCE: Duration = Duration::from_secs(40);
/// Longest answer: as many incidents as the API gives at once.
const LONGEST: u64 = 256 * 1024 * 1024;
/// Longest refusal of a stream.
const LONGEST_REASON: u64 = 64 * 1024;

/// A URL that this client can ask, for clap.
pub(super) fn agent_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").unwrap_or_default();
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err("allowed: http://ADDRESS:PORT, such as http://127.0.0.1:9480".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The document at `path` of the agent at `url`.
pub(super) fn get<T: DeserializeOwned>(url: &str, path: &str) -> Result<T> {
    serde_json::from_slice(&get_bytes(url, path)?)
        .with_context(|| format!("what answers at {url}{path} is no lacuna agent of this version"))
}

/// What is at `path` of the agent at `url`.
pub(super) fn get_bytes(url: &str, path: &str) -> Result<Vec<u8>> {
    get_with(url, path, "").map(|(bytes, _)| bytes)
}

/// The same, and what its headers of that name say.
pub(super) fn get_with(url: &str, path: &str, header: &str) -> Result<(Vec<u8>, Vec<String>)> {
    let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build();
    let mut answer = ask(config, url, path)?;
    let status = answer.status();
    let bytes = answer.body_mut().with_config().limit(LONGEST).read_to_vec();
    let bytes = bytes.with_context(|| format!("the answer of {url}{path} broke off"))?;
    if !status.is_success() {
        bail!("the agent at {url} answers {status}: {}", reason(&String::from_utf8_lossy(&bytes)));
    }
    let said = answer.headers().iter().filter(|(name, _)| name.as_str() == header);
    let said = said.map(|(_, value)| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    Ok((bytes, said))
}

/// What comes at `path` of the agent at `url`, as long as it lasts; an error of the reader where nothing came for [`SILENCE`].
pub(super) fn get_stream(url: &str, path: &str) -> Result<BodyReader<'static>> {
    let config = ureq::Agent::config_builder()
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(SILENCE))
        .http_status_as_error(false)
        .build();
    let mut answer = ask(config, url, path)?;
    let status = answer.status();
    if !status.is_success() {
        let text = answer.body_mut().with_config().limit(LONGEST_REASON).read_to_string().unwrap_or_default();
        bail!("the agent at {url} answers {status}: {}", reason(&text));
    }
    Ok(answer.into_body().into_reader())
}

fn ask(config: Config, url: &str, path: &str) -> Result<Response<Body>> {
    let agent = ureq::Agent::from(config);
    agent.get(format!("{url}{path}")).call().map_err(|error| {
        anyhow!("no agent answers at {url} ({error}); start one with `lacuna agent --config FILE`, or give --agent URL")
    })
}

/// The `error` of a refusal; the text itself where it has none.
fn reason(text: &str) -> String {
    let error = serde_json::from_str::<serde_json::Value>(text).ok();
    let error = error.and_then(|value| Some(value.get("error")?.as_str()?.to_owned()));
    crate::export::table::clean(&error.unwrap_or_else(|| text.chars().take(200).collect()))
}

/// `value` or what is wrong with it, as wrong usage.
pub(super) fn usage<T>(value: Result<T, String>) -> Result<T> {
    value.map_err(|error| WrongUsage(format!("--{error}")).into())
}
