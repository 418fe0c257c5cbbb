//! The heartbeat socket: kernel receive times, overflow counts, and the errors that peers' kernels send back.

use std::collections::BTreeSet;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use lacuna_core::time::WallNanos;
use nix::errno::Errno;
use nix::libc::{EMSGSIZE, ENOBUFS, EPERM, sock_extended_err};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, recvmsg, setsockopt,
    sockopt::{Ipv4RecvErr, Ipv6RecvErr, RcvBuf, RcvBufForce, ReceiveTimestampns, RxqOvfl, SndBuf, SndBufForce},
};
use rustix::net::addr::SocketAddrArg;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

use super::fragmenting::{Fragmenting, Setting};
use crate::reception::Reception;

/// Room for what comes in while the agent is stopped: more than a minute of 50 peers at ten a second, as the kernel counts
/// (some 800 bytes for a small datagram); and for a flood between two ticks.
const RECEIVE_BUFFER: usize = 32 << 20;
/// Room for what leaves with one tick before the network card has taken it: a heartbeat to each of the most peers that there
/// may be (some 2,300 bytes each, as the kernel counts).
const SEND_BUFFER: usize = 4 << 20;
/// Datagrams that one drain takes at most; what is left waits for the next. More than fit into the buffer: a flood of a
/// hundred thousand a second is drained with every tick.
const DRAIN_LIMIT: usize = 65_536;
/// Datagrams that one call to the kernel takes. Their buffers are as long as the longest datagram, but memory is only what
/// datagrams were written to.
const RECEIVE_BATCH: usize = 32;
/// Packets that one call to the kernel sends. The first one of them was dated before the others were written, which takes a
/// few microseconds each, and is part of its round trip.
pub const SEND_BATCH: usize = 8;
/// As many as there may be peers.
const MOST_HELD_UP: usize = 1024;
/// Room for the longest datagram, and a byte that shows that it was longer.
const LONGEST: usize = super::wire::MAX_PACKET + 1;

/// Further attempts at a packet: one after the answer to an earlier packet, one where another came in between.
const SEND_AGAIN: usize = 2;

/// A socket that could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    /// The port is taken, most likely by another agent.
    #[error("UDP port {0} is in use: another agent may be running on this host; stop it, or change heartbeat.listen")]
    InUse(SocketAddr),
    /// The address is none of this host's.
    #[error("{0} is no address of this host: set heartbeat.listen to one of `ip address`, or to 0.0.0.0:PORT")]
    NoSuchAddress(SocketAddr),
    /// Anything else.
    #[error("cannot open the heartbeat socket {0}: {1}")]
    Other(SocketAddr, io::Error),
}

/// One datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// When the kernel received it; absent where it did not say.
    pub stamp: Option<WallNanos>,
    /// What it holds; a longer one is cut, and then too long for any heartbeat.
    pub bytes: &'a [u8],
}

/// What a kernel said of a packet that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nobody listens on the port of that address, says its own kernel.
    PortUnreachable(SocketAddr),
    /// No larger IP packet passes on the way to that address, says a router or this host's own kernel.
    TooBig {
        /// Whom the packet was sent to.
        to: SocketAddr,
        /// The largest that passes, in bytes.
        mtu: u16,
    },
}

/// The socket.
pub struct Heartbeats {
    socket: UdpSocket,
    overflow: u32,
    fragmenting: Setting,
    /// To whom the last packet did not leave: further ones are sent singly, as each attempt is a drop that the kernel counts.
    held_up: BTreeSet<SocketAddr>,
    /// Room for [`RECEIVE_BATCH`] datagrams.
    buffer: Vec<u8>,
}

