//! Which heartbeats the kernel dropped: whose it is to count, and what it counted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::maps::{HashMap, MapData, PerCpuHashMap};
use lacuna_abi::{HEARTBEAT_DROPS, HeartbeatDropKey, HeartbeatPeer, WAY_IN, WAY_OUT};
use lacuna_core::evidence::Way;

use super::decode::{self, ReasonNames};

/// A [`HeartbeatPeer`] as a map has it.
type PeerBytes = [u8; size_of::<HeartbeatPeer>()];
/// A [`HeartbeatDropKey`] as a map read gives it.
type DropBytes = [u8; size_of::<HeartbeatDropKey>()];

/// How many small heartbeats of each peer the kernel dropped, by way and by its name of the reason.
pub type HeartbeatDrops = BTreeMap<(SocketAddr, Way, String), u64>;

/// Whose heartbeats are counted, and the counts of each CPU.
type Maps = (HashMap<MapData, PeerBytes, u32>, PerCpuHashMap<MapData, DropBytes, u64>);

/// The maps of the probe.
pub(super) struct HeartbeatMaps(Mutex<Maps>);

impl HeartbeatMaps {
    pub(super) fn new(peers: HashMap<MapData, PeerBytes, u32>, drops: PerCpuHashMap<MapData, DropBytes, u64>) -> Self {
        Self(Mutex::new((peers, drops)))
    }

    fn maps(&self) -> MutexGuard<'_, Maps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts those of `wanted` from now on, and no others; of these, for whom there is room.
    pub(super) fn watch(&self, wanted: &[SocketAddr]) -> BTreeSet<SocketAddr> {
        let (peers, drops) = &mut *self.maps();
        let keys: BTreeMap<PeerBytes, SocketAddr> = wanted.iter().map(|peer| (peer_bytes(*peer), *peer)).collect();
        let known: BTreeSet<PeerBytes> = peers.keys().flatten().collect();
        for gone in known.iter().filter(|key| !keys.contains_key(*key)) {
            // Nobody else removes it.
            let _ = peers.remove(gone);
        }
        // What is left of those that are gone would take the room of others in the end.
        let is_wanted = |key: &DropBytes| key.first_chunk().is_some_and(|peer: &PeerBytes| keys.contains_key(peer));
        let stale: Vec<DropBytes> =
            drops.keys().take(HEARTBEAT_DROPS).flatten().filter(|key| !is_wanted(key)).collect();
        for key in stale {
            let _ = drops.remove(&key);
        }
        let counted = keys.into_iter().filter(|(key, _)| known.contains(key) || peers.insert(key, 0, 0).is_ok());
        counted.map(|(_, peer)| peer).collect()
    }

    /// What was dropped since each of them is counted; absent where the map cannot be read whole.
    pub(super) fn read(&self, names: &ReasonNames) -> Option<HeartbeatDrops> {
        let maps = self.maps();
        let mut found = HeartbeatDrops::new();
        for entry in maps.1.iter().take(HEARTBEAT_DROPS) {
            let (bytes, counts) = entry.ok()?;
            let Some((peer, way, reason)) = drop_key(&bytes) else { continue };
            let sum: u64 = counts.iter().sum();
            *found.entry((peer, way, names.name(reason))).or_default() += sum;
        }
        Some(found)
    }
}

fn peer_bytes(peer: SocketAddr) -> PeerBytes {
    let address = match peer.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let mut bytes = [0; size_of::<HeartbeatPeer>()];
    bytes[..16].copy_from_slice(&address.octets());
    bytes[16..].copy_from_slice(&u32::from(peer.port()).to_ne_bytes());
    bytes
}

/// Peer, way, and the number of the reason; absent for what this version does not know.
fn drop_key(bytes: &DropBytes) -> Option<(SocketAddr, Way, u32)> {
    let address: [u8; 16] = *bytes.first_chunk()?;
    let port = u16::try_from(decode::word(bytes, std::mem::offset_of!(HeartbeatPeer, port))?).ok()?;
    let way = match decode::word(bytes, std::mem::offset_of!(HeartbeatDropKey, way))? {
        WAY_IN => Way::In,
        WAY_OUT => Way::Out,
        _ => return None,
    };
    let reason = decode::word(bytes, std::mem::offset_of!(HeartbeatDropKey, reason))?;
    Some((SocketAddr::new(Ipv6Addr::from(address).to_canonical(), port), way, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_the_peer_the_way_and_the_reason() {
        for peer in ["10.0.0.7:9479", "[fd00::7]:9479"] {
            let peer: SocketAddr = peer.parse().unwrap();
            let mut bytes: DropBytes = [0; 28];
            bytes[..20].copy_from_slice(&peer_bytes(peer));
            bytes[20..24].copy_from_slice(&WAY_OUT.to_ne_bytes());
            bytes[24..].copy_from_slice(&8_u32.to_ne_bytes());
            assert_eq!(drop_key(&bytes), Some((peer, Way::Out, 8)));
            bytes[20..24].copy_from_slice(&7_u32.to_ne_bytes());
            assert_eq!(drop_key(&bytes), None, "a way of a later version");
        }
    }
}
