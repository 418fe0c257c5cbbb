//! One host: its agent with the engine, in the order in which the agent's own loop does things (`agent/src/driver`).

use std::collections::BTreeMap;
use std::time::Duration;

use lacuna_core::engine::{Engine, Me};
use lacuna_core::evidence::{AgentLate, CpuLoad, Evidence, Fact, Heartbeat, IoStuck, LargeHeartbeat, Size, SizeProbe};
use lacuna_core::incident::{Incident, State};
use lacuna_core::recording::{Line, VERSION};
use lacuna_core::settings::Settings;
use lacuna_core::time::Nanos;

use crate::chance::Chance;
use crate::clock::{Clock, Time};
use crate::machine::Machine;
use crate::network::{FRAGMENTED, Load, MTU};

/// Between two heartbeats.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
/// Ticks in a second.
const TICKS: u64 = 10;
/// A lateness that is told, as the agent does from half an interval on.
const LATE: Duration = Duration::from_millis(50);
/// Tasks that wait for storage are told of so often.
const TELL_IO: Duration = Duration::from_millis(500);
/// Packets that a card keeps for a machine, or a CPU, that does not take them.
const RING: usize = 256;
/// A peer that is silent for longer is asked by echo once a second only.
const ASK_OFTEN_FOR: Duration = Duration::from_secs(10);

/// What comes in.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Beat(Box<Heartbeat>),
    Large(LargeHeartbeat),
    Probe(SizeProbe),
    /// The answer to an echo request that left at that time.
    Answer(Time),
    /// Nobody listens on the peer's port, says its kernel.
    Unreachable,
}

/// What leaves.
#[derive(Clone, Debug)]
pub(crate) struct Leaving {
    pub(crate) to: usize,
    pub(crate) load: Load,
    /// Absent for an echo request.
    pub(crate) packet: Option<Packet>,
}

/// A document as it was said.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) at: Time,
    pub(crate) incident: Incident,
}

/// Why the agent does not run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asleep {
    /// Since then, while its kernel runs.
    Agent(Time),
    /// Since then, with the whole machine.
    Machine(Time),
    /// The process has ended.
    Ended,
    /// The machine is gone.
    Gone,
}

/// See the module's documentation.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) engine: Engine,
    pub(crate) clock: Clock,
    pub(crate) machine: Machine,
    /// Its peers: place in the fleet and name.
    pub(crate) peers: Vec<(usize, String)>,
    pub(crate) asleep: Option<Asleep>,
    pub(crate) said: Vec<Said>,
    /// Everything that the engine was told, where that is kept.
    pub(crate) recording: Option<Vec<Line>>,
    /// Tasks have waited for storage since then.
    pub(crate) storage_stuck: Option<Time>,
    /// It has more work than CPUs.
    pub(crate) saturated: bool,
    /// When its next tick is.
    pub(crate) next: Time,
    settings: Settings,
    boot_id: [u8; 16],
    incarnation: u64,
    inbox: Vec<(Time, usize, Packet)>,
    due: Nanos,
    ticks: u64,
    told_io: Time,
    /// What it tells of its own lateness with the next tick.
    late: Option<AgentLate>,
}

impl Host {
    /// A host whose agent starts at that time.
    pub(crate) fn new(
        place: usize,
        settings: Settings,
        peers: Vec<(usize, String)>,
        clock: Clock,
        next: Time,
        chance: &mut Chance,
    ) -> Self {
        let mut boot_id = [0; 16];
        boot_id[..8].copy_from_slice(&(place as u64 + 1).to_be_bytes());
        let machine = Machine::new(chance);
        let name = settings.host.clone();
        let engine = Engine::new(settings.clone(), Me::default());
        let due = clock.boot(next);
        let mut host = Self {
            name,
            engine,
            clock,
            machine,
            peers,
            asleep: None,
            said: Vec::new(),
            recording: None,
            storage_stuck: None,
            saturated: false,
            next,
            settings,
            boot_id,
            incarnation: 0,
            inbox: Vec::new(),
            due,
            ticks: chance.below(10) as u64,
            told_io: Time(0),
            late: None,
        };
        host.start(next);
        host
    }