impl Heartbeats {
    /// Opens the socket.
    ///
    /// # Errors
    /// [`UdpError`], with what to do next.
    pub fn bind(listen: SocketAddr) -> Result<Self, UdpError> {
        let socket = UdpSocket::bind(listen).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => UdpError::InUse(listen),
            io::ErrorKind::AddrNotAvailable => UdpError::NoSuchAddress(listen),
            _ => UdpError::Other(listen, error),
        })?;
        let other = |error: Errno| UdpError::Other(listen, error.into());
        socket.set_nonblocking(true).map_err(|error| UdpError::Other(listen, error))?;
        setsockopt(&socket, ReceiveTimestampns, &true).map_err(other)?;
        setsockopt(&socket, RxqOvfl, &1).map_err(other)?;
        match listen {
            SocketAddr::V4(_) => setsockopt(&socket, Ipv4RecvErr, &true).map_err(other)?,
            SocketAddr::V6(_) => setsockopt(&socket, Ipv6RecvErr, &true).map_err(other)?,
        }
        // Beyond rmem_max only with CAP_NET_ADMIN; without it the kernel gives what it allows.
        if setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER).map_err(other)?;
        }
        if setsockopt(&socket, SndBufForce, &SEND_BUFFER).is_err() {
            setsockopt(&socket, SndBuf, &SEND_BUFFER).map_err(other)?;
        }
        let (fragmenting, buffer) = (Setting::new(listen.is_ipv4()), vec![0; RECEIVE_BATCH * LONGEST]);
        let mut opened = Self { socket, overflow: 0, fragmenting, held_up: BTreeSet::new(), buffer };
        opened.set_fragmenting(Fragmenting::Never).map_err(|error| UdpError::Other(listen, error))?;
        Ok(opened)
    }

    /// What holds for the packets that are sent from now on.
    ///
    /// # Errors
    /// What this host's own kernel said.
    pub fn set_fragmenting(&mut self, wanted: Fragmenting) -> io::Result<()> {
        self.fragmenting.set(&self.socket, wanted)
    }

    /// Sends one packet.
    ///
    /// # Errors
    /// What this host's own kernel said; that a peer's kernel or a router refused an earlier one, to whomever it
    /// went, is not an error of this one.
    pub fn send(&self, to: SocketAddr, packet: &[u8]) -> io::Result<()> {
        let mut sent = self.socket.send_to(packet, to);
        for _ in 0..SEND_AGAIN {
            // The socket hands out the answer to an earlier packet once, whichever it is, and then this one was not
            // sent (udp(7), IP_RECVERR). An error of this one comes again; where this kernel has dropped it, it is one drop.
            if sent.as_ref().err().is_none_or(is_dropped_here) {
                break;
            }
            sent = self.socket.send_to(packet, to);
        }
        sent.map(|_| ())
    }

    /// Sends packets in their order, by as few calls to the kernel as it takes; what became of each.
    pub fn send_all(&mut self, packets: &[(SocketAddr, &[u8])]) -> Vec<io::Result<()>> {
        let mut done = Vec::with_capacity(packets.len());
        while let Some(rest) = packets.get(done.len()..).filter(|rest| !rest.is_empty()) {
            let together = rest.iter().position(|(to, _)| self.held_up.contains(to)).unwrap_or(rest.len());
            let sent = if together == 0 { 0 } else { self.send_some(&rest[..together]) };
            done.extend((0..sent).map(|_| Ok(())));
            // The first one that did not leave, which may be for an earlier one's sake: only alone it says why.
            if sent < together.clamp(1, SEND_BATCH)
                && let Some((to, packet)) = rest.get(sent)
            {
                done.push(self.send_alone(*to, packet));
            }
        }
        done
    }

    /// Sends one packet, and notes whether it left.
    fn send_alone(&mut self, to: SocketAddr, packet: &[u8]) -> io::Result<()> {
        let sent = self.send(to, packet);
        if !sent.as_ref().err().is_some_and(is_dropped_here) {
            self.held_up.remove(&to);
        } else if self.held_up.len() < MOST_HELD_UP {
            self.held_up.insert(to);
        }
        sent
    }

    /// How many of them left, from the first one on.
    fn send_some(&self, packets: &[(SocketAddr, &[u8])]) -> usize {
        let packets = &packets[..packets.len().min(SEND_BATCH)];
        let addresses: Vec<_> = packets.iter().map(|(to, _)| to.as_any()).collect();
        let slices: Vec<_> = packets.iter().map(|(_, bytes)| [IoSlice::new(bytes)]).collect();
        let mut controls: Vec<_> = packets.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let parts = addresses.iter().zip(&slices).zip(&mut controls);
        let mut messages: Vec<_> =
            parts.map(|((to, slice), control)| MMsgHdr::new_with_addr(to, slice, control)).collect();
        sendmmsg(&self.socket, &mut messages, SendFlags::DONTWAIT).unwrap_or(0)
    }

    /// Takes what has arrived, oldest first; answers with how many datagrams the socket dropped since the last call: the buffer
    /// had no room for them, or their checksum was wrong.
    pub fn drain(&mut self, mut each: impl FnMut(Datagram<'_>)) -> u64 {
        let mut lost = 0;
        for _ in 0..DRAIN_LIMIT / RECEIVE_BATCH {
            match self.receive(&mut each) {
                Ok(overflow) => lost += overflow,
                Err(Errno::EAGAIN) => break,
                // The answer to a packet that was sent: it says nothing about what waits behind it.
                Err(_) => {}
            }
        }
        lost
    }

    /// Takes some datagrams; how many the socket dropped, as far as these say.
    fn receive(&mut self, each: &mut impl FnMut(Datagram<'_>)) -> Result<u64, Errno> {
        let mut slices: Vec<_> = self.buffer.chunks_exact_mut(LONGEST).map(|room| [IoSliceMut::new(room)]).collect();
        // New ones each time: the kernel writes how much of the room for control data it used over how much there is, and
        // overflows, which came with no datagram before, would find none.
        let space = nix::cmsg_space!(nix::sys::time::TimeSpec, u32);
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(slices.len(), Some(space));
        let (socket, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let mut lost = 0;
        for message in recvmmsg(socket, &mut headers, slices.iter_mut(), flags, None)? {
            let (Some(from), Ok(reception)) = (message.address.as_ref().and_then(address), Reception::of(&message))
            else {
                continue;
            };
            if let Some(count) = reception.overflow {
                lost += u64::from(count.wrapping_sub(self.overflow));
                self.overflow = count;
            }
            let bytes = message.iovs().next().unwrap_or_default();
            each(Datagram { from, stamp: reception.at, bytes });
        }
        Ok(lost)
    }

    /// Takes the answers that came back to what was sent.
    pub fn drain_errors(&mut self, mut each: impl FnMut(Answer)) {
        for _ in 0..DRAIN_LIMIT {
            match self.receive_error() {
                Some(Some(answer)) => each(answer),
                Some(None) => {}
                None => return,
            }
        }
    }

    /// `None` where the queue is empty, `Some(None)` for an error of another kind.
    fn receive_error(&self) -> Option<Option<Answer>> {
        let mut bytes = [0; 64];
        // sock_extended_err (16 bytes) and the offender's address, for either family.
        let mut space = vec![0; 256];
        let mut buffer = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut buffer, Some(&mut space), flags).ok()?;
        let sent_to = message.address.as_ref().and_then(address);
        let said = message.cmsgs().ok()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4RecvErr(error, by) => {
                let by = by.map(|by| IpAddr::V4(Ipv4Addr::from(u32::from_be(by.sin_addr.s_addr))));
                Some(Said { error, by })
            }
            ControlMessageOwned::Ipv6RecvErr(error, by) => {
                let by = by.map(|by| IpAddr::V6(Ipv6Addr::from(by.sin6_addr.s6_addr)));
                Some(Said { error, by })
            }
            _ => None,
        });
        Some(sent_to.zip(said).and_then(|(to, said)| said.of(to)))
    }
}

