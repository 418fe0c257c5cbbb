//! What a host notices of itself: late turns, CPUs, storage, load, its clocks.

use std::sync::Arc;
use std::time::Duration;

use lacuna_core::evidence::{AgentLate, CpuLoad, Evidence, Fact, IoStuck, Way};
use lacuna_core::time::Nanos;

use super::{Host, LATE, TICKS};
use crate::chance::Chance;
use crate::clock::Time;

/// Tasks that wait for storage are told of so often.
const TELL_IO: Duration = Duration::from_millis(500);

impl Host {
    pub(super) fn notice_own(&mut self, at: Time, now: Nanos, chance: &mut Chance) {
        let name = self.name.clone();
        for evidence in self.machine.look(&name, at, &self.clock) {
            self.tell(evidence);
        }
        let late = self.late.take();
        if now.since(self.due) >= LATE {
            let late = late.unwrap_or_else(|| self.waited(now.since(self.due), chance));
            let late = AgentLate { cpus_watched: self.machine.cpus, timers_watched: self.machine.has_probes, ..late };
            self.tell(Evidence::during(&name, self.due, now, Fact::AgentLate(Box::new(late))));
        }
        self.notice_storage(at, now);
        self.notice_drops(now);
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

    /// Only the probes tell which packets its kernel drops.
    pub(super) fn begin_to_count_drops(&mut self) {
        if self.machine.has_probes {
            let peers = Arc::clone(&self.peers);
            peers.iter().for_each(|(_, name)| self.tell(Evidence::at(name, self.due, Fact::HeartbeatDropsCounted)));
        }
    }

    /// Looked at once a second, and with each turn while something is missing.
    fn notice_drops(&mut self, now: Nanos) {
        let looks = self.ticks.is_multiple_of(TICKS) || self.engine.is_curious();
        if !looks || !self.machine.has_probes || self.dropped.is_empty() {
            return;
        }
        let peers = Arc::clone(&self.peers);
        for (from, count) in std::mem::take(&mut self.dropped) {
            let Some((_, name)) = peers.iter().find(|(place, _)| *place == from) else { continue };
            let (direction, reason) = (Way::In, "NETFILTER_DROP".to_owned());
            self.tell(Evidence::at(name, now, Fact::HeartbeatDrops { direction, reason, count }));
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

    pub(super) fn tell_clock(&mut self, now: Nanos) {
        let wall = self.clock.wall(now);
        self.tell(Evidence::at(&self.name.clone(), now, Fact::Clock { wall }));
    }
}
