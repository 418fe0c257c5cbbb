//! The documents of the API, which the commands print with `--json` and read back.
//!
//! A figure that could not be measured is absent, never `null` or 0.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use hdrhistogram::Histogram;
use lacuna_core::incident::{Incident, State};
use serde::{Deserialize, Serialize};

use super::exchange::{self, Way};
use crate::probes::ProbeStatus;
use crate::recent::Recent;
use crate::shared::{Counters, CpuStatus, EchoCounts, Identity, PeerClock, PeerStatus, Shared};

/// `/api/v1/incidents` and `lacuna incidents --json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Incidents {
    /// Oldest first.
    pub incidents: Vec<Incident>,
    /// There are older ones that match and did not fit into the answer.
    #[serde(default)]
    pub truncated: bool,
    /// Incidents in the store that this version cannot read.
    #[serde(default)]
    pub unreadable: u64,
    /// Why the store could not be read, so that these are only the newest, from memory.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub store_error: Option<String>,
}

/// `/api/v1/peers`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Peers {
    /// Peers and anchors, in the order of the configuration.
    pub peers: Vec<Peer>,
}

/// `/api/v1/status` and `lacuna status --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The agent itself and its host.
    pub agent: Identity,
    /// Whether it can do its work.
    pub health: Health,
    /// Peers and anchors.
    pub peers: Vec<Peer>,
    /// This host's CPUs.
    pub cpus: Vec<CpuStatus>,
    /// Every probe and what became of it.
    pub probes: Vec<Probe>,
    /// Incidents that still go on, oldest first.
    pub open_incidents: Vec<Incident>,
    /// Figures of the agent itself.
    pub counters: Counters,
}

/// `/healthz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// How it is.
    pub status: HealthStatus,
    /// With `starting` and `failed`: why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// What does not do all it should, and why.
    #[serde(default)]
    pub degraded: BTreeMap<String, String>,
}

/// The four answers to "does it watch?".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthStatus {
    /// All of it works.
    Ok,
    /// The main job is done, something beside it is not.
    Degraded,
    /// Not every probe and socket has answered yet.
    Starting,
    /// The main job cannot be done.
    Failed,
}

impl HealthStatus {
    /// Whether the main job is done.
    #[must_use]
    pub fn watches(self) -> bool {
        matches!(self, Self::Ok | Self::Degraded)
    }

    /// Its public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Starting => "starting",
            Self::Failed => "failed",
        }
    }
}

/// One peer or anchor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Its address.
    pub addr: String,
    /// `peer` exchanges heartbeats, `anchor` only answers echo requests.
    pub role: String,
    /// Whether it is heard; absent where it never was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub up: Option<bool>,
    /// It said goodbye.
    #[serde(default)]
    pub left: bool,
    /// Since its last heartbeat.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_heard_seconds: Option<f64>,
    /// Since its kernel last answered an echo request.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_echo_seconds: Option<f64>,
    /// How its clocks are beside this host's.
    #[serde(flatten, default)]
    pub clock: PeerClock,
    /// Echo requests to it, by size.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub echoes: Vec<EchoCounts>,
    /// What a router said of its MTU on the way to it, while that holds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path_mtu_bytes: Option<u16>,
    /// The longest gap between its heartbeats in each few seconds of the last minutes, also one that goes on; absent where none was
    /// heard, and for a peer that left.
    #[serde(skip_serializing_if = "Recent::is_empty", default)]
    pub recent_gaps: Recent,
    /// What heartbeats did; absent for an anchor, which has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub heartbeats: Option<Heartbeats>,
}

/// What became of the heartbeats with a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heartbeats {
    /// Sent to it.
    pub sent: u64,
    /// Received from it.
    pub received: u64,
    /// From it, and not arrived.
    pub lost_from_peer: u64,
    /// To it, and not arrived, by its own account; absent where it gave none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lost_to_peer: Option<u64>,
    /// The middle one of all round trips; absent where there was none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rtt_median_seconds: Option<f64>,
    /// Of all round trips since the agent started; absent where there was none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rtt_quantiles: Option<RoundTrips>,
    /// By size and direction.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub by_size: Vec<Way>,
}

