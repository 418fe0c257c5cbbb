//! `[discovery]`: peers that are not written into the configuration but found, and how its keys are read.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::HEARTBEAT_PORT;
use super::parse::{ADDRESS, PATH, absolute, duration, or, peer_address, rule};
use super::table::{At, Findings, Section};

/// Most of `[[discovery.file]]`, and of `[[discovery.dns]]`.
pub const MAX_SOURCES: usize = 16;
/// Names are not asked for more often: as long as a resolver may keep an answer whose time to live is short.
pub const SHORTEST_INTERVAL: Duration = Duration::from_secs(5);
/// Names are not asked for more rarely, however long the time to live of the answer: a host that is gone from it should
/// not be watched for hours.
pub const LONGEST_INTERVAL: Duration = Duration::from_secs(300);
/// Longest domain name in text form (RFC 1035, section 2.3.4: 255 octets on the wire).
const MAX_DOMAIN_NAME: usize = 253;
/// Longest part of a domain name (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;
const DOMAIN_NAME: &str = "a domain name, such as \"lacuna.example.com\" or \"_lacuna._udp.example.com\"";
const RECORD_TYPES: &str = "\"a\", \"aaaa\", \"srv\"";

/// `[discovery]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoveryConfig {
    /// `[[discovery.file]]`, at most [`MAX_SOURCES`].
    pub files: Vec<PeerFile>,
    /// `[[discovery.dns]]`, at most [`MAX_SOURCES`].
    pub names: Vec<PeerName>,
}

/// One of `[[discovery.file]]`: a list of peers as Prometheus's `file_sd_configs` has it, in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerFile {
    /// The file.
    pub path: PathBuf,
}

/// One of `[[discovery.dns]]`: a domain name with the addresses of several peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerName {
    /// The name that is asked for.
    pub name: String,
    /// What is asked for. Default: [`RecordType::A`], or [`RecordType::Aaaa`] where `heartbeat.listen` is IPv6.
    pub record: RecordType,
    /// The peers' heartbeat port; an SRV record has its own. Default [`HEARTBEAT_PORT`].
    pub port: u16,
    /// The name is asked for anew after this time, or earlier where the answer's time to live is shorter;
    /// [`SHORTEST_INTERVAL`] to [`LONGEST_INTERVAL`]. Default 30 s.
    pub interval: Duration,
    /// The name server that is asked. Default: those of `/etc/resolv.conf`.
    pub resolver: Option<SocketAddr>,
}

/// What a name server is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Names and ports (RFC 2782); their addresses are asked for in turn.
    Srv,
}

impl RecordType {
    /// As it is written in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::Aaaa => "aaaa",
            Self::Srv => "srv",
        }
    }
}

impl DiscoveryConfig {
    /// True where nothing is to be discovered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.names.is_empty()
    }
}

/// The section, and the line of its first source.
pub(super) fn discovery(
    mut section: Section<'_>,
    listen: SocketAddr,
    findings: &Findings,
) -> (DiscoveryConfig, Option<usize>) {
    let files: Vec<At<PeerFile>> = section.sections("file").into_iter().filter_map(file).collect();
    let names = section.sections("dns").into_iter();
    let names: Vec<At<PeerName>> = names.filter_map(|section| dns(section, listen, findings)).collect();
    section.finish();
    bounded("discovery.file", &files, |file| file.path.display().to_string(), findings);
    bounded("discovery.dns", &names, |name| format!("{} ({})", name.name, name.record.name()), findings);
    let first = files.iter().map(|file| file.line).chain(names.iter().map(|name| name.line)).min();
    let files = files.into_iter().map(|file| file.value).collect();
    (DiscoveryConfig { files, names: names.into_iter().map(|name| name.value).collect() }, first)
}

fn file(mut section: Section<'_>) -> Option<At<PeerFile>> {
    let line = section.line;
    let path = section.required("path", &rule(&absolute, PATH));
    section.finish();
    Some(At { line, value: PeerFile { path: path?.value } })
}

fn dns(mut section: Section<'_>, listen: SocketAddr, findings: &Findings) -> Option<At<PeerName>> {
    let line = section.line;
    let name = section.required("name", &rule(&domain_name, DOMAIN_NAME));
    let record = section.text("type", &rule(&record_type, RECORD_TYPES));
    let port = section.port("port");
    let interval = duration(&mut section, "interval", (SHORTEST_INTERVAL, LONGEST_INTERVAL));
    let resolver = section.text("resolver", &rule(&peer_address, ADDRESS));
    section.finish();
    if let Some(record) = &record {
        fits(record, port.as_ref(), listen, findings);
    }
    let value = PeerName {
        name: name?.value,
        record: or(record, if listen.is_ipv4() { RecordType::A } else { RecordType::Aaaa }),
        port: or(port, HEARTBEAT_PORT),
        interval: or(interval, Duration::from_secs(30)),
        resolver: resolver.map(|resolver| resolver.value),
    };
    Some(At { line, value })
}

/// Addresses that cannot be reached from here are of no use, and a port that nobody looks at is a mistake.
fn fits(record: &At<RecordType>, port: Option<&At<u16>>, listen: SocketAddr, findings: &Findings) {
    let other = if listen.is_ipv4() { RecordType::Aaaa } else { RecordType::A };
    if record.value == other {
        let wrong = format!("\"{}\" cannot be reached from heartbeat.listen = \"{listen}\"", other.name());
        findings.add(record.line, "discovery.dns.type", wrong, "both IPv4 (\"a\") or both IPv6 (\"aaaa\"), or \"srv\"");
    }
    if let Some(port) = port.filter(|_| record.value == RecordType::Srv) {
        let wrong = "has no effect with type = \"srv\": each record has a port of its own".to_owned();
        findings.add(port.line, "discovery.dns.port", wrong, "with \"a\" and \"aaaa\" only");
    }
}

/// No more than allowed, and none of them twice.
fn bounded<T: PartialEq>(key: &str, sources: &[At<T>], said: impl Fn(&T) -> String, findings: &Findings) {
    if let Some(beyond) = sources.get(MAX_SOURCES) {
        findings.add(beyond.line, key, format!("{} are too many", sources.len()), &format!("at most {MAX_SOURCES}"));
    }
    for (place, At { line, value }) in sources.iter().enumerate() {
        let before = sources.iter().take(place).find(|other| said(&other.value) == said(value));
        if let Some(first) = before {
            let wrong = format!("\"{}\" is also in line {}", said(value), first.line);
            findings.add(*line, key, wrong, "each one once");
        }
    }
}

fn record_type(text: &str) -> Result<RecordType, String> {
    let all = [RecordType::A, RecordType::Aaaa, RecordType::Srv];
    let known = all.into_iter().find(|record| record.name() == text);
    known.ok_or_else(|| format!("\"{}\" is not a type of records", text.escape_debug()))
}

/// A domain name in text form; a dot at its end, which says that no search domain is to be added, may be there.
pub(crate) fn domain_name(text: &str) -> Result<String, String> {
    let bare = text.strip_suffix('.').unwrap_or(text);
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let label = |label: &str| (1..=MAX_LABEL).contains(&label.len()) && label.chars().all(fits);
    if bare.len() <= MAX_DOMAIN_NAME && bare.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{}\" is not a domain name", text.escape_debug()))
    }
}
