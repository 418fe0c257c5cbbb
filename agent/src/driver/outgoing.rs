//! What leaves for peers and anchors: heartbeats of all sizes in batches, and echo requests.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use lacuna_core::engine::{Beats, Engine};
use lacuna_core::evidence::{Evidence, Fact, Size, SizeProbe};
use lacuna_core::time::Nanos;

use super::network::Network;
use crate::clock;
use crate::config::Peer;
use crate::heartbeat::fragmenting::Fragmenting;
use crate::heartbeat::mtu::{beyond, headers};
use crate::heartbeat::seal::Seal;
use crate::heartbeat::udp::{Heartbeats, SEND_BATCH};
use crate::heartbeat::wire::{self, Echo, Sender, WireError};

/// A peer that is silent for longer is asked by echo once a second only, as one that is heard.
const ASK_OFTEN_FOR: Duration = Duration::from_secs(10);
/// Large echo requests leave every so many seconds while all is well: large heartbeats say more, and each way by itself.
const LARGE_ECHO_SECONDS: u64 = 10;
/// Packets that take longer to write were held up, and are written again: their date is old. Eight take some 25 us.
const HELD_UP: Duration = Duration::from_millis(5);
/// A host that is held up again and again sends all the same.
const ATTEMPTS: u32 = 3;

/// A peer with its address, as [`Network::peers`] has them.
type To = (String, SocketAddr);

/// Packets that leave together. Their room is used again.
#[derive(Debug, Default)]
pub(super) struct Batch {
    room: Vec<Vec<u8>>,
    to: Vec<SocketAddr>,
}

impl Batch {
    fn clear(&mut self) {
        self.to.clear();
    }

    /// Adds a packet that `write` writes and that carries a tag for `name`; whether it could be written.
    fn add(
        &mut self,
        seal: &Seal,
        (name, addr): (&str, SocketAddr),
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), WireError>,
    ) -> bool {
        if self.room.len() == self.to.len() {
            self.room.push(Vec::new());
        }
        let packet = &mut self.room[self.to.len()];
        let written = write(packet).is_ok();
        if written {
            seal.put(name, packet);
            self.to.push(addr);
        }
        written
    }

    /// Sends them; what became of each.
    fn send(&self, socket: &mut Heartbeats) -> Vec<io::Result<()>> {
        let packets = self.to.iter().zip(&self.room).map(|(to, packet)| (*to, packet.as_slice()));
        socket.send_all(&packets.collect::<Vec<_>>())
    }
}

/// A large packet that is to leave.
struct Large<'a> {
    to: &'a To,
    /// When it was decided, the same for both sizes: those that are missing are sent again at the same time, and pass again at
    /// the same time, or it would look for a moment as if only one of them vanished.
    due: Nanos,
    size: Size,
    /// What was heard last of the peer, or refused until it repeats what this host sent.
    echo: Echo,
    /// Its length, as IP has it.
    bytes: u16,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// A heartbeat with that number.
    Beat(u64),
    /// A probe with that number.
    Probe(u64, SizeProbe),
}

impl Large<'_> {
    fn fragmenting(&self) -> Fragmenting {
        if self.size == Size::Fragmented { Fragmenting::Allowed } else { Fragmenting::Never }
    }

    fn write(&self, sender: &Sender<'_>, at: Nanos, tag: usize, out: &mut Vec<u8>) -> Result<(), WireError> {
        let length = usize::from(self.bytes.saturating_sub(headers(self.to.1.ip())));
        match self.what {
            What::Beat(seq) => wire::encode_large((sender, self.echo), self.size, seq, at, length, tag, out),
            What::Probe(number, probe) => {
                wire::encode_probe((sender, self.echo), (number, probe.id), at, length, tag, out)
            }
        }
    }

    fn left(&self) -> Evidence {
        let Self { size, bytes, .. } = *self;
        let fact = match self.what {
            What::Beat(seq) => Fact::LargeSent { size, bytes, seq },
            What::Probe(_, probe) => Fact::SizeProbeSent(probe),
        };
        Evidence::at(&self.to.0, self.due, fact)
    }
}

/// Writes packets, again where that was held up: a peer that sees an old date in a new packet would think that this host's
/// clock had stood still.
fn in_one_go<T>(mut write: impl FnMut() -> T) -> T {
    let mut attempt = 1;
    loop {
        let began = clock::boot();
        let written = write();
        if attempt == ATTEMPTS || clock::boot().since(began) < HELD_UP {
            return written;
        }
        attempt += 1;
    }
}

