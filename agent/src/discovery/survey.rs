//! What discovery gives at this moment, for the commands that say so and end.

use std::io;
use std::time::Duration;

use super::merge::merge;
use super::sources::Sources;
use super::{Refusals, own_addresses, runtime};
use crate::config::{Config, Peer};

/// Longer than the slowest name server is waited for.
const PATIENCE: Duration = Duration::from_secs(12);

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Each source, in the order of the configuration.
    pub sources: Vec<Surveyed>,
    /// All peers, those of the configuration first.
    pub peers: Vec<Peer>,
    /// Entries of the sources that are no peers.
    pub refused: Refusals,
}

/// What one source gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// What it is.
    pub source: String,
    /// The names it gives, of which [`Survey::peers`] has those that can be peers.
    pub names: Vec<String>,
    /// Why it gives none, or not all.
    pub trouble: Option<String>,
}

/// Looks at each source once; at most some seconds, where a name server is silent.
///
/// # Errors
/// The system has no room for it.
pub fn survey(config: &Config) -> io::Result<Survey> {
    if config.discovery.is_empty() {
        return Ok(Survey { peers: config.peers.clone(), ..Survey::default() });
    }
    runtime()?.block_on(async {
        let mut sources = Sources::start(config, None);
        sources.first_round(PATIENCE, Sources::take).await;
        let merged = merge(config, &own_addresses(config.heartbeat.listen), sources.lists());
        let surveyed = sources.slots.iter().map(|slot| Surveyed {
            source: slot.source.said(),
            names: slot.found.iter().flat_map(|found| &found.peers).map(|peer| peer.name.clone()).collect(),
            trouble: slot.trouble.clone(),
        });
        Ok(Survey { sources: surveyed.collect(), peers: merged.peers, refused: merged.refused })
    })
}
