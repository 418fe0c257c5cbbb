//! Peers and anchors as addresses, and the sockets to them.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lacuna_core::engine::{Engine, Me};
use lacuna_core::evidence::{Evidence, Fact, LargeHeartbeat, Size, SizeProbe};
use lacuna_core::time::{Nanos, WallNanos};

use crate::clock::{self, Reading};
use crate::config::{Config, Peer};
use crate::heartbeat::icmp::Echo;
use crate::heartbeat::keys::KeyRing;
use crate::heartbeat::mtu::{beyond, headers};
use crate::heartbeat::seal::{Refusal, Seal};
use crate::heartbeat::udp::{Answer, Datagram, Fragmenting, Heartbeats};
use crate::heartbeat::wire::{self, Message, Sender};
use crate::host::HostFiles;

use super::refusals::Refusals;

/// A peer that is silent for longer is asked by echo once a second only, as one that is heard.
const ASK_OFTEN_FOR: Duration = Duration::from_secs(10);

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

/// The MTU of the way out is read this often, for each peer.
const READ_MTU: Duration = Duration::from_secs(10);

/// The way out to a peer.
#[derive(Clone, Copy, Debug)]
struct WayOut {
    /// The MTU of the interface; absent where there is no limit that matters.
    mtu: Option<u16>,
    read_at: Nanos,
}

