//! Peers and anchors as addresses, the sockets to them, and what comes in there. What leaves is in `outgoing`.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lacuna_core::engine::Me;
use lacuna_core::evidence::{Evidence, Fact, LargeHeartbeat, Size, SizeProbe};
use lacuna_core::settings::Settings;
use lacuna_core::time::{Nanos, WallNanos};

use crate::clock::{self, Reading};
use crate::config::Config;
use crate::heartbeat::icmp::Echo;
use crate::heartbeat::keys::KeyRing;
use crate::heartbeat::mtu::headers;
use crate::heartbeat::seal::{Refusal, Seal};
use crate::heartbeat::udp::{Answer, Datagram, Heartbeats};
use crate::heartbeat::wire::Message;
use crate::host::HostFiles;

use super::no_room::NoRoom;
use super::outgoing::Batch;
use super::refusals::Refusals;
use super::ways::Ways;

/// A host that only answers echo requests: the default gateway.
pub(super) const GATEWAY: &str = "gateway";

/// The sockets to peers and anchors, open already.
#[derive(Default)]
pub struct Sockets {
    /// For heartbeats; absent without peers.
    pub heartbeats: Option<Heartbeats>,
    /// For echo requests; absent where that is not allowed.
    pub echo: Option<Echo>,
}

/// Echo requests to a peer of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Echoes {
    /// Sent.
    pub sent: u64,
    /// Answered, whole.
    pub answered: u64,
}

/// See the module's documentation.
pub struct Network {
    pub(super) host: String,
    pub(super) boot_id: [u8; 16],
    pub(super) incarnation: u64,
    pub(super) seal: Seal,
    pub(super) ways: Ways,
    /// Size probes that left so far.
    pub(super) probes: u64,
    pub(super) interval: Duration,
    pub(super) heartbeats: Option<Heartbeats>,
    pub(super) echo: Option<Echo>,
    /// Large echo requests, by peer and the place of their size.
    pub(super) echoes: HashMap<String, [Echoes; 3]>,
    pub(super) peers: Vec<(String, SocketAddr)>,
    by_name: HashMap<String, SocketAddr>,
    by_addr: HashMap<SocketAddr, String>,
    gateway: Option<Ipv4Addr>,
    refused: Refusals,
    no_room: NoRoom,
    /// Room for packets that leave together.
    pub(super) batch: Batch,
}

impl Network {
    /// Uses sockets that are open already; without peers there is no heartbeat socket.
    #[must_use]
    pub fn new(config: &Config, me: &Me, keys: Arc<KeyRing>, sockets: Sockets, files: HostFiles) -> Self {
        let Sockets { heartbeats, echo } = sockets;
        let gateway = files.default_gateway();
        let mut network = Self {
            host: config.host.clone(),
            boot_id: me.boot_id,
            incarnation: me.incarnation,
            seal: Seal::new(&config.host, me.incarnation, keys),
            no_room: NoRoom::new(files),
            ways: Ways::default(),
            probes: 0,
            interval: config.heartbeat.interval,
            heartbeats,
            echo,
            echoes: HashMap::new(),
            peers: Vec::new(),
            by_name: HashMap::new(),
            by_addr: HashMap::new(),
            gateway,
            refused: Refusals::default(),
            batch: Batch::default(),
        };
        network.set_peers(config);
        network
    }

    /// Without sockets and without a host.
    #[cfg(test)]
    pub(crate) fn alone(config: &Config) -> Self {
        let nothing = HostFiles::below(std::path::Path::new("/nowhere"));
        Self::new(config, &Me::default(), Arc::default(), Sockets::default(), nothing)
    }

    /// Takes other peers while it runs.
    pub fn set_peers(&mut self, config: &Config) {
        let known = |name: &str| config.peers.iter().any(|peer| peer.name == name);
        self.seal.keep(known);
        self.refused.keep(known);
        self.ways.keep(known);
        self.echoes.retain(|name, _| known(name));
        self.interval = config.heartbeat.interval;
        self.peers = config.peers.iter().map(|peer| (peer.name.clone(), peer.addr)).collect();
        self.by_name = self.peers.iter().cloned().collect();
        self.by_addr = self.peers.iter().map(|(name, addr)| (*addr, name.clone())).collect();
    }

