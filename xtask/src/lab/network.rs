//! The hosts of a scenario, on a bridge in a namespace of its own: each a namespace, or the link of a guest. Some may be in a
//! second segment with a bridge of its own, behind a router.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result};

use super::netns::{Namespace, fresh_prefix};
use super::router::{self, FAR_GATEWAY, Narrow};

/// The bridge's own address: the default gateway of every host on it, and it answers pings.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Its link-layer address. A bridge that was given none has that of its lowest port, and another one once that port is gone: then
/// nobody would reach the gateway for a while.
const GATEWAY_LINK: &str = "02:00:0a:4d:00:01";
/// The port of heartbeats.
const HEARTBEATS: u16 = 9479;
/// The first host's last byte, less one.
const FIRST: u8 = 10;
/// Hosts that a network may have at most.
pub(crate) const MAX_HOSTS: usize = 16;

/// A switch and its hosts; all of it goes away with this value.
#[derive(Debug)]
pub(crate) struct Network {
    /// Where the bridge is.
    pub(crate) switch: Namespace,
    /// Where the bridge of the second segment and its router are; absent where there is none.
    router: Option<Namespace>,
    /// In the order of the names that were given.
    pub(crate) hosts: Vec<Host>,
}

/// Where a host is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// A namespace on the first bridge.
    #[default]
    Near,
    /// A namespace in the second segment, behind the router.
    Far,
    /// A guest: only its link is made, on the first bridge.
    Guest,
}

/// A host of the lab.
#[derive(Debug)]
pub(crate) struct Host {
    /// Its name in the scenario.
    pub(crate) name: String,
    /// Its address on the bridge.
    pub(crate) addr: Ipv4Addr,
    /// Its other address there, which heartbeats then go to.
    pub(crate) addr6: Option<Ipv6Addr>,
    /// It is in the second segment, behind the router.
    pub(crate) far: bool,
    /// Its namespace, with `eth0` in it; none where the host is a guest.
    namespace: Option<Namespace>,
    /// The bridge's end of its link: of a guest, the tap device.
    pub(crate) port: String,
}

impl Network {
    /// Makes a host for each name, at 10.77.0.11 and up.
    pub(crate) fn create(names: &[&str]) -> Result<Self> {
        let hosts: Vec<_> = names.iter().map(|name| (*name, Place::Near)).collect();
        Self::with_places(&hosts)
    }

    /// The same, each where it is to be; those of the second segment are at 10.77.1.11 and up.
    pub(crate) fn with_places(hosts: &[(&str, Place)]) -> Result<Self> {
        let prefix = fresh_prefix();
        let switch = Namespace::create(&format!("{prefix}-switch"))?;
        switch.ip(&format!(
            "link add br0 address {GATEWAY_LINK} type bridge\naddress add {GATEWAY}/24 dev br0\nlink set br0 up\n"
        ))?;
        let far = hosts.iter().any(|(_, place)| *place == Place::Far);
        let router = far.then(|| router::create(&switch, &format!("{prefix}-router"))).transpose()?;
        let mut network = Self { switch, router, hosts: Vec::new() };
        for (number, (name, place)) in hosts.iter().take(MAX_HOSTS).enumerate() {
            let number = u8::try_from(number)?;
            let plugged = match place {
                Place::Guest => network.plug_in_tap(number, name),
                place => network.plug_in(&prefix, number, name, *place == Place::Far),
            };
            network.hosts.push(plugged?);
        }
        Ok(network)
    }

