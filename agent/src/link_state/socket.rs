//! A netlink socket that is drained, never waited for.

use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// Most messages from the kernel that one call takes; the others stay there until the next one.
const MAX_DATAGRAMS: usize = 256;
/// The kernel sends no larger ones to who does not ask with a larger buffer (`NLMSG_GOODSIZE`, at most 32 KiB in a dump,
/// `netlink_dump`, Linux 6.18).
const BUFFER: usize = 64 * 1024;

/// See the module's documentation.
pub(super) struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
}

/// What became of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Drained {
    /// The kernel had no room for some messages: whoever follows changes must look anew.
    pub(super) lost: bool,
    /// Messages that could not be understood.
    pub(super) refused: u64,
}

impl Netlink {
    /// A socket of this thread's network namespace that gets what goes to `groups` (`RTNLGRP_*`).
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn open(groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        for group in groups {
            socket.add_membership(*group)?;
        }
        Ok(Self { socket, buffer: Vec::with_capacity(BUFFER), sequence: 0 })
    }

    /// Asks for all there is; the answers come with [`Self::drain`].
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn ask_for_all(&mut self, what: RouteNetlinkMessage) -> io::Result<()> {
        self.ask(what, NLM_F_DUMP)
    }

    /// Asks for one thing.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn ask_for_one(&mut self, what: RouteNetlinkMessage) -> io::Result<()> {
        self.ask(what, 0)
    }

    fn ask(&mut self, what: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(what));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).map(drop)
    }

    /// Hands over what has come in from the kernel.
    pub(super) fn drain(&mut self, mut each: impl FnMut(RouteNetlinkMessage)) -> Drained {
        let mut drained = Drained::default();
        for _ in 0..MAX_DATAGRAMS {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, 0) {
                // The kernel has port 0; whoever else may send to this socket is not asked.
                Ok((_, sender)) if sender.port_number() != 0 => drained.refused += 1,
                Ok(_) => drained.refused += messages(&self.buffer, &mut each),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => drained.lost = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        drained
    }
}

/// Hands over the messages of a datagram; how many could not be understood.
pub(super) fn messages(mut rest: &[u8], each: &mut impl FnMut(RouteNetlinkMessage)) -> u64 {
    let mut refused = 0;
    while let Some(length) = rest.first_chunk().map(|length| u32::from_ne_bytes(*length)) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        // A header has 16 bytes (`struct nlmsghdr`); a length that cannot be is the end of what can be read.
        let Some(message) = rest.get(..length).filter(|message| message.len() >= 16) else {
            return refused + 1;
        };
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(message).map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(inner)) => each(inner),
            Ok(_) => {}
            Err(_) => refused += 1,
        }
        // Messages are aligned to 4 bytes (`NLMSG_ALIGNTO`).
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    refused
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::LinkMessage;

    use super::*;

    fn bytes(what: RouteNetlinkMessage) -> Vec<u8> {
        let mut message = NetlinkMessage::from(what);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    fn count(bytes: &[u8]) -> (usize, u64) {
        let mut found = 0;
        let refused = messages(bytes, &mut |_| found += 1);
        (found, refused)
    }

    #[test]
    fn every_message_of_a_datagram_is_handed_over() {
        let one = bytes(RouteNetlinkMessage::NewLink(LinkMessage::default()));
        assert_eq!(count(&one), (1, 0));
        assert_eq!(count(&[one.clone(), one].concat()), (2, 0));
        assert_eq!(count(&[]), (0, 0));
    }

    #[test]
    fn what_makes_no_sense_is_counted_and_ends_the_datagram_at_the_latest() {
        let good = bytes(RouteNetlinkMessage::NewLink(LinkMessage::default()));
        let mut unknown = good.clone();
        unknown[4..6].copy_from_slice(&999_u16.to_ne_bytes());
        assert_eq!(count(&[unknown, good.clone()].concat()), (1, 1), "the next one is read all the same");
        for length in [0_u32, 15, 17_000, u32::MAX] {
            let mut bad = good.clone();
            bad[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(count(&bad), (0, 1), "{length}");
        }
        assert_eq!(count(&good[..good.len() - 1]), (0, 1), "cut off");
    }

    #[test]
    fn this_host_has_a_loopback_interface() {
        let mut netlink = Netlink::open(&[]).unwrap();
        netlink.ask_for_all(RouteNetlinkMessage::GetLink(LinkMessage::default())).unwrap();
        let mut found = 0;
        let drained = netlink.drain(|_| found += 1);
        assert!(found >= 1, "the answer is there at once: {drained:?}");
        assert_eq!(drained, Drained::default(), "every message is understood");
    }
}
