//! The one loop: it wakes at each tick (or when the engine asks for it), takes what the senses have, lets the engine
//! judge, publishes what it says and sends the heartbeats. It is a thread of its own and never waits for a disk, a
//! reader of the web page or a lock that is held for long.
//!
//! What came in is not waited for: kernel receive times make late draining harmless, and wake-ups cost more than
//! anything else that the agent does.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use lacuna_core::engine::Engine;
use lacuna_core::evidence::{Evidence, Fact};
use lacuna_core::incident::Incident;
use lacuna_core::recording::Line;
use lacuna_core::time::Nanos;

use crate::clock::{self, Reading};
use crate::config::{Config, Peer};
use crate::cpus::{CpuWatch, Pulse};
use crate::link::LinkWatch;
use crate::link_state::Around;
use crate::probes::ProbeEvents;
use crate::recorder::Recorder;
use crate::shared::Shared;
use crate::store::{BEAT, HeardPeer, Writer};
use crate::traces::Traces;

mod counters;
mod io;
mod network;
mod no_room;
mod offset;
mod outgoing;
mod own;
mod own_network;
mod publish;
mod refusals;
mod ways;

pub use io::IoWatch;
pub use network::{Echoes, Network, Sockets};
pub use own::{OwnWatch, TurnReading};
pub use own_network::OwnNetwork;

use counters::KernelCounters;
use publish::Publisher;

/// How often slow things are read: load, counters.
const SLOW: Duration = Duration::from_secs(1);

/// What the loop can be told from outside.
#[derive(Debug)]
pub enum Command {
    /// Say goodbye to the peers and end.
    Stop,
    /// Go on with another configuration; its sockets stay as they are.
    Reload(Box<Config>),
    /// Look whether it is time: the driver's own timer did not wake it.
    Wake,
}

/// What the loop is made of.
pub struct Parts {
    /// Judges.
    pub engine: Engine,
    /// Peers and anchors, and the sockets to them.
    pub network: Network,
    /// Who answers at link level.
    pub link: LinkWatch,
    /// What this host says of itself.
    pub own: OwnWatch,
    /// What this host's kernel says of its network.
    pub own_network: OwnNetwork,
    /// Looks for tasks that wait for storage.
    pub io: IoWatch,
    /// Looks after the CPUs.
    pub cpus: CpuWatch,
    /// Where the sentinels see whether the loop runs.
    pub pulse: Arc<Pulse>,
    /// Crossings from the kernel.
    pub events: Option<Box<dyn ProbeEvents>>,
    /// Where incidents are kept; absent where there is no store.
    pub writer: Option<Writer>,
    /// Keeps the last minutes of evidence; absent where it cannot.
    pub recorder: Option<Recorder>,
    /// Sends incidents to a collector; absent where there is none.
    pub traces: Option<Traces>,
    /// What the readers see.
    pub shared: Arc<Shared>,
}

/// See the module's documentation.
pub struct Driver {
    parts: Parts,
    config: Config,
    publisher: Publisher,
    counters: KernelCounters,
    next_tick: Nanos,
    next_slow: Nanos,
    /// When the store is next told that this loop watches.
    next_beat: Nanos,
    drained_at: Nanos,
    /// Since when the last turn ran or was held up, and when it ended.
    last_turn: (Nanos, Nanos),
    ticks: u64,
}

impl Driver {
    /// A loop that has not begun.
    #[must_use]
    pub fn new(parts: Parts, config: Config) -> Self {
        let now = clock::boot();
        let publisher = Publisher::new(Arc::clone(&parts.shared), &parts.network);
        let mut counters = KernelCounters::new(parts.shared.probe_metrics.clone());
        counters.set_peers(&parts.network);
        Self {
            parts,
            config,
            publisher,
            counters,
            next_tick: now,
            next_slow: now,
            next_beat: now,
            drained_at: now,
            last_turn: (now, now),
            ticks: 0,
        }
    }