    /// Gives each host an IPv6 address as well, at fd77::11 and up; for hosts of the first bridge that are no guests.
    pub(crate) fn add_ipv6(&mut self) -> Result<()> {
        for host in &mut self.hosts {
            let [.., last] = host.addr.octets();
            // Written as the last number of the other address is.
            let addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from_str_radix(&last.to_string(), 16)?);
            let namespace = host.namespace()?;
            namespace.enter(|| {
                ["all", "eth0"].into_iter().try_for_each(|name| {
                    let path = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
                    std::fs::write(&path, "0").context(path)
                })
            })?;
            // Nobody else has it, and an address that is tried out for a second cannot be listened on.
            namespace.ip(&format!("address add {addr}/64 dev eth0 nodad\n"))?;
            host.addr6 = Some(addr);
        }
        Ok(())
    }

    /// The host of that name.
    pub(crate) fn host(&self, name: &str) -> Result<&Host> {
        let found = self.hosts.iter().find(|host| host.name == name);
        found.with_context(|| format!("no host `{name}` in this network"))
    }

    /// The router of the second segment.
    ///
    /// # Errors
    /// Where all hosts are in the first one.
    pub(crate) fn router(&self) -> Result<&Namespace> {
        self.router.as_ref().context("no host is in a second segment, so there is no router")
    }

    /// From now on the link between the segments is narrow.
    pub(crate) fn narrow(&self, narrow: Narrow) -> Result<()> {
        narrow.apply(&self.switch, self.router()?)
    }

    /// The link between the segments, where there is one, is as wide as all others again.
    pub(crate) fn widen(&self) -> Result<()> {
        self.router.as_ref().map_or(Ok(()), |router| router::heal(&self.switch, router))
    }

    /// Every namespace in which packets pass or arrive.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        let hosts = self.hosts.iter().filter_map(|host| host.namespace().ok());
        hosts.chain([&self.switch]).chain(&self.router)
    }

    /// The bridge that a host of the first or of the second segment is on.
    fn bridge(&self, far: bool) -> Result<&Namespace> {
        if far { self.router() } else { Ok(&self.switch) }
    }

    fn plug_in(&self, prefix: &str, number: u8, name: &str, far: bool) -> Result<Host> {
        let namespace = Namespace::create(&format!("{prefix}-{name}"))?;
        let [one, two, _, four] = address(number).octets();
        let addr = Ipv4Addr::new(one, two, u8::from(far), four);
        let port = format!("port{number}");
        self.bridge(far)?.ip(&format!(
            "link add {port} type veth peer name eth0 netns {}\nlink set {port} master br0 up\n",
            namespace.name()
        ))?;
        namespace.ip(&format!("address add {addr}/24 dev eth0\n"))?;
        let host = Host { name: name.to_owned(), addr, addr6: None, far, namespace: Some(namespace), port };
        host.link_up()?;
        Ok(host)
    }

    fn plug_in_tap(&self, number: u8, name: &str) -> Result<Host> {
        let port = format!("port{number}");
        self.switch
            .ip(&format!("tuntap add {port} mode tap\nlink set {port} master br0 up\n"))
            .context("a guest's link needs /dev/net/tun")?;
        let (name, addr) = (name.to_owned(), address(number));
        Ok(Host { name, addr, addr6: None, far: false, namespace: None, port })
    }

    /// Takes a host's link away for good.
    pub(crate) fn unplug(&self, host: &Host) -> Result<()> {
        self.bridge(host.far)?.ip(&format!("link delete {}\n", host.port))
    }
}

/// The address of the host of that number, from 0.
pub(crate) fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, FIRST + 1 + number)
}

impl Host {
    /// Its namespace; an error where the host is a guest.
    pub(crate) fn namespace(&self) -> Result<&Namespace> {
        self.namespace.as_ref().with_context(|| format!("{} is a guest: this is done to namespaces only", self.name))
    }

    /// Whether it is a guest.
    pub(crate) fn is_guest(&self) -> bool {
        self.namespace.is_none()
    }

    /// Where its agent listens for heartbeats.
    pub(crate) fn heartbeats(&self) -> SocketAddr {
        match self.addr6 {
            Some(addr) => (addr, HEARTBEATS).into(),
            None => (self.addr, HEARTBEATS).into(),
        }
    }

