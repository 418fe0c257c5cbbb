//! What follows from the figures of a gap: which way packets were lost, and whether the peer's stall explains it.

use std::time::Duration;

use super::spans::{times, whole};
use super::{FOUND_ANEW, Gap};
use crate::account::ACCOUNT_SLACK;
use crate::evidence::StallReport;
use crate::incident::{Class, Direction};
use crate::time::{Nanos, covered};

/// Losses below this may be a packet in flight at the moment of the count.
pub(super) const LOSS_FLOOR: u64 = 2;
/// In intervals: by default a peer that sends nothing for so long beyond the one that is due is no gap.
const SHORT_PAUSE: u32 = 2;

impl Gap {
    /// True while one of the directions does not work, or the peer says that it still stands still.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.silent || self.unheard || self.account.is_some_and(|account| account.report.open)
    }

    /// When it ended, once nothing of it goes on.
    #[must_use]
    pub fn ended(&self) -> Nanos {
        let told = self.account.filter(|account| account.is_of_the_host()).map(|account| account.to);
        self.resumed.max(told.unwrap_or_default()).max(self.since)
    }

    /// Whether the peer told of a stall that it cannot name yet.
    #[must_use]
    pub fn awaits_name(&self) -> bool {
        self.account.is_some_and(|told| told.report.class == Class::Unknown)
    }

    /// Whether what was lost on the way to the peer is no more than what it could not take while it stood still, or was sent to
    /// where it was before: the buffers before a machine that does not run are full at once.
    #[must_use]
    pub fn lost_while_it_stood(&self, interval: Duration) -> bool {
        self.lost_to.is_some_and(|lost| times(interval, lost) <= self.quiet + FOUND_ANEW) && !self.quiet.is_zero()
    }

    /// Whether what was lost on the way to the peer is no more than what left while it may have been deaf, by its own
    /// account.
    #[must_use]
    pub fn lost_while_deaf(&self, interval: Duration, now: Nanos) -> bool {
        if self.deaf.is_empty() || !self.heard_again {
            return false;
        }
        let stalls = self.deaf.iter().map(|told| (told.from, told.to)).collect();
        let deaf = covered(stalls, Nanos(0), now);
        let deaf = if deaf.is_zero() { self.length(now) } else { deaf };
        let moved = self.deaf.iter().any(|told| matches!(told.report.class, Class::VmPause | Class::HypervisorStall));
        let longest = deaf.saturating_add(if moved { FOUND_ANEW } else { ACCOUNT_SLACK });
        self.lost_to.is_none_or(|lost| times(interval, lost) <= longest)
    }

    /// Whether so much of the peer's address came in and was refused that what is missing may have been among it.
    #[must_use]
    pub fn is_refused(&self, interval: Duration, now: Nanos) -> bool {
        let missing = if self.silent { whole(self.silence(now), interval) } else { self.lost_from };
        missing >= LOSS_FLOOR && self.refused.saturating_mul(2) >= missing
    }

    /// Whether the peer had so much of this host's address and did not take it that what it missed may have been among it.
    #[must_use]
    pub fn is_refused_by_peer(&self, interval: Duration, now: Nanos) -> bool {
        let missing = self.lost_to.filter(|lost| *lost > 0).unwrap_or_else(|| whole(self.length(now), interval));
        missing >= LOSS_FLOOR && self.not_taken.saturating_mul(2) >= missing
    }

    /// Which way packets were lost, as far as the numbers prove it.
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        let from = self.lost_from >= LOSS_FLOOR;
        let to = self.lost_to.is_some_and(|lost| lost >= LOSS_FLOOR) || self.unheard && !self.silent;
        match (from, to) {
            (true, true) => Some(Direction::Both),
            (true, false) => Some(Direction::FromPeer),
            (false, true) => Some(Direction::ToPeer),
            (false, false) => None,
        }
    }

    /// Whether more of what the peer sent was lost than it can have left out.
    #[must_use]
    pub fn lost_more_than_unsent(&self, interval: Duration) -> bool {
        self.lost_from >= LOSS_FLOOR && times(interval, self.lost_from) > self.unsent
    }

    /// Whether the numbers say that packets were lost, and nothing says that the peer stood still, but for a moment.
    #[must_use]
    pub fn is_loss_only(&self, interval: Duration) -> bool {
        let lost = self.lost_from.max(self.lost_to.unwrap_or_default());
        let quiet = self.quiet * 4 > times(interval, lost);
        let stood = quiet || self.counted_anew() || self.account.is_some_and(|told| told.is_of_the_host());
        self.direction().is_some() && !stood
    }

    /// The peer came back with another boot, another agent, or numbers that went back.
    #[must_use]
    pub fn counted_anew(&self) -> bool {
        self.new_boot.is_some() || self.new_incarnation || self.rewound
    }

    /// Whether nowhere so many are missing in a row that it is a cut.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.longest_run < self.cut && !self.unheard
    }

    /// Whether what is missing is so little that it may be the longest run of a steady loss; or one of its losses, beside a pause
    /// of the peer that would have been no gap by itself.
    #[must_use]
    pub fn may_be_steady_loss(&self, interval: Duration) -> bool {
        let missing = self.direction().is_some() || self.lost_from > 0 && self.unsent <= interval * SHORT_PAUSE;
        self.suspicious && self.is_short() && !self.silent && missing
    }

    /// What did not arrive of what the peer sent, where too little is missing to prove a direction.
    #[must_use]
    pub fn arrived(&self) -> &'static str {
        if self.lost_from == 0 { "what it sent arrived" } else { "of what it sent one did not arrive" }
    }

    /// What the peer says of its own stall, if it was heard since.
    #[must_use]
    pub fn told(&self) -> Option<StallReport> {
        self.account.filter(|_| self.heard_again).map(|account| account.report)
    }

    /// How long the stall was that the peer tells of: by its own clock, unless that stood still as well.
    #[must_use]
    pub fn told_length(&self, now: Nanos) -> Duration {
        let length = self.account.map(|account| account.to.since(account.from)).unwrap_or_default();
        if length.is_zero() { self.length(now) } else { length }
    }

    /// How long the present silence has lasted at `now`, without what this host slept through.
    #[must_use]
    pub fn silence(&self, now: Nanos) -> Duration {
        now.since(self.silent_since).saturating_sub(self.own_stall)
    }

    /// How long the gap has lasted at `now`, without what this host slept through.
    #[must_use]
    pub fn length(&self, now: Nanos) -> Duration {
        self.back.unwrap_or(now).since(self.started).saturating_sub(self.own_stall)
    }
}