    /// Runs until told to stop; hands back the store, so that it can be finished.
    pub fn run(mut self, inbox: &Receiver<Command>) -> Option<Writer> {
        self.begin();
        loop {
            let due = self.parts.engine.next_timeout().map_or(self.next_tick, |at| at.min(self.next_tick));
            self.parts.pulse.rest(due);
            let told = inbox.recv_timeout(due.since(clock::boot()));
            self.parts.pulse.wake();
            match told {
                Ok(Command::Wake) => {}
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Command::Reload(config)) => self.reload(*config),
                Err(RecvTimeoutError::Timeout) => self.turn(due),
            }
        }
        self.parts.pulse.end();
        self.end();
        self.parts.writer
    }

    /// The clock first: nothing can be dated without it.
    fn begin(&mut self) {
        let now = clock::read();
        self.tell(clock_fact(&self.config.host, now));
        self.parts.own.begin();
        for incident in self.publisher.take_adopted() {
            self.record(|| Line::Adopt(Box::new(incident.clone()), now.boot));
            self.parts.engine.adopt(incident, now.boot);
        }
        self.publish();
    }

    /// One turn, in the order that the engine asks for.
    fn turn(&mut self, due: Nanos) {
        let now = clock::read();
        if let Some(recorder) = &mut self.parts.recorder {
            recorder.turn(now.boot);
        }
        let slow = now.boot >= self.next_slow;
        self.notice_own(due, now.boot, slow);
        if slow || self.parts.engine.is_curious() {
            self.read_counters(now.boot);
        }
        let now = self.receive(now);
        self.timeout(now.boot);
        self.publish();
        if now.boot >= self.next_tick {
            self.send(now.boot);
            self.schedule(now.boot);
        }
        if slow {
            self.next_slow = now.boot.plus(SLOW);
            let gap = self.config.thresholds.gap;
            self.publisher.stories(&self.parts.engine);
            self.publisher.sights(&self.parts.engine, &self.parts.network, gap, now.boot);
            self.tell(clock_fact(&self.config.host, now));
            self.beat(now);
        }
        self.parts.own.end_of_turn();
        self.publisher.peers(&self.parts.engine, &self.parts.network, now.boot, slow);
        self.publisher.lateness(now.boot, now.boot.since(due));
        self.last_turn = (now.boot, clock::boot());
    }

    /// What this host did in the meantime comes before what others say of it.
    fn notice_own(&mut self, due: Nanos, now: Nanos, slow: bool) {
        let mut seen = Vec::new();
        if let Some(events) = &mut self.parts.events {
            events.drain(&self.config.host, &mut seen);
        }
        let (half, reading) = (self.config.heartbeat.interval / 2, self.parts.own.read());
        seen.extend(self.parts.cpus.look(&self.config.host, now, now.since(due), &reading));
        if now.since(due) >= half {
            let watched = self.parts.cpus.watched();
            let since = late_since(self.last_turn, due);
            seen.push(self.parts.own.late(&self.config.host, since, now, watched, &reading));
        }
        self.parts.own.begin_turn(now, reading);
        seen.extend(self.parts.io.look(&self.config.host, now, self.parts.own.blocked()));
        self.notice_network(now, slow, &mut seen);
        if slow {
            self.parts.cpus.follow_topology();
            seen.extend(self.parts.own.slow(&self.config.host, now));
            self.publisher.cpus(self.parts.own.cpus(), &self.parts.cpus);
            self.publisher.link(&self.parts.link);
        }
        seen.into_iter().for_each(|evidence| self.tell(evidence));
    }

    fn notice_network(&mut self, now: Nanos, slow: bool, seen: &mut Vec<Evidence>) {
        let Parts { network, own_network, .. } = &mut self.parts;
        let gateway = network.gateway().map(IpAddr::V4);
        let around = Around { host: &self.config.host, peers: network.peers(), gateway };
        seen.extend(own_network.changes(&around, now));
        if slow {
            seen.extend(own_network.counters(&around, now));
            self.publisher.network(own_network.status());
        }
    }

    fn read_counters(&mut self, now: Nanos) {
        let seen = self.counters.read(&self.config.host, &self.parts.network, now);
        seen.into_iter().for_each(|evidence| self.tell(evidence));
    }

    /// Hands over what came in; the time that it is then.
    fn receive(&mut self, began: Reading) -> Reading {
        let mut seen = self.parts.network.receive(&self.config.host, began, self.drained_at);
        seen.extend(self.parts.link.receive(began, self.drained_at));
        self.drained_at = began.boot;
        let now = self.notice_hold_up(began);
        for evidence in seen {
            if let Fact::Heartbeat(beat) = &evidence.fact {
                let offset_basis = now.wall_at(evidence.to);
                self.publisher.heartbeat(&self.parts.engine, &evidence.host, beat, evidence.to, offset_basis);
            }
            self.tell(evidence);
        }
        self.publisher.refused(self.parts.network.refused());
        now
    }

    /// A turn that was held up since it began tells so before it hands over what came in meanwhile, all of it at once: the
    /// others were not silent.
    fn notice_hold_up(&mut self, began: Reading) -> Reading {
        let now = clock::read();
        if now.boot.since(began.boot) < self.config.heartbeat.interval {
            return began;
        }
        let (watched, reading) = (self.parts.cpus.watched(), self.parts.own.read());
        let late = self.parts.own.late(&self.config.host, began.boot, now.boot, watched, &reading);
        self.parts.own.begin_turn(now.boot, reading);
        self.tell(late);
        now
    }

    fn timeout(&mut self, now: Nanos) {
        self.record(|| Line::Timeout(now));
        self.parts.engine.handle_timeout(now);
    }

    /// Evidence goes to the recording and to the engine, never to one of them alone.
    fn tell(&mut self, evidence: Evidence) {
        if let Some(recorder) = &mut self.parts.recorder {
            recorder.take_evidence(&evidence);
        }
        self.parts.engine.handle(evidence);
    }

    fn record(&mut self, line: impl FnOnce() -> Line) {
        if let Some(recorder) = &mut self.parts.recorder {
            recorder.take(&line());
        }
    }

    fn send(&mut self, now: Nanos) {
        let sent = self.parts.network.send(&self.parts.engine, now, self.ticks);
        sent.into_iter().for_each(|evidence| self.tell(evidence));
        let asked = self.parts.link.ask(now);
        asked.into_iter().for_each(|evidence| self.tell(evidence));
        self.ticks += 1;
    }

    /// Ticks keep their rhythm; those that were slept through are not made up for.
    fn schedule(&mut self, now: Nanos) {
        let interval = self.config.heartbeat.interval;
        self.next_tick = self.next_tick.plus(interval);
        if self.next_tick <= now {
            self.next_tick = now.plus(interval);
        }
    }

    /// Time in which this loop does not run is not quiet time.
    fn beat(&mut self, now: Reading) {
        if now.boot < self.next_beat {
            return;
        }
        self.next_beat = now.boot.plus(BEAT);
        if let Some(writer) = &self.parts.writer {
            writer.watched(now, heard_peers(&self.parts.engine, now.boot));
        }
    }

    fn publish(&mut self) {
        while let Some(incident) = self.parts.engine.poll() {
            let incident: Arc<Incident> = Arc::new(incident);
            if let Some(writer) = &self.parts.writer {
                writer.put(Arc::clone(&incident));
            }
            if let Some(recorder) = &self.parts.recorder {
                recorder.keep_around(&incident, clock::boot());
            }
            if let Some(traces) = &self.parts.traces {
                traces.put(Arc::clone(&incident));
            }
            self.publisher.incident(incident);
        }
    }

    /// Peers and thresholds change while it runs; what needs a new socket or store waits for a restart.
    fn reload(&mut self, config: Config) {
        let stay = self.without_moved(&config.peers);
        self.say_goodbye(&stay);
        if stay.len() < config.peers.len() {
            self.configure(&Config { peers: stay, ..config.clone() });
        }
        self.configure(&config);
        self.config = config;
        self.publish();
    }

    /// A name that has moved to another address is another host: the one before leaves, and then the new one joins.
    fn without_moved(&self, peers: &[Peer]) -> Vec<Peer> {
        let before: HashMap<&str, SocketAddr> =
            self.parts.network.peers().iter().map(|(name, addr)| (name.as_str(), *addr)).collect();
        let stays = |peer: &&Peer| before.get(peer.name.as_str()).is_none_or(|addr| *addr == peer.addr);
        peers.iter().filter(stays).cloned().collect()
    }

    fn configure(&mut self, config: &Config) {
        self.parts.network.set_peers(config);
        self.parts.link.set(config, self.parts.network.neighbour());
        self.parts.own_network.want(&config.watch.interfaces);
        let settings = self.parts.network.settings(config);
        self.record(|| Line::Configure(Box::new(settings.clone())));
        self.parts.engine.configure(settings);
        self.publisher.set_peers(&self.parts.network);
        self.counters.set_peers(&self.parts.network);
    }

    /// A goodbye that is lost would look like a stall, so it is said more than once.
    fn say_goodbye(&mut self, stay: &[Peer]) {
        for _ in 0..3 {
            let sent = self.parts.network.say_goodbye(&self.parts.engine, stay);
            // Each has a number of its own, or it would be a packet that came in twice.
            sent.into_iter().for_each(|evidence| self.tell(evidence));
        }
    }

    fn end(&mut self) {
        self.say_goodbye(&[]);
        self.next_beat = Nanos(0);
        self.beat(clock::read());
        self.publish();
        if let Some(recorder) = self.parts.recorder.take() {
            recorder.finish(clock::boot());
        }
        if let Some(traces) = self.parts.traces.take() {
            traces.finish();
        }
    }
}

fn clock_fact(host: &str, now: Reading) -> Evidence {
    Evidence::at(host, now.boot, Fact::Clock { wall: now.wall })
}

/// Those that were heard since the last beat, each with its boot clock as it is by now.
fn heard_peers(engine: &Engine, now: Nanos) -> Vec<HeardPeer> {
    let heard = engine.peers().filter_map(|(host, peer)| {
        let last = peer.last.as_ref().filter(|last| !peer.left && now.since(last.at) <= BEAT)?;
        let boot = last.sent_at.plus(now.since(last.at));
        Some(HeardPeer { host: host.to_owned(), boot_id: last.boot_id, boot })
    });
    heard.collect()
}

/// Since when the agent is late with what was `due` then. Where the turn before still ran, it was held up in that one, which
/// may not have sent what it had to by then either.
fn late_since((began, ended): (Nanos, Nanos), due: Nanos) -> Nanos {
    if ended > due { began.min(due) } else { due }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_takes_longer_than_until_the_next_one_is_a_part_of_what_that_is_late_by() {
        let of_last = |ended: u64| late_since((Nanos(200), Nanos(ended)), Nanos(300));
        assert_eq!([210, 300, 301].map(of_last), [300, 300, 200].map(Nanos));
    }
}
