//! A packet socket on one interface (`packet(7)`), for one protocol above Ethernet.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use lacuna_core::time::WallNanos;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{ReceiveTimestampns, RxqOvfl};
use nix::sys::socket::{MsgFlags, recvmsg, setsockopt};
use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

use super::filter::SNAP;
use crate::reception::Reception;

/// Frames that one drain takes at most; what is left waits for the next.
const DRAIN_LIMIT: usize = 1024;

/// The socket.
#[derive(Debug)]
pub(super) struct LinkSocket {
    socket: Socket,
    overflow: AtomicU32,
}

impl LinkSocket {
    /// Opens a socket for frames of that EtherType on the interface of that index, as the filter lets through.
    ///
    /// # Errors
    /// Needs `CAP_NET_RAW`.
    pub(super) fn open(index: u32, ethertype: u16, filter: &[SockFilter]) -> io::Result<Self> {
        // Without a protocol it receives nothing until it is bound, and by then the filter is there.
        let socket = Socket::new(Domain::from(libc::AF_PACKET), Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, ReceiveTimestampns, &true)?;
        setsockopt(&socket, RxqOvfl, &1)?;
        socket.attach_filter(filter)?;
        socket.bind(&address(index, ethertype)?)?;
        Ok(Self { socket, overflow: AtomicU32::new(0) })
    }

    /// Puts another filter in the place of the one it has.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn set_filter(&self, filter: &[SockFilter]) -> io::Result<()> {
        self.socket.attach_filter(filter)
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// What the kernel says, such as that the interface is down.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame).map(|_| ())
    }

    /// Takes what has arrived, oldest first, each with the time at which the kernel had it; answers with how many frames
    /// found no room since the last call.
    pub(super) fn drain(&self, mut each: impl FnMut(Option<WallNanos>, &[u8])) -> u64 {
        let mut lost = 0;
        let mut frame = [0; SNAP];
        for _ in 0..DRAIN_LIMIT {
            match self.receive(&mut frame) {
                Ok((length, reception)) => {
                    lost += reception.overflow.map_or(0, |count| self.grown(count));
                    each(reception.at, &frame[..length]);
                }
                // That the interface went down is told once, and says nothing about what waits behind it.
                Err(Errno::ENETDOWN | Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        lost
    }

    fn grown(&self, count: u32) -> u64 {
        u64::from(count.wrapping_sub(self.overflow.swap(count, Ordering::Relaxed)))
    }

    fn receive(&self, frame: &mut [u8; SNAP]) -> Result<(usize, Reception), Errno> {
        let mut space = nix::cmsg_space!(nix::sys::time::TimeSpec, u32);
        let mut buffer = [IoSliceMut::new(frame)];
        let message = recvmsg::<()>(self.socket.as_raw_fd(), &mut buffer, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
        let reception = Reception::of(&message)?;
        Ok((message.bytes, reception))
    }
}

fn address(index: u32, ethertype: u16) -> io::Result<SockAddr> {
    let mut storage = SockAddrStorage::zeroed();
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: `sockaddr_ll` is one of this platform's socket addresses.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    link.sll_protocol = ethertype.to_be();
    link.sll_ifindex = i32::try_from(index).map_err(io::Error::other)?;
    // SAFETY: the storage holds a `sockaddr_ll`, whose length this is.
    Ok(unsafe { SockAddr::new(storage, length) })
}
