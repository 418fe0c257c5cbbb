//! From packets that carry a tag to messages that count, and back.

use std::collections::HashMap;
use std::sync::Arc;

use lacuna_core::evidence::Size;
use lacuna_core::guard::{self, Claim, Guard};
use lacuna_core::time::WallNanos;

use super::keys::{KeyRing, TAG_LEN};
use super::wire::{self, Echo, Message, WireError};

/// Why a packet from a peer's address does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has no room for a tag.
    #[error("it is shorter than a tag")]
    Short,
    /// None of the keys gives its tag: the sender has other keys, or it was made for another receiver, or changed.
    #[error("none of the keys gives its tag")]
    Tag,
    /// It says nothing that can be read whole.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Its sender calls itself so.
    #[error("it is from {0:?} by its own words")]
    ForeignName(String),
    /// It was sent before.
    #[error("it was sent before, or may have been: {}", .why.reason())]
    Again {
        /// How that is known.
        why: guard::Refusal,
        /// It counted before, as one of that size: the network doubled it, or somebody sent it again.
        size: Option<Size>,
    },
}

impl Refusal {
    /// A short name of the reason, for the counter.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Short => WireError::Short.reason(),
            Self::Tag => "tag",
            Self::Wire(error) => error.reason(),
            Self::ForeignName(_) => "foreign-name",
            Self::Again { why, .. } => why.reason(),
        }
    }
}

/// Tags what leaves this host and checks what comes in.
#[derive(Debug)]
pub struct Seal {
    host: String,
    incarnation: u64,
    keys: Arc<KeyRing>,
    guards: HashMap<String, Guard>,
}

impl Seal {
    /// For the agent of `host` that was started as `incarnation`.
    #[must_use]
    pub fn new(host: &str, incarnation: u64, keys: Arc<KeyRing>) -> Self {
        Self { host: host.to_owned(), incarnation, keys, guards: HashMap::new() }
    }

    /// Tells the fleet of these keys from others; 0 without keys.
    #[must_use]
    pub fn fleet(&self) -> u64 {
        self.keys.get().map_or(0, |keys| keys.fleet())
    }

    /// How many bytes the tag of a packet takes.
    #[must_use]
    pub fn tag_bytes(&self) -> usize {
        self.keys.get().map_or(0, |_| TAG_LEN)
    }

    /// Adds the tag for that receiver.
    pub fn put(&self, receiver: &str, packet: &mut Vec<u8>) {
        if let Some(keys) = self.keys.get() {
            let tag = keys.sign(receiver, packet);
            packet.extend_from_slice(&tag);
        }
    }

    /// Reads a packet that came from the address of the peer `sender`, at `now` by this host's wall clock.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn open(&mut self, sender: &str, packet: &[u8], now: WallNanos) -> Result<Message, Refusal> {
        let keys = self.keys.get();
        let packet = match &keys {
            None => packet,
            Some(keys) => {
                let (body, tag) = packet.split_last_chunk::<TAG_LEN>().ok_or(Refusal::Short)?;
                if !keys.verify(&self.host, body, tag) {
                    return Err(Refusal::Tag);
                }
                body
            }
        };
        let (name, message) = wire::decode(packet)?;
        if name != sender {
            return Err(Refusal::ForeignName(name));
        }
        if keys.is_some() {
            let claim = self.claim(&message);
            let guard = self.guards.entry(name).or_default();
            guard.take(&claim, now).map_err(|why| {
                let size = size_of(&message).filter(|_| why == guard::Refusal::Duplicate);
                Refusal::Again { why, size }
            })?;
        }
        Ok(message)
    }

    fn claim(&self, message: &Message) -> Claim {
        match message {
            Message::Heartbeat(beat) => Claim::of_heartbeat(beat, self.incarnation),
            Message::Large(large, echo) => Claim::of_large(large, self.echoed(*echo)),
            Message::Probe { seq, boot_id, incarnation, echo, .. } => {
                Claim { start: (*boot_id, *incarnation), kind: 3, seq: *seq, wall: None, echo: self.echoed(*echo) }
            }
        }
    }

    /// The number, where it is of this agent's present start.
    fn echoed(&self, echo: Echo) -> Option<u64> {
        (echo.incarnation == self.incarnation).then_some(echo.seq)
    }

    /// What that peer has to be told back so that it can prove its start ([`Guard::unproven`]); absent where it need not.
    #[must_use]
    pub fn unproven(&self, peer: &str) -> Option<Echo> {
        let (incarnation, seq) = self.guards.get(peer)?.unproven()?;
        Some(Echo { incarnation, seq })
    }

    /// Forgets who is no peer any more.
    pub fn keep(&mut self, known: impl Fn(&str) -> bool) {
        self.guards.retain(|name, _| known(name));
    }
}

