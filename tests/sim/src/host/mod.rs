//! One host: its agent with the engine, in the order in which the agent's own loop does things (`agent/src/driver`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lacuna_core::engine::{Engine, Me};
use lacuna_core::evidence::{AgentLate, ClaimKind, Heartbeat, LargeHeartbeat, SizeProbe};
use lacuna_core::guard::Guard;
use lacuna_core::incident::Incident;
use lacuna_core::recording::{InMemory, Line};
use lacuna_core::settings::Settings;
use lacuna_core::time::Nanos;

use crate::chance::Chance;
use crate::clock::{Clock, Time};
use crate::machine::Machine;
use crate::network::Load;

mod life;
mod receiving;
mod sending;
mod senses;

/// Between two heartbeats.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
/// Ticks in a second.
const TICKS: u64 = 10;
/// A lateness that is told, as the agent does from half an interval on.
const LATE: Duration = Duration::from_millis(50);
/// Packets that a card keeps for a machine, or a CPU, that does not take them.
const RING: usize = 256;

/// What comes in.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Beat(Arc<Heartbeat>),
    /// With what its sender heard last of the receiver: start and number.
    Large(LargeHeartbeat, Option<(u64, u64)>),
    Probe(SizeProbe),
    /// The answer to an echo request that left at that time.
    Answer(Time),
    /// Nobody listens on the peer's port, says its kernel.
    Unreachable,
    /// A claim of the virtual address.
    Claim(ClaimKind),
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
    pub(crate) peers: Arc<Vec<(usize, String)>>,
    pub(crate) asleep: Option<Asleep>,
    pub(crate) said: Vec<Said>,
    /// Everything that the engine was told, where that is kept.
    pub(crate) recording: Option<InMemory>,
    /// The same, with the true time, where a snapshot of this machine will be restored.
    pub(crate) history: Option<Vec<(Time, Line)>>,
    /// Tasks have waited for storage since then.
    pub(crate) storage_stuck: Option<Time>,
    /// It has more work than CPUs.
    pub(crate) saturated: bool,
    /// Its kernel, or a filter before it, lets ICMP through.
    pub(crate) answers_echoes: bool,
    /// Heartbeats of each peer, by its place, that its kernel dropped and its agent has not told of.
    pub(crate) dropped: BTreeMap<usize, u64>,
    /// It has the virtual address.
    pub(crate) holds_vip: bool,
    /// It has asked just now who has the virtual address.
    pub(crate) asks: bool,
    /// It has just taken the virtual address, and says so to all.
    pub(crate) announces: bool,
    /// Its agent says goodbye with its next turn, and ends.
    pub(crate) ends: bool,
    /// When its next tick is.
    pub(crate) next: Time,
    place: usize,
    settings: Settings,
    boot_id: [u8; 16],
    incarnation: u64,
    inbox: Vec<(Time, usize, Packet)>,
    pub(crate) due: Nanos,
    ticks: u64,
    told_io: Time,
    /// What it tells of its own lateness with the next tick.
    late: Option<AgentLate>,
    /// Which packets of each peer count, by its place.
    guards: BTreeMap<usize, Guard>,
    /// The true time of the present turn.
    at: Time,
}

impl Host {
    /// A host whose agent starts at that time.
    pub(crate) fn new(
        place: usize,
        settings: Settings,
        peers: Vec<(usize, String)>,
        clock: Clock,
        next: Time,
        machine: Machine,
        chance: &mut Chance,
    ) -> Self {
        let mut boot_id = [0; 16];
        boot_id[..8].copy_from_slice(&(place as u64 + 1).to_be_bytes());
        let name = settings.host.clone();
        let engine = Engine::new(settings.clone(), Me::default());
        let due = clock.boot(next);
        let mut host = Self {
            name,
            engine,
            clock,
            machine,
            peers: Arc::new(peers),
            asleep: None,
            said: Vec::new(),
            recording: None,
            history: None,
            storage_stuck: None,
            saturated: false,
            answers_echoes: true,
            dropped: BTreeMap::new(),
            holds_vip: false,
            asks: false,
            announces: false,
            ends: false,
            next,
            place,
            settings,
            boot_id,
            incarnation: 0,
            inbox: Vec::new(),
            due,
            ticks: chance.below(10) as u64,
            told_io: Time(0),
            late: None,
            guards: BTreeMap::new(),
            at: Time(0),
        };
        host.start(next);
        host
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

    /// Whether its kernel takes packets and answers them at link level.
    pub(crate) fn kernel_runs(&self) -> bool {
        !matches!(self.asleep, Some(Asleep::Machine(_) | Asleep::Gone)) && !self.machine.is_deaf()
    }

    /// Whether its kernel answers echo requests, and packets that nobody takes.
    pub(crate) fn kernel_answers(&self) -> bool {
        self.kernel_runs() && self.answers_echoes
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
        self.at = at;
        let now = self.clock.boot(at);
        self.notice_own(at, now, chance);
        self.take_in(at);
        self.record_line(|| Line::Timeout(now));
        self.engine.handle_timeout(now);
        while let Some(incident) = self.engine.poll() {
            self.said.push(Said { at, incident });
        }
        if std::mem::take(&mut self.ends) {
            self.asleep = Some(Asleep::Ended);
            return self.say_goodbye(now);
        }
        let leaving = self.send(now);
        self.ask_for_vip(now);
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
}
