//! What crossed a threshold, as evidence.

use aya::maps::{MapData, RingBuf};
use lacuna_abi::REFUSED_EVENTS;
use lacuna_core::evidence::{Evidence, Fact};
use lacuna_core::time::{Nanos, nanos};

use crate::clock;

use super::ProbeEvents;
use super::decode;
use super::metrics::{Refused, refused};

/// Most events that one call takes from each ring buffer; the others stay there until the next one.
const MAX_EVENTS: usize = 256;

/// The ring buffers of the objects that are loaded.
pub(super) struct KernelEvents {
    rings: Vec<RingBuf<MapData>>,
    refused: Vec<Refused>,
    /// How many events had been lost at the last look.
    lost: u64,
    /// When that was.
    looked: Nanos,
}

impl KernelEvents {
    pub(super) fn new(rings: Vec<RingBuf<MapData>>, refused: Vec<Refused>) -> Self {
        Self { rings, refused, lost: 0, looked: clock::boot() }
    }

    /// Events that were lost since the last look. A ring buffer only refuses while it has events, so an empty one
    /// needs no look.
    fn lost_since(&mut self, host: &str, now: Nanos) -> Option<Evidence> {
        let lost = refused(&self.refused, REFUSED_EVENTS)?;
        let count = lost.saturating_sub(self.lost);
        let from = std::mem::replace(&mut self.looked, now);
        self.lost = lost;
        let fact = Fact::EventsLost { count };
        (count > 0).then(|| Evidence::during(host, from, now, fact))
    }
}

impl ProbeEvents for KernelEvents {
    fn drain(&mut self, host: &str, into: &mut Vec<Evidence>) {
        let now = clock::boot();
        let ahead = nanos(clock::suspended());
        let begin = into.len();
        let mut taken = 0;
        for ring in &mut self.rings {
            for _ in 0..MAX_EVENTS {
                let Some(bytes) = ring.next() else { break };
                taken += 1;
                into.extend(decode::event(&bytes, host, ahead));
            }
        }
        into[begin..].sort_by_key(|evidence| evidence.to);
        if taken > 0 {
            into.extend(self.lost_since(host, now));
        } else {
            self.looked = now;
        }
    }
}
