//! Many peers of one host in one process, for `cargo xtask bench peers`: each has its own address, socket and engine, and
//! speaks as an agent does. What they send to each other does not leave the process: each hears all others, as in a mesh in
//! which all is well, and only that host is on the network.
//!
//! `mesh_peers HOST ADDRESS:PORT FIRST_ADDRESS COUNT [KEY_FILE]`: the peers are called `p1`, `p2` and so on, have
//! addresses from FIRST_ADDRESS on, and the port of HOST. They end with their standard input.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lacuna::clock;
use lacuna::config::{Config, Peer};
use lacuna::driver::{Network, Sockets};
use lacuna::heartbeat::keys::{KeyRing, Keys};
use lacuna::heartbeat::udp::Heartbeats;
use lacuna::host::HostFiles;
use lacuna_core::engine::{Engine, Me};
use lacuna_core::evidence::{Evidence, Fact};
use lacuna_core::time::Nanos;

/// One of them.
struct Stand {
    name: String,
    /// The names of the others.
    others: Vec<String>,
    engine: Engine,
    network: Network,
}

/// What all of them have in common.
struct Plan {
    watched: Peer,
    first: Ipv4Addr,
    count: u8,
    keys: Arc<KeyRing>,
    files: HostFiles,
}

fn main() -> Result<()> {
    let plan = Plan::from_args().context("mesh_peers HOST ADDRESS:PORT FIRST_ADDRESS COUNT [KEY_FILE]")?;
    let mut stands = (1..=plan.count).map(|number| plan.stand(number)).collect::<Result<Vec<_>>>()?;
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let interval = Config::without_file("").heartbeat.interval;
    let mut due = clock::boot();
    for tick in 0.. {
        due = due.plus(interval).max(clock::boot().minus(interval));
        std::thread::sleep(due.since(clock::boot()));
        stands.iter_mut().for_each(|stand| stand.turn(due, tick));
        (0..stands.len()).for_each(|from| speak(&mut stands, from));
    }
    Ok(())
}

/// The heartbeats of one of them to the others.
fn speak(stands: &mut [Stand], from: usize) {
    let now = clock::boot();
    let Some(speaker) = stands.get_mut(from) else { return };
    let (name, beats) = (speaker.name.clone(), speaker.engine.beats(now));
    let others = &speaker.others;
    let sent: Vec<_> = others.iter().map(|other| (other.clone(), beats.to(other, now))).collect();
    for (to, beat) in sent {
        let Some(beat) = beat else { continue };
        let left = Fact::HeartbeatSent { seq: beat.seq, error: None };
        if let Some(speaker) = stands.get_mut(from) {
            speaker.engine.handle(Evidence::at(&to, now, left));
        }
        if let Some(hearer) = stands.iter_mut().find(|stand| stand.name == to) {
            hearer.engine.handle(Evidence::at(&name, now, Fact::Heartbeat(Arc::new(beat))));
        }
    }
}

impl Plan {
    fn from_args() -> Result<Self> {
        let mut args = std::env::args().skip(1);
        let mut next = |what| args.next().context(what);
        let watched = Peer { name: next("HOST")?, addr: next("ADDRESS:PORT")?.parse()? };
        let (first, count) = (next("FIRST_ADDRESS")?.parse()?, next("COUNT")?.parse()?);
        let keys = args.next().map(|path| Keys::load(&PathBuf::from(path))).transpose()?;
        Ok(Self { watched, first, count, keys: Arc::new(KeyRing::new(keys)), files: HostFiles::default() })
    }

    fn peer(&self, number: u8) -> Peer {
        let address = Ipv4Addr::from_bits(self.first.to_bits() + u32::from(number) - 1);
        let addr = SocketAddr::new(IpAddr::V4(address), self.watched.addr.port());
        Peer { name: format!("p{number}"), addr }
    }

    fn stand(&self, number: u8) -> Result<Stand> {
        let Peer { name, addr } = self.peer(number);
        let others = (1..=self.count).filter(|other| *other != number).map(|other| self.peer(other));
        let mut config = Config::without_file(&name);
        config.heartbeat.listen = addr;
        config.peers = std::iter::once(self.watched.clone()).chain(others).collect();
        let others = config.peers.iter().skip(1).map(|peer| peer.name.clone()).collect();
        // A boot id of its own, since a host is known by it.
        let me = Me { boot_id: [number; 16], incarnation: clock::read().wall.0, ..Me::default() };
        let engine = Engine::new(config.settings(Vec::new()), me.clone());
        config.peers.truncate(1);
        let sockets = Sockets { heartbeats: Some(Heartbeats::bind(addr)?), echo: None };
        let network = Network::new(&config, &me, Arc::clone(&self.keys), sockets, self.files.clone());
        Ok(Stand { name, others, engine, network })
    }
}

impl Stand {
    fn turn(&mut self, drained_at: Nanos, tick: u64) {
        let now = clock::read();
        self.engine.handle(Evidence::at(&self.name, now.boot, Fact::Clock { wall: now.wall }));
        let earliest = drained_at.minus(Duration::from_secs(1));
        let seen = self.network.receive(&self.name, now, earliest);
        seen.into_iter().for_each(|evidence| self.engine.handle(evidence));
        self.engine.handle_timeout(now.boot);
        while self.engine.poll().is_some() {}
        let sent = self.network.send(&self.engine, now.boot, tick);
        sent.into_iter().for_each(|evidence| self.engine.handle(evidence));
    }
}
