//! Echo requests (RFC 792): whether a peer's kernel answers, whatever its programs do.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use lacuna_core::time::Nanos;
use nix::sys::socket::{MsgFlags, recv};
use pnet_packet::Packet;
use pnet_packet::icmp::echo_reply::EchoReplyPacket;
use pnet_packet::icmp::echo_request::MutableEchoRequestPacket;
use pnet_packet::icmp::{IcmpPacket, IcmpTypes, checksum};
use pnet_packet::ipv4::Ipv4Packet;
use socket2::{Domain, Protocol, Socket, Type};

/// Requests that are remembered until they are answered.
const OUTSTANDING: usize = 4096;
/// Packets that one drain takes at most.
const DRAIN_LIMIT: usize = 8192;
/// Length of a request: the ICMP header and 16 bytes, as small as a heartbeat gets.
const REQUEST_BYTES: usize = 24;

/// An answer to one of our requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Who answered.
    pub from: IpAddr,
    /// When the request had left.
    pub sent_at: Nanos,
}

/// A raw socket for echo requests over IPv4.
pub struct Echo {
    socket: Socket,
    identifier: u16,
    sequence: u16,
    outstanding: VecDeque<(u16, Ipv4Addr, Nanos)>,
}

impl Echo {
    /// Opens the socket; `identifier` tells this agent's requests from those of others.
    ///
    /// # Errors
    /// Needs `CAP_NET_RAW`.
    pub fn open(identifier: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, identifier, sequence: 0, outstanding: VecDeque::new() })
    }

    /// Sends a request at `now`.
    ///
    /// # Errors
    /// What this host's kernel said.
    pub fn send(&mut self, to: Ipv4Addr, now: Nanos) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = [0; REQUEST_BYTES];
        write_request(&mut bytes, self.identifier, self.sequence);
        self.socket.send_to(&bytes, &SocketAddr::from((to, 0)).into())?;
        if self.outstanding.len() == OUTSTANDING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back((self.sequence, to, now));
        Ok(())
    }

    /// Takes the answers that have arrived.
    pub fn drain(&mut self, mut each: impl FnMut(Reply)) {
        let mut buffer = [0; 256];
        for _ in 0..DRAIN_LIMIT {
            let received = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT);
            let Ok(length) = received else { return };
            let known =
                parse_reply(&buffer[..length], self.identifier).and_then(|(from, sequence)| self.take(from, sequence));
            known.into_iter().for_each(&mut each);
        }
    }

    /// An answer counts once, and only from whom the request went to.
    fn take(&mut self, from: Ipv4Addr, sequence: u16) -> Option<Reply> {
        let place = self.outstanding.iter().position(|(sent, to, _)| (*sent, *to) == (sequence, from))?;
        let (_, _, sent_at) = self.outstanding.remove(place)?;
        Some(Reply { from: IpAddr::V4(from), sent_at })
    }
}

fn write_request(bytes: &mut [u8; REQUEST_BYTES], identifier: u16, sequence: u16) {
    if let Some(mut request) = MutableEchoRequestPacket::new(bytes) {
        request.set_icmp_type(IcmpTypes::EchoRequest);
        request.set_identifier(identifier);
        request.set_sequence_number(sequence);
    }
    let sum = IcmpPacket::new(bytes).map(|packet| checksum(&packet));
    if let (Some(sum), Some(mut request)) = (sum, MutableEchoRequestPacket::new(bytes)) {
        request.set_checksum(sum);
    }
}

/// Who answered which request of ours, by its sequence number; a raw socket over IPv4 hands out the IP header as well.
#[must_use]
pub fn parse_reply(bytes: &[u8], identifier: u16) -> Option<(Ipv4Addr, u16)> {
    let ip = Ipv4Packet::new(bytes)?;
    let reply = EchoReplyPacket::new(ip.payload())?;
    let ours = reply.get_icmp_type() == IcmpTypes::EchoReply && reply.get_identifier() == identifier;
    ours.then(|| (ip.get_source(), reply.get_sequence_number()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_of_this_host_answers() {
        let mut echo = Echo::open(0x4c43).unwrap();
        echo.send(Ipv4Addr::LOCALHOST, Nanos(7)).unwrap();
        let mut replies = Vec::new();
        for _ in 0..100 {
            echo.drain(|reply| replies.push(reply));
            if !replies.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(replies, [Reply { from: Ipv4Addr::LOCALHOST.into(), sent_at: Nanos(7) }]);
    }

    #[test]
    fn foreign_and_broken_packets_are_no_replies() {
        for bytes in [&[][..], &[0x45; 20], &[0x4f; 24], &[0xff; 60]] {
            assert_eq!(parse_reply(bytes, 1), None);
        }
    }

    #[test]
    fn an_answer_from_somebody_else_does_not_count() {
        let mut echo = Echo::open(2).unwrap();
        echo.outstanding.push_back((1, Ipv4Addr::LOCALHOST, Nanos(3)));
        assert_eq!(echo.take(Ipv4Addr::new(127, 0, 0, 2), 1), None);
        assert!(echo.take(Ipv4Addr::LOCALHOST, 1).is_some());
        assert_eq!(echo.take(Ipv4Addr::LOCALHOST, 1), None);
    }
}
