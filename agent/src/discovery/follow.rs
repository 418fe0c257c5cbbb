//! The thread that merges what the sources give and hands it to the driver.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::merge::{Merged, merge};
use super::sources::Sources;
use super::{Outcome, own_addresses, runtime};
use crate::config::{Config, Peer};
use crate::driver::Command;
use crate::shared::{DiscoveryFigures, Shared};

/// The part of the agent that is degraded while a source fails.
const PART: &str = "discovery";
/// How long the start of the agent waits for the sources.
const FIRST_ROUND: Duration = Duration::from_secs(1);
/// Re-read configurations that may wait.
const RELOADS: usize = 4;
/// Names that one line of the log has at most.
const NAMES: usize = 20;

/// The running discovery; it ends with the driver.
pub struct Discovery {
    reloads: Sender<Config>,
}

impl Discovery {
    /// Begins to look for peers; also hands back the configuration with those that were found at once.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn start(config: &Config, shared: Arc<Shared>, commands: SyncSender<Command>) -> io::Result<(Self, Config)> {
        let runtime = runtime()?;
        let (reloads, inbox) = channel(RELOADS);
        let (first, begun) = mpsc::channel();
        let base = config.clone();
        let work = move || runtime.block_on(run(base, shared, commands, first, inbox));
        thread::Builder::new().name("lacuna-peers".into()).spawn(work)?;
        // A file on a disk that hangs comes later, as a name that is slow to be answered does.
        let config = begun.recv_timeout(FIRST_ROUND * 2).unwrap_or_else(|_| config.clone());
        Ok((Self { reloads }, config))
    }

    /// Goes on with another configuration, and has the driver do so.
    ///
    /// # Errors
    /// Several wait already; nothing changes.
    pub fn reload(&self, config: Config) -> Result<(), Behind> {
        self.reloads.try_send(config).map_err(|_| Behind)
    }
}

/// Whoever takes configurations is behind, or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("earlier ones were not taken yet: try again")]
pub struct Behind;

async fn run(
    config: Config,
    shared: Arc<Shared>,
    commands: SyncSender<Command>,
    first: mpsc::Sender<Config>,
    mut reloads: Receiver<Config>,
) {
    let mut sources = Sources::start(&config, None);
    let mut follower = Follower::new(config, shared);
    sources.first_round(FIRST_ROUND, |sources, place, outcome| follower.take(sources, place, outcome)).await;
    let begin = follower.merged(&sources);
    follower.known = addresses(&begin.peers);
    if let Err(mpsc::SendError(late)) = first.send(begin)
        && commands.send(Command::Reload(Box::new(late))).is_err()
    {
        return;
    }
    loop {
        let reloaded = tokio::select! {
            (place, outcome) = sources.next() => {
                follower.take(&mut sources, place, outcome);
                false
            }
            config = reloads.recv() => {
                let Some(config) = config else { return };
                sources = Sources::start(&config, Some(sources));
                follower.config = config;
                true
            }
        };
        let config = follower.merged(&sources);
        let changed = follower.notices(&config.peers);
        if (reloaded || changed) && commands.send(Command::Reload(Box::new(config))).is_err() {
            return;
        }
    }
}

struct Follower {
    /// As it was read, with the static peers only.
    config: Config,
    shared: Arc<Shared>,
    errors: BTreeMap<String, u64>,
    /// What was said last of entries that are no peers.
    refused: String,
    /// The peers that the driver has.
    known: BTreeSet<(String, SocketAddr)>,
}

impl Follower {
    fn new(config: Config, shared: Arc<Shared>) -> Self {
        Self { config, shared, errors: BTreeMap::new(), refused: String::new(), known: BTreeSet::new() }
    }

    /// Takes what a source gave; what goes wrong is counted each time and said once.
    fn take(&mut self, sources: &mut Sources, place: usize, outcome: Outcome) {
        let Some(slot) = sources.slots.get(place) else { return };
        let (said, gave) = (slot.source.said(), slot.found.as_ref().map_or(0, |found| found.peers.len()));
        if let Some(trouble) = &outcome.trouble {
            *self.errors.entry(slot.source.kind().to_owned()).or_default() += 1;
            if slot.trouble.as_ref() != Some(trouble) {
                tracing::warn!("discovery by {said}: {trouble}; what it gave before stays, {gave} entries");
            }
        } else if slot.trouble.is_some() {
            tracing::info!("discovery by {said}: works again");
        }
        sources.take(place, outcome);
    }

    /// The configuration with all peers; says in figures and in the log what it is made of.
    fn merged(&mut self, sources: &Sources) -> Config {
        let merged = merge(&self.config, &own_addresses(self.config.heartbeat.listen), sources.lists());
        self.note(sources, &merged);
        Config { peers: merged.peers, ..self.config.clone() }
    }

    fn note(&mut self, sources: &Sources, merged: &Merged) {
        let refused = if merged.refused.is_empty() { String::new() } else { merged.refused.said() };
        if !refused.is_empty() && self.refused != refused {
            tracing::warn!("discovery: {refused}");
        }
        self.refused = refused;
        let peers = merged.by_source.iter().map(|(kind, count)| ((*kind).to_owned(), *count));
        let mut peers: BTreeMap<String, u64> = peers.collect();
        for slot in &sources.slots {
            peers.entry(slot.source.kind().to_owned()).or_default();
            self.errors.entry(slot.source.kind().to_owned()).or_default();
        }
        let figures = DiscoveryFigures { peers, errors: self.errors.clone(), refused: merged.refused.counts() };
        self.shared.counters.write().discovery = figures;
        let troubles = sources.slots.iter().filter_map(|slot| Some((slot.source.said(), slot.trouble.as_ref()?)));
        let troubles: Vec<String> = troubles.map(|(source, trouble)| format!("{source}: {trouble}")).collect();
        match troubles.is_empty() {
            true => self.shared.restore(PART),
            false => self.shared.degrade(PART, troubles.join("; ")),
        }
    }

    /// Whether the peers are others than before; then it is said who joined and who left.
    fn notices(&mut self, peers: &[Peer]) -> bool {
        let now = addresses(peers);
        if now == self.known {
            return false;
        }
        tracing::info!("peers that joined: {}; that left: {}", names(&now, &self.known), names(&self.known, &now));
        self.known = now;
        true
    }
}

fn addresses(peers: &[Peer]) -> BTreeSet<(String, SocketAddr)> {
    peers.iter().map(|peer| (peer.name.clone(), peer.addr)).collect()
}

/// Those of `all` that are not in `others`, the first of them in words.
fn names(all: &BTreeSet<(String, SocketAddr)>, others: &BTreeSet<(String, SocketAddr)>) -> String {
    let names: Vec<&str> = all.difference(others).map(|(name, _)| name.as_str()).collect();
    match names.len() {
        0 => "none".to_owned(),
        count if count > NAMES => format!("{} and {} more", names[..NAMES].join(", "), count - NAMES),
        _ => names.join(", "),
    }
}
