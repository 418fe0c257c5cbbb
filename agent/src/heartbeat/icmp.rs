//! Echo requests (RFC 792): whether a peer's kernel answers, whatever its programs do, and to which sizes.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

use lacuna_core::evidence::Size;
use lacuna_core::time::Nanos;
use nix::sys::socket::{MsgFlags, recv};
use pnet_packet::icmp::echo_reply::EchoReplyPacket;
use pnet_packet::icmp::echo_request::MutableEchoRequestPacket;
use pnet_packet::icmp::{IcmpPacket, IcmpTypes, checksum};
use pnet_packet::ipv4::Ipv4Packet;
use socket2::{Domain, Protocol, Socket, Type};

use super::fragmenting::{Fragmenting, Setting};

/// Requests that are remembered until they are answered.
const OUTSTANDING: usize = 4096;
/// Packets that one drain takes at most.
const DRAIN_LIMIT: usize = 8192;
/// The IPv4 header without options (RFC 791).
const IP_HEADER: u16 = 20;
/// Length of a small request as an IP packet: its header, the ICMP header and 16 bytes.
pub const SMALL_BYTES: u16 = IP_HEADER + 24;
/// What is read of a packet: its headers. How long it is stands in them.
const READ_BYTES: usize = 256;

/// An answer to one of our requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Who answered.
    pub from: IpAddr,
    /// When the request had left.
    pub sent_at: Nanos,
    /// How large both are.
    pub size: Size,
}

/// A request that may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    sequence: u16,
    to: Ipv4Addr,
    sent_at: Nanos,
    size: Size,
    /// As an IP packet.
    bytes: u16,
}

/// A raw socket for echo requests over IPv4.
pub struct Echo {
    socket: Socket,
    identifier: u16,
    sequence: u16,
    fragmenting: Setting,
    outstanding: VecDeque<Request>,
    packet: Vec<u8>,
}

impl Echo {
    /// Opens the socket; `identifier` tells this agent's requests from those of others.
    ///
    /// # Errors
    /// Needs `CAP_NET_RAW`.
    pub fn open(identifier: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
        socket.set_nonblocking(true)?;
        let (fragmenting, outstanding) = (Setting::new(true), VecDeque::new());
        Ok(Self { socket, identifier, sequence: 0, fragmenting, outstanding, packet: Vec::new() })
    }

    /// Sends a request at `now` that is `bytes` long as an IP packet. Only one of the size beyond the MTU may be fragmented.
    ///
    /// # Errors
    /// What this host's kernel said.
    pub fn send(&mut self, to: Ipv4Addr, now: Nanos, size: Size, bytes: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let fragmenting = if size == Size::Fragmented { Fragmenting::Allowed } else { Fragmenting::Never };
        self.fragmenting.set(&self.socket, fragmenting)?;
        self.packet.clear();
        self.packet.resize(usize::from(bytes.saturating_sub(IP_HEADER)), 0);
        write_request(&mut self.packet, self.identifier, self.sequence);
        self.socket.send_to(&self.packet, &SocketAddr::from((to, 0)).into())?;
        if self.outstanding.len() == OUTSTANDING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back(Request { sequence: self.sequence, to, sent_at: now, size, bytes });
        Ok(())
    }

    /// Takes the answers that have arrived.
    pub fn drain(&mut self, mut each: impl FnMut(Reply)) {
        let mut buffer = [0; READ_BYTES];
        for _ in 0..DRAIN_LIMIT {
            let received = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT);
            let Ok(length) = received else { return };
            let answer = parse_reply(&buffer[..length], self.identifier);
            answer.and_then(|answer| self.take(&answer)).into_iter().for_each(&mut each);
        }
    }

    /// An answer counts once, only from whom the request went to, and only whole.
    fn take(&mut self, answer: &Answer) -> Option<Reply> {
        let is_answered = |request: &Request| (request.sequence, request.to) == (answer.sequence, answer.from);
        let place =
            self.outstanding.iter().position(|request| is_answered(request) && request.bytes == answer.bytes)?;
        let Request { sent_at, size, .. } = self.outstanding.remove(place)?;
        Some(Reply { from: IpAddr::V4(answer.from), sent_at, size })
    }
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who answers.
    pub from: Ipv4Addr,
    /// The number of the request.
    pub sequence: u16,
    /// As an IP packet without options, put together again.
    pub bytes: u16,
}

fn write_request(bytes: &mut [u8], identifier: u16, sequence: u16) {
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

/// Who answered which request of ours; a raw socket over IPv4 hands out the IP header as well.
#[must_use]
pub fn parse_reply(bytes: &[u8], identifier: u16) -> Option<Answer> {
    let ip = Ipv4Packet::new(bytes)?;
    let header = u16::from(ip.get_header_length()) * 4;
    let reply = EchoReplyPacket::new(bytes.get(usize::from(header)..)?)?;
    let ours = reply.get_icmp_type() == IcmpTypes::EchoReply && reply.get_identifier() == identifier;
    let bytes = ip.get_total_length().checked_sub(header)?.checked_add(IP_HEADER)?;
    ours.then(|| Answer { from: ip.get_source(), sequence: reply.get_sequence_number(), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_of_this_host_answers_to_every_size() {
        let mut echo = Echo::open(0x4c43).unwrap();
        let asked =
            [(Size::Small, SMALL_BYTES), (Size::Mtu, 1500), (Size::Fragmented, 2000), (Size::Small, SMALL_BYTES)];
        for (at, (size, bytes)) in (1..).zip(asked) {
            echo.send(Ipv4Addr::LOCALHOST, Nanos(at), size, bytes).unwrap();
        }
        let mut replies = Vec::new();
        for _ in 0..100 {
            echo.drain(|reply| replies.push((reply.from, reply.sent_at.0, reply.size)));
            if replies.len() == asked.len() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let expected = (1..).zip(asked).map(|(at, (size, _))| (IpAddr::V4(Ipv4Addr::LOCALHOST), at, size));
        assert_eq!(replies, expected.collect::<Vec<_>>());
    }

    #[test]
    fn foreign_and_broken_packets_are_no_replies() {
        for bytes in [&[][..], &[0x45; 20], &[0x4f; 24], &[0xff; 60]] {
            assert_eq!(parse_reply(bytes, 1), None);
        }
    }

    #[test]
    fn an_answer_from_somebody_else_or_of_another_length_does_not_count() {
        let mut echo = Echo::open(2).unwrap();
        let asked = (Ipv4Addr::LOCALHOST, 1500);
        let request = Request { sequence: 1, to: asked.0, sent_at: Nanos(3), size: Size::Mtu, bytes: asked.1 };
        echo.outstanding.push_back(request);
        let mut answered = |from, bytes| echo.take(&Answer { from, sequence: 1, bytes }).is_some();
        assert!(!answered(Ipv4Addr::new(127, 0, 0, 2), asked.1));
        assert!(!answered(asked.0, SMALL_BYTES));
        assert!(answered(asked.0, asked.1));
        assert!(!answered(asked.0, asked.1), "once");
    }
}
