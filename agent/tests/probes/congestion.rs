//! Receivers that have no room, by what the kernel counts of itself.

use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use lacuna::driver::OwnNetwork;
use lacuna::host::HostFiles;
use lacuna::link_state::Around;
use lacuna_core::evidence::{Fact, Way};
use lacuna_core::time::Nanos;

use super::support::island::Island;
use super::wait_for;

const NOBODY: Around<'_> = Around { host: "me", peers: &[], gateway: None };

/// What the island's own kernel tells, one look after the other.
struct Looks {
    island: Island,
    network: Option<OwnNetwork>,
    number: u64,
}

impl Looks {
    fn new() -> Self {
        let network = Some(OwnNetwork::new(HostFiles::default(), None));
        let mut looks = Self { island: Island::new(65536), network, number: 0 };
        assert_eq!(looks.look(), []);
        looks
    }

    fn look(&mut self) -> Vec<Fact> {
        self.number += 1;
        let (mut network, now) = (self.network.take().unwrap(), Nanos(self.number));
        let (network, told) = self.island.within(move || {
            let told = network.counters(&NOBODY, now);
            (network, told)
        });
        self.network = Some(network);
        told.into_iter()
            .map(|evidence| evidence.fact)
            .filter(|fact| !matches!(fact, Fact::SoftnetDrops { .. }))
            .collect()
    }
}

#[test]
fn a_reader_that_does_not_read_closes_its_window_and_is_asked() {
    let mut looks = Looks::new();
    let (mut writer, reader) = looks.island.within(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (writer, listener.accept().unwrap().0)
    });
    writer.set_nonblocking(true).unwrap();
    let mut told = Vec::new();
    wait_for("a window that is closed, and a question", || {
        // Until there is no room left on either side.
        match writer.write(&[7; 1 << 20]) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        told.extend(looks.look());
        let is = |way: Way| move |fact: &Fact| matches!(fact, Fact::ZeroWindows { direction, .. } if *direction == way);
        told.iter().any(is(Way::Out)) && told.iter().any(is(Way::In))
    });
    drop(reader);
}

#[test]
fn datagrams_that_nobody_reads_overflow_their_socket() {
    let mut looks = Looks::new();
    looks.island.within(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        // A buffer has 212,992 bytes by default (net.core.rmem_default).
        for _ in 0..2000 {
            socket.send_to(&[7; 1000], address).unwrap();
        }
    });
    let told = looks.look();
    let overflows = told.iter().find_map(|fact| match fact {
        Fact::ReceiveOverflow { count } => Some(*count),
        _ => None,
    });
    assert!(overflows.is_some_and(|count| (500..2000).contains(&count)), "{told:?}");
    std::thread::sleep(Duration::from_millis(1));
    assert_eq!(looks.look(), [], "it is over");
}
