//! How many heartbeats found no room in the socket's buffer.
//!
//! The socket counts whatever it dropped (`SO_RXQ_OVFL`, `sk_drops`), and that includes what had a wrong checksum
//! (`__sk_queue_drop_skb`, `udp_queue_rcv_one_skb`, Linux 6.18): the network damaged it, and it was lost on the way. Only the
//! protocol counts those by themselves, for all sockets of the namespace together; others with any are rare.

use crate::host::HostFiles;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct NoRoom {
    files: HostFiles,
    /// Wrong checksums that are known, up to those that explained a drop of this socket or were there before.
    explained: u64,
    total: u64,
}

impl NoRoom {
    /// Nothing was dropped yet.
    pub(super) fn new(files: HostFiles) -> Self {
        let explained = files.wrong_checksums().unwrap_or_default();
        Self { files, explained, total: 0 }
    }

    /// The socket dropped so many more; how many of them found no room. Without the protocol's counters that is all of them.
    pub(super) fn take(&mut self, dropped: u64) -> u64 {
        if dropped == 0 {
            return 0;
        }
        let damaged = self.files.wrong_checksums().map_or(0, |now| now.saturating_sub(self.explained)).min(dropped);
        self.explained += damaged;
        self.total += dropped - damaged;
        dropped - damaged
    }

    /// How many found no room so far.
    pub(super) fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::{SocketAddr, UdpSocket};
    use std::path::Path;

    use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

    use super::*;
    use crate::heartbeat::udp::Heartbeats;

    fn write(root: &Path, wrong: u64) {
        let path = root.join("proc/thread-self/net/snmp");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("Udp: InDatagrams InCsumErrors\nUdp: 100 {wrong}\n")).unwrap();
    }

    #[test]
    fn what_was_damaged_on_the_way_had_room() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), 7);
        let mut no_room = NoRoom::new(HostFiles::below(root.path()));
        assert_eq!(no_room.take(2), 2, "the wrong checksums were there before");
        write(root.path(), 10);
        assert_eq!([no_room.take(0), no_room.take(2), no_room.take(5), no_room.take(3)], [0, 0, 4, 3]);
        assert_eq!(no_room.total(), 9);
    }

    #[test]
    fn without_counters_all_found_no_room() {
        let mut no_room = NoRoom::new(HostFiles::below(Path::new("/nowhere")));
        assert_eq!(no_room.take(3), 3);
    }

    #[test]
    fn the_kernel_counts_a_wrong_checksum_among_what_the_socket_dropped() {
        // The socket says no address of its own: one is taken that was free a moment ago.
        let to = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut heartbeats = Heartbeats::bind(to).unwrap();
        let mut no_room = NoRoom::new(HostFiles::default());
        send_damaged(to);
        assert_eq!(heartbeats.drain(|_| panic!("nothing that came in was whole")), 0, "it tells with the next one");
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"whole", to).unwrap();
        let mut whole = 0;
        let dropped = heartbeats.drain(|_| whole += 1);
        assert_eq!((whole, dropped), (1, 1));
        assert_eq!(no_room.take(dropped), 0);
    }

    /// A datagram whose checksum is not that of what it holds (RFC 768). One of up to 76 bytes would be dropped before its
    /// socket is known (`CHECKSUM_BREAK`).
    fn send_damaged(to: SocketAddr) {
        let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::UDP)).unwrap();
        let mut datagram: Vec<u8> = [9, to.port(), 108, 0xbad0].into_iter().flat_map(u16::to_be_bytes).collect();
        datagram.resize(108, b'.');
        sendto(&raw, &datagram, SendFlags::empty(), &to).unwrap();
    }
}
