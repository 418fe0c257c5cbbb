//! The hosts of a scenario, all on one bridge in a namespace of its own: each a namespace, or the link of a guest.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};

use super::netns::{Namespace, fresh_prefix};

/// The bridge's own address: every host's default gateway, and it answers pings.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The first host's last byte, less one.
const FIRST: u8 = 10;
/// Hosts that a network may have at most.
pub(crate) const MAX_HOSTS: usize = 16;

/// A switch and its hosts; all of it goes away with this value.
#[derive(Debug)]
pub(crate) struct Network {
    /// Where the bridge is.
    pub(crate) switch: Namespace,
    /// In the order of the names that were given.
    pub(crate) hosts: Vec<Host>,
}

/// A host of the lab.
#[derive(Debug)]
pub(crate) struct Host {
    /// Its name in the scenario.
    pub(crate) name: String,
    /// Its address on the bridge.
    pub(crate) addr: Ipv4Addr,
    /// Its namespace, with `eth0` in it; none where the host is a guest.
    namespace: Option<Namespace>,
    /// The bridge's end of its link: of a guest, the tap device.
    pub(crate) port: String,
}

impl Network {
    /// Makes a host for each name, at 10.77.0.11 and up.
    pub(crate) fn create(names: &[&str]) -> Result<Self> {
        let hosts: Vec<_> = names.iter().map(|name| (*name, false)).collect();
        Self::with_guests(&hosts)
    }

    /// The same; of a host that is said to be a guest, only the link is made.
    pub(crate) fn with_guests(hosts: &[(&str, bool)]) -> Result<Self> {
        let prefix = fresh_prefix();
        let switch = Namespace::create(&format!("{prefix}-switch"))?;
        switch.ip(&format!("link add br0 type bridge\naddress add {GATEWAY}/24 dev br0\nlink set br0 up\n"))?;
        let mut network = Self { switch, hosts: Vec::new() };
        for (number, (name, guest)) in hosts.iter().take(MAX_HOSTS).enumerate() {
            let number = u8::try_from(number)?;
            let plugged =
                if *guest { network.plug_in_tap(number, name) } else { network.plug_in(&prefix, number, name) };
            let host = plugged?;
            network.hosts.push(host);
        }
        Ok(network)
    }

    /// The host of that name.
    pub(crate) fn host(&self, name: &str) -> Result<&Host> {
        let found = self.hosts.iter().find(|host| host.name == name);
        found.with_context(|| format!("no host `{name}` in this network"))
    }

    fn plug_in(&self, prefix: &str, number: u8, name: &str) -> Result<Host> {
        let namespace = Namespace::create(&format!("{prefix}-{name}"))?;
        let addr = address(number);
        let port = format!("port{number}");
        self.switch.ip(&format!(
            "link add {port} type veth peer name eth0 netns {}\nlink set {port} master br0 up\n",
            namespace.name()
        ))?;
        namespace.ip(&format!("address add {addr}/24 dev eth0\n"))?;
        let host = Host { name: name.to_owned(), addr, namespace: Some(namespace), port };
        host.link_up()?;
        Ok(host)
    }

    fn plug_in_tap(&self, number: u8, name: &str) -> Result<Host> {
        let port = format!("port{number}");
        self.switch
            .ip(&format!("tuntap add {port} mode tap\nlink set {port} master br0 up\n"))
            .context("a guest's link needs /dev/net/tun")?;
        let addr = address(number);
        Ok(Host { name: name.to_owned(), addr, namespace: None, port })
    }

    /// Takes a host's link away for good.
    pub(crate) fn unplug(&self, host: &Host) -> Result<()> {
        self.switch.ip(&format!("link delete {}\n", host.port))
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

    /// Its link up, and the default route, which goes away with the link.
    pub(crate) fn link_up(&self) -> Result<()> {
        self.namespace()?.ip(&format!("link set eth0 up\nroute replace default via {GATEWAY}\n"))
    }

    /// Its link down: the other end loses its carrier.
    pub(crate) fn link_down(&self) -> Result<()> {
        self.namespace()?.ip("link set eth0 down\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