    /// A new agent, of which the peers know nothing yet.
    pub(crate) fn start(&mut self, at: Time) {
        self.incarnation += 1;
        let me = Me { boot_id: self.boot_id, incarnation: self.incarnation, ..Me::default() };
        if let Some(lines) = &mut self.recording {
            lines.push(Line::Begin { version: VERSION, settings: self.settings.clone(), me: me.clone() });
        }
        self.engine = Engine::new(self.settings.clone(), me);
        self.inbox.clear();
        self.machine.forget();
        (self.asleep, self.next, self.late) = (None, at, None);
        self.due = self.clock.boot(at);
        self.tell_clock(self.due);
        for incident in self.left_open() {
            let due = self.due;
            self.record_line(|| Line::Adopt(Box::new(incident.clone()), due));
            self.engine.adopt(incident, self.due);
        }
    }

    /// The incidents that an earlier run of the agent left open, as its store has them.
    fn left_open(&self) -> Vec<Incident> {
        let mut last: BTreeMap<&str, &Incident> = BTreeMap::new();
        for said in &self.said {
            last.insert(&said.incident.id, &said.incident);
        }
        last.into_values().filter(|incident| incident.state == State::Open).cloned().collect()
    }

    /// The same after a boot.
    pub(crate) fn boot(&mut self, at: Time) {
        self.boot_id[15] = self.boot_id[15].wrapping_add(1);
        self.clock.begin_anew(at);
        self.start(at);
    }

    /// Keeps what the engine is told from its begin on; before the fleet lives.
    pub(crate) fn record(&mut self) {
        self.recording = Some(Vec::new());
        self.incarnation = 0;
        self.start(self.next);
    }

    /// The agent or the machine goes on, with what it then reads of its own lateness.
    pub(crate) fn wake(&mut self, at: Time, late: Option<AgentLate>, chance: &mut Chance) {
        if let Some(Asleep::Machine(since)) = self.asleep {
            self.keep_in_ring(since, at, chance);
        }
        (self.asleep, self.late) = (None, late);
        self.next = at.plus(Duration::from_micros(200));
    }

    /// What came in while nobody took it is taken at the end, as far as the card had room.
    pub(crate) fn keep_in_ring(&mut self, since: Time, at: Time, chance: &mut Chance) {
        let room = chance.below(RING + 1);
        let mut kept = 0;
        self.inbox.sort_by_key(|(arrival, ..)| *arrival);
        self.inbox.retain_mut(|(arrival, ..)| {
            if *arrival < since || *arrival >= at {
                return true;
            }
            *arrival = at;
            kept += 1;
            kept <= room
        });
    }

    /// Whether its kernel takes packets and answers them.
    pub(crate) fn kernel_answers(&self) -> bool {
        !matches!(self.asleep, Some(Asleep::Machine(_) | Asleep::Gone)) && !self.machine.is_deaf()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.asleep == Some(Asleep::Ended)
    }

    pub(crate) fn receive(&mut self, at: Time, from: usize, packet: Packet) {
        if !matches!(self.asleep, Some(Asleep::Ended | Asleep::Gone)) {
            self.inbox.push((at, from, packet));
        }
    }

    /// One turn of the agent's loop; what leaves.
    pub(crate) fn tick(&mut self, at: Time, chance: &mut Chance) -> Vec<Leaving> {
        let now = self.clock.boot(at);
        self.notice_own(at, now, chance);
        self.take_in(at);
        self.record_line(|| Line::Timeout(now));
        self.engine.handle_timeout(now);
        while let Some(incident) = self.engine.poll() {
            self.said.push(Said { at, incident });
        }
        let leaving = self.send(now);
        self.ticks += 1;
        self.schedule(at, chance);
        leaving
    }

