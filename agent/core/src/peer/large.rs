//! What came in of a peer's large heartbeats.

use crate::evidence::{LargeHeard, Size};
use crate::received::Received;
use crate::time::Nanos;

/// Large heartbeats of one size that came in of a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct LargeIn {
    /// The lowest number.
    pub(super) first: u64,
    /// When the newest came in.
    pub(super) last: Nanos,
    /// What the peer is told of them.
    pub(super) heard: LargeHeard,
    /// Which of the newest numbers came in.
    numbers: Received,
}

impl LargeIn {
    pub(super) fn new(size: Size) -> Self {
        Self {
            first: u64::MAX,
            last: Nanos(0),
            heard: LargeHeard { size, seq: 0, count: 0 },
            numbers: Received::default(),
        }
    }

    /// Counts a number, and says whether a higher one had overtaken it; nothing for one that came in before, or is too old
    /// to know.
    pub(super) fn take(&mut self, seq: u64, at: Nanos) -> Option<bool> {
        self.last = self.last.max(at);
        let first = self.heard.count == 0;
        let overtaken = !first && seq <= self.heard.seq;
        if overtaken && !self.numbers.fill(self.heard.seq - seq) {
            return None;
        }
        if !overtaken {
            self.numbers.advance(if first { 1 } else { seq - self.heard.seq });
            self.heard.seq = seq;
        }
        self.first = self.first.min(seq);
        self.heard.count += 1;
        Some(overtaken)
    }
}