    /// Every peer with its address.
    #[must_use]
    pub fn peers(&self) -> &[(String, SocketAddr)] {
        &self.peers
    }

    /// The gateway, where there is one that can be asked; a peer of that name, or at that address, is watched as what it is.
    #[must_use]
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        let is_peer = |address: &Ipv4Addr| self.name_of(IpAddr::V4(*address)).is_some();
        self.gateway.filter(|address| !self.by_name.contains_key(GATEWAY) && !is_peer(address))
    }

    /// The gateway with its name, for what is asked of neighbours.
    #[must_use]
    pub fn neighbour(&self) -> Option<(&'static str, Ipv4Addr)> {
        self.gateway().map(|address| (GATEWAY, address))
    }

    /// What the engine judges by, with what follows from the keys and the network.
    #[must_use]
    pub fn settings(&self, config: &Config) -> Settings {
        Settings { fleet: self.seal.fleet(), ..config.settings(self.anchors()) }
    }

    /// The names that only answer echo requests.
    #[must_use]
    pub fn anchors(&self) -> Vec<String> {
        self.gateway().iter().map(|_| GATEWAY.to_owned()).collect()
    }

    /// Echo requests of that large size to a peer; absent where none left.
    #[must_use]
    pub fn large_echoes(&self, name: &str, size: Size) -> Option<Echoes> {
        self.echoes.get(name).map(|counts| counts[size.place()]).filter(|counts| counts.sent > 0)
    }

    /// The peer of that address.
    #[must_use]
    pub fn name_of(&self, address: IpAddr) -> Option<&str> {
        self.peers.iter().find(|(_, addr)| addr.ip() == address).map(|(name, _)| name.as_str())
    }

    /// Packets that were not accepted so far, by reason, and those that the buffer had no room for.
    #[must_use]
    pub fn refused(&self) -> (&BTreeMap<&'static str, u64>, u64) {
        (self.refused.counts(), self.no_room.total())
    }

    /// Everything that has arrived, as evidence: overflows, heartbeats in their order, refusals, echo replies.
    pub fn receive(&mut self, host: &str, now: Reading, drained_at: Nanos) -> Vec<Evidence> {
        let mut seen = Vec::new();
        self.receive_heartbeats(host, now, drained_at, &mut seen);
        self.receive_errors(now.boot, &mut seen);
        self.receive_echoes(now.boot, &mut seen);
        seen
    }

    fn receive_heartbeats(&mut self, host: &str, now: Reading, drained_at: Nanos, seen: &mut Vec<Evidence>) {
        let Some(mut socket) = self.heartbeats.take() else { return };
        let dropped = socket.drain(|datagram| {
            let at = datagram.stamp.map_or(now.boot, |stamp| {
                // An agent that was held up in its turn finds what came in meanwhile: later than the turn began.
                let now = if stamp > now.wall { clock::read() } else { now };
                now.boot_at(stamp, drained_at)
            });
            let Some(peer) = self.by_addr.get(&datagram.from) else { return self.refused.stranger(datagram.from) };
            match accept(&mut self.seal, peer, &datagram, at, now.wall) {
                Ok(evidence) => seen.push(evidence),
                Err(refusal) => self.refused.of_peer(peer, datagram.from, &refusal),
            }
        });
        self.heartbeats = Some(socket);
        seen.extend(self.refused.evidence(drained_at, now.boot));
        let count = self.no_room.take(dropped);
        if count > 0 {
            let fact = Fact::SocketOverflow { count };
            seen.insert(0, Evidence::during(host, drained_at, now.boot, fact));
        }
    }

    fn receive_errors(&mut self, now: Nanos, seen: &mut Vec<Evidence>) {
        let Some(socket) = &mut self.heartbeats else { return };
        socket.drain_errors(|answer| {
            let (of, fact) = match answer {
                Answer::PortUnreachable(of) => (of, Fact::PortUnreachable),
                Answer::TooBig { to, mtu } => (to, Fact::TooBig { mtu }),
            };
            if let Some(name) = self.by_addr.get(&of) {
                seen.push(Evidence::at(name, now, fact));
            }
        });
    }

    /// An answer of the small size tells that the kernel answers. Large ones are counted only: a way that swallows them would
    /// look like a kernel that is silent, and which way it was is not known, since the answer is as large as what it answers.
    fn receive_echoes(&mut self, now: Nanos, seen: &mut Vec<Evidence>) {
        let gateway = self.gateway().map(IpAddr::V4);
        let (peers, echoes) = (&self.peers, &mut self.echoes);
        let Some(echo) = &mut self.echo else { return };
        echo.drain(|reply| {
            let named = peers.iter().filter(|(_, addr)| addr.ip() == reply.from).map(|(name, _)| name.as_str());
            for name in named.chain((gateway == Some(reply.from)).then_some(GATEWAY)) {
                if reply.size == Size::Small {
                    seen.push(Evidence::during(name, reply.sent_at, now, Fact::EchoReply));
                } else if let Some(counts) = echoes.get_mut(name) {
                    counts[reply.size.place()].answered += 1;
                }
            }
        });
    }
}

