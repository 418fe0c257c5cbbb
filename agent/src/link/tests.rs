use std::collections::BTreeSet;

use lacuna_core::incident::{Class, State};

use super::interfaces::{Address, Interface};
use super::plan::{Plan, plan};
use super::*;
use crate::config::Peer;

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100));
const OWN: LinkAddress = LinkAddress([2, 0, 0, 0, 0, 0xd]);
const A: LinkAddress = LinkAddress([2, 0, 0, 0, 0, 0xa]);
const B: LinkAddress = LinkAddress([2, 0, 0, 0, 0, 0xb]);
const ROUTER: LinkAddress = LinkAddress([2, 0, 0, 0, 0, 1]);
const SHARED: LinkAddress = LinkAddress([0, 0, 0x5e, 0, 1, 51]);

fn interface(name: &str, index: u32, addresses: &[(&str, u32)]) -> Interface {
    let link = LinkAddress([2, 0, 0, 0, 1, u8::try_from(index % 256).unwrap()]);
    let addresses = addresses.iter().map(|(ip, prefix)| Address { ip: ip.parse().unwrap(), prefix: *prefix });
    Interface { name: name.into(), index, link, up: true, has_neighbours: true, addresses: addresses.collect() }
}

fn config() -> Config {
    let mut config = Config::without_file("c");
    config.watch.vips = vec![VIP];
    let peer = |name: &str, addr: &str| Peer { name: name.into(), addr: addr.parse().unwrap() };
    config.peers = vec![peer("a", "10.77.0.11:9479"), peer("b", "10.77.0.12:9479")];
    config
}

fn planned(all: &[Interface], change: impl FnOnce(&mut Config)) -> Plan {
    let mut config = config();
    change(&mut config);
    plan(all, &Wanted::new(&config, Some(("gateway", Ipv4Addr::new(10, 77, 0, 1)))))
}

/// The interfaces of a plan with what is asked for there.
fn ports(plan: &Plan) -> Vec<(&str, Vec<String>)> {
    let port = |port: &plan::Port| port.targets.iter().map(|target| target.address.to_string()).collect();
    plan.ports.iter().map(|of| (of.interface.name.as_str(), port(of))).collect()
}

#[test]
fn everybody_is_asked_where_this_host_has_an_address_in_its_network() {
    let all = [interface("eth0", 2, &[("192.0.2.1", 24)]), interface("eth1", 3, &[("10.77.0.13", 24)])];
    let plan = planned(&all, |_| {});
    let asked = ["10.77.0.100", "10.77.0.11", "10.77.0.12", "10.77.0.1", "10.77.0.13"].map(str::to_owned).to_vec();
    assert_eq!(ports(&plan), [("eth1", asked)]);
    assert_eq!(plan.ports[0].targets[0].what, What::Vip { sole: true });
    assert_eq!(plan.ports[0].targets[0].source, Some("10.77.0.13".parse().unwrap()));
    let own = plan.ports[0].targets.last().unwrap();
    assert_eq!((own.what, own.source), (What::Own, None));
    assert_eq!((plan.notes.len(), plan.held.len()), (0, 0));
    let without = planned(&all, |config| config.watch.vips.clear());
    assert_eq!(ports(&without), [("eth1", vec!["10.77.0.11".to_owned(), "10.77.0.12".to_owned()])]);
}

#[test]
fn a_second_interface_in_the_same_network_is_known() {
    let all = [interface("eth0", 2, &[("10.77.0.13", 24)]), interface("eth1", 3, &[("10.77.0.14", 24)])];
    let plan = planned(&all, |_| {});
    assert_eq!((plan.ports.len(), plan.ports[0].targets[0].what), (1, What::Vip { sole: false }));
}

#[test]
fn what_this_host_has_itself_is_told_wherever_it_has_it() {
    let all = [interface("eth0", 2, &[("10.77.0.13", 24)]), interface("vrrp.51", 3, &[("10.77.0.100", 32)])];
    let plan = planned(&all, |config| config.watch.interfaces = vec!["eth0".into()]);
    assert_eq!(plan.held, [(VIP, all[1].link)]);
    assert_eq!(plan.ports[0].interface.name, "eth0");
    let mut lo = interface("lo", 1, &[("10.77.0.100", 32)]);
    lo.has_neighbours = false;
    let real_server = planned(&[lo, all[0].clone()], |_| {});
    assert_eq!(real_server.held, [], "an address on the loopback answers nobody");
}

#[test]
fn the_own_virtual_address_is_nobodys_source() {
    let plan = planned(&[interface("eth0", 2, &[("10.77.0.100", 24), ("10.77.0.13", 24)])], |_| {});
    assert_eq!(plan.ports[0].targets[0].source, Some("10.77.0.13".parse().unwrap()));
    let alone = planned(&[interface("eth0", 2, &[("192.0.2.1", 24)])], |_| {});
    assert_eq!(alone.ports[0].targets[0].source, None, "it asks as nobody where there is one interface only");
    let several =
        planned(&[interface("eth0", 2, &[("192.0.2.1", 24)]), interface("eth1", 3, &[("192.0.3.1", 24)])], |_| {});
    assert_eq!(several.ports.len(), 0, "another network's routers may stand in for it");
    assert!(several.notes[0].contains("10.77.0.100"), "{:?}", several.notes);
}

