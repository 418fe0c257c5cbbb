//! The heartbeat socket: kernel receive times, overflow counts, and the errors that peers' kernels send back.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use lacuna_core::time::WallNanos;
use nix::errno::Errno;
use nix::libc::{EMSGSIZE, ENOBUFS, EPERM, sock_extended_err};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt,
    sockopt::{Ipv4RecvErr, Ipv6RecvErr, RcvBuf, RcvBufForce, ReceiveTimestampns, RxqOvfl},
};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover};

use crate::reception::Reception;

/// Room for what comes in while the agent is stopped: more than a minute of 50 peers at ten a second, as the kernel counts
/// (some 800 bytes for a small datagram); and for a flood between two ticks.
const RECEIVE_BUFFER: usize = 32 << 20;
/// Datagrams that one drain takes at most; what is left waits for the next. More than fit into the buffer: a flood of a
/// hundred thousand a second is drained with every tick.
const DRAIN_LIMIT: usize = 65_536;
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it.
    pub from: SocketAddr,
    /// When the kernel received it; absent where it did not say.
    pub stamp: Option<WallNanos>,
    /// What it holds; a longer one is cut, and then too long for any heartbeat.
    pub bytes: Vec<u8>,
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

/// Whether a packet may be fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragmenting {
    /// It must not, whatever is known of the path (`IP_PMTUDISC_PROBE`).
    Never,
    /// By the MTU of the interface (`IP_PMTUDISC_OMIT`), whatever a router said.
    Allowed,
}

/// The socket.
pub struct Heartbeats {
    socket: UdpSocket,
    overflow: u32,
    is_v4: bool,
    fragmenting: Fragmenting,
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
        let (is_v4, fragmenting, buffer) = (listen.is_ipv4(), Fragmenting::Never, vec![0; LONGEST]);
        let mut opened = Self { socket, overflow: 0, is_v4, fragmenting: Fragmenting::Allowed, buffer };
        opened.set_fragmenting(fragmenting).map_err(|error| UdpError::Other(listen, error))?;
        Ok(opened)
    }

    /// What holds for the packets that are sent from now on.
    ///
    /// # Errors
    /// What this host's own kernel said.
    pub fn set_fragmenting(&mut self, wanted: Fragmenting) -> io::Result<()> {
        if self.fragmenting == wanted {
            return Ok(());
        }
        match (self.is_v4, wanted) {
            (true, Fragmenting::Never) => set_ip_mtu_discover(&self.socket, Ipv4PathMtuDiscovery::PROBE)?,
            (true, Fragmenting::Allowed) => set_ip_mtu_discover(&self.socket, Ipv4PathMtuDiscovery::OMIT)?,
            (false, Fragmenting::Never) => set_ipv6_mtu_discover(&self.socket, Ipv6PathMtuDiscovery::PROBE)?,
            (false, Fragmenting::Allowed) => set_ipv6_mtu_discover(&self.socket, Ipv6PathMtuDiscovery::OMIT)?,
        }
        self.fragmenting = wanted;
        Ok(())
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

    /// Takes what has arrived, oldest first; answers with how many datagrams the buffer had no room for since the
    /// last call.
    pub fn drain(&mut self, mut each: impl FnMut(Datagram)) -> u64 {
        let mut lost = 0;
        for _ in 0..DRAIN_LIMIT {
            let (datagram, overflow) = match self.receive() {
                Ok(received) => received,
                Err(Errno::EAGAIN) => break,
                // The answer to a packet that was sent: it says nothing about what waits behind it.
                Err(_) => continue,
            };
            if let Some(count) = overflow {
                lost += u64::from(count.wrapping_sub(self.overflow));
                self.overflow = count;
            }
            each(datagram);
        }
        lost
    }

    fn receive(&mut self) -> Result<(Datagram, Option<u32>), Errno> {
        let mut space = nix::cmsg_space!(nix::sys::time::TimeSpec, u32);
        let mut buffer = [IoSliceMut::new(&mut self.buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut buffer, Some(&mut space), flags)?;
        let from = message.address.as_ref().and_then(address).ok_or(Errno::EAFNOSUPPORT)?;
        let reception = Reception::of(&message)?;
        let length = message.bytes;
        let bytes = self.buffer.get(..length).unwrap_or_default().to_vec();
        Ok((Datagram { from, stamp: reception.at, bytes }, reception.overflow))
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
            return Some(Answer::TooBig { to, mtu });
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
        assert_eq!(b.drain(|datagram| got.push(datagram)), 0);
        assert_eq!((got[0].from, got[0].bytes.as_slice()), (port(&a), &b"hello"[..]));
        assert!(got[0].stamp.unwrap() >= before && got[0].stamp.unwrap() <= clock::read().wall);
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