/// See the module's documentation.
pub struct Network {
    host: String,
    boot_id: [u8; 16],
    incarnation: u64,
    files: HostFiles,
    seal: Seal,
    ways: HashMap<String, WayOut>,
    probes: u64,
    interval: Duration,
    heartbeats: Option<Heartbeats>,
    echo: Option<Echo>,
    peers: Vec<(String, SocketAddr)>,
    by_name: HashMap<String, SocketAddr>,
    by_addr: HashMap<SocketAddr, String>,
    gateway: Option<Ipv4Addr>,
    refused: Refusals,
    overflow: u64,
    packet: Vec<u8>,
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
            files,
            ways: HashMap::new(),
            probes: 0,
            interval: config.heartbeat.interval,
            heartbeats,
            echo,
            peers: Vec::new(),
            by_name: HashMap::new(),
            by_addr: HashMap::new(),
            gateway,
            refused: Refusals::default(),
            overflow: 0,
            packet: Vec::with_capacity(wire::MAX_PACKET),
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
        self.ways.retain(|name, _| known(name));
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
        (self.refused.counts(), self.overflow)
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
            let Some(peer) = self.by_addr.get(&datagram.from) else { return self.refused.stranger(datagram.from) };
            match accept(&mut self.seal, peer, &datagram, at, now.wall) {
                Ok(evidence) => seen.push(evidence),
                Err(refusal) => self.refused.of_peer(peer, datagram.from, &refusal),
            }
        });
        self.heartbeats = Some(socket);
        seen.extend(self.refused.evidence(drained_at, now.boot));
        if lost > 0 {
            self.overflow += lost;
            let fact = Fact::SocketOverflow { count: lost };
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
        if let Some(mut socket) = self.heartbeats.take() {
            self.send_small(engine, &mut socket, &mut sent);
            self.send_large(engine, &mut socket, tick, &mut sent);
            self.heartbeats = Some(socket);
        }
        sent.extend(self.send_echoes(engine, now, tick));
        sent
    }

    fn send_small(&mut self, engine: &Engine, socket: &mut Heartbeats, sent: &mut Vec<Evidence>) {
        for (name, addr) in &self.peers {
            let now = clock::boot();
            let Some(beat) = engine.heartbeat(name, now) else { continue };
            if wire::encode(&self.host, &beat, &mut self.packet).is_ok() {
                self.seal.put(name, &mut self.packet);
                let error = socket.send(*addr, &self.packet).err().map(|error| error.to_string());
                sent.push(Evidence::at(name, now, Fact::HeartbeatSent { seq: beat.seq, error }));
            }
        }
    }

    /// Large heartbeats and size probes; spread over the ticks while all is well, at once where one is missing.
    fn send_large(&mut self, engine: &Engine, socket: &mut Heartbeats, tick: u64, sent: &mut Vec<Evidence>) {
        let ticks = self.ticks_a_second();
        let peers = std::mem::take(&mut self.peers);
        for (place, (name, addr)) in (0u64..).zip(&peers) {
            let (now, addr) = (clock::boot(), *addr);
            let (due, probe) = engine.large_due(name, now);
            let Some(mtu) = self.mtu_to(name, addr, now) else { continue };
            let Some(sizes) = engine.peer(name).map(|peer| &peer.sizes) else { continue };
            let path_mtu = sizes.path_mtu(now).unwrap_or(mtu);
            for (size, seq) in due {
                let doubtful = sizes.is_doubtful(size);
                let turn = (tick + place + 5 * u64::from(size == Size::Fragmented)).is_multiple_of(ticks);
                if !turn && !doubtful {
                    continue;
                }
                let bytes = if size == Size::Mtu { mtu.min(path_mtu) } else { beyond(mtu) };
                if self.send_one(socket, (name, addr), size, bytes, |sender, length, tag, packet| {
                    wire::encode_large(sender, size, seq, now, length, tag, packet)
                }) {
                    sent.push(Evidence::at(name, now, Fact::LargeSent { size, bytes, seq }));
                }
            }
            if let Some(probe) = probe {
                self.probes += 1;
                let numbers = (self.probes, probe.id);
                if self.send_one(socket, (name, addr), Size::Mtu, probe.bytes, |sender, length, tag, packet| {
                    wire::encode_probe(sender, numbers, now, length, tag, packet)
                }) {
                    sent.push(Evidence::at(name, now, Fact::SizeProbeSent(probe)));
                }
            }
        }
        self.peers = peers;
        // What is small must not be fragmented either. A refusal shows at the next packet that is too large.
        let _ = socket.set_fragmenting(Fragmenting::Never);
    }

    /// Whether a packet of `bytes`, as IP has it, left.
    fn send_one(
        &mut self,
        socket: &mut Heartbeats,
        (name, addr): (&str, SocketAddr),
        size: Size,
        bytes: u16,
        write: impl FnOnce(&Sender<'_>, usize, usize, &mut Vec<u8>) -> Result<(), wire::WireError>,
    ) -> bool {
        let sender = Sender { name: &self.host, boot_id: self.boot_id, incarnation: self.incarnation };
        let length = usize::from(bytes.saturating_sub(headers(addr.ip())));
        let fragmenting = if size == Size::Fragmented { Fragmenting::Allowed } else { Fragmenting::Never };
        if write(&sender, length, self.seal.tag_bytes(), &mut self.packet).is_err() {
            return false;
        }
        self.seal.put(name, &mut self.packet);
        let left = socket.set_fragmenting(fragmenting).and_then(|()| socket.send(addr, &self.packet));
        if left.is_err() {
            // The interface may have another MTU by now.
            self.ways.remove(name);
        }
        left.is_ok()
    }

    fn mtu_to(&mut self, name: &str, addr: SocketAddr, now: Nanos) -> Option<u16> {
        if let Some(way) = self.ways.get(name).filter(|way| way.read_at.plus(READ_MTU) > now) {
            return way.mtu;
        }
        let mtu = self.files.mtu_to(addr);
        self.ways.insert(name.to_owned(), WayOut { mtu, read_at: now });
        mtu
    }

    fn ticks_a_second(&self) -> u64 {
        let ticks = Duration::from_secs(1).as_nanos() / self.interval.as_nanos().max(1);
        u64::try_from(ticks).unwrap_or(1).max(1)
    }

    /// Every second, spread over the ticks; at every tick to a peer whose heartbeat is overdue.
    fn send_echoes(&mut self, engine: &Engine, now: Nanos, tick: u64) -> Vec<Evidence> {
        let ticks = self.ticks_a_second();
        let gateway = self.gateway().map(|address| (GATEWAY, IpAddr::V4(address)));
        let peers = self.peers.iter().map(|(name, addr)| (name.as_str(), addr.ip()));
        let mut sent = Vec::new();
        let Some(echo) = &mut self.echo else { return sent };
        for (place, (name, address)) in (0u64..).zip(peers.chain(gateway)) {
            let IpAddr::V4(address) = address else { continue };
            let turn = (tick + place).is_multiple_of(ticks);
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
                self.seal.put(name, &mut self.packet);
                // A goodbye that does not leave is seen by the peer as what it is: silence.
                let _ = socket.send(*addr, &self.packet);
            }
        }
    }
}

/// A packet from a peer's address counts where its tag is right and its name is that peer's.
fn accept(seal: &mut Seal, peer: &str, datagram: &Datagram, at: Nanos, now: WallNanos) -> Result<Evidence, Refusal> {
    let message = seal.open(peer, &datagram.bytes, now)?;
    let length = u16::try_from(datagram.bytes.len()).unwrap_or(u16::MAX);
    let bytes = length.saturating_add(headers(datagram.from.ip()));
    let fact = match message {
        Message::Heartbeat(beat) => Fact::Heartbeat(beat),
        Message::Large(large) => Fact::LargeHeartbeat(LargeHeartbeat { bytes, ..large }),
        Message::Probe { id, .. } => Fact::SizeProbe(SizeProbe { id, bytes }),
    };
    Ok(Evidence::at(peer, at, fact))
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
        network.say_goodbye(&engine, Nanos(1), &config.peers[1..]);
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