/// The size that a packet counts for; none for a probe.
fn size_of(message: &Message) -> Option<Size> {
    match message {
        Message::Heartbeat(_) => Some(Size::Small),
        Message::Large(large, _) => Some(large.size),
        Message::Probe { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use lacuna_core::evidence::{Heard, Heartbeat};
    use lacuna_core::time::Nanos;

    use super::super::keys::Keys;
    use super::*;

    const NOW: WallNanos = WallNanos(1_800_000_000_000_000_000);

    fn ring(key: u8) -> Arc<KeyRing> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, STANDARD.encode([key; 32])).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, private).unwrap();
        Arc::new(KeyRing::new(Some(Keys::load(&path).unwrap())))
    }

    fn packet(from: &Seal, to: &str, seq: u64) -> Vec<u8> {
        let beat = Heartbeat { seq, sent_wall: NOW, incarnation: 1, ..Heartbeat::default() };
        let mut packet = Vec::new();
        wire::encode(&from.host, &beat, &mut packet).unwrap();
        from.put(to, &mut packet);
        packet
    }

    #[test]
    fn a_packet_counts_once_for_the_host_that_it_was_made_for() {
        let (a, mut b, mut c) = (Seal::new("a", 1, ring(7)), Seal::new("b", 1, ring(7)), Seal::new("c", 1, ring(7)));
        let sent = packet(&a, "b", 1);
        assert_eq!(c.open("a", &sent, NOW), Err(Refusal::Tag), "another receiver");
        assert!(b.open("a", &sent, NOW).is_ok());
        assert_eq!(
            b.open("a", &sent, NOW),
            Err(Refusal::Again { why: guard::Refusal::Duplicate, size: Some(Size::Small) })
        );
        let from_c = b.open("c", &packet(&a, "b", 2), NOW);
        assert_eq!(from_c, Err(Refusal::ForeignName("a".into())), "from the address of c");
    }

    #[test]
    fn without_the_key_nothing_counts() {
        let (a, stranger, open) =
            (Seal::new("a", 1, ring(7)), Seal::new("a", 1, ring(8)), Seal::new("a", 1, Arc::default()));
        let mut b = Seal::new("b", 1, ring(7));
        assert_eq!(b.open("a", &packet(&stranger, "b", 1), NOW), Err(Refusal::Tag));
        assert_eq!(b.open("a", &packet(&open, "b", 1), NOW), Err(Refusal::Tag));
        assert_eq!(b.open("a", &[0; TAG_LEN - 1], NOW), Err(Refusal::Short));
        assert!(b.open("a", &packet(&a, "b", 1), NOW).is_ok());
    }

    #[test]
    fn without_keys_packets_are_open_and_duplicates_are_left_to_the_engine() {
        let (a, mut b) = (Seal::new("a", 1, Arc::default()), Seal::new("b", 1, Arc::default()));
        let sent = packet(&a, "b", 1);
        assert!(b.open("a", &sent, NOW).is_ok() && b.open("a", &sent, NOW).is_ok());
    }

    #[test]
    fn hosts_whose_wall_clocks_are_an_hour_apart_hear_each_other_after_a_large_heartbeat() {
        let later = WallNanos(NOW.0 + 3_600_000_000_000);
        let (mut a, mut b) = (Seal::new("a", 1, ring(7)), Seal::new("b", 2, ring(7)));
        let small = |from: &Seal, to: &str, wall: WallNanos| {
            let beat = Heartbeat {
                seq: 5,
                sent_wall: wall,
                incarnation: from.incarnation,
                heard: None,
                ..Heartbeat::default()
            };
            let mut packet = Vec::new();
            wire::encode(&from.host, &beat, &mut packet).unwrap();
            from.put(to, &mut packet);
            packet
        };
        let large = |from: &Seal, to: &str| {
            let sender = wire::Sender { name: &from.host, boot_id: [0; 16], incarnation: from.incarnation };
            let told = (&sender, from.unproven(to).unwrap_or_default());
            let mut packet = Vec::new();
            wire::encode_large(told, Size::Mtu, 1, Nanos(5), 1400, TAG_LEN, &mut packet).unwrap();
            from.put(to, &mut packet);
            packet
        };
        assert!(b.open("a", &small(&a, "b", NOW), later).is_err() && a.open("b", &small(&b, "a", later), NOW).is_err());
        let (of_a, of_b) = (large(&a, "b"), large(&b, "a"));
        assert!(a.open("b", &of_b, NOW).is_ok() && b.open("a", &of_a, later).is_ok());
        assert!(a.open("b", &small(&b, "a", later), NOW).is_ok() && b.open("a", &small(&a, "b", NOW), later).is_ok());
        assert_eq!((a.unproven("b"), b.unproven("a")), (None, None));
    }

    #[test]
    fn a_peer_restored_from_a_snapshot_counts_on_in_every_size() {
        let (a, mut b) = (Seal::new("a", 1, ring(7)), Seal::new("b", 1, ring(7)));
        let sender = wire::Sender { name: "a", boot_id: [0; 16], incarnation: 1 };
        let mut large = |size: Size, seq: u64, heard: u64| {
            let mut packet = Vec::new();
            let from = (&sender, Echo { incarnation: 1, seq: heard });
            wire::encode_large(from, size, seq, Nanos(5), 1400, TAG_LEN, &mut packet).unwrap();
            a.put("b", &mut packet);
            b.open("a", &packet, NOW).map(drop)
        };
        let beat = |seq, heard| {
            let heard = Some(Heard { incarnation: 1, seq: heard, ..Heard::default() });
            let beat = Heartbeat { seq, heard, sent_wall: NOW, incarnation: 1, ..Heartbeat::default() };
            let mut packet = Vec::new();
            wire::encode("a", &beat, &mut packet).unwrap();
            a.put("b", &mut packet);
            packet
        };
        for size in [Size::Mtu, Size::Fragmented] {
            assert_eq!(large(size, 5000, 700), Ok(()));
            let again = Err(Refusal::Again { why: guard::Refusal::Replay, size: None });
            assert_eq!(large(size, 3000, 500), again, "from before, and sent again");
            assert_eq!(large(size, 3000, 701), Ok(()), "its numbers went back");
            assert_eq!(large(size, 3001, 701), Ok(()));
        }
        for (seq, heard) in [(9000, 702), (6000, 703)] {
            assert!(b.open("a", &beat(seq, heard), NOW).is_ok());
        }
    }
}