#[test]
fn what_cannot_be_watched_is_named() {
    let mut down = interface("eth1", 3, &[("10.77.0.13", 24)]);
    down.up = false;
    let mut tunnel = interface("wg0", 4, &[("10.77.0.14", 24)]);
    tunnel.has_neighbours = false;
    let plan = planned(&[down, tunnel], |config| {
        config.watch.interfaces = ["eth1", "wg0", "eth9"].map(str::to_owned).to_vec();
        config.watch.vips.clear();
    });
    assert_eq!(plan.notes, ["eth1 is down", "wg0 does not speak ARP", "eth9 is not there"]);
}

#[test]
fn interfaces_are_bounded_and_those_without_anybody_to_ask_do_not_count() {
    let empty = (100..400).map(|index| interface(&format!("veth{index}"), index, &[]));
    let used = (1..=20).map(|i| interface(&format!("eth{i}"), 500 + i, &[(&format!("10.1.{i}.1"), 24)]));
    let all: Vec<Interface> = empty.chain(used).collect();
    let plan = planned(&all, |config| {
        config.watch.vips = (1..=20).map(|i| format!("10.1.{i}.100").parse().unwrap()).collect();
    });
    assert_eq!(plan.ports.len(), MAX_PORTS);
    assert_eq!(plan.notes.len(), 4);
    assert!(plan.notes[0].starts_with("eth17 is left out"), "{:?}", plan.notes);
}

#[test]
fn the_moving_address_of_a_peer_names_nobody() {
    let plan = planned(&[interface("eth0", 2, &[("10.77.0.13", 24)])], |config| {
        config.watch.vips = vec!["10.77.0.11".parse().unwrap()];
    });
    let what: Vec<What> = plan.ports[0].targets.iter().map(|target| target.what).collect();
    assert_eq!(what, [What::Vip { sole: true }, What::Neighbour, What::Neighbour, What::Own]);
}

/// A watch on one interface, whose frames a test hands over.
struct Desk {
    watch: LinkWatch,
    port: OpenPort,
}

impl Desk {
    fn new() -> Self {
        let mut own = interface("eth0", 2, &[("10.77.0.13", 24)]);
        own.link = OWN;
        let plan = planned(&[own], |_| {});
        let gateway = Some(("gateway", Ipv4Addr::new(10, 77, 0, 1)));
        let mut watch = LinkWatch::new(&config(), gateway);
        watch.view = Arc::new(View { own: BTreeSet::from([OWN, SHARED]), ..View::default() });
        let port = OpenPort { plan: plan.ports[0].clone(), arp: None, ndp: None };
        Self { watch, port }
    }

    fn take(&mut self, address: &str, link: LinkAddress, answers: bool) -> Option<Fact> {
        let seen = Seen { address: address.parse().unwrap(), link, answers };
        self.watch.take(&self.port, seen, Nanos(1_000_000_000)).map(|evidence| evidence.fact)
    }

    /// Whose the claim is; absent where it is not told.
    fn claimed(&mut self, link: LinkAddress) -> Option<Option<String>> {
        match self.take("10.77.0.100", link, true)? {
            Fact::VipClaim(claim) => Some(claim.owner),
            other => panic!("{other:?}"),
        }
    }
}

fn owner(name: &str) -> Option<Option<String>> {
    Some(Some(name.to_owned()))
}

#[test]
fn a_claim_is_his_whose_own_address_answers_alike() {
    let mut desk = Desk::new();
    assert_eq!(desk.claimed(A), Some(None), "not known yet");
    desk.watch.told = Told::default();
    desk.take("10.77.0.11", A, true);
    assert_eq!(desk.claimed(A), owner("a"));
    assert_eq!(desk.claimed(B), Some(None));
    assert_eq!(desk.claimed(OWN), owner("c"), "this host's own second card hears the request, too");
    let count = |name: &str| desk.watch.counters.claims.get(&(VIP, name.to_owned())).copied();
    assert_eq!((count("a"), count("other"), count("self")), (Some(1), Some(2), Some(1)));
}

#[test]
fn a_router_that_stands_in_for_others_claims_nothing() {
    let mut desk = Desk::new();
    for (address, link) in [("10.77.0.11", A), ("10.77.0.11", ROUTER), ("10.77.0.1", ROUTER)] {
        desk.take(address, link, true);
    }
    assert_eq!(desk.claimed(ROUTER), None);
    assert_eq!(desk.claimed(A), owner("a"));
    assert_eq!(desk.watch.counters.refused["proxy"], 1);
}

