//! Echo requests (RFC 792, RFC 4443): whether a peer's kernel answers, whatever its programs do, and to which sizes.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

use lacuna_core::evidence::Size;
use lacuna_core::time::Nanos;
use pnet_packet::icmp::echo_reply::EchoReplyPacket;
use pnet_packet::icmp::echo_request::MutableEchoRequestPacket;
use pnet_packet::icmp::{IcmpPacket, IcmpTypes, checksum};
use pnet_packet::icmpv6::{Icmpv6Types, echo_reply, echo_request};
use pnet_packet::ipv4::Ipv4Packet;
use rustix::net::{RecvFlags, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};

use super::fragmenting::{Fragmenting, Setting};

/// Requests that are remembered until they are answered.
const OUTSTANDING: usize = 4096;
/// Packets that one drain takes at most.
const DRAIN_LIMIT: usize = 8192;
/// The IP header without options (RFC 791) or extensions (RFC 8200).
const HEADER_V4: u16 = 20;
const HEADER_V6: u16 = 40;
/// What a small request has behind that: the ICMP header and 16 bytes.
const SMALL_BYTES: u16 = 24;
/// What is read of a packet: its headers. How long it is the kernel says.
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
    to: IpAddr,
    sent_at: Nanos,
    size: Size,
    /// As an IP packet.
    bytes: u16,
}

/// Sends echo requests and takes the answers.
pub struct Echo {
    v4: Channel,
    /// Absent where this kernel has no IPv6.
    v6: Option<Channel>,
    identifier: u16,
    sequence: u16,
    outstanding: VecDeque<Request>,
    packet: Vec<u8>,
}

/// A raw socket of one family.
struct Channel {
    socket: Socket,
    fragmenting: Setting,
}

impl Echo {
    /// Opens the sockets; `identifier` tells this agent's requests from those of others.
    ///
    /// # Errors
    /// Needs `CAP_NET_RAW`.
    pub fn open(identifier: u16) -> io::Result<Self> {
        let v4 = Channel::open(Domain::IPV4, Protocol::ICMPV4)?;
        let v6 = match Channel::open(Domain::IPV6, Protocol::ICMPV6) {
            // A kernel without IPv6 has no peers there either.
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
            opened => Some(opened?),
        };
        Ok(Self { v4, v6, identifier, sequence: 0, outstanding: VecDeque::new(), packet: Vec::new() })
    }

    /// Sends a small request at `now`; the port of `to` is nobody's.
    ///
    /// # Errors
    /// What this host's kernel said.
    pub fn send_small(&mut self, to: SocketAddr, now: Nanos) -> io::Result<()> {
        self.send(to, now, Size::Small, header(to.ip()) + SMALL_BYTES)
    }

    /// Sends a request at `now` that is `bytes` long as an IP packet. Only one of the size beyond the MTU may be fragmented.
    ///
    /// # Errors
    /// What this host's kernel said.
    pub fn send(&mut self, to: SocketAddr, now: Nanos, size: Size, bytes: u16) -> io::Result<()> {
        let (address, channel) = match (to.ip(), &mut self.v6) {
            (address @ IpAddr::V4(_), _) => (address, &mut self.v4),
            (address @ IpAddr::V6(_), Some(v6)) => (address, v6),
            (IpAddr::V6(_), None) => return Err(io::ErrorKind::Unsupported.into()),
        };
        self.sequence = self.sequence.wrapping_add(1);
        let fragmenting = if size == Size::Fragmented { Fragmenting::Allowed } else { Fragmenting::Never };
        channel.fragmenting.set(&channel.socket, fragmenting)?;
        self.packet.clear();
        self.packet.resize(usize::from(bytes.saturating_sub(header(address))), 0);
        match address {
            IpAddr::V4(_) => write_v4(&mut self.packet, self.identifier, self.sequence),
            IpAddr::V6(_) => write_v6(&mut self.packet, self.identifier, self.sequence),
        }
        // A raw socket of IPv6 refuses a port that is not its protocol's (`rawv6_sendmsg`, Linux 6.18).
        let mut to = to;
        to.set_port(0);
        channel.socket.send_to(&self.packet, &to.into())?;
        if self.outstanding.len() == OUTSTANDING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back(Request { sequence: self.sequence, to: address, sent_at: now, size, bytes });
        Ok(())
    }

    /// Takes the answers that have arrived.
    pub fn drain(&mut self, mut each: impl FnMut(Reply)) {
        let (identifier, outstanding) = (self.identifier, &mut self.outstanding);
        self.v4.drain(|packet| {
            let answer = parse_reply(packet.bytes, identifier);
            answer.and_then(|answer| take(outstanding, &answer)).into_iter().for_each(&mut each);
        });
        let Some(v6) = &self.v6 else { return };
        v6.drain(|packet| {
            let answer = parse_reply_v6(packet.bytes, identifier).zip(packet.from);
            let answer = answer.map(|(sequence, from)| Answer {
                from,
                sequence,
                bytes: packet.length.saturating_add(HEADER_V6),
            });
            answer.and_then(|answer| take(outstanding, &answer)).into_iter().for_each(&mut each);
        });
    }
}

/// A packet as a raw socket hands it out.
struct Packet<'a> {
    from: Option<IpAddr>,
    /// Its begin.
    bytes: &'a [u8],
    /// How long it is.
    length: u16,
}