    /// Its default gateway.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        if self.far { FAR_GATEWAY } else { GATEWAY }
    }

    /// Its link up, and the default route, which goes away with the link.
    pub(crate) fn link_up(&self) -> Result<()> {
        self.namespace()?.ip(&format!("link set eth0 up\nroute replace default via {}\n", self.gateway()))
    }

    /// Its link down: the other end loses its carrier.
    pub(crate) fn link_down(&self) -> Result<()> {
        self.namespace()?.ip("link set eth0 down\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::fault;
    use crate::lab::router::Tells;
    use crate::sh;

    fn answers(from: &Host, to: Ipv4Addr) -> bool {
        let mut ping = from.namespace().unwrap().command("ping");
        ping.args(["-c1", "-W1", &to.to_string()]);
        sh::output(&mut ping, "").is_ok()
    }

    #[test]
    fn hosts_reach_each_other_and_the_gateway_until_unplugged() {
        let network = Network::create(&["a", "b"]).unwrap();
        let (a, b) = (network.host("a").unwrap(), network.host("b").unwrap());
        assert!(answers(a, b.addr) && answers(a, GATEWAY));
        b.link_down().unwrap();
        assert!(!answers(a, b.addr));
        b.link_up().unwrap();
        assert!(answers(a, b.addr) && answers(b, GATEWAY));
        network.unplug(b).unwrap();
        assert!(!answers(a, b.addr));
    }

    #[test]
    fn the_gateway_is_where_it_was_when_hosts_are_unplugged() {
        let network = Network::create(&["a", "b", "c", "d"]).unwrap();
        let first = &network.hosts[0].port;
        network.switch.ip(&format!("link set {first} address fe:ff:ff:ff:ff:ff\n")).unwrap();
        assert!(answers(&network.hosts[0], GATEWAY));
        for host in &network.hosts[1..] {
            network.unplug(host).unwrap();
            assert!(answers(&network.hosts[0], GATEWAY), "without {}", host.name);
        }
    }

    /// Whether one packet of that length, headers included, that must not be fragmented was answered, and whether a router
    /// said what its MTU is. What the kernel learned before does not count.
    fn ping(from: &Host, to: &Host, bytes: u16) -> (bool, bool) {
        let namespace = from.namespace().unwrap();
        namespace.ip("route flush cache\n").unwrap();
        let payload = (bytes - 28).to_string();
        let mut ping = namespace.command("ping");
        let done = ping.args(["-c1", "-W1", "-M", "do", "-s", &payload, &to.addr.to_string()]).output().unwrap();
        (done.status.success(), String::from_utf8_lossy(&done.stdout).contains("mtu = 1400"))
    }

    #[test]
    fn a_narrow_link_between_routers_is_told_of_by_those_that_tell() {
        let network = Network::with_places(&[("a", Place::Near), ("b", Place::Far)]).unwrap();
        let (a, b) = (network.host("a").unwrap(), network.host("b").unwrap());
        assert!(answers(a, b.addr) && answers(b, a.addr) && answers(b, b.gateway()));
        for (tells, to_a, to_b) in [
            (Tells::Both, true, true),
            (Tells::Near, true, false),
            (Tells::Far, false, true),
            (Tells::Neither, false, false),
        ] {
            network.narrow(Narrow { mtu: 1400, tells }).unwrap();
            for (from, to, told) in [(a, b, to_a), (b, a, to_b)] {
                assert_eq!(ping(from, to, 1401), (false, told), "{tells:?} {}: beyond the MTU", from.name);
                // Either kernel may have learned the MTU from the packet above, or its answer.
                to.namespace().unwrap().ip("route flush cache\n").unwrap();
                assert_eq!(ping(from, to, 1400), (true, false), "{tells:?} {}: exactly the MTU", from.name);
            }
            fault::heal(&network).unwrap();
            assert_eq!(ping(a, b, 1500), (true, false), "as wide as all links");
        }
    }
}
