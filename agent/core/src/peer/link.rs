//! Who has a peer's address at link level.

use crate::time::Nanos;

/// The link-layer addresses that this host has known for a peer.
#[derive(Clone, Debug, Default)]
pub struct LinkTrack {
    /// The one that it had when it was last heard, in hexadecimal; absent where none is known, as beyond a gateway.
    own: Option<Box<str>>,
    /// Another one that has its address since.
    other: Option<Box<str>>,
    /// When an ARP request for its address was last answered, by whomever.
    answered_at: Option<Nanos>,
}

impl LinkTrack {
    /// The kernel has another link-layer address for it: `before`, and `now`.
    pub fn on_change(&mut self, before: Option<&str>, now: Option<&str>) {
        if self.own.is_none() {
            self.own = before.or(now).map(Into::into);
        }
        // Where nobody has it, silence means what it meant before.
        self.other = now.filter(|now| self.own.as_deref() != Some(*now)).map(Into::into);
    }

    /// An ARP request for it was answered.
    pub fn on_arp_reply(&mut self, at: Nanos) {
        self.answered_at = self.answered_at.max(Some(at));
    }

    /// It was heard: the address that is known now is its own.
    pub fn on_heard(&mut self) {
        if let Some(other) = self.other.take() {
            self.own = Some(other);
        }
    }

    /// Whether somebody else has its address since it was last heard.
    #[must_use]
    pub fn is_taken_over(&self) -> bool {
        self.other.is_some()
    }

    /// See [`LinkTrack::on_arp_reply`].
    #[must_use]
    pub fn answered_at(&self) -> Option<Nanos> {
        self.answered_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_address_is_not_the_peers_until_the_peer_is_heard_with_it() {
        let mut link = LinkTrack::default();
        link.on_change(Some("02:01"), None);
        assert!(!link.is_taken_over(), "nobody answers");
        link.on_change(None, Some("02:01"));
        assert!(!link.is_taken_over(), "it is back");
        link.on_change(Some("02:01"), Some("02:02"));
        assert!(link.is_taken_over());
        link.on_change(Some("02:02"), None);
        assert!(!link.is_taken_over(), "nobody has it");
        link.on_change(None, Some("02:02"));
        link.on_heard();
        assert!(!link.is_taken_over(), "it has another card");
        link.on_change(Some("02:02"), Some("02:01"));
        assert!(link.is_taken_over());
    }
}
