//! Packets with any source address, as fast as they are asked for.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, SockaddrIn, sendmmsg,
    socket,
};

use super::spoil::PORT;
use crate::stop::Stop;

/// Packets that one call sends at most.
const BATCH: usize = 64;
/// Between two looks whether some are due.
const NAP: Duration = Duration::from_micros(500);
/// What could not be sent for so long is not made up for: the rate would be higher then.
const BEHIND: Duration = Duration::from_millis(20);

/// The socket and the packets.
pub(super) struct Sender {
    socket: OwnedFd,
    to: SockaddrIn,
    packets: Vec<Vec<u8>>,
}

impl Sender {
    /// One that sends these in turn.
    pub(super) fn open(from: Ipv4Addr, to: Ipv4Addr, payloads: Vec<Vec<u8>>) -> Result<Self> {
        // `IPPROTO_RAW` takes packets with their header (raw(7)).
        let socket = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)
            .context("a raw socket needs root")?;
        let packets = payloads.iter().map(|payload| packet(from, to, payload)).collect::<Result<_>>()?;
        Ok(Self { socket, to: SockaddrIn::from(SocketAddrV4::new(to, 0)), packets })
    }

    /// Sends so many a second for so long; how many left.
    pub(super) fn send(&self, per_second: u32, lasts: Duration, stop: &Stop) -> Result<u64> {
        // A window of a batch begins at any packet.
        let turns = self.packets.iter().cycle().take(self.packets.len() + BATCH);
        let slices: Vec<[IoSlice<'_>; 1]> = turns.map(|packet| [IoSlice::new(packet)]).collect();
        let (begin, mut sent, mut skipped) = (Instant::now(), 0_u64, 0_u64);
        let most_behind = (f64::from(per_second) * BEHIND.as_secs_f64()) as u64 + 1;
        while begin.elapsed() < lasts {
            stop.check()?;
            let due = (begin.elapsed().as_secs_f64() * f64::from(per_second)) as u64;
            let behind = due.saturating_sub(sent + skipped);
            skipped += behind.saturating_sub(most_behind);
            let count = usize::try_from(behind.min(most_behind))?.min(BATCH);
            let place = usize::try_from(sent % self.packets.len().max(1) as u64)?;
            match count {
                0 => std::thread::sleep(NAP),
                _ => sent += self.batch(&slices[place..place + count])?,
            }
        }
        Ok(sent)
    }

    fn batch(&self, slices: &[[IoSlice<'_>; 1]]) -> Result<u64> {
        let mut headers = MultiHeaders::preallocate(slices.len(), None);
        let addresses = vec![Some(self.to); slices.len()];
        let nothing: [ControlMessage<'_>; 0] = [];
        let sent = sendmmsg(self.socket.as_raw_fd(), &mut headers, slices, &addresses, nothing, MsgFlags::empty());
        match sent {
            Ok(results) => Ok(results.count() as u64),
            // The link is busy.
            Err(Errno::ENOBUFS | Errno::EAGAIN) => {
                std::thread::sleep(NAP);
                Ok(0)
            }
            Err(error) => Err(error).context("sending a flood"),
        }
    }
}

/// IPv4 (RFC 791), whose length, number and checksum the kernel fills in, and UDP (RFC 768) without a checksum.
fn packet(from: Ipv4Addr, to: Ipv4Addr, payload: &[u8]) -> Result<Vec<u8>> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(PORT.to_be_bytes());
    packet.extend(PORT.to_be_bytes());
    packet.extend(u16::try_from(8 + payload.len())?.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    Ok(packet)
}
