//! Stalls and load of this host itself.

use super::{Engine, MAX_OWN};
use crate::document::{Draft, Identity, incident};
use crate::evidence::{AgentLate, CpuLoad, Evidence, Fact, StallReport};
use crate::load::Saturation;
use crate::own::OwnStall;
use crate::rules::{Case, Context, Judgement, judge};
use crate::time::Nanos;

impl Engine {
    /// A tick that came late by an interval or more is a stall to be judged; a shorter one only excuses others.
    pub(super) fn on_agent_late(&mut self, from: Nanos, to: Nanos, agent: AgentLate) {
        if self.own_stalls.len() == MAX_OWN {
            self.own_stalls.pop_front();
        }
        self.own_stalls.push_back((from, to));
        if to.since(from) >= self.settings.interval {
            self.pending.push(OwnStall { from, to, agent, late_timers: Vec::new() });
        }
    }

    /// Judges what stalled this host since the last turn; a long stall is an incident, over already.
    pub(super) fn judge_own(&mut self) {
        for mut stall in std::mem::take(&mut self.pending) {
            stall.late_timers = self.late_timers(&stall);
            let judgement = judge(&Context { settings: &self.settings, now: self.now }, Case::Own(&stall));
            self.report(StallReport {
                from: stall.from,
                to: stall.to,
                class: judgement.verdict.class,
                state: judgement.verdict.detail.state,
            });
            if stall.length() >= self.settings.gap.min(self.settings.cpu_stall) {
                self.say_own(&stall, judgement);
            }
        }
    }

    /// Late timers that overlap the stall.
    fn late_timers(&self, stall: &OwnStall) -> Vec<Evidence> {
        let late = |piece: &&Evidence| matches!(piece.fact, Fact::TimerLate { .. });
        let overlaps = |piece: &&Evidence| piece.to > stall.from && piece.from < stall.to;
        self.recent.iter().filter(late).filter(overlaps).cloned().collect()
    }

    fn say_own(&mut self, stall: &OwnStall, judgement: Judgement) {
        let identity = Identity::new(&self.settings.host, stall.from, stall.to, self.wall);
        let evidence = stall.evidence(&self.settings.host);
        let ended = Some(stall.to);
        let draft =
            Draft { identity: &identity, ended, closed: true, now: stall.to, occurrences: 1, evidence, dropped: 0 };
        self.out.push_back(incident(draft, judgement, &self.settings.host, &self.me.facts));
    }

    pub(super) fn on_load(&mut self, from: Nanos, to: Nanos, load: &CpuLoad) {
        let Some(found) = self.load.on_reading(from, to, load, self.settings.saturation) else { return };
        let context = Context { settings: &self.settings, now: to };
        let judgement = judge(&context, Case::Load(&found));
        let is_new = self.load_identity.is_none();
        let identity = self
            .load_identity
            .get_or_insert_with(|| Identity::new(&self.settings.host, found.since, to, self.wall))
            .clone();
        if is_new || found.over {
            self.say_load(&identity, &found, judgement, to);
        }
        if found.over {
            self.load_identity = None;
        }
    }

    fn say_load(&mut self, identity: &Identity, found: &Saturation, judgement: Judgement, now: Nanos) {
        let fact = Fact::CpuLoad(found.load.clone());
        let evidence = vec![Evidence::during(&self.settings.host, found.since, found.last, fact)];
        let ended = found.over.then_some(found.last);
        let draft = Draft { identity, ended, closed: found.over, now, occurrences: 1, evidence, dropped: 0 };
        self.out.push_back(incident(draft, judgement, &self.settings.host, &self.me.facts));
    }
}