    /// Ticks keep their rhythm by the host's own clock; each is a little late, and sometimes more.
    fn schedule(&mut self, at: Time, chance: &mut Chance) {
        self.due = self.due.plus(INTERVAL).max(self.clock.boot(at));
        let on_time = self.due.since(self.clock.boot(at));
        let late = if chance.hits(0.001) {
            chance.time(Duration::ZERO, LATE * 3)
        } else {
            chance.time(Duration::ZERO, Duration::from_millis(1))
        };
        self.next = at.plus(on_time + late);
    }

    fn notice_own(&mut self, at: Time, now: Nanos, chance: &mut Chance) {
        let name = self.name.clone();
        for evidence in self.machine.look(&name, at, &self.clock) {
            self.tell(evidence);
        }
        let late = self.late.take();
        if now.since(self.due) >= LATE {
            let late = late.unwrap_or_else(|| self.waited(now.since(self.due), chance));
            let late = AgentLate { cpus_watched: self.machine.cpus, timers_watched: true, ..late };
            self.tell(Evidence::during(&name, self.due, now, Fact::AgentLate(late)));
        }
        self.notice_storage(at, now);
        if self.ticks.is_multiple_of(TICKS) {
            self.tell_clock(now);
            self.tell(Evidence::during(
                &name,
                now.minus(Duration::from_secs(1)),
                now,
                Fact::CpuLoad(self.load(chance)),
            ));
        }
    }

    /// An agent that is late for no other reason waited for a CPU.
    fn waited(&self, length: Duration, chance: &mut Chance) -> AgentLate {
        let busy = if self.saturated { 1.0 } else { chance.number(0.91, 1.0) };
        let waited = length.mul_f64(chance.number(0.8, 1.0));
        AgentLate { waited_ns: Some(lacuna_core::time::nanos(waited)), busy: Some(busy), ..AgentLate::default() }
    }

    fn notice_storage(&mut self, at: Time, now: Nanos) {
        let Some(since) = self.storage_stuck else { return };
        if at.since(since) < TELL_IO * 2 || at.since(self.told_io) < TELL_IO {
            return;
        }
        self.told_io = at;
        self.tell_storage(since, now, false);
    }

    fn tell_storage(&mut self, since: Time, now: Nanos, over: bool) {
        let stuck =
            IoStuck { over, tasks: vec!["postgres in folio_wait_bit".into()], blocked: Some(1), ..IoStuck::default() };
        let evidence = Evidence::during(&self.name.clone(), self.clock.boot(since), now, Fact::IoStuck(stuck));
        self.tell(evidence);
    }

    /// Storage answers again.
    pub(crate) fn storage_goes_on(&mut self, at: Time) {
        if let Some(since) = self.storage_stuck.take() {
            self.tell_storage(since, self.clock.boot(at), true);
        }
    }

    fn load(&self, chance: &mut Chance) -> CpuLoad {
        let cpus = self.machine.cpus;
        if self.saturated {
            return CpuLoad {
                cpus,
                busy: chance.number(0.98, 1.0),
                steal: 0.0,
                runnable: cpus * 3,
                pressure: Some(0.9),
            };
        }
        CpuLoad { cpus, busy: chance.number(0.02, 0.8), steal: 0.0, runnable: 1, pressure: Some(0.02) }
    }

    fn tell_clock(&mut self, now: Nanos) {
        let wall = self.clock.wall(now);
        self.tell(Evidence::at(&self.name.clone(), now, Fact::Clock { wall }));
    }

    fn tell(&mut self, evidence: Evidence) {
        self.record_line(|| Line::Evidence(evidence.clone()));
        self.engine.handle(evidence);
    }

    fn record_line(&mut self, line: impl FnOnce() -> Line) {
        if let Some(lines) = &mut self.recording {
            lines.push(line());
        }
    }

