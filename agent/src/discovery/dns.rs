//! Peers behind domain names: A and AAAA records, each of which is a peer, and SRV records, whose targets are.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as Negative, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{self, RData, Record};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::refusals::Reason;
use super::{Family, Found, Outcome};
use crate::config::{LONGEST_INTERVAL, MAX_PEERS, Peer, PeerName, RecordType, SHORTEST_INTERVAL};

/// How long a name server may take for one answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How often a question is repeated.
const REPEATS: usize = 1;
/// How long all questions of one round may take together.
const ROUND: Duration = Duration::from_secs(10);
/// Questions at once.
const AT_ONCE: usize = 16;

/// Why there is no answer. The peers stay as they were.
#[derive(Debug, thiserror::Error)]
pub(super) enum DnsError {
    #[error("no name server can be asked: {0}")]
    Setup(NetError),
    #[error("no answer for {name}: {source}")]
    Failed { name: String, source: NetError },
    #[error("no answer within {} s", ROUND.as_secs())]
    Slow,
}

/// The records of a name, none where a name server says that there are none.
#[derive(Debug, Default)]
struct Answer {
    records: Vec<Record>,
    /// The shortest time to live of them.
    ttl: Option<Duration>,
}

/// The addresses of a name.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// In their own order: name servers give them in another one each time.
    ips: Vec<IpAddr>,
    ttl: Option<Duration>,
}

impl Addresses {
    /// The one that counts where a name stands for one host.
    pub(super) fn first(&self) -> Option<IpAddr> {
        self.ips.first().copied()
    }
}

/// One of SRV records.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Service {
    /// The host, without the dot at its end.
    pub(super) target: String,
    pub(super) port: u16,
}

/// Asks for a name once; and how long to wait until the next time.
pub(super) async fn ask(name: &PeerName, family: Family) -> (Outcome, Duration) {
    match timeout(ROUND, peers(name, family)).await.unwrap_or(Err(DnsError::Slow)) {
        Ok((found, ttl)) => (Outcome { found: Some(found), trouble: None }, wait(name.interval, ttl)),
        Err(error) => (Outcome::failed(error.to_string()), wait(name.interval, None)),
    }
}

/// An answer that lives shorter than the interval is old before it.
fn wait(interval: Duration, ttl: Option<Duration>) -> Duration {
    ttl.map_or(interval, |ttl| ttl.min(interval)).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
}

/// What came of asking for one of many names.
type Asked = (String, Result<Addresses, DnsError>);

/// The addresses of many names, by `server` or those of `/etc/resolv.conf`.
pub(super) async fn addresses(
    server: Option<SocketAddr>,
    names: Vec<String>,
    family: Family,
) -> Result<Vec<Asked>, DnsError> {
    timeout(ROUND, each(resolver(server)?, names, family)).await.map_err(|_| DnsError::Slow)
}

async fn each(resolver: TokioResolver, names: Vec<String>, family: Family) -> Vec<Asked> {
    let mut answers = Vec::with_capacity(names.len());
    for some in names.chunks(AT_ONCE) {
        let mut questions = JoinSet::new();
        for name in some.iter().cloned() {
            let resolver = resolver.clone();
            questions.spawn(async move {
                let answer = addresses_of(&resolver, &name, family).await;
                (name, answer)
            });
        }
        answers.extend(questions.join_all().await);
    }
    answers
}

/// A peer's name that is made of its address. A host name has no colons, so those of IPv6 become dashes, as in
/// `ipv6-literal.net`.
pub(super) fn name_of(ip: IpAddr) -> String {
    ip.to_string().replace(':', "-")
}

/// It is made anew each time: nothing is kept longer than until the next question, and `/etc/resolv.conf` may have changed.
fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, DnsError> {
    let mut builder = match server {
        Some(server) => TokioResolver::builder_with_config(only(server), TokioRuntimeProvider::default()),
        None => TokioResolver::builder_tokio().map_err(DnsError::Setup)?,
    };
    let options = builder.options_mut();
    (options.timeout, options.attempts) = (ANSWER, REPEATS);
    builder.build().map_err(DnsError::Setup)
}