impl Network {
    /// One tick: a heartbeat to every peer, and echo requests where they are due.
    ///
    /// A heartbeat is dated as it leaves, and so is what it tells of others: the turn may have been held up since `now`, its
    /// begin.
    pub fn send(&mut self, engine: &Engine, now: Nanos, tick: u64) -> Vec<Evidence> {
        let mut sent = Vec::new();
        let peers = std::mem::take(&mut self.peers);
        if let Some(mut socket) = self.heartbeats.take() {
            sent = self.send_small(engine, &mut socket, &peers, false);
            sent.extend(self.send_large(engine, &mut socket, &peers, tick));
            self.heartbeats = Some(socket);
        }
        sent.extend(self.send_echoes(engine, &peers, now, tick));
        self.peers = peers;
        sent
    }

    /// Tells every peer but those that `stay` that this agent sends it nothing more, on purpose.
    pub fn say_goodbye(&mut self, engine: &Engine, stay: &[Peer]) -> Vec<Evidence> {
        let leaving = self.peers.iter().filter(|(name, _)| !stay.iter().any(|peer| peer.name == *name));
        let leaving: Vec<To> = leaving.cloned().collect();
        let Some(mut socket) = self.heartbeats.take() else { return Vec::new() };
        // A goodbye that does not leave is seen by the peer as what it is: silence.
        let sent = self.send_small(engine, &mut socket, &leaving, true);
        self.heartbeats = Some(socket);
        sent
    }

    /// A small heartbeat to each of these.
    fn send_small(&mut self, engine: &Engine, socket: &mut Heartbeats, to: &[To], goodbye: bool) -> Vec<Evidence> {
        let mut sent = Vec::with_capacity(to.len());
        let (mut made, mut beats) = (clock::boot(), engine.beats(clock::boot()));
        for some in to.chunks(SEND_BATCH) {
            let written = in_one_go(|| {
                if clock::boot().since(made) >= HELD_UP {
                    (made, beats) = (clock::boot(), engine.beats(clock::boot()));
                }
                self.write_small(&beats, some, goodbye)
            });
            let became = self.batch.send(socket);
            sent.extend(written.into_iter().zip(became).map(|((name, seq, at), left)| {
                let error = left.err().map(|error| error.to_string());
                Evidence::at(name, at, Fact::HeartbeatSent { seq, error })
            }));
        }
        sent
    }

