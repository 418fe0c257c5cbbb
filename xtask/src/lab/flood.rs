//! A flood of packets that must not count: heartbeats that were really sent, recorded and sent again, as they were or
//! spoiled, from the address of a peer or from one that nobody has.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

use self::sender::Sender;
use self::spoil::{Kind, Recorded};
use super::helper::Helper;
use super::keys;
use super::netns;
use super::network::Network;
use crate::stop::Stop;

mod sender;
mod spoil;

/// An address on the bridge that no host has.
const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 99);

/// `flood` in a scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Flood {
    /// Whose heartbeats, and from whose address.
    pub(crate) from: String,
    /// Whom they are for.
    pub(crate) to: String,
    /// From an address that nobody has instead.
    #[serde(default)]
    pub(crate) by_nobody: bool,
    /// How many a second, as far as this machine can.
    pub(crate) per_second: u32,
    /// For how long, once a heartbeat was recorded.
    #[serde(with = "humantime_serde")]
    pub(crate) lasts: Duration,
    /// Which, in turn; all kinds where this is absent.
    #[serde(default = "Kind::all")]
    pub(crate) kinds: Vec<Kind>,
}

/// What there is to tell of floods that are over.
pub(crate) type Notes = Arc<Mutex<Vec<String>>>;

/// Records a heartbeat and begins; the thread ends by itself. Whoever floods has the keys of the one it pretends to be,
/// or else nothing but the tag of its packets would ever be looked at.
pub(crate) fn start(network: &Network, flood: &Flood, folder: &Path, notes: &Notes, stop: &Stop) -> Result<Helper> {
    let (from, to) = (network.host(&flood.from)?, network.host(&flood.to)?);
    let key = keys::signing(folder, &flood.from)?;
    let recorded = to.namespace()?.enter(|| Recorded::listen(from.addr))?;
    let payloads = flood.kinds.iter().flat_map(|kind| recorded.spoilt(*kind, &key, &flood.to)).collect();
    let source = if flood.by_nobody { NOBODY } else { from.addr };
    let (namespace, to) = (network.switch.name().to_owned(), to.addr);
    let (flood, notes) = (flood.clone(), Arc::clone(notes));
    Helper::spawn("flood", stop, move |stop| {
        netns::join(&namespace)?;
        let sent = Sender::open(source, to, payloads)?.send(flood.per_second, flood.lasts, stop)?;
        let rate = sent as f64 / flood.lasts.as_secs_f64();
        let note = format!("{}: {sent} packets from {source} in {:?}, {rate:.0} a second", flood.to, flood.lasts);
        notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
        Ok(())
    })
}
