//! Who answers for a virtual address, seen by a third host: real kernels' ARP and neighbour discovery in namespaces on a
//! switch. They need root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lacuna::clock;
use lacuna::config::{Config, Peer};
use lacuna::link::{LinkWatch, arp};
use lacuna_core::engine::{Engine, Me};
use lacuna_core::evidence::{ClaimKind, Evidence, Fact, LinkAddress, VipClaim};
use lacuna_core::incident::{Class, Incident, State};
use support::{Namespace, Switch};

const VIP: &str = "10.99.8.100";
const VIP_V6: &str = "fd00:99:8::100";
/// Between two turns of the watch.
const TICK: Duration = Duration::from_millis(100);
/// Longer than what is waited for ever takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A watch that runs in a namespace until it is dropped.
struct Watcher {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What it saw and what follows from it.
#[derive(Default)]
struct Seen {
    evidence: Vec<Evidence>,
    incidents: Vec<Incident>,
    refused: BTreeMap<&'static str, u64>,
}

impl Watcher {
    /// Watches as the host `name`, whose peers are the other two, of `a`, `b` and `c`.
    fn start(place: &Namespace, name: &str, vip: &str) -> Self {
        let mut config = Config::without_file(name);
        config.watch.vips = vec![vip.parse().unwrap()];
        let hosts = ["a", "b", "c"].into_iter().zip(1..);
        let peers = hosts.filter(|(other, _)| *other != name);
        config.peers = peers.map(|(name, last)| peer(name, last)).collect();
        let (seen, stop) = (Arc::default(), Arc::default());
        let (into, end) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = place.spawn(move || watch(&config, &into, &end));
        Self { seen, stop, thread: Some(thread) }
    }

    fn wait_for(&self, what: &str, mut holds: impl FnMut(&Seen) -> bool) {
        let begin = Instant::now();
        while !holds(&self.seen.lock().unwrap()) {
            let seen = self.seen.lock().unwrap();
            assert!(
                begin.elapsed() < PATIENCE,
                "never came: {what}; {:?} {:?} {:?}",
                seen.evidence,
                seen.incidents,
                seen.refused
            );
            drop(seen);
            thread::sleep(TICK / 2);
        }
    }

    /// Waits until a claim of that kind by that owner has come in since this was called.
    fn wait_for_claim(&self, how: ClaimKind, owner: Option<&str>) {
        let since = clock::boot();
        let is = |claim: &VipClaim| claim.how == how && claim.owner.as_deref() == owner;
        let mut fresh =
            |seen: &Seen| seen.evidence.iter().any(|piece| piece.from > since && claim(piece).is_some_and(is));
        self.wait_for(&format!("{how:?} by {owner:?}"), &mut fresh);
    }

    /// Waits until so many more requests were made.
    fn wait_for_requests(&self, count: usize) {
        let asked =
            |seen: &Seen| seen.evidence.iter().filter(|piece| matches!(piece.fact, Fact::VipAsked { .. })).count();
        let before = asked(&self.seen.lock().unwrap());
        self.wait_for("requests", |seen| asked(seen) >= before + count);
    }

    fn incidents(&self) -> Vec<Incident> {
        self.seen.lock().unwrap().incidents.clone()
    }

