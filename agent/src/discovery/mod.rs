//! Peers that are found beside those of the configuration: in files as Prometheus's `file_sd_configs` has them, and behind
//! domain names.
//!
//! All of it runs on a thread of its own, which may wait for a disk or a name server while the driver goes on. What comes
//! out is the configuration with other peers, which the driver takes as it takes one that was re-read: a peer that left
//! the list is told so and no longer watched, one that joined it is watched from then on.
//!
//! A source that fails keeps the peers that it gave before.

mod dns;
#[cfg(test)]
mod dns_tests;
mod file;
mod follow;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod merge;
mod refusals;
mod sources;
mod survey;

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use tokio::runtime::{Builder, Runtime};

use crate::config::{Config, Peer, PeerFile, PeerName, RecordType};

pub use follow::{Behind, Discovery};
pub use refusals::Refusals;
pub use survey::{Survey, Surveyed, survey};

/// Longest part of an error that is told, in characters.
const LONGEST_TROUBLE: usize = 200;

/// One place where peers are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    File(PeerFile),
    Name(PeerName),
}

impl Source {
    fn all(config: &Config) -> impl Iterator<Item = Self> {
        let files = config.discovery.files.iter().cloned().map(Self::File);
        files.chain(config.discovery.names.iter().cloned().map(Self::Name))
    }

    /// The label `source` of the metrics.
    fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Name(_) => "dns",
        }
    }

    /// What a person calls it.
    fn said(&self) -> String {
        match self {
            Self::File(file) => format!("file {}", file.path.display()),
            Self::Name(name) => format!("name {} ({})", name.name, name.record.name()),
        }
    }
}

/// Which addresses can be reached from `heartbeat.listen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn of(listen: SocketAddr) -> Self {
        if listen.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn record(self) -> RecordType {
        match self {
            Self::V4 => RecordType::A,
            Self::V6 => RecordType::Aaaa,
        }
    }
}

/// The peers of one source. Their names and addresses are as they were found: [`merge`] looks at them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    peers: Vec<Peer>,
    /// What could not even be made a peer.
    refused: Refusals,
}

/// What came of looking at a source once.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    /// The new list; absent where the old one stays.
    found: Option<Found>,
    /// What went wrong.
    trouble: Option<String>,
}

impl Outcome {
    /// What went wrong may quote what was found, which is somebody else's text: so it is cut and shown without controls.
    fn failed(trouble: String) -> Self {
        let shown = trouble.chars().take(LONGEST_TROUBLE);
        let shown = shown.map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
        Self { found: None, trouble: Some(shown.collect()) }
    }
}

/// The addresses that this host has now; where they cannot be read, that of `listen` alone. A loopback address counts where
/// heartbeats can arrive at it: several agents on one host, as in tests, tell each other apart by them.
fn own_addresses(listen: SocketAddr) -> Vec<IpAddr> {
    let all = getifaddrs().into_iter().flatten().filter_map(|one| ip_of(&one));
    all.filter(|ip| !ip.is_loopback() || listen.ip().is_unspecified()).chain([listen.ip()]).collect()
}

fn ip_of(interface: &InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address.as_ref()?;
    let four = address.as_sockaddr_in().map(|four| IpAddr::V4(four.ip()));
    four.or_else(|| address.as_sockaddr_in6().map(|six| IpAddr::V6(six.ip())))
}

/// All of discovery is one thread.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
