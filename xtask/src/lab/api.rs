//! What an agent says over HTTP. Only what the public contract promises is read, so that a change of it is noticed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lacuna_core::incident::{Class, State};
use serde::Deserialize;
use serde_json::Value;

/// Where every agent in a namespace answers, inside of it.
pub(crate) const LOCAL: &str = "http://127.0.0.1:9480";

/// Longest answer that is no text.
const MAX_BYTES: u64 = 256 << 20;

/// A connection to an agent, from the namespace that the thread is in; it is kept between requests.
pub(crate) struct Client {
    http: ureq::Agent,
    url: String,
}

/// An incident, as far as it is judged.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Incident {
    /// By which its versions belong together.
    pub(crate) id: String,
    /// 32 hexadecimal digits.
    pub(crate) trace_id: String,
    /// Open or closed.
    pub(crate) state: State,
    /// Whether the verdict may still change.
    pub(crate) provisional: bool,
    /// RFC 3339.
    pub(crate) started_at: String,
    /// RFC 3339; absent while open.
    #[serde(default)]
    pub(crate) ended_at: Option<String>,
    /// RFC 3339.
    pub(crate) detected_at: String,
    /// Length so far, in milliseconds.
    pub(crate) duration_ms: u64,
    /// Who stalled.
    pub(crate) verdict: Verdict,
    /// What it rests on.
    pub(crate) evidence: Vec<Evidence>,
}

/// Who stalled.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Verdict {
    /// Which of the fixed classes.
    pub(crate) class: Class,
    /// Whom it is about.
    pub(crate) subject: BTreeMap<String, Value>,
    /// One sentence.
    pub(crate) summary: String,
    /// What the class says beyond its name.
    #[serde(default)]
    pub(crate) detail: BTreeMap<String, Value>,
}

/// A piece of evidence.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Evidence {
    /// What was seen.
    pub(crate) kind: String,
    /// The host that it is about.
    pub(crate) host: String,
}

/// A peer of an agent.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Peer {
    /// Its name.
    pub(crate) name: String,
    /// Its address with port.
    pub(crate) addr: String,
    /// `peer` or `anchor`.
    pub(crate) role: String,
    /// Whether it is heard.
    #[serde(default)]
    pub(crate) up: Option<bool>,
    /// How long ago its kernel answered an echo request.
    #[serde(default)]
    pub(crate) last_echo_seconds: Option<f64>,
    /// What a router said of its MTU on the way to it, in bytes.
    #[serde(default)]
    pub(crate) path_mtu_bytes: Option<u16>,
}

impl Client {
    /// A request that takes longer than `timeout` fails.
    pub(crate) fn new(url: &str, timeout: Duration) -> Self {
        let config =
            ureq::Agent::config_builder().timeout_global(Some(timeout)).http_status_as_error(false).proxy(None).build();
        Self { http: config.into(), url: url.to_owned() }
    }

    /// `/healthz`: status and body.
    pub(crate) fn health(&self) -> Result<(u16, String)> {
        let mut answer = self.http.get(format!("{}/healthz", self.url)).call()?;
        let body = answer.body_mut().read_to_string()?;
        Ok((answer.status().as_u16(), body))
    }

    /// The text at that path.
    pub(crate) fn text(&self, path: &str) -> Result<String> {
        let mut answer = self.http.get(format!("{}{path}", self.url)).call()?;
        let status = answer.status().as_u16();
        ensure!(status == 200, "{path} answered {status}");
        Ok(answer.body_mut().read_to_string()?)
    }

    /// The bytes at that path.
    pub(crate) fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        let mut answer = self.http.get(format!("{}{path}", self.url)).call()?;
        let status = answer.status().as_u16();
        ensure!(status == 200, "{path} answered {status}");
        Ok(answer.body_mut().with_config().limit(MAX_BYTES).read_to_vec()?)
    }

    /// The document at that path.
    pub(crate) fn document(&self, path: &str) -> Result<Value> {
        let body = self.text(path)?;
        serde_json::from_str(&body).with_context(|| format!("{path} is no JSON: {body}"))
    }

    /// `/api/v1/incidents`, each as it came.
    pub(crate) fn incidents(&self) -> Result<Vec<Value>> {
        members(self.document("/api/v1/incidents")?, "incidents")
    }

    /// `/api/v1/peers`.
    pub(crate) fn peers(&self) -> Result<Vec<Peer>> {
        let peers = members(self.document("/api/v1/peers")?, "peers")?;
        peers.into_iter().map(|peer| serde_json::from_value(peer).context("a peer in /api/v1/peers")).collect()
    }
}

fn members(mut document: Value, name: &str) -> Result<Vec<Value>> {
    let list = document.get_mut(name).map(Value::take);
    match list {
        Some(Value::Array(members)) => Ok(members),
        _ => anyhow::bail!("the document has no list `{name}`"),
    }
}

/// A wall clock in nanoseconds, from RFC 3339.
pub(crate) fn wall(text: &str) -> Result<u64> {
    let time = humantime::parse_rfc3339_weak(text).with_context(|| format!("the time `{text}`"))?;
    let since = time.duration_since(std::time::UNIX_EPOCH)?;
    Ok(u64::try_from(since.as_nanos())?)
}