/// Whether this host's own kernel dropped the packet: a filter (EPERM) or a full queue (ENOBUFS). No ICMP message is handed out
/// as one of these (`icmp_err_convert`, Linux 6.18; `icmpv6_err_convert`).
fn is_dropped_here(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EPERM | ENOBUFS))
}

/// Nothing smaller is believed of a path over IPv4, as by the kernel itself (`net.ipv4.route.min_pmtu`, 552 by default): messages can
/// be forged, and a smaller one would leave large heartbeats no room.
const LEAST_MTU_V4: u16 = 552;
/// The same over IPv6 (RFC 8200, 5).
const LEAST_MTU_V6: u16 = 1280;

/// What an ICMP message said, and who sent it.
struct Said {
    error: sock_extended_err,
    by: Option<IpAddr>,
}

impl Said {
    /// What that means for the packet that went to `to`.
    fn of(&self, to: SocketAddr) -> Option<Answer> {
        // EMSGSIZE: fragmentation needed (RFC 1191), packet too big (RFC 8201), or this kernel's own word; with the MTU.
        if self.error.ee_errno == EMSGSIZE.unsigned_abs() {
            let mtu = u16::try_from(self.error.ee_info).ok().filter(|mtu| *mtu > 0)?;
            let least = if to.is_ipv4() { LEAST_MTU_V4 } else { LEAST_MTU_V6 };
            return Some(Answer::TooBig { to, mtu: mtu.max(least) });
        }
        // Destination unreachable, port unreachable: (3, 3) of RFC 792, (1, 4) of RFC 4443.
        let unreachable = if to.is_ipv4() { (3, 3) } else { (1, 4) };
        let port = (self.error.ee_type, self.error.ee_code) == unreachable && self.by == Some(to.ip());
        port.then_some(Answer::PortUnreachable(to))
    }
}

