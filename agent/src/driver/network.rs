//! Peers and anchors as addresses, and the sockets to them.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use lacuna_core::engine::Engine;
use lacuna_core::evidence::{Evidence, Fact};
use lacuna_core::time::{Nanos, WallNanos};

use crate::clock::{self, Reading};
use crate::config::{Config, Peer};
use crate::heartbeat::icmp::Echo;
use crate::heartbeat::udp::{Datagram, Heartbeats};
use crate::heartbeat::wire;

/// A peer that is silent for longer is asked by echo once a second only, as one that is heard.
const ASK_OFTEN_FOR: Duration = Duration::from_secs(10);

/// A host that only answers echo requests: the default gateway.
pub(super) const GATEWAY: &str = "gateway";

/// See the module's documentation.
pub struct Network {
    host: String,
    interval: Duration,
    heartbeats: Option<Heartbeats>,
    echo: Option<Echo>,
    peers: Vec<(String, SocketAddr)>,
    by_name: HashMap<String, SocketAddr>,
    by_addr: HashMap<SocketAddr, String>,
    gateway: Option<Ipv4Addr>,
    refused: BTreeMap<&'static str, u64>,
    overflow: u64,
    packet: Vec<u8>,
}

impl Network {
    /// Uses sockets that are open already; without peers there is no heartbeat socket.
    #[must_use]
    pub fn new(config: &Config, heartbeats: Option<Heartbeats>, echo: Option<Echo>, gateway: Option<Ipv4Addr>) -> Self {
        let mut network = Self {
            host: config.host.clone(),
            interval: config.heartbeat.interval,
            heartbeats,
            echo,
            peers: Vec::new(),
            by_name: HashMap::new(),
            by_addr: HashMap::new(),
            gateway,
            refused: BTreeMap::new(),
            overflow: 0,
            packet: Vec::with_capacity(wire::MAX_PACKET),
        };
        network.set_peers(config);
        network
    }

    /// Takes other peers while it runs.
    pub fn set_peers(&mut self, config: &Config) {
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

    /// The gateway, where there is one that can be asked; a peer of that name goes first.
    #[must_use]
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        self.gateway.filter(|_| !self.by_name.contains_key(GATEWAY))
    }

    /// The gateway with its name, for what is asked of neighbours.
    #[must_use]
    pub fn neighbour(&self) -> Option<(&'static str, Ipv4Addr)> {
        self.gateway().map(|address| (GATEWAY, address))
    }

    /// The names that only answer echo requests.
    #[must_use]
    pub fn anchors(&self) -> Vec<String> {
        self.gateway().iter().map(|_| GATEWAY.to_owned()).collect()
    }

    /// The peer of that address.
    #[must_use]
    pub fn name_of(&self, address: IpAddr) -> Option<&str> {
        self.peers.iter().find(|(_, addr)| addr.ip() == address).map(|(name, _)| name.as_str())
    }

    /// Packets that were not accepted so far, by reason, and those that the buffer had no room for.
    #[must_use]
    pub fn refused(&self) -> (&BTreeMap<&'static str, u64>, u64) {
        (&self.refused, self.overflow)
    }

    /// What the wall clock showed at `at`, by a reading from not long after.
    #[must_use]
    pub fn wall_of(&self, now: &Reading, at: Nanos) -> WallNanos {
        WallNanos(now.wall.0.saturating_sub(now.boot.0.saturating_sub(at.0)))
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
        let lost = socket.drain(|datagram| {
            let at = datagram.stamp.map_or(now.boot, |stamp| {
                // An agent that was held up in its turn finds what came in meanwhile: later than the turn began.
                let now = if stamp > now.wall { clock::read() } else { now };
                now.boot_at(stamp, drained_at)
            });
            match self.accept(&datagram, at) {
                Ok(evidence) => seen.push(evidence),
                Err(reason) => *self.refused.entry(reason).or_default() += 1,
            }
        });
        self.heartbeats = Some(socket);
        if lost > 0 {
            self.overflow += lost;
            let fact = Fact::SocketOverflow { count: lost };
            seen.insert(0, Evidence::during(host, drained_at, now.boot, fact));
        }
    }

