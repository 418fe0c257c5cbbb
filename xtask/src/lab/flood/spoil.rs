//! A heartbeat as it was on the wire, and what else can be made of it. Only the head of the form is known here
//! (`agent/src/heartbeat/wire.rs` describes it), so that what follows may change.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket};
use nix::sys::time::{TimeVal, TimeValLike as _};
use serde::Deserialize;

/// Where agents listen, and send from.
pub(super) const PORT: u16 = 9479;
/// A host that sends no heartbeat for so long has no agent.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a packet of the usual MTU has room for.
const LONGEST: usize = 1472;
/// Bytes of a tag.
const TAG: usize = 16;
/// Where things are in a packet.
const MAGIC: usize = 0;
const VERSION: usize = 2;
const KIND: usize = 3;
const NAME: usize = 4;
/// Behind the name: the boot id; then incarnation, number, boot clock and flags, and the wall clock.
const BOOT_ID: usize = 16;
const INCARNATION: usize = BOOT_ID;
const SENT_AT: usize = INCARNATION + 16;
const WALL: usize = SENT_AT + 8 + 1;

/// What a packet of a flood is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Nothing, less than a tag, or one that ends in the middle.
    Short,
    /// With something behind its end.
    Long,
    /// It is something else.
    Magic,
    /// Of another version.
    Version,
    /// Without a name.
    Name,
    /// Of a kind that does not exist.
    Range,
    /// Another tag.
    Tag,
    /// In the name of somebody else.
    ForeignName,
    /// Of another start of the agent, from the far past, the far future, time zero and the end of time.
    Times,
    /// As it was.
    Again,
}

impl Kind {
    /// Each once.
    pub(super) fn all() -> Vec<Self> {
        use Kind::*;
        vec![Short, Long, Magic, Version, Name, Range, Tag, ForeignName, Times, Again]
    }
}

/// A packet with its tag.
pub(super) struct Recorded(Vec<u8>);

impl Recorded {
    /// Waits for a small heartbeat from that host to the one whose namespace this thread is in.
    pub(super) fn listen(from: Ipv4Addr) -> Result<Self> {
        // It gets a copy of each packet that comes in, with its header (raw(7)).
        let socket = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Udp)
            .context("a raw socket needs root")?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(200))?;
        let (end, mut buffer) = (Instant::now() + PATIENCE, [0; 2048]);
        while Instant::now() < end {
            match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => {
                    if let Some(payload) = heartbeat(&buffer[..length], from) {
                        return Ok(Self(payload.to_vec()));
                    }
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(error).context("recording heartbeats"),
            }
        }
        bail!("no heartbeat of {from} within {PATIENCE:?}")
    }

    /// Packets of that kind, with a tag of `key` for `receiver` unless that is what is wrong with them.
    pub(super) fn spoilt(&self, kind: Kind, key: &[u8; 32], receiver: &str) -> Vec<Vec<u8>> {
        let (body, _) = self.0.split_at(self.0.len().saturating_sub(TAG));
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut packet = body.to_vec();
            change(&mut packet);
            let tag = tag(key, receiver, &packet);
            packet.extend(tag);
            packet
        };
        match kind {
            Kind::Short => {
                let cut = with(&|packet| packet.truncate(packet.len() / 2));
                vec![Vec::new(), body[..TAG / 2].to_vec(), cut]
            }
            Kind::Long => vec![
                with(&|packet| packet.push(0)),
                with(&|packet| packet.resize(LONGEST - TAG, 0)),
                with(&|packet| packet.resize(LONGEST - TAG, 0xff)),
            ],
            Kind::Magic => vec![with(&|packet| packet[MAGIC] ^= 0xff), with(&|packet| packet.fill(0))],
            Kind::Version => vec![with(&|packet| packet[VERSION] = 0), with(&|packet| packet[VERSION] = 0xff)],
            Kind::Name => vec![with(&|packet| packet[NAME] = 0), with(&|packet| packet[NAME] = 0xff)],
            Kind::Range => vec![with(&|packet| packet[KIND] = 0xff)],
            Kind::Tag => vec![[body, &[0; TAG]].concat(), [body, &[0xff; TAG]].concat(), vec![0xff; LONGEST]],
            Kind::ForeignName => vec![with(&|packet| packet[NAME + 1] ^= 1)],
            Kind::Times => TIMES.map(|time| with(&|packet| date(packet, time))).to_vec(),
            Kind::Again => vec![self.0.clone()],
        }
    }
}

/// Nanoseconds since 1970: its begin, the year 1980, 2100, and the end.
const TIMES: [u64; 4] = [0, 315_532_800_000_000_000, 4_102_444_800_000_000_000, u64::MAX];

/// Of a start at that time, sent at that time, by both clocks.
fn date(packet: &mut [u8], time: u64) {
    let begin = NAME + 1 + usize::from(packet[NAME]);
    for place in [INCARNATION, SENT_AT, WALL] {
        packet[begin + place..][..8].copy_from_slice(&time.to_be_bytes());
    }
}

/// What such a packet holds, where it is a small heartbeat from that host.
fn heartbeat(packet: &[u8], from: Ipv4Addr) -> Option<&[u8]> {
    // IPv4 (RFC 791): the length of the header, the source; UDP (RFC 768): the ports, and 8 bytes in all.
    let udp = packet.get(usize::from(packet.first()? & 0xf) * 4..)?;
    let is_from = packet.get(12..16)? == from.octets();
    let to_agent = udp.get(2..4)? == PORT.to_be_bytes();
    udp.get(8..).filter(|payload| is_from && to_agent && payload.len() > KIND + TAG && payload[KIND] == 0)
}

/// BLAKE3's keyed mode over the length of the receiver's name, the name and the packet; the first half of it.
fn tag(key: &[u8; 32], receiver: &str, packet: &[u8]) -> [u8; TAG] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&(receiver.len() as u64).to_be_bytes()).update(receiver.as_bytes()).update(packet);
    let mut tag = [0; TAG];
    tag.copy_from_slice(&hasher.finalize().as_bytes()[..TAG]);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_told_from_other_traffic() {
        let from = Ipv4Addr::new(10, 77, 0, 12);
        let mut packet = vec![0x45; 20];
        packet[12..16].copy_from_slice(&from.octets());
        packet.extend([0, 9]);
        packet.extend(PORT.to_be_bytes());
        packet.extend([0; 4]);
        packet.extend(b"LC\x03\x00a heartbeat with a tag");
        assert_eq!(heartbeat(&packet, from).unwrap(), b"LC\x03\x00a heartbeat with a tag");
        assert_eq!(heartbeat(&packet, Ipv4Addr::new(10, 77, 0, 13)), None);
        assert_eq!(heartbeat(&packet[..30], from), None);
        packet[31] = 1;
        assert_eq!(heartbeat(&packet, from), None, "a large one");
    }

    #[test]
    fn every_kind_fits_into_a_packet_and_only_one_is_as_it_was() {
        let mut packet = b"LC\x03\x00\x01a".to_vec();
        packet.resize(100, 7);
        let recorded = Recorded(packet.clone());
        for kind in Kind::all() {
            for spoilt in recorded.spoilt(kind, &[7; 32], "b") {
                assert!(spoilt.len() <= LONGEST, "{kind:?}");
                assert_eq!(spoilt == packet, kind == Kind::Again, "{kind:?}");
            }
        }
    }
}
