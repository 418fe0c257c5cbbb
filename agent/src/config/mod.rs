//! The configuration file: TOML, every key with a default but the peers, every mistake named with its line.

mod check;
mod discovery;
mod error;
mod parse;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lacuna_core::settings::Settings;

pub(crate) use discovery::domain_name;
pub use discovery::{
    DiscoveryConfig, LONGEST_INTERVAL, MAX_SOURCES, PeerFile, PeerName, RecordType, SHORTEST_INTERVAL,
};
pub use error::{ConfigError, Problem};
pub(crate) use parse::name as host_label;

/// The port of heartbeats, UDP.
pub const HEARTBEAT_PORT: u16 = 9479;
/// The port of the web page, the API and the metrics, TCP on the loopback address.
pub const HTTP_PORT: u16 = 9480;
/// Most peers that one agent takes: what the heartbeat's tables and the metrics are sized for.
pub const MAX_PEERS: usize = 1024;
/// Most virtual addresses that one agent watches: each is asked for with a broadcast a second.
pub const MAX_VIPS: usize = 64;
/// Longest configuration file, in bytes; one with [`MAX_PEERS`] peers is below 100 KiB.
const MAX_FILE: u64 = 1024 * 1024;

/// What the operator decided; whatever the file does not say has its default.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// This host's name, as its peers have it. Default: the host name.
    pub host: String,
    /// Free labels of this host; `hypervisor` groups the guests of one machine.
    pub labels: BTreeMap<String, String>,
    /// How heartbeats are exchanged.
    pub heartbeat: Heartbeat,
    /// Whom with, at most [`MAX_PEERS`].
    pub peers: Vec<Peer>,
    /// From which length on a stall is an incident.
    pub thresholds: Thresholds,
    /// What else is watched.
    pub watch: Watch,
    /// Where incidents are kept.
    pub store: Store,
    /// The recording of the last minutes.
    pub recorder: Recorder,
    /// Where the page, the API and the metrics are served.
    pub http: Http,
    /// Where the commands that change something reach the agent.
    pub control: Control,
    /// Where traces are sent; absent: nowhere.
    pub otlp: Option<Otlp>,
    /// Where further peers are found; empty: nowhere.
    pub discovery: DiscoveryConfig,
}

/// `[heartbeat]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The UDP address that heartbeats leave from and arrive at. Default: every IPv4 address, [`HEARTBEAT_PORT`].
    pub listen: SocketAddr,
    /// How often a heartbeat leaves for every peer, 10 ms to 10 s. Default 100 ms.
    pub interval: Duration,
    /// The keys of the cluster.
    pub key_file: Option<PathBuf>,
    /// Heartbeats are exchanged without authentication. Default false.
    pub insecure: bool,
}

/// One of `[[peers]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name, unique, not this host's.
    pub name: String,
    /// Its heartbeat address, unique.
    pub addr: SocketAddr,
}

/// `[thresholds]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// A peer that is silent for longer is an incident. Default: three intervals; never below two.
    pub gap: Duration,
    /// A CPU that stands still for longer is an incident. Default 500 ms.
    pub cpu_stall: Duration,
    /// CPUs that have more work than they can do for longer are an incident. Default 30 s.
    pub saturation: Duration,
}

/// `[watch]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Network interfaces; empty: all that are up, except `lo`. At most [`crate::link::MAX_PORTS`] of them are used.
    pub interfaces: Vec<String>,
    /// Addresses that must have one owner, each once, at most [`MAX_VIPS`].
    pub vips: Vec<IpAddr>,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The directory of the database. Default `/var/lib/lacuna`.
    pub path: PathBuf,
    /// How long a closed incident is kept. Default 30 days.
    pub retention: Duration,
    /// Bound of the database, in bytes; beyond it the oldest closed incidents go first. Default 512 MiB.
    pub max_size: u64,
}

/// `[recorder]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorder {
    /// Bytes that the recording of the last minutes may take on the disk, in the folder of the store: at most 1 GiB. Default 64 MiB.
    pub size: u64,
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The TCP address. Default: the loopback address, [`HTTP_PORT`].
    pub listen: SocketAddr,
    /// Whoever may ask for the metrics may have the recording as well, which `lacuna record --agent` of another host needs.
    /// Default: only root and its group, over the control socket.
    pub recordings: bool,
}

/// `[control]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The Unix socket, for root and the socket's group. Default `/run/lacuna/control.sock`.
    pub socket: PathBuf,
}