    /// A packet counts where its name is a peer's and it came from that peer's address.
    fn accept(&self, datagram: &Datagram, at: Nanos) -> Result<Evidence, &'static str> {
        let (name, beat) = wire::decode(&datagram.bytes).map_err(|error| error.reason())?;
        match self.by_name.get(&name) {
            None => Err("foreign-name"),
            Some(addr) if *addr != datagram.from => Err("foreign-address"),
            Some(_) => Ok(Evidence::at(&name, at, Fact::Heartbeat(Box::new(beat)))),
        }
    }

    fn receive_errors(&mut self, now: Nanos, seen: &mut Vec<Evidence>) {
        let Some(socket) = &mut self.heartbeats else { return };
        socket.drain_errors(|refused_by| {
            if let Some(name) = self.by_addr.get(&refused_by) {
                seen.push(Evidence::at(name, now, Fact::PortUnreachable));
            }
        });
    }

    fn receive_echoes(&mut self, now: Nanos, seen: &mut Vec<Evidence>) {
        let (peers, gateway) = (&self.peers, self.gateway().map(IpAddr::V4));
        let Some(echo) = &mut self.echo else { return };
        echo.drain(|reply| {
            let answers = |name: &str| Evidence::during(name, reply.sent_at, now, Fact::EchoReply);
            let named = peers.iter().filter(|(_, addr)| addr.ip() == reply.from);
            seen.extend(named.map(|(name, _)| answers(name)));
            seen.extend((gateway == Some(reply.from)).then(|| answers(GATEWAY)));
        });
    }

    /// One tick: a heartbeat to every peer, and echo requests where they are due.
    ///
    /// A heartbeat is dated as it leaves, and so is what it tells of others: the turn may have been held up since `now`, its
    /// begin. A peer that sees an old date in a new packet would think that this host's clock had stood still.
    pub fn send(&mut self, engine: &Engine, now: Nanos, tick: u64) -> Vec<Evidence> {
        let mut sent = Vec::new();
        for (name, addr) in &self.peers {
            sent.extend(heartbeat(&self.host, engine, self.heartbeats.as_ref(), name, *addr, &mut self.packet));
        }
        sent.extend(self.send_echoes(engine, now, tick));
        sent
    }

    /// Every second, spread over the ticks; at every tick to a peer whose heartbeat is overdue.
    fn send_echoes(&mut self, engine: &Engine, now: Nanos, tick: u64) -> Vec<Evidence> {
        let ticks = u64::try_from(Duration::from_secs(1).as_nanos() / self.interval.as_nanos().max(1)).unwrap_or(1);
        let gateway = self.gateway().map(|address| (GATEWAY, IpAddr::V4(address)));
        let peers = self.peers.iter().map(|(name, addr)| (name.as_str(), addr.ip()));
        let mut sent = Vec::new();
        let Some(echo) = &mut self.echo else { return sent };
        for (place, (name, address)) in (0u64..).zip(peers.chain(gateway)) {
            let IpAddr::V4(address) = address else { continue };
            let turn = (tick + place).is_multiple_of(ticks.max(1));
            if (turn || overdue(engine, name, now, self.interval)) && echo.send(address, now).is_ok() {
                sent.push(Evidence::at(name, now, Fact::EchoSent));
            }
        }
        sent
    }

    /// Tells every peer but those that `stay` that this agent sends it nothing more, on purpose.
    pub fn say_goodbye(&mut self, engine: &Engine, now: Nanos, stay: &[Peer]) {
        let Some(socket) = &self.heartbeats else { return };
        for (name, addr) in &self.peers {
            if stay.iter().any(|peer| peer.name == *name) {
                continue;
            }
            let Some(mut beat) = engine.heartbeat(name, now) else { continue };
            beat.goodbye = true;
            if wire::encode(&self.host, &beat, &mut self.packet).is_ok() {
                // A goodbye that does not leave is seen by the peer as what it is: silence.
                let _ = socket.send(*addr, &self.packet);
            }
        }
    }
}

fn heartbeat(
    host: &str,
    engine: &Engine,
    socket: Option<&Heartbeats>,
    name: &str,
    addr: SocketAddr,
    packet: &mut Vec<u8>,
) -> Option<Evidence> {
    let now = clock::boot();
    let beat = engine.heartbeat(name, now)?;
    wire::encode(host, &beat, packet).ok()?;
    let error = socket?.send(addr, packet).err().map(|error| error.to_string());
    Some(Evidence::at(name, now, Fact::HeartbeatSent { seq: beat.seq, error }))
}

fn overdue(engine: &Engine, name: &str, now: Nanos, interval: Duration) -> bool {
    let Some(peer) = engine.peer(name).filter(|peer| !peer.left) else { return false };
    let silence = peer.last.as_ref().map(|last| now.since(last.at));
    silence.is_some_and(|silence| silence > interval * 3 / 2 && silence < ASK_OFTEN_FOR)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use lacuna_core::engine::Me;

    use super::*;

    #[test]
    fn a_peer_that_is_configured_away_is_told_and_the_others_are_not() {
        let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let mut config = Config::without_file("a");
        config.peers = ["b", "c"]
            .into_iter()
            .zip(&sockets)
            .map(|(name, socket)| Peer { name: name.to_owned(), addr: socket.local_addr().unwrap() })
            .collect();
        let heartbeats = Heartbeats::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let mut network = Network::new(&config, Some(heartbeats), None, None);
        let engine = Engine::new(config.settings(Vec::new()), Me::default());
        network.say_goodbye(&engine, Nanos(1), &config.peers[1..]);
        let got = sockets.map(|socket| {
            socket.set_nonblocking(true).unwrap();
            let mut packet = [0; wire::MAX_PACKET];
            let length = socket.recv(&mut packet).ok()?;
            Some(wire::decode(&packet[..length]).unwrap().1.goodbye)
        });
        assert_eq!(got, [Some(true), None]);
    }
}