/// Round trips in seconds: so large a part of them was no longer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundTrips {
    /// Half.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// All.
    pub max: f64,
}

/// One probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Its family.
    pub probe: String,
    /// Its hook.
    pub hook: String,
    /// Whether it is attached.
    pub attached: bool,
    /// Why not, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub because: Option<String>,
}

impl From<&ProbeStatus> for Probe {
    fn from(status: &ProbeStatus) -> Self {
        Self {
            probe: status.probe.clone(),
            hook: status.hook.clone(),
            attached: status.attached,
            because: status.because.clone(),
        }
    }
}

impl From<&PeerStatus> for Peer {
    fn from(status: &PeerStatus) -> Self {
        Self {
            name: status.name.clone(),
            addr: if status.addr.port() == 0 { status.addr.ip().to_string() } else { status.addr.to_string() },
            role: status.role.to_owned(),
            up: status.up,
            left: status.left,
            last_heard_seconds: status.last_heard_seconds,
            last_echo_seconds: status.last_echo_seconds,
            clock: status.clock,
            echoes: status.echoes.clone(),
            path_mtu_bytes: status.path_mtu_bytes,
            recent_gaps: status.recent_gaps.clone(),
            heartbeats: (status.role == "peer").then(|| heartbeats(status)),
        }
    }
}

fn heartbeats(status: &PeerStatus) -> Heartbeats {
    let median = || status.rtt_us.value_at_quantile(0.5);
    Heartbeats {
        sent: status.sent,
        received: status.received,
        lost_from_peer: status.lost_from_peer,
        lost_to_peer: status.lost_to_peer,
        rtt_median_seconds: (!status.rtt_us.is_empty()).then(|| micros(median())),
        rtt_quantiles: round_trips(&status.rtt_us),
        by_size: exchange::ways(status),
    }
}

fn round_trips(us: &Histogram<u64>) -> Option<RoundTrips> {
    let at = |quantile| micros(us.value_at_quantile(quantile));
    let all = || RoundTrips { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: micros(us.max()) };
    (!us.is_empty()).then(all)
}

/// Microseconds in seconds.
#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
#[must_use]
pub fn micros(us: u64) -> f64 {
    us as f64 / 1e6
}

impl Health {
    /// How the agent is.
    #[must_use]
    pub fn of(shared: &Shared) -> Self {
        let degraded = shared.degraded.read().clone();
        let failed = shared.failed.read().clone();
        let (status, reason) = if !*shared.ready.read() {
            let reason = "not every probe and socket has answered yet";
            (HealthStatus::Starting, Some(reason.to_owned()))
        } else if failed.is_some() {
            (HealthStatus::Failed, failed)
        } else if degraded.is_empty() {
            (HealthStatus::Ok, None)
        } else {
            (HealthStatus::Degraded, None)
        };
        Self { status, reason, degraded }
    }
}

impl Peers {
    /// All peers as they are now.
    #[must_use]
    pub fn of(shared: &Shared) -> Self {
        Self { peers: shared.peers.read().iter().map(Peer::from).collect() }
    }
}

impl Status {
    /// The agent as it is `now`.
    #[must_use]
    pub fn of(shared: &Shared, now: SystemTime) -> Self {
        let mut open = shared.incidents.read().all(now);
        open.retain(|incident| incident.state == State::Open);
        Self {
            agent: shared.identity.clone(),
            health: Health::of(shared),
            peers: Peers::of(shared).peers,
            cpus: shared.cpus.read().clone(),
            probes: shared.probes.read().iter().map(Probe::from).collect(),
            open_incidents: open.into_iter().map(Arc::unwrap_or_clone).collect(),
            counters: shared.counters.read().clone(),
        }
    }
}

/// A document as the commands print it: indented, with a line end.
///
/// # Errors
/// The document has a map whose keys are no texts.
pub fn document<T: Serialize>(value: &T) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text)
}