/// `[otlp]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// The collector, `http://`.
    pub endpoint: String,
    /// What it speaks. Default: HTTP where the endpoint has the port 4318 or a path, gRPC otherwise.
    pub protocol: OtlpProtocol,
    /// Bytes that spans may take on the disk while the collector is away, in the folder of the store: at most 1 GiB. Default 16 MiB.
    pub spool: u64,
}

/// How spans are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with binary Protobuf.
    Http,
}

impl Otlp {
    /// As the specification has it for an endpoint that says no more.
    #[must_use]
    pub fn usual_protocol(endpoint: &str) -> OtlpProtocol {
        let rest = endpoint.strip_prefix("http://").unwrap_or(endpoint);
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.ends_with(":4318") || !path.is_empty() { OtlpProtocol::Http } else { OtlpProtocol::Grpc }
    }

    /// Where traces go by HTTP: an endpoint without a path is that of all signals.
    #[must_use]
    pub fn traces_url(&self) -> String {
        let rest = self.endpoint.strip_prefix("http://").unwrap_or(&self.endpoint);
        let has_path = rest.split_once('/').is_some_and(|(_, path)| !path.is_empty());
        if has_path { self.endpoint.clone() } else { format!("{}/v1/traces", self.endpoint.trim_end_matches('/')) }
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, HEARTBEAT_PORT)),
            interval: Duration::from_millis(100),
            key_file: None,
            insecure: false,
        }
    }
}

impl Thresholds {
    /// The defaults that go with this interval between heartbeats.
    #[must_use]
    pub fn for_interval(interval: Duration) -> Self {
        Self { gap: interval * 3, cpu_stall: Duration::from_millis(500), saturation: Duration::from_secs(30) }
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self { size: 64 * 1024 * 1024 }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            path: PathBuf::from("/var/lib/lacuna"),
            retention: Duration::from_secs(30 * 24 * 60 * 60),
            max_size: 512 * 1024 * 1024,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT)), recordings: false }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self { socket: PathBuf::from("/run/lacuna/control.sock") }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, or says something wrong: then every mistake that was found, with its line.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let length = std::fs::metadata(path).map_err(unreadable)?.len();
        if length > MAX_FILE {
            return Err(ConfigError::TooLong { path: path.to_owned(), length, most: MAX_FILE });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads a text; `name` is what errors call it.
    ///
    /// # Errors
    /// Every mistake that was found, with its line.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        parse::config(text).map_err(|problems| ConfigError::Wrong { name: name.to_owned(), problems })
    }

    /// What holds where there is no file: no peers, this kernel only.
    #[must_use]
    pub fn without_file(host: &str) -> Self {
        let heartbeat = Heartbeat::default();
        Self {
            host: host.to_owned(),
            labels: BTreeMap::new(),
            thresholds: Thresholds::for_interval(heartbeat.interval),
            heartbeat,
            peers: Vec::new(),
            watch: Watch::default(),
            store: Store::default(),
            recorder: Recorder::default(),
            http: Http::default(),
            control: Control::default(),
            otlp: None,
            discovery: DiscoveryConfig::default(),
        }
    }

    /// True where there are peers, or may be some as soon as they are found: then there is a heartbeat socket.
    #[must_use]
    pub fn exchanges_heartbeats(&self) -> bool {
        !self.peers.is_empty() || !self.discovery.is_empty()
    }

    /// What the engine judges by; `anchors` are names that only answer echo requests. Which fleet it is follows from the keys.
    #[must_use]
    pub fn settings(&self, anchors: Vec<String>) -> Settings {
        Settings {
            host: self.host.clone(),
            fleet: 0,
            labels: self.labels.clone(),
            interval: self.heartbeat.interval,
            gap: self.thresholds.gap,
            cpu_stall: self.thresholds.cpu_stall,
            saturation: self.thresholds.saturation,
            peers: self.peers.iter().map(|peer| peer.name.clone()).collect(),
            anchors,
            vips: self.watch.vips.clone(),
        }
    }

    /// Keys that were given and that this version takes without acting on them, a sentence each.
    #[must_use]
    pub fn without_effect(&self) -> Vec<&'static str> {
        let given = [(
            self.heartbeat.insecure && self.heartbeat.key_file.is_some(),
            "heartbeat.key_file has no effect: insecure = true is given as well",
        )];
        given.into_iter().filter_map(|(given, note)| given.then_some(note)).collect()
    }
}

/// This machine's name, as `uname -n` has it; `localhost` where it has none that fits.
#[must_use]
pub fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .and_then(|name| parse::name(&name).ok())
        .unwrap_or_else(|| "localhost".to_owned())
}
