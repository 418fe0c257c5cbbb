//! Network namespaces joined by a cable or a switch, removed when dropped, also after a failure.

#![allow(dead_code, reason = "each test takes what it needs")]

pub(crate) mod island;

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, setns};

/// The address of [`Cable::near`].
pub(crate) const NEAR: &str = "10.99.7.1";
/// The address of [`Cable::far`].
pub(crate) const FAR: &str = "10.99.7.2";

/// Two namespaces, [`NEAR`] and [`FAR`].
pub(crate) struct Cable {
    pub(crate) near: Namespace,
    pub(crate) far: Namespace,
}

impl Cable {
    pub(crate) fn new() -> Self {
        let near = Namespace::new("near");
        let far = Namespace::new("far");
        run(&format!("ip -n {} link add eth0 type veth peer name eth0 netns {}", near.0, far.0));
        for (namespace, address) in [(&near, NEAR), (&far, FAR)] {
            run(&format!("ip -n {} addr add {address}/24 dev eth0", namespace.0));
            run(&format!("ip -n {} link set lo up", namespace.0));
            run(&format!("ip -n {} link set eth0 up", namespace.0));
        }
        Self { near, far }
    }
}

/// Three hosts on a switch: `a`, `b` and `c`, at 10.99.8.1, .2 and .3, each with `eth0`.
pub(crate) struct Switch {
    pub(crate) hosts: [Namespace; 3],
    switch: Namespace,
}

impl Switch {
    pub(crate) fn new() -> Self {
        let switch = Namespace::new("switch");
        run(&format!("ip -n {} link add br0 type bridge", switch.0));
        run(&format!("ip -n {} link set br0 up", switch.0));
        let mut last = 0;
        let hosts = ["a", "b", "c"].map(|name| {
            last += 1;
            let host = Namespace::new(name);
            run(&format!("ip -n {} link add port{last} type veth peer name eth0 netns {}", switch.0, host.0));
            run(&format!("ip -n {} link set port{last} master br0 up", switch.0));
            host.ip(&format!("addr add 10.99.8.{last}/24 dev eth0"));
            // Without the detection of duplicates, which would keep the second of two equal addresses from being used.
            host.ip(&format!("addr add fd00:99:8::{last}/64 dev eth0 nodad"));
            host.ip("link set lo up");
            host.ip("link set eth0 up");
            host
        });
        Self { hosts, switch }
    }
}

/// Three namespaces: [`NEAR`] and [`Routed::FAR`], and a router between them.
pub(crate) struct Routed {
    pub(crate) near: Namespace,
    pub(crate) router: Namespace,
    _far: Namespace,
}

impl Routed {
    /// The address of the far end.
    pub(crate) const FAR: &str = "10.99.8.2";

    /// A router that has a smaller MTU on the side of the far end.
    pub(crate) fn new(mtu: u32) -> Self {
        let (near, router, far) = (Namespace::new("near"), Namespace::new("router"), Namespace::new("far"));
        for (side, end, network, host) in [("eth0", &near, 7, 1), ("eth1", &far, 8, 2)] {
            run(&format!("ip -n {} link add eth0 type veth peer name {side} netns {}", end.0, router.0));
            end.ip(&format!("addr add 10.99.{network}.{host}/24 dev eth0"));
            router.ip(&format!("addr add 10.99.{network}.254/24 dev {side}"));
            router.ip(&format!("link set {side} up"));
            end.ip("link set eth0 up");
            end.ip(&format!("route add default via 10.99.{network}.254"));
        }
        router.ip(&format!("link set eth1 mtu {mtu}"));
        far.ip(&format!("link set eth0 mtu {mtu}"));
        router.within(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
        Self { near, router, _far: far }
    }
}

/// A network namespace.
pub(crate) struct Namespace(String);

impl Namespace {
    fn new(role: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lacuna-{}-{number}-{role}", std::process::id());
        run(&format!("ip netns add {name}"));
        Self(name)
    }

    fn path(&self) -> String {
        format!("/run/netns/{}", self.0)
    }

    /// Its inode number, by which the probes know it.
    pub(crate) fn inum(&self) -> u32 {
        let inode = std::fs::metadata(self.path()).unwrap().ino();
        u32::try_from(inode).unwrap()
    }

    /// Runs the program `ip` for it.
    pub(crate) fn ip(&self, arguments: &str) {
        run(&format!("ip -n {} {arguments}", self.0));
    }

    /// Drops what comes in for this TCP port in packets of more than so many bytes.
    pub(crate) fn drop_large(&self, port: u16, bytes: u16) {
        self.drop_at("input", &format!("tcp dport {port} ip length > {bytes}"));
    }

    /// Drops so many packets of a hundred that come in for this TCP port, at random.
    pub(crate) fn drop_some(&self, port: u16, percent: u8) {
        self.drop_at("input", &format!("tcp dport {port} numgen random mod 100 < {percent}"));
    }

    /// Drops what comes in for this TCP port.
    pub(crate) fn drop_incoming(&self, port: u16) {
        self.drop_at("input", &format!("tcp dport {port}"));
    }

    /// Drops datagrams that come in for this UDP port.
    pub(crate) fn drop_incoming_datagrams(&self, port: u16) {
        self.drop_at("input", &format!("udp dport {port}"));
    }

    /// Refuses to send datagrams to this UDP port.
    pub(crate) fn drop_outgoing_datagrams(&self, port: u16) {
        self.drop_at("output", &format!("udp dport {port}"));
    }

    /// Refuses to send to this TCP port.
    pub(crate) fn drop_outgoing(&self, port: u16) {
        self.drop_at("output", &format!("tcp dport {port}"));
    }

    /// Drops what comes in as a fragment and is not the first one, before it is looked at.
    pub(crate) fn drop_later_fragments(&self) {
        self.drop_at("prerouting", "ip frag-off & 0x1fff != 0");
    }

    /// Whether the address answers one echo request with so many bytes of payload within a second.
    pub(crate) fn ping(&self, address: &str, bytes: usize) -> bool {
        let arguments = format!("netns exec {} ping -n -q -c 1 -W 1 -s {bytes} {address}", self.0);
        Command::new("ip").args(arguments.split(' ')).output().unwrap().status.success()
    }

    fn drop_at(&self, hook: &str, packets: &str) {
        let nft = |command: &str| run(&format!("ip netns exec {} nft {command}", self.0));
        nft("add table inet fault");
        nft(&format!("add chain inet fault at {{ type filter hook {hook} priority -450 ; }}"));
        nft(&format!("add rule inet fault at {packets} drop"));
    }

    /// Runs `what` on a thread of its own inside.
    pub(crate) fn within<T: Send + 'static>(&self, what: impl FnOnce() -> T + Send + 'static) -> T {
        self.spawn(what).join().unwrap()
    }

    /// Begins `what` on a thread of its own inside.
    pub(crate) fn spawn<T: Send + 'static>(&self, what: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let namespace = File::open(self.path()).unwrap();
        let inside = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            what()
        };
        thread::spawn(inside)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Not `run`: a panic while panicking would leave the other one behind.
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let answer =
        Command::new(words.next().unwrap()).args(words).output().unwrap_or_else(|error| panic!("{command}: {error}"));
    let said = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "{command}: {said}(these tests need root)");
}
