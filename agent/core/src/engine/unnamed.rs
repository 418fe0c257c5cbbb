//! Gaps that are over, by the account of a peer that may still find a name for what it did: it looks up what its CPUs went on
//! with, and then says more. They wait aside, so that what comes next with that peer is a case of its own.

use super::gaps::TELL;
use super::{Engine, Tracked};
use crate::cpu::NAMES_AT_MOST;
use crate::gap::Gap;
use crate::time::Nanos;

impl Engine {
    /// Follows the gap until it has a name. There is one with a peer at a time: the one before it closes without.
    pub(super) fn set_aside(&mut self, open: Tracked, now: Nanos) {
        let peer = open.gap.peer.clone();
        self.close_unnamed(&peer, now);
        self.unnamed.insert(peer, open);
    }

    pub(super) fn close_unnamed(&mut self, peer: &str, now: Nanos) {
        if let Some(mut open) = self.unnamed.remove(peer) {
            self.say_of(&mut open, now, true);
        }
    }

    /// Closes those that have a name by now, or will get none.
    pub(super) fn check_unnamed(&mut self, now: Nanos) {
        for (name, mut open) in std::mem::take(&mut self.unnamed) {
            if let Some(peer) = self.peers.get(&name) {
                open.gap.note_name(peer);
            }
            if !open.gap.awaits_name() || named_until(&open.gap) <= now {
                self.say_of(&mut open, now, true);
            } else {
                self.unnamed.insert(name, open);
            }
        }
    }

    /// When the first of them will get no name any more.
    pub(super) fn unnamed_until(&self) -> Option<Nanos> {
        self.unnamed.values().map(|open| named_until(&open.gap)).min()
    }
}

fn named_until(gap: &Gap) -> Nanos {
    gap.back.unwrap_or(gap.since).plus(NAMES_AT_MOST + TELL)
}