    fn wait_for_split_brain(&self, state: State, hosts: &[&str]) {
        let is = |incident: &Incident| {
            let verdict = &incident.verdict;
            verdict.class == Class::SplitBrain && incident.state == state && verdict.subject.hosts == hosts
        };
        self.wait_for(&format!("split brain of {hosts:?}, {state:?}"), |seen| seen.incidents.last().is_some_and(is));
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn peer(name: &str, last: u8) -> Peer {
    Peer { name: name.into(), addr: (Ipv4Addr::new(10, 99, 8, last), 9479).into() }
}

fn claim(piece: &Evidence) -> Option<&VipClaim> {
    match &piece.fact {
        Fact::VipClaim(claim) => Some(claim),
        _ => None,
    }
}

/// The driver's loop, as far as it concerns the link level.
fn watch(config: &Config, seen: &Mutex<Seen>, stop: &AtomicBool) {
    let mut link = LinkWatch::new(config, None);
    let mut engine = Engine::new(config.settings(Vec::new()), Me::default());
    let mut drained_at = clock::boot();
    while !stop.load(Ordering::Relaxed) {
        let now = clock::read();
        let mut evidence = link.receive(now, drained_at);
        drained_at = now.boot;
        evidence.extend(link.ask(now.boot));
        evidence.iter().for_each(|piece| engine.handle(piece.clone()));
        engine.handle_timeout(now.boot);
        let mut seen = seen.lock().unwrap();
        seen.evidence.append(&mut evidence);
        seen.incidents.extend(std::iter::from_fn(|| engine.poll()));
        seen.refused.clone_from(&link.counters().refused);
        drop(seen);
        thread::sleep(TICK);
    }
}

/// Sends a frame on `eth0`.
fn send(place: &Namespace, frame: Vec<u8>) {
    place.within(move || {
        let socket = socket2::Socket::new(libc::AF_PACKET.into(), socket2::Type::RAW, None).unwrap();
        let mut storage = socket2::SockAddrStorage::zeroed();
        // SAFETY: `sockaddr_ll` is one of this platform's socket addresses.
        let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
        link.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
        link.sll_ifindex = i32::try_from(nix::net::if_::if_nametoindex("eth0").unwrap()).unwrap();
        // SAFETY: the storage holds a `sockaddr_ll`, whose length this is.
        let to = unsafe { socket2::SockAddr::new(storage, u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap()) };
        socket.send_to(&frame, &to).unwrap();
    });
}

fn link_of(place: &Namespace) -> LinkAddress {
    place.within(|| {
        let all = nix::ifaddrs::getifaddrs().unwrap();
        let of_eth0 = all.filter(|one| one.interface_name == "eth0");
        let bytes = of_eth0.filter_map(|one| one.address?.as_link_addr()?.addr()).next();
        LinkAddress(bytes.unwrap())
    })
}

/// What a new owner sends: gratuitous ARP for the address.
fn announce(place: &Namespace) {
    let vip: Ipv4Addr = VIP.parse().unwrap();
    send(place, arp::request(link_of(place), vip, None, vip).to_vec());
}

#[test]
fn two_hosts_that_answer_are_a_split_brain_until_one_of_them_stops() {
    let Switch { hosts: [a, b, c], .. } = &Switch::new();
    let watcher = Watcher::start(c, "c", VIP);
    a.ip(&format!("addr add {VIP}/32 dev eth0"));
    watcher.wait_for_claim(ClaimKind::Answered, Some("a"));
    b.ip(&format!("addr add {VIP}/32 dev eth0"));
    watcher.wait_for_split_brain(State::Open, &["a", "b"]);
    b.ip(&format!("addr del {VIP}/32 dev eth0"));
    watcher.wait_for_split_brain(State::Closed, &["a", "b"]);
    assert!(watcher.incidents().iter().all(|incident| incident.id == watcher.incidents()[0].id));
    let replies = |seen: &Seen, name: &str| {
        seen.evidence.iter().filter(|piece| &*piece.host == name && matches!(piece.fact, Fact::ArpReply { .. })).count()
    };
    watcher.wait_for("answers of the peers themselves", |seen| replies(seen, "a") > 2 && replies(seen, "b") > 2);
}

#[test]
fn a_failover_is_none() {
    let Switch { hosts: [a, b, c], .. } = &Switch::new();
    let watcher = Watcher::start(c, "c", VIP);
    a.ip(&format!("addr add {VIP}/32 dev eth0"));
    watcher.wait_for_claim(ClaimKind::Answered, Some("a"));
    for (from, to, name) in [(a, b, "b"), (b, a, "a")] {
        // The new one is there before the old one lets go, as with keepalived where the old one is told to.
        to.ip(&format!("addr add {VIP}/32 dev eth0"));
        (0..5).for_each(|_| announce(to));
        from.ip(&format!("addr del {VIP}/32 dev eth0"));
        watcher.wait_for_claim(ClaimKind::Answered, Some(name));
        watcher.wait_for_requests(4);
    }
    let announced = |piece: &&Evidence| claim(piece).is_some_and(|claim| claim.how == ClaimKind::Announced);
    let owners: Vec<_> =
        watcher.seen.lock().unwrap().evidence.iter().filter(announced).filter_map(claim).cloned().collect();
    assert!(owners.iter().any(|claim| claim.owner.as_deref() == Some("b")), "{owners:?}");
    assert_eq!(watcher.incidents(), []);
}

#[test]
fn what_the_host_has_itself_while_another_answers_is_a_split_brain() {
    let Switch { hosts: [_, b, c], .. } = &Switch::new();
    let watcher = Watcher::start(c, "c", VIP);
    c.ip(&format!("addr add {VIP}/32 dev eth0"));
    watcher.wait_for_claim(ClaimKind::Held, Some("c"));
    watcher.wait_for_requests(3);
    assert_eq!(watcher.incidents(), []);
    b.ip(&format!("addr add {VIP}/32 dev eth0"));
    watcher.wait_for_split_brain(State::Open, &["b", "c"]);
    c.ip(&format!("addr del {VIP}/32 dev eth0"));
    watcher.wait_for_split_brain(State::Closed, &["b", "c"]);
}

#[test]
fn an_ipv6_address_is_watched_alike() {
    let Switch { hosts: [a, b, c], .. } = &Switch::new();
    let watcher = Watcher::start(c, "c", VIP_V6);
    a.ip(&format!("addr add {VIP_V6}/128 dev eth0 nodad"));
    watcher.wait_for_claim(ClaimKind::Answered, Some("a"));
    b.ip(&format!("addr add {VIP_V6}/128 dev eth0 nodad"));
    watcher.wait_for_split_brain(State::Open, &["a", "b"]);
    a.ip(&format!("addr del {VIP_V6}/128 dev eth0"));
    watcher.wait_for_split_brain(State::Closed, &["a", "b"]);
}

#[test]
fn two_masters_with_one_virtual_link_address_are_told_by_themselves_only() {
    let Switch { hosts: [a, b, c], .. } = &Switch::new();
    for host in [a, b] {
        host.ip("link add link eth0 name vrrp.51 type macvlan mode private");
        // As keepalived does with `use_vmac` (`set_interface_parameters`): an interface answers for its own addresses only.
        // Without it on both, the virtual link address answers for the hosts as well, as a router that stands in for them.
        for interface in ["eth0", "vrrp.51"] {
            let ignore = format!("/proc/sys/net/ipv4/conf/{interface}/arp_ignore");
            host.within(|| std::fs::write(ignore, "1").unwrap());
        }
        host.ip("link set vrrp.51 address 00:00:5e:00:01:33");
        host.ip(&format!("addr add {VIP}/32 dev vrrp.51"));
        host.ip("link set vrrp.51 up");
    }
    let (own, onlooker) = (Watcher::start(a, "a", VIP), Watcher::start(c, "c", VIP));
    own.wait_for_split_brain(State::Open, &["00:00:5e:00:01:33", "a"]);
    onlooker.wait_for_claim(ClaimKind::Answered, None);
    onlooker.wait_for_requests(3);
    assert_eq!(onlooker.incidents(), [], "who looks on sees one link-layer address");
}

#[test]
fn a_router_that_stands_in_for_all_others_claims_nothing() {
    let Switch { hosts: [a, b, c], .. } = &Switch::new();
    b.within(|| {
        // Proxy ARP within one network (RFC 3069), as routers between isolated ports do; without it Linux stands in for other
        // networks only.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        std::fs::write("/proc/sys/net/ipv4/conf/eth0/proxy_arp_pvlan", "1").unwrap();
        std::fs::write("/proc/sys/net/ipv4/neigh/eth0/proxy_delay", "0").unwrap();
    });
    a.ip(&format!("addr add {VIP}/32 dev eth0"));
    b.ip(&format!("route add {VIP}/32 dev eth0"));
    let watcher = Watcher::start(c, "c", VIP);
    watcher.wait_for_claim(ClaimKind::Answered, Some("a"));
    watcher.wait_for("answers of the router that are left out", |seen| seen.refused.get("proxy") >= Some(&3));
    watcher.wait_for_requests(3);
    assert_eq!(watcher.incidents(), []);
}

#[test]
fn broken_frames_are_counted_and_harm_nothing() {
    let Switch { hosts: [a, _, c], .. } = &Switch::new();
    a.ip(&format!("addr add {VIP}/32 dev eth0"));
    let watcher = Watcher::start(c, "c", VIP);
    watcher.wait_for_claim(ClaimKind::Answered, Some("a"));
    let vip: Ipv4Addr = VIP.parse().unwrap();
    let good = arp::request(LinkAddress([2, 9, 9, 9, 9, 9]), vip, None, vip);
    let change = |at: usize, value: u8| {
        let mut frame = good.to_vec();
        frame[at] = value;
        frame
    };
    // Cut, a foreign length, a foreign operation, a sender that is everybody.
    for frame in [good[..36].to_vec(), change(18, 200), change(21, 9), change(22, 0xff)] {
        (0..100).for_each(|_| send(a, frame.clone()));
    }
    watcher.wait_for("every one of them is counted", |seen| {
        let counted = |reason| seen.refused.get(reason).copied().unwrap_or(0);
        ["short", "hardware", "operation", "sender"].map(counted) == [100; 4]
    });
    watcher.wait_for_claim(ClaimKind::Answered, Some("a"));
    assert_eq!(watcher.incidents(), []);
    let forged = LinkAddress([2, 9, 9, 9, 9, 9]);
    let vip: IpAddr = vip.into();
    let seen = watcher.seen.lock().unwrap();
    let told = seen.evidence.iter().filter_map(claim).any(|claim| (claim.vip, claim.link) == (vip, forged));
    assert!(!told, "nothing of it is evidence");
}
