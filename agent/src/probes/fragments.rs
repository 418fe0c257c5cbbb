//! What the probes count of fragments, by remote address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use aya::maps::{MapData, PerCpuArray, PerCpuHashMap};
use lacuna_abi::{
    FRAGMENT_EXPIRED, FRAGMENT_IN, FRAGMENT_KEYS, FRAGMENT_NEEDED_IN, FRAGMENT_NEEDED_OUT, FRAGMENT_OUT,
    FRAGMENT_WORDS, FragmentKey,
};

use super::decode;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FragmentKind {
    /// A datagram to the remote was fragmented by this host.
    Out,
    /// A fragment from the remote came in.
    In,
    /// A datagram from the remote was given up, since not all of its fragments came in time.
    Expired,
    /// This host told the remote that its packet was too big for the way on.
    NeededOut,
    /// This host was told that its packet to the remote was too big for the way.
    NeededIn,
}

impl FragmentKind {
    /// Every kind, in the order of the kernel half's numbers.
    pub(super) const ALL: [Self; 5] = [Self::Out, Self::In, Self::Expired, Self::NeededOut, Self::NeededIn];

    fn number(self) -> u32 {
        match self {
            Self::Out => FRAGMENT_OUT,
            Self::In => FRAGMENT_IN,
            Self::Expired => FRAGMENT_EXPIRED,
            Self::NeededOut => FRAGMENT_NEEDED_OUT,
            Self::NeededIn => FRAGMENT_NEEDED_IN,
        }
    }

    fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// What a remote has of a kind since the probes were loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentCount {
    /// Datagrams, fragments or messages.
    pub count: u64,
    /// The smallest MTU that a CPU's last message named, in bytes; absent where none did.
    pub mtu: Option<u32>,
}

/// A [`FragmentKey`] as a map read gives it.
type KeyBytes = [u8; size_of::<FragmentKey>()];

/// The maps; absent where none of the hooks is attached.
#[derive(Default)]
pub(super) struct FragmentMaps {
    pub(super) by_remote: Option<PerCpuHashMap<MapData, KeyBytes, [u64; FRAGMENT_WORDS]>>,
    pub(super) totals: Option<PerCpuArray<MapData, u64>>,
    /// The kinds that are counted of IPv4.
    pub(super) ipv4: BTreeSet<FragmentKind>,
    /// The kinds that are counted of IPv6.
    pub(super) ipv6: BTreeSet<FragmentKind>,
}

impl FragmentMaps {
    /// By remote address and kind.
    pub(super) fn by_remote(&self) -> Option<BTreeMap<(IpAddr, FragmentKind), FragmentCount>> {
        let map = self.by_remote.as_ref()?;
        // An entry that makes room meanwhile lets the iteration begin again: hence the bound, and each key once.
        let entries = map.iter().take(2 * FRAGMENT_KEYS).flatten();
        Some(entries.filter_map(|(bytes, counts)| Some((key(&bytes)?, sum(&counts)))).collect())
    }

    /// All remotes together; absent where IPv4 is not counted.
    pub(super) fn total(&self, kind: FragmentKind) -> Option<u64> {
        let totals = self.totals.as_ref().filter(|_| self.ipv4.contains(&kind))?;
        Some(totals.get(&kind.number(), 0).ok()?.iter().sum())
    }
}

fn key(bytes: &KeyBytes) -> Option<(IpAddr, FragmentKind)> {
    let remote: [u8; 16] = *bytes.first_chunk()?;
    let kind = FragmentKind::of(decode::word(bytes, std::mem::offset_of!(FragmentKey, kind))?)?;
    Some((Ipv6Addr::from(remote).to_canonical(), kind))
}

/// The sum over all CPUs.
fn sum(counts: &[[u64; FRAGMENT_WORDS]]) -> FragmentCount {
    let mtus = counts.iter().filter_map(|[_, mtu]| u32::try_from(*mtu).ok().filter(|mtu| *mtu > 0));
    FragmentCount { count: counts.iter().map(|[count, _]| count).sum(), mtu: mtus.min() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_an_address_and_a_kind() {
        let mut bytes: KeyBytes = [0; 20];
        bytes[10..16].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 7]);
        bytes[16..].copy_from_slice(&FRAGMENT_EXPIRED.to_ne_bytes());
        assert_eq!(key(&bytes), Some(("10.0.0.7".parse().unwrap(), FragmentKind::Expired)));
        bytes[16..].copy_from_slice(&5_u32.to_ne_bytes());
        assert_eq!(key(&bytes), None, "a kind of a later version");
    }

    #[test]
    fn the_cpus_are_added_up() {
        assert_eq!(sum(&[[2, 0], [0, 0], [3, 1400], [1, 1280]]), FragmentCount { count: 6, mtu: Some(1280) });
        assert_eq!(sum(&[[2, 0], [0, 0]]), FragmentCount { count: 2, mtu: None });
    }
}