    /// What has arrived by now, in its order.
    fn take_in(&mut self, at: Time) {
        if self.machine.is_deaf() {
            return;
        }
        self.inbox.sort_by_key(|(arrival, ..)| *arrival);
        let arrived = self.inbox.partition_point(|(arrival, ..)| *arrival <= at);
        let taken: Vec<_> = self.inbox.drain(..arrived).collect();
        for (arrival, from, packet) in taken {
            let Some((_, name)) = self.peers.iter().find(|(place, _)| *place == from) else { continue };
            let to = self.clock.boot(arrival);
            let evidence = match packet {
                Packet::Beat(beat) => Evidence::at(name, to, Fact::Heartbeat(beat)),
                Packet::Large(large) => Evidence::at(name, to, Fact::LargeHeartbeat(large)),
                Packet::Probe(probe) => Evidence::at(name, to, Fact::SizeProbe(probe)),
                Packet::Answer(left) => Evidence::during(name, self.clock.boot(left), to, Fact::EchoReply),
                Packet::Unreachable => Evidence::at(name, to, Fact::PortUnreachable),
            };
            self.tell(evidence);
        }
    }

    fn send(&mut self, now: Nanos) -> Vec<Leaving> {
        let mut leaving = Vec::with_capacity(self.peers.len());
        let beats = self.engine.beats(now);
        let small: Vec<_> =
            self.peers.iter().filter_map(|(to, name)| Some((*to, name.clone(), beats.to(name, now)?))).collect();
        for (to, name, beat) in small {
            let seq = beat.seq;
            leaving.push(Leaving { to, load: Load::Small, packet: Some(Packet::Beat(Box::new(beat))) });
            self.tell(Evidence::at(&name, now, Fact::HeartbeatSent { seq, error: None }));
        }
        for (place, (to, name)) in (0_u64..).zip(self.peers.clone()) {
            self.send_large(place, to, &name, now, &mut leaving);
            let turn = (self.ticks + place).is_multiple_of(TICKS);
            if turn || self.is_overdue(&name, now) {
                leaving.push(Leaving { to, load: Load::Small, packet: None });
                self.tell(Evidence::at(&name, now, Fact::EchoSent));
            }
        }
        leaving
    }

    fn send_large(&mut self, place: u64, to: usize, name: &str, now: Nanos, leaving: &mut Vec<Leaving>) {
        let (due, probe) = self.engine.large_due(name, now);
        let Some(sizes) = self.engine.peer(name).map(|peer| &peer.sizes) else { return };
        let path_mtu = sizes.path_mtu(now).unwrap_or(MTU);
        let turn = |size: Size| (self.ticks + place + 5 * u64::from(size == Size::Fragmented)).is_multiple_of(TICKS);
        let due: Vec<_> = due.into_iter().filter(|(size, _)| sizes.is_doubtful(*size) || turn(*size)).collect();
        for (size, seq) in due {
            let (bytes, load) =
                if size == Size::Mtu { (path_mtu, Load::Whole(path_mtu)) } else { (FRAGMENTED, Load::Fragments) };
            let (boot_id, incarnation) = (self.boot_id, self.incarnation);
            let large = LargeHeartbeat { size, bytes, seq, sent_at: now, boot_id, incarnation };
            leaving.push(Leaving { to, load, packet: Some(Packet::Large(large)) });
            self.tell(Evidence::at(name, now, Fact::LargeSent { size, bytes, seq }));
        }
        if let Some(probe) = probe {
            leaving.push(Leaving { to, load: Load::Whole(probe.bytes), packet: Some(Packet::Probe(probe)) });
            self.tell(Evidence::at(name, now, Fact::SizeProbeSent(probe)));
        }
    }

    fn is_overdue(&self, name: &str, now: Nanos) -> bool {
        let Some(peer) = self.engine.peer(name).filter(|peer| !peer.left) else { return false };
        let silence = peer.last.as_ref().map(|last| now.since(last.at));
        silence.is_some_and(|silence| silence > INTERVAL * 3 / 2 && silence < ASK_OFTEN_FOR)
    }
}