/// A packet from a peer's address counts where its tag is right and its name is that peer's.
fn accept(
    seal: &mut Seal,
    peer: &str,
    datagram: &Datagram<'_>,
    at: Nanos,
    now: WallNanos,
) -> Result<Evidence, Refusal> {
    let message = seal.open(peer, datagram.bytes, now)?;
    let length = u16::try_from(datagram.bytes.len()).unwrap_or(u16::MAX);
    let bytes = length.saturating_add(headers(datagram.from.ip()));
    let fact = match message {
        Message::Heartbeat(beat) => Fact::Heartbeat(beat),
        Message::Large(large, _) => Fact::LargeHeartbeat(LargeHeartbeat { bytes, ..large }),
        Message::Probe { id, .. } => Fact::SizeProbe(SizeProbe { id, bytes }),
    };
    Ok(Evidence::at(peer, at, fact))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use lacuna_core::engine::{Engine, Me};

    use super::*;
    use crate::config::Peer;
    use crate::heartbeat::wire;

    #[test]
    fn a_peer_that_is_the_gateway_as_well_is_watched_as_a_peer() {
        let gateway = Ipv4Addr::new(10, 77, 0, 1);
        let with = |address: Ipv4Addr| {
            let mut config = Config::without_file("a");
            config.peers = vec![Peer { name: "lb1".to_owned(), addr: (address, 9479).into() }];
            Network { gateway: Some(gateway), ..Network::alone(&config) }
        };
        assert_eq!(with(Ipv4Addr::new(10, 77, 0, 2)).gateway(), Some(gateway));
        assert_eq!(with(gateway).gateway(), None, "its silence must not hide that of itself");
    }

    #[test]
    fn a_peer_that_is_configured_away_is_told_and_the_others_are_not() {
        let peers = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let mut config = Config::without_file("a");
        config.peers = ["b", "c"]
            .into_iter()
            .zip(&peers)
            .map(|(name, socket)| Peer { name: name.to_owned(), addr: socket.local_addr().unwrap() })
            .collect();
        let heartbeats = Heartbeats::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let mut network = Network { heartbeats: Some(heartbeats), ..Network::alone(&config) };
        let engine = Engine::new(config.settings(Vec::new()), Me::default());
        network.say_goodbye(&engine, &config.peers[1..]);
        let got = peers.map(|socket| {
            socket.set_nonblocking(true).unwrap();
            let mut packet = [0; wire::MAX_PACKET];
            let length = socket.recv(&mut packet).ok()?;
            match wire::decode(&packet[..length]).unwrap().1 {
                Message::Heartbeat(beat) => Some(beat.goodbye),
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(got, [Some(true), None]);
    }
}
