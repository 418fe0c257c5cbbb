//! How the agent of a host begins, what it is told, and what is left of that where an older state of the machine is restored.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use lacuna_core::engine::{Engine, Me};
use lacuna_core::evidence::Evidence;
use lacuna_core::incident::{Incident, State};
use lacuna_core::recording::{InMemory, Line, VERSION, tell};

use super::{Asleep, Host};
use crate::clock::Time;

impl Host {
    /// A new agent, of which the peers know nothing yet.
    pub(crate) fn start(&mut self, at: Time) {
        self.at = at;
        self.due = self.clock.boot(at);
        self.incarnation = self.clock.wall(self.due).0;
        let me = Me { boot_id: self.boot_id, incarnation: self.incarnation, ..Me::default() };
        let settings = self.settings.clone();
        self.record_line(|| Line::Begin { version: VERSION, settings: Box::new(settings), me: Box::new(me.clone()) });
        self.engine = Engine::new(self.settings.clone(), me);
        self.inbox.clear();
        self.machine.forget();
        self.guards.clear();
        (self.asleep, self.next, self.late) = (None, at, None);
        self.tell_clock(self.due);
        self.dropped.clear();
        self.begin_to_count_drops();
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

    /// Watches that virtual address; before the fleet lives.
    pub(crate) fn watch(&mut self, vip: IpAddr) {
        self.settings.vips = vec![vip];
        self.start(self.next);
    }

    /// Keeps what the engine is told from its begin on; before the fleet lives.
    pub(crate) fn record(&mut self) {
        self.recording = Some(InMemory::default());
        self.start(self.next);
    }

    /// Keeps it so that an older state of this machine can be restored; before the fleet lives.
    pub(crate) fn remember(&mut self) {
        self.history = Some(Vec::new());
        self.start(self.next);
    }

    /// The machine goes on with the state that it had at `taken`, its clocks and its agent with it.
    pub(crate) fn restore(&mut self, taken: Time, at: Time) {
        let mut lines = self.history.take().unwrap_or_default();
        lines.retain(|(told, _)| *told <= taken);
        if let Some(engine) = replayed(&lines) {
            self.engine = engine;
        }
        // It may be restored once more.
        self.history = Some(lines.clone());
        if self.recording.is_some() {
            let mut recording = InMemory::default();
            lines.iter().for_each(|(_, line)| recording.put(line));
            self.recording = Some(recording);
            self.said.retain(|said| said.at <= taken);
        }
        self.clock.stand_still(taken, at.since(taken));
        self.inbox.retain(|(arrival, ..)| *arrival > at);
        self.machine.forget();
        // What it knew of the others' numbers is older than all that comes.
        self.guards.clear();
        (self.asleep, self.late, self.due) = (None, None, self.clock.boot(at));
        self.next = at;
    }

    /// That host is no peer any more.
    pub(crate) fn forget_peer(&mut self, place: usize) {
        let Some(at) = self.peers.iter().position(|(peer, _)| *peer == place) else { return };
        let (_, name) = Arc::make_mut(&mut self.peers).remove(at);
        self.settings.peers.retain(|peer| *peer != name);
        let settings = self.settings.clone();
        // A process that has ended reads its configuration when it begins.
        if !matches!(self.asleep, Some(Asleep::Ended | Asleep::Gone)) {
            self.record_line(|| Line::Configure(Box::new(settings.clone())));
            self.engine.configure(settings);
        }
    }

    pub(super) fn tell(&mut self, evidence: Evidence) {
        self.record_line(|| Line::Evidence(evidence.clone()));
        self.engine.handle(evidence);
    }

    pub(super) fn record_line(&mut self, line: impl FnOnce() -> Line) {
        if self.recording.is_none() && self.history.is_none() {
            return;
        }
        let line = line();
        if let Some(recording) = &mut self.recording {
            recording.put(&line);
        }
        if let Some(history) = &mut self.history {
            history.push((self.at, line));
        }
    }
}

/// An engine that was told those.
fn replayed(lines: &[(Time, Line)]) -> Option<Engine> {
    let mut engine = None;
    for (_, line) in lines {
        match (line.clone(), &mut engine) {
            (Line::Begin { settings, me, .. }, _) => engine = Some(Engine::new(*settings, *me)),
            (line, Some(engine)) => {
                tell(engine, line);
                while engine.poll().is_some() {}
            }
            (_, None) => {}
        }
    }
    engine
}