impl AsFd for Heartbeats {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|address| SocketAddr::from((address.ip(), address.port())));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::from((address.ip(), address.port()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn loopback() -> Heartbeats {
        Heartbeats::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap()
    }

    fn port(of: &Heartbeats) -> SocketAddr {
        of.socket.local_addr().unwrap()
    }

    #[test]
    fn the_kernel_stamps_what_it_receives() {
        let (a, mut b) = (loopback(), loopback());
        let before = clock::read().wall;
        a.send(port(&b), b"hello").unwrap();
        let mut got = Vec::new();
        assert_eq!(b.drain(|datagram| got.push((datagram.from, datagram.bytes.to_vec(), datagram.stamp))), 0);
        assert_eq!((got[0].0, got[0].1.as_slice()), (port(&a), &b"hello"[..]));
        assert!(got[0].2.unwrap() >= before && got[0].2.unwrap() <= clock::read().wall);
    }

    #[test]
    fn many_leave_and_come_in_whole_and_in_their_order() {
        let (mut a, mut b) = (loopback(), loopback());
        let packets: Vec<Vec<u8>> = (0..200_u8).map(|number| vec![number; usize::from(number) * 7]).collect();
        let to = port(&b);
        let sent = a.send_all(&packets.iter().map(|packet| (to, packet.as_slice())).collect::<Vec<_>>());
        assert_eq!(sent.iter().filter(|sent| sent.is_ok()).count(), 200);
        let mut got = Vec::new();
        assert_eq!(b.drain(|datagram| got.push(datagram.bytes.to_vec())), 0);
        assert_eq!(got, packets);
    }

    #[test]
    fn one_that_cannot_be_sent_keeps_no_other_back() {
        let (mut a, mut b) = (loopback(), loopback());
        let long = vec![0; 70_000];
        let bytes = |number: usize| if number % 5 == 3 { long.as_slice() } else { b"hello" };
        let packets: Vec<_> = (0..20).map(|number| (port(&b), bytes(number))).collect();
        let failed: Vec<_> = a.send_all(&packets).iter().map(Result::is_err).collect();
        assert_eq!(failed, (0..20).map(|number| number % 5 == 3).collect::<Vec<_>>());
        let mut got = 0;
        b.drain(|_| got += 1);
        assert_eq!(got, 16);
    }

    #[test]
    fn an_answer_about_one_peer_costs_no_packet_of_a_batch() {
        for code in CODES {
            let (mut a, mut b) = (loopback(), loopback());
            unreachable(&a, code);
            let sent = a.send_all(&[(port(&b), &b"hello"[..]); 20]);
            assert!(sent.iter().all(Result::is_ok), "code {code}");
            let mut got = 0;
            b.drain(|_| got += 1);
            assert_eq!(got, 20, "code {code}");
        }
    }

    #[test]
    fn a_port_that_nobody_listens_on_is_told_and_does_not_harm_the_next_packet() {
        let (mut a, b) = (loopback(), loopback());
        let gone = port(&b);
        drop(b);
        a.send(gone, b"anybody?").unwrap();
        let mut refused = Vec::new();
        a.drain_errors(|answer| refused.push(answer));
        assert_eq!(refused, [Answer::PortUnreachable(gone)]);
        a.send(gone, b"still nobody").unwrap();
        a.send(gone, b"and again").unwrap();
    }

    /// Tells the socket, as a router would, that a packet it sent to 192.0.2.1 was not delivered (RFC 792).
    fn unreachable(socket: &Heartbeats, code: u8) {
        let port = port(socket).port().to_be_bytes();
        let mut packet = [0; 36];
        packet[..2].copy_from_slice(&[3, code]);
        // The packet that it is about: IPv4 and UDP, from 127.0.0.1 to 192.0.2.1, port 9.
        packet[8..18].copy_from_slice(&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17]);
        packet[20..28].copy_from_slice(&[127, 0, 0, 1, 192, 0, 2, 1]);
        packet[28..32].copy_from_slice(&[port[0], port[1], 0, 9]);
        let sum = pnet_packet::util::checksum(&packet, 1).to_be_bytes();
        packet[2..4].copy_from_slice(&sum);
        let raw = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, Some(socket2::Protocol::ICMPV4));
        raw.unwrap().send_to(&packet, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    }

    /// Codes of RFC 792 and RFC 1812 and what Linux makes of them: network, host, protocol and port unreachable,
    /// fragmentation needed, forbidden by an administrator.
    const CODES: [u8; 6] = [0, 1, 2, 3, 4, 13];

    #[test]
    fn an_answer_about_one_peer_does_not_swallow_the_packet_to_the_next() {
        for code in CODES {
            let (a, mut b) = (loopback(), loopback());
            unreachable(&a, code);
            assert!(a.socket.take_error().unwrap().is_some(), "code {code} does not reach the socket");
            unreachable(&a, code);
            a.send(port(&b), b"hello").unwrap();
            let mut got = 0;
            b.drain(|_| got += 1);
            assert_eq!(got, 1, "code {code}");
        }
    }

    #[test]
    fn an_answer_about_one_peer_does_not_hold_up_what_others_sent() {
        for code in CODES {
            let (a, mut b) = (loopback(), loopback());
            a.send(port(&b), b"hello").unwrap();
            unreachable(&b, code);
            let mut got = 0;
            b.drain(|_| got += 1);
            assert_eq!(got, 1, "code {code}");
        }
    }

    #[test]
    fn a_packet_that_this_host_cannot_send_is_an_error() {
        let a = loopback();
        assert!(a.send(port(&a), &[0; 70_000]).is_err());
    }

    #[test]
    fn a_full_buffer_is_counted() {
        let (a, mut b) = (loopback(), loopback());
        setsockopt(&b.socket, RcvBuf, &4096).unwrap();
        for _ in 0..100 {
            a.send(port(&b), b"flood").unwrap();
        }
        let mut got = 0;
        b.drain(|_| got += 1);
        a.send(port(&b), b"after").unwrap();
        let lost = b.drain(|_| got += 1);
        assert!(lost > 0);
        assert_eq!(got + lost, 101);
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = loopback();
        let error = Heartbeats::bind(port(&taken)).err().unwrap().to_string();
        assert!(error.contains(&port(&taken).to_string()), "{error}");
    }

    #[test]
    fn an_address_of_somebody_else_is_named() {
        let error = Heartbeats::bind(([192, 0, 2, 250], 9479).into()).err().unwrap().to_string();
        assert!(error.contains("no address of this host"), "{error}");
    }
}
