//! A stall of this host itself: its agent did not run when it should have.

use std::time::Duration;

use crate::evidence::{AgentLate, Evidence, Fact};
use crate::time::Nanos;

/// The facts of one stall of this host, as the rules see them.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnStall {
    /// When the agent should have run.
    pub from: Nanos,
    /// When it ran.
    pub to: Nanos,
    /// What the agent read about it afterwards.
    pub agent: AgentLate,
    /// Timers that were late in that time, as evidence.
    pub late_timers: Vec<Evidence>,
}

impl OwnStall {
    /// How long it was.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.to.since(self.from)
    }

    /// The part of the stall that `nanoseconds` explain, from 0 to 1; absent where they were not measured.
    #[must_use]
    pub fn share(&self, nanoseconds: Option<u64>) -> Option<f64> {
        let length = self.length().as_nanos().max(1) as f64;
        nanoseconds.map(|part| (part as f64 / length).min(1.0))
    }

    /// The part of the stall that the latest timer was late for; absent where timers were not watched.
    #[must_use]
    pub fn timers_late(&self) -> Option<f64> {
        let overlap = |late: &Evidence| late.to.min(self.to).since(late.from.max(self.from));
        let longest = self.late_timers.iter().map(overlap).max().unwrap_or_default();
        self.agent.timers_watched.then(|| longest.as_secs_f64() / self.length().as_secs_f64().max(1e-9))
    }

    /// All of it as evidence about `host`.
    #[must_use]
    pub fn evidence(&self, host: &str) -> Vec<Evidence> {
        let mut all = vec![Evidence::during(host, self.from, self.to, Fact::AgentLate(self.agent.clone()))];
        if let Some((cpu, stolen_ns)) = self.agent.steal.filter(|(_, stolen)| *stolen > 0) {
            all.push(Evidence::during(host, self.from, self.to, Fact::Steal { cpu, stolen_ns }));
        }
        all.extend(self.late_timers.iter().cloned());
        all
    }
}