    /// To whom, the number, and its date.
    fn write_small<'a>(&mut self, beats: &Beats<'_>, to: &'a [To], goodbye: bool) -> Vec<(&'a str, u64, Nanos)> {
        let mut written = Vec::with_capacity(to.len());
        self.batch.clear();
        for (name, addr) in to {
            let now = clock::boot();
            let Some(mut beat) = beats.to(name, now) else { continue };
            beat.goodbye = goodbye;
            if self.batch.add(&self.seal, (name, *addr), |out| wire::encode(&self.host, &beat, out)) {
                written.push((name.as_str(), beat.seq, now));
            }
        }
        written
    }

    /// Large heartbeats and size probes.
    fn send_large(&mut self, engine: &Engine, socket: &mut Heartbeats, peers: &[To], tick: u64) -> Vec<Evidence> {
        let mut sent = Vec::new();
        let due = self.large_due(engine, peers, tick);
        for fragmenting in [Fragmenting::Never, Fragmenting::Allowed] {
            let these: Vec<&Large<'_>> = due.iter().filter(|large| large.fragmenting() == fragmenting).collect();
            if these.is_empty() || socket.set_fragmenting(fragmenting).is_err() {
                continue;
            }
            for some in these.chunks(SEND_BATCH) {
                let written = in_one_go(|| self.write_large(some));
                for (large, left) in written.into_iter().zip(self.batch.send(socket)) {
                    match left {
                        Ok(()) => sent.push(large.left()),
                        // The interface may have another MTU by now.
                        Err(_) => self.ways.forget(&large.to.0),
                    }
                }
            }
        }
        // What is small must not be fragmented either. A refusal shows at the next packet that is too large.
        let _ = socket.set_fragmenting(Fragmenting::Never);
        sent
    }

    /// What is due: spread over the ticks while all is well, at once where one is missing.
    fn large_due<'a>(&mut self, engine: &Engine, peers: &'a [To], tick: u64) -> Vec<Large<'a>> {
        let (ticks, now) = (self.ticks_a_second(), clock::boot());
        let mut all = Vec::new();
        for (place, to) in (0u64..).zip(peers) {
            let (name, addr) = to;
            let (due, probe) = engine.large_due(name, now);
            let Some(mtu) = self.ways.mtu(name, *addr, now) else { continue };
            let Some(peer) = engine.peer(name) else { continue };
            let last = peer.last.as_ref().map(|last| Echo { incarnation: last.incarnation, seq: last.seq });
            let (sizes, echo) = (&peer.sizes, self.seal.unproven(name).or(last).unwrap_or_default());
            let path_mtu = sizes.path_mtu(now).unwrap_or(mtu);
            for (size, seq) in due {
                if sizes.is_doubtful(size) || is_turn(tick, place, size, ticks) {
                    let bytes = if size == Size::Mtu { mtu.min(path_mtu) } else { beyond(mtu) };
                    all.push(Large { to, due: now, size, echo, bytes, what: What::Beat(seq) });
                }
            }
            if let Some(probe) = probe {
                self.probes += 1;
                let what = What::Probe(self.probes, probe);
                all.push(Large { to, due: now, size: Size::Mtu, echo, bytes: probe.bytes, what });
            }
        }
        all
    }

    /// Those that could be written, each dated then.
    fn write_large<'a, 'b>(&mut self, due: &[&'b Large<'a>]) -> Vec<&'b Large<'a>> {
        let sender = Sender { name: &self.host, boot_id: self.boot_id, incarnation: self.incarnation };
        let tag = self.seal.tag_bytes();
        self.batch.clear();
        let mut written = Vec::with_capacity(due.len());
        for large in due {
            let (now, (name, addr)) = (clock::boot(), large.to);
            if self.batch.add(&self.seal, (name, *addr), |out| large.write(&sender, now, tag, out)) {
                written.push(*large);
            }
        }
        written
    }

    fn ticks_a_second(&self) -> u64 {
        let ticks = Duration::from_secs(1).as_nanos() / self.interval.as_nanos().max(1);
        u64::try_from(ticks).unwrap_or(1).max(1)
    }

    /// Every second, spread over the ticks; at every tick to a peer whose heartbeat is overdue. Large ones go to peers only.
    fn send_echoes(&mut self, engine: &Engine, peers: &[To], now: Nanos, tick: u64) -> Vec<Evidence> {
        let ticks = self.ticks_a_second();
        let gateway = self.neighbour();
        let anchors = gateway.iter().map(|(name, address)| (*name, SocketAddr::from((*address, 0))));
        let all = peers.iter().map(|(name, addr)| (name.as_str(), *addr)).chain(anchors);
        let mut sent = Vec::new();
        let Some(echo) = &mut self.echo else { return sent };
        for (place, (name, address)) in (0u64..).zip(all) {
            let turn = is_turn(tick, place, Size::Small, ticks);
            if (turn || overdue(engine, name, now, self.interval)) && echo.send_small(address, now).is_ok() {
                sent.push(Evidence::at(name, now, Fact::EchoSent));
            }
        }
        self.send_large_echoes(engine, peers, now, tick);
        sent
    }

    /// Every ten seconds; every second while large heartbeats of that size are missing.
    fn send_large_echoes(&mut self, engine: &Engine, peers: &[To], now: Nanos, tick: u64) {
        let ticks = self.ticks_a_second();
        let Some(echo) = &mut self.echo else { return };
        for (place, (name, addr)) in (0u64..).zip(peers) {
            let Some(sizes) = engine.peer(name).filter(|peer| !peer.left).map(|peer| &peer.sizes) else { continue };
            for size in [Size::Mtu, Size::Fragmented] {
                let often = if sizes.is_doubtful(size) { ticks } else { ticks * LARGE_ECHO_SECONDS };
                if !is_turn(tick, place, size, often) {
                    continue;
                }
                let Some(mtu) = self.ways.mtu(name, *addr, now) else { continue };
                let whole = mtu.min(sizes.path_mtu(now).unwrap_or(mtu));
                let bytes = if size == Size::Mtu { whole } else { beyond(mtu) };
                if echo.send(*addr, now, size, bytes).is_ok() {
                    self.echoes.entry(name.clone()).or_default()[size.place()].sent += 1;
                }
            }
        }
    }
}

/// Whether it is the turn of the peer in that place, one tick of each `ticks`; large sizes have turns of their own.
fn is_turn(tick: u64, place: u64, size: Size, ticks: u64) -> bool {
    let apart = ticks / 2 * u64::from(size == Size::Fragmented);
    (tick + place + apart).is_multiple_of(ticks)
}

fn overdue(engine: &Engine, name: &str, now: Nanos, interval: Duration) -> bool {
    let Some(peer) = engine.peer(name).filter(|peer| !peer.left) else { return false };
    let silence = peer.last.as_ref().map(|last| now.since(last.at));
    silence.is_some_and(|silence| silence > interval * 3 / 2 && silence < ASK_OFTEN_FOR)
}
