use std::net::UdpSocket;
use std::time::Duration;

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType as Asked;

use super::dns::{addresses, ask};
use super::{Family, Outcome};
use crate::config::{PeerName, RecordType};
use server::{NameServer, Say};

#[path = "../../tests/support/dns.rs"]
mod server;

fn server() -> NameServer {
    NameServer::on(UdpSocket::bind("127.0.0.1:0").unwrap())
}

fn question(server: &NameServer, record: RecordType) -> PeerName {
    let (name, resolver) = ("peers.test.".to_owned(), Some(server.address));
    PeerName { name, record, port: 9000, interval: Duration::from_secs(30), resolver }
}

fn asked(server: &NameServer, record: RecordType) -> (Outcome, Duration) {
    let family = if record == RecordType::Aaaa { Family::V6 } else { Family::V4 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(ask(&question(server, record), family))
}

/// The peers in words.
fn peers(outcome: &Outcome) -> Vec<String> {
    let found = outcome.found.as_ref().unwrap_or_else(|| panic!("{outcome:?}"));
    found.peers.iter().map(|peer| format!("{}={}", peer.name, peer.addr)).collect()
}

#[test]
fn each_address_is_a_peer_in_an_order_of_its_own() {
    let server = server();
    server.says("peers.test.", Asked::A, Say::Records(300, vec!["10.77.0.13", "10.77.0.12", "10.77.0.13"]));
    let (outcome, wait) = asked(&server, RecordType::A);
    assert_eq!(peers(&outcome), ["10.77.0.12=10.77.0.12:9000", "10.77.0.13=10.77.0.13:9000"]);
    assert_eq!((outcome.trouble, wait), (None, Duration::from_secs(30)));
    server.says("peers.test.", Asked::AAAA, Say::Records(7, vec!["fd00::1"]));
    let (outcome, wait) = asked(&server, RecordType::Aaaa);
    assert_eq!(peers(&outcome), ["fd00--1=[fd00::1]:9000"]);
    assert_eq!(wait, Duration::from_secs(7), "asked again when the answer is old");
}

#[test]
fn services_are_named_by_their_targets_and_have_their_own_ports() {
    let server = server();
    let services = vec!["9479 LB2.test.", "9480 lb1.test.", "9481 gone.test.", "9 ."];
    server.says("peers.test.", Asked::SRV, Say::Records(60, services));
    server.says("lb1.test.", Asked::A, Say::Records(0, vec!["10.77.0.12"]));
    server.says("lb2.test.", Asked::A, Say::Records(60, vec!["10.77.0.14", "10.77.0.13"]));
    let (outcome, wait) = asked(&server, RecordType::Srv);
    assert_eq!(peers(&outcome), ["lb1.test=10.77.0.12:9480", "lb2.test=10.77.0.13:9479"]);
    assert_eq!(outcome.found.unwrap().refused.counts(), [("unresolved".to_owned(), 1)].into());
    assert_eq!(wait, Duration::from_secs(5), "not more often, however short the time to live");
}

#[test]
fn that_there_is_no_such_name_is_an_answer() {
    let (outcome, _) = asked(&server(), RecordType::A);
    assert_eq!(peers(&outcome), [""; 0]);
    assert_eq!(outcome.trouble, None);
}

#[test]
fn a_name_server_that_fails_or_is_silent_gives_no_list() {
    let server = server();
    server.says("peers.test.", Asked::A, Say::Error(ResponseCode::ServFail));
    let (outcome, _) = asked(&server, RecordType::A);
    assert!(outcome.found.is_none() && outcome.trouble.unwrap().contains("peers.test."));
    server.says("peers.test.", Asked::A, Say::Nothing);
    let (outcome, wait) = asked(&server, RecordType::A);
    assert!(outcome.found.is_none() && outcome.trouble.is_some(), "{outcome:?}");
    assert_eq!(wait, Duration::from_secs(30));
    // One target that cannot be asked for makes the list of all of them a guess.
    server.says("peers.test.", Asked::SRV, Say::Records(60, vec!["1 lb1.test.", "2 lb2.test."]));
    server.says("lb1.test.", Asked::A, Say::Records(60, vec!["10.77.0.12"]));
    server.says("lb2.test.", Asked::A, Say::Error(ResponseCode::Refused));
    let (outcome, _) = asked(&server, RecordType::Srv);
    assert!(outcome.found.is_none() && outcome.trouble.unwrap().contains("lb2.test."));
}

#[test]
fn many_names_are_answered_one_by_one() {
    let server = server();
    server.says("lb1.test.", Asked::A, Say::Records(60, vec!["10.77.0.12"]));
    server.says("lb2.test.", Asked::A, Say::Error(ResponseCode::ServFail));
    let names = ["lb1.test.", "lb2.test.", "lb3.test."].map(str::to_owned).to_vec();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answers = runtime.block_on(addresses(Some(server.address), names, Family::V4)).unwrap();
    let mut said: Vec<_> =
        answers.into_iter().map(|(name, answer)| (name, answer.map(|answer| answer.first()).ok())).collect();
    said.sort();
    let expected = [Some(Some("10.77.0.12".parse().unwrap())), None, Some(None)];
    assert_eq!(said.into_iter().map(|(_, ip)| ip).collect::<Vec<_>>(), expected);
}
