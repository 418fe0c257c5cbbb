//! A network namespace with nothing but a loopback interface. It needs no programs, so that it can be had in a guest as
//! well, and it is gone when it is dropped.

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr as NetlinkAddr};
use nix::sched::{CloneFlags, unshare};

/// The loopback interface is the first one of every namespace.
const LOOPBACK: u32 = 1;

type Job = Box<dyn FnOnce() + Send>;

/// See the module's documentation. A thread lives inside and does what it is told.
pub(crate) struct Island {
    jobs: Sender<Job>,
    inum: u32,
}

impl Island {
    /// One whose loopback interface is up and takes no larger packets than `mtu`.
    pub(crate) fn new(mtu: u32) -> Self {
        let (jobs, todo) = channel::<Job>();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
            todo.iter().for_each(|job| job());
        });
        let mut island = Self { jobs, inum: 0 };
        island.inum = island.within(move || {
            set_up(mtu);
            let inode = std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino();
            u32::try_from(inode).unwrap()
        });
        island
    }

    /// Its inode number, by which the probes know it.
    pub(crate) fn inum(&self) -> u32 {
        self.inum
    }

    /// Runs `what` inside.
    pub(crate) fn within<T: Send + 'static>(&self, what: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = channel();
        self.jobs.send(Box::new(move || tell.send(what()).unwrap())).unwrap();
        told.recv().expect("the thread inside panicked")
    }

    /// Sets a kernel parameter of the namespace, such as `net/ipv4/ipfrag_time`.
    pub(crate) fn set(&self, parameter: &str, value: &'static str) {
        let path = format!("/proc/sys/{parameter}");
        self.within(move || std::fs::write(path, value).unwrap());
    }

    /// Sends a datagram of so many bytes from and to that address, and reads it.
    pub(crate) fn talk_to_itself(&self, address: &'static str, bytes: usize) {
        self.within(move || {
            let socket = UdpSocket::bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
            socket.send_to(&vec![7; bytes], socket.local_addr().unwrap()).unwrap();
            let mut buffer = vec![0; bytes + 1];
            assert_eq!(socket.recv(&mut buffer).unwrap(), bytes);
        });
    }
}

fn set_up(mtu: u32) {
    let mut link = LinkMessage::default();
    link.header.index = LOOPBACK;
    (link.header.flags, link.header.change_mask) = (LinkFlags::Up, LinkFlags::Up);
    link.attributes.push(LinkAttribute::Mtu(mtu));
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(RouteNetlinkMessage::SetLink(link)));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.send_to(&bytes, &NetlinkAddr::new(0, 0), 0).unwrap();
    let (answer, _) = socket.recv_from_full().unwrap();
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).unwrap();
    assert!(matches!(&answer.payload, NetlinkPayload::Error(error) if error.code.is_none()), "{answer:?}");
}