#[test]
fn who_answers_for_this_hosts_own_address_answers_for_everybody() {
    let mut desk = Desk::new();
    assert_eq!(desk.take("10.77.0.13", OWN, false), None, "its own request, come back");
    assert_eq!(desk.take("10.77.0.13", ROUTER, true), None);
    assert_eq!(desk.claimed(ROUTER), None);
    assert_eq!(desk.claimed(OWN), owner("c"));
}

#[test]
fn a_virtual_link_address_that_answers_this_host_is_another_host() {
    let mut desk = Desk::new();
    assert_eq!(desk.claimed(SHARED), Some(None), "what this host's own kernel answers does not come in");
    desk.watch.told = Told::default();
    desk.port.plan.targets[0].what = What::Vip { sole: false };
    assert_eq!(desk.claimed(SHARED), owner("c"), "unless another interface reaches the network as well");
}

#[test]
fn between_two_requests_each_claim_is_told_once() {
    let mut desk = Desk::new();
    assert!(desk.claimed(A).is_some());
    assert!((0..50).all(|_| desk.claimed(A).is_none()));
    assert!(desk.take("10.77.0.100", A, false).is_some(), "an announcement is another kind");
    let forged = |i: u32| LinkAddress([2, 9, 9, 9, (i >> 8) as u8, i as u8]);
    let told = (0..1000).filter(|i| desk.take("10.77.0.100", forged(*i), false).is_some()).count();
    assert_eq!(told, MAX_TOLD - 1);
    assert!(desk.claimed(B).is_some(), "a flood of announcements hides no answer");
    assert_eq!(desk.watch.counters.refused["repeated"], 50 + 1000 - (MAX_TOLD as u64 - 1));
}

#[test]
fn an_answer_of_a_peer_counts_where_it_was_asked() {
    let mut desk = Desk::new();
    assert_eq!(desk.take("10.77.0.11", A, true), None, "nobody asked");
    for ask in desk.watch.asks.values_mut() {
        ask.awaited = true;
    }
    assert!(matches!(desk.take("10.77.0.11", A, true), Some(Fact::ArpReply { link: A, count: 1, .. })));
    assert_eq!(desk.take("10.77.0.11", A, true), None, "once for each request");
    assert_eq!(desk.take("10.77.0.12", B, false), None, "its own request is no answer");
    assert_eq!(desk.take("192.0.2.7", B, true), None, "nobody's address");
    assert_eq!(desk.claimed(B), owner("b"));
}

#[test]
fn a_rhythm_goes_on_and_nothing_is_made_up_for() {
    let at = |ms: u64| Nanos(ms * 1_000_000);
    assert_eq!(next(at(1000), at(1040)), at(2000));
    assert_eq!(next(at(1000), at(9000)), at(10_000));
}

#[test]
fn a_socket_on_the_loopback_takes_what_its_filter_lets_through() {
    let lo = interfaces::read().unwrap().into_iter().find(|interface| interface.name == "lo").unwrap();
    let sender = Ipv4Addr::new(192, 0, 2, 77);
    let socket = LinkSocket::open(lo.index, worker::ARP, &filter::arp(&[sender])).unwrap();
    let frame = |source| arp::request(OWN, source, None, Ipv4Addr::new(192, 0, 2, 1));
    let began = clock::read();
    socket.send(&frame(Ipv4Addr::new(192, 0, 2, 78))).unwrap();
    socket.send(&frame(sender)).unwrap();
    let mut seen = Vec::new();
    let lost = socket.drain(|stamp, frame| seen.push((stamp.unwrap() >= began.wall, arp::seen(frame, A).unwrap())));
    assert_eq!(lost, 0);
    assert_eq!(seen, [(true, Seen { address: sender.into(), link: OWN, answers: false })]);
    socket.set_filter(&filter::arp(&[])).unwrap();
    socket.send(&frame(sender)).unwrap();
    socket.drain(|_, _| panic!("the filter was replaced"));
}

#[test]
fn what_was_claimed_goes_through_the_engine_to_a_verdict() {
    let mut desk = Desk::new();
    let settings = config().settings(Vec::new());
    let mut engine = lacuna_core::engine::Engine::new(settings, lacuna_core::engine::Me::default());
    desk.take("10.77.0.11", A, true);
    desk.take("10.77.0.12", B, true);
    for second in 0..3_u64 {
        let at = Nanos((second + 10) * 1_000_000_000);
        engine.handle(Evidence::at("c", at, Fact::VipAsked { vip: VIP }));
        desk.watch.told = Told::default();
        for link in [A, B] {
            let fact = desk.take("10.77.0.100", link, true).unwrap();
            engine.handle(Evidence::at("c", at, fact));
        }
    }
    let incident = engine.poll().unwrap();
    assert_eq!((incident.verdict.class, incident.state), (Class::SplitBrain, State::Open));
    assert_eq!(incident.verdict.subject.hosts, ["a", "b"]);
}
