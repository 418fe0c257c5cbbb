//! Heartbeats that the kernel drops: of which peer, which way, and why.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use lacuna::heartbeat::udp::Heartbeats;
use lacuna::probes::Probes;
use lacuna_core::evidence::Way;

use super::support::{Cable, FAR, NEAR};
use super::{metrics, wait_for, within};

/// The socket of an agent at one end.
fn socket(address: &'static str) -> UdpSocket {
    UdpSocket::bind((address, 0)).unwrap()
}

/// Heartbeats of the peer that were dropped, by the name of the reason.
fn dropped(probes: &Probes, peer: SocketAddr, way: Way) -> Vec<(String, u64)> {
    let all = metrics(probes).heartbeat_drops().unwrap().into_iter();
    let ours = all.filter(|((known, of, _), _)| (*known, *of) == (peer, way));
    ours.map(|((_, _, reason), count)| (reason, count)).collect()
}

#[test]
fn what_the_filters_of_both_ends_drop_is_told_of_the_peer_and_the_way() {
    let cable = Cable::new();
    let (near, far) = (within(cable.near.inum()), within(cable.far.inum()));
    let (at_near, at_far) = (cable.near.within(|| socket(NEAR)), cable.far.within(|| socket(FAR)));
    let (of_near, of_far) = (at_near.local_addr().unwrap(), at_far.local_addr().unwrap());
    assert!(metrics(&near).watch_heartbeats(&[of_far]).contains(&of_far));
    assert!(metrics(&far).watch_heartbeats(&[of_near]).contains(&of_near));

    cable.far.drop_incoming_datagrams(of_far.port());
    let stranger = cable.near.within(|| socket(NEAR));
    for _ in 0..3 {
        at_near.send_to(&[0; 200], of_far).unwrap();
        // Neither a stranger's, nor as large as a large one, nor in pieces.
        stranger.send_to(&[0; 200], of_far).unwrap();
        at_near.send_to(&[0; 1472], of_far).unwrap();
        at_near.send_to(&[0; 2000], of_far).unwrap();
    }
    let three = [("NETFILTER_DROP".to_owned(), 3)];
    wait_for("three drops on arrival", || dropped(&far, of_near, Way::In) == three);
    assert_eq!(dropped(&near, of_far, Way::Out), [], "the near end dropped nothing");
    assert_eq!(dropped(&far, of_near, Way::Out), []);

    cable.near.drop_outgoing_datagrams(of_far.port());
    let agent = cable.near.within(|| Heartbeats::bind((NEAR.parse::<IpAddr>().unwrap(), 0).into()).unwrap());
    for _ in 0..3 {
        agent.send(of_far, &[0; 200]).unwrap_err();
    }
    wait_for("drops before they left", || !dropped(&near, of_far, Way::Out).is_empty());
    assert_eq!(dropped(&near, of_far, Way::Out), three, "one for each heartbeat");
    assert_eq!(dropped(&far, of_near, Way::In), three, "these never came");

    metrics(&far).watch_heartbeats(&[]);
    assert_eq!(dropped(&far, of_near, Way::In), [], "a peer that left is forgotten");
}

#[test]
fn more_peers_than_there_is_room_for_are_not_called_counted() {
    let cable = Cable::new();
    let near = within(cable.near.inum());
    let peers: Vec<SocketAddr> = (0..3000_u16).map(|port| (IpAddr::from([10, 9, 9, 9]), port + 1).into()).collect();
    let counted = metrics(&near).watch_heartbeats(&peers);
    assert_eq!(counted.len(), lacuna_abi::HEARTBEAT_PEERS);
    assert_eq!(metrics(&near).watch_heartbeats(&peers[..5]).len(), 5, "room again");
}