fn only(server: SocketAddr) -> ResolverConfig {
    let mut config = NameServerConfig::udp_and_tcp(server.ip());
    config.connections.iter_mut().for_each(|connection| connection.port = server.port());
    ResolverConfig::from_name_servers(vec![config])
}

async fn peers(name: &PeerName, family: Family) -> Result<(Found, Option<Duration>), DnsError> {
    match name.record {
        RecordType::A | RecordType::Aaaa => {
            let resolver = resolver(name.resolver)?;
            let Addresses { ips, ttl } = addresses_of(&resolver, &name.name, family).await?;
            let peers = ips.into_iter().map(|ip| Peer { name: name_of(ip), addr: SocketAddr::new(ip, name.port) });
            Ok((bounded(peers), ttl))
        }
        RecordType::Srv => services(name, family).await,
    }
}

/// A target's addresses are those of one host, so it is one peer.
async fn services(name: &PeerName, family: Family) -> Result<(Found, Option<Duration>), DnsError> {
    let Answer { records, mut ttl } = lookup(&resolver(name.resolver)?, &name.name, rr::RecordType::SRV).await?;
    let mut services: Vec<Service> = records.iter().filter_map(service).collect();
    services.sort();
    services.dedup();
    let beyond = services.split_off(services.len().min(MAX_PEERS));
    // The dot keeps search domains away.
    let mut targets: Vec<String> = services.iter().map(|service| format!("{}.", service.target)).collect();
    targets.dedup();
    let mut found = Found::default();
    for (target, answer) in addresses(name.resolver, targets, family).await? {
        let answer = answer?;
        ttl = shorter(ttl, answer.ttl);
        for service in services.iter().filter(|service| target.strip_suffix('.') == Some(&service.target)) {
            match answer.first() {
                Some(ip) => {
                    found.peers.push(Peer { name: service.target.clone(), addr: SocketAddr::new(ip, service.port) });
                }
                None => found.refused.add(&service.target, Reason::Unresolved),
            }
        }
    }
    beyond.iter().for_each(|service| found.refused.add(&service.target, Reason::TooMany));
    found.peers.sort_by(|a, b| (&a.name, a.addr).cmp(&(&b.name, b.addr)));
    Ok((found, ttl))
}

fn bounded(mut peers: impl Iterator<Item = Peer>) -> Found {
    let mut found = Found { peers: peers.by_ref().take(MAX_PEERS).collect(), ..Found::default() };
    peers.for_each(|peer| found.refused.add(&peer.name, Reason::TooMany));
    found
}

/// The target `.` says that the service is not there (RFC 2782).
pub(super) fn service(record: &Record) -> Option<Service> {
    let RData::SRV(service) = &record.data else { return None };
    let target = service.target.to_ascii().trim_end_matches('.').to_lowercase();
    (!target.is_empty()).then_some(Service { target, port: service.port })
}

async fn addresses_of(resolver: &TokioResolver, name: &str, family: Family) -> Result<Addresses, DnsError> {
    let record = match family.record() {
        RecordType::Aaaa => rr::RecordType::AAAA,
        _ => rr::RecordType::A,
    };
    let Answer { records, ttl } = lookup(resolver, name, record).await?;
    let mut ips: Vec<IpAddr> = records.iter().filter_map(address).collect();
    ips.sort();
    ips.dedup();
    Ok(Addresses { ips, ttl })
}

pub(super) fn address(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    }
}

async fn lookup(resolver: &TokioResolver, name: &str, record: rr::RecordType) -> Result<Answer, DnsError> {
    match resolver.lookup(name, record).await {
        Ok(answer) => {
            let records = answer.answers().to_vec();
            let ttl = records.iter().map(|record| Duration::from_secs(record.ttl.into())).min();
            Ok(Answer { records, ttl })
        }
        Err(NetError::Dns(error)) if says_none(&error) => Ok(Answer::default()),
        Err(source) => Err(DnsError::Failed { name: name.to_owned(), source }),
    }
}

/// That there is no such name, or no such record of it, is an answer; that a name server refuses or fails is none.
fn says_none(error: &Negative) -> bool {
    let Negative::NoRecordsFound(none) = error else { return false };
    matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
}

fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}