impl Channel {
    fn open(domain: Domain, protocol: Protocol) -> io::Result<Self> {
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, fragmenting: Setting::new(domain == Domain::IPV4) })
    }

    fn drain(&self, mut each: impl FnMut(Packet<'_>)) {
        let mut buffer = [0; READ_BYTES];
        for _ in 0..DRAIN_LIMIT {
            let received = recvfrom(&self.socket, &mut buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC);
            let Ok((read, length, from)) = received else { return };
            let from = from.and_then(|from| SocketAddr::try_from(from).ok()).map(|from| from.ip());
            let length = u16::try_from(length).unwrap_or(u16::MAX - HEADER_V6);
            each(Packet { from, bytes: &buffer[..read], length });
        }
    }
}

/// An answer counts once, only from whom the request went to, and only whole.
fn take(outstanding: &mut VecDeque<Request>, answer: &Answer) -> Option<Reply> {
    let is_answered = |request: &Request| (request.sequence, request.to) == (answer.sequence, answer.from);
    let place = outstanding.iter().position(|request| is_answered(request) && request.bytes == answer.bytes)?;
    let Request { sent_at, size, .. } = outstanding.remove(place)?;
    Some(Reply { from: answer.from, sent_at, size })
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who answers.
    pub from: IpAddr,
    /// The number of the request.
    pub sequence: u16,
    /// As an IP packet without options, put together again.
    pub bytes: u16,
}

fn header(address: IpAddr) -> u16 {
    if address.is_ipv4() { HEADER_V4 } else { HEADER_V6 }
}

fn write_v4(bytes: &mut [u8], identifier: u16, sequence: u16) {
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

/// The kernel adds the checksum (RFC 3542, 3.1).
fn write_v6(bytes: &mut [u8], identifier: u16, sequence: u16) {
    if let Some(mut request) = echo_request::MutableEchoRequestPacket::new(bytes) {
        request.set_icmpv6_type(Icmpv6Types::EchoRequest);
        request.set_identifier(identifier);
        request.set_sequence_number(sequence);
    }
}

/// Who answered which request of ours; a raw socket over IPv4 hands out the IP header as well.
#[must_use]
pub fn parse_reply(bytes: &[u8], identifier: u16) -> Option<Answer> {
    let ip = Ipv4Packet::new(bytes)?;
    let header = u16::from(ip.get_header_length()) * 4;
    let reply = EchoReplyPacket::new(bytes.get(usize::from(header)..)?)?;
    let ours = reply.get_icmp_type() == IcmpTypes::EchoReply && reply.get_identifier() == identifier;
    let bytes = ip.get_total_length().checked_sub(header)?.checked_add(HEADER_V4)?;
    ours.then(|| Answer { from: ip.get_source().into(), sequence: reply.get_sequence_number(), bytes })
}

/// The number of the request of ours that is answered; over IPv6 the header is not handed out.
#[must_use]
pub fn parse_reply_v6(bytes: &[u8], identifier: u16) -> Option<u16> {
    let reply = echo_reply::EchoReplyPacket::new(bytes)?;
    let ours = reply.get_icmpv6_type() == Icmpv6Types::EchoReply && reply.get_identifier() == identifier;
    ours.then(|| reply.get_sequence_number())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn the_kernel_of_this_host_answers_to_every_size() {
        for local in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            // A container may have no IPv6.
            if std::net::UdpSocket::bind((local, 0)).is_err() {
                continue;
            }
            let mut echo = Echo::open(0x4c43).unwrap();
            let to = SocketAddr::from((local, 9479));
            let asked =
                [(Size::Small, None), (Size::Mtu, Some(1500)), (Size::Fragmented, Some(2000)), (Size::Small, None)];
            for (at, (size, bytes)) in (1..).zip(asked) {
                let at = Nanos(at);
                let sent = match bytes {
                    Some(bytes) => echo.send(to, at, size, bytes),
                    None => echo.send_small(to, at),
                };
                sent.unwrap();
            }
            let mut replies = Vec::new();
            for _ in 0..5000 {
                echo.drain(|reply| replies.push((reply.from, reply.sent_at.0, reply.size)));
                if replies.len() == asked.len() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            let expected = (1..).zip(asked).map(|(at, (size, _))| (local, at, size));
            assert_eq!(replies, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn foreign_and_broken_packets_are_no_replies() {
        for bytes in [&[][..], &[0x45; 20], &[0x4f; 24], &[0xff; 60]] {
            assert_eq!((parse_reply(bytes, 1), parse_reply_v6(bytes, 1)), (None, None));
        }
    }

    #[test]
    fn an_answer_from_somebody_else_or_of_another_length_does_not_count() {
        let (to, bytes) = (IpAddr::V4(Ipv4Addr::LOCALHOST), 1500);
        let request = Request { sequence: 1, to, sent_at: Nanos(3), size: Size::Mtu, bytes };
        let mut outstanding = VecDeque::from([request]);
        let mut answered = |from, bytes| take(&mut outstanding, &Answer { from, sequence: 1, bytes }).is_some();
        assert!(!answered(Ipv4Addr::new(127, 0, 0, 2).into(), bytes));
        assert!(!answered(to, HEADER_V4 + SMALL_BYTES));
        assert!(answered(to, bytes));
        assert!(!answered(to, bytes), "once");
    }
}
