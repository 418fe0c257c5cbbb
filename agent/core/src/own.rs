//! A stall of this host itself: its agent did not run when it should have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cpu::CpuCase;
use crate::evidence::{AgentLate, CpuStall, Evidence, Fact};
use crate::time::{Nanos, covered, nanos};

/// Timers of a CPU that are late for this part of an interval mean that it took none in it: one that idles has but few, and
/// none of them need be due at the begin.
const MOST_OF_IT: f64 = 0.5;

/// The facts of one stall of this host, as the rules see them.
#[derive(Clone, Debug)]
pub struct OwnStall {
    /// When the agent should have run.
    pub from: Nanos,
    /// When it ran.
    pub to: Nanos,
    /// What the agent read about it afterwards.
    pub agent: AgentLate,
    /// Timers that were late in that time, and CPUs that were in a handler, as evidence.
    pub late_timers: Vec<Evidence>,
    /// CPUs that stood still in that time, where it was all that have a sentinel.
    pub cpus: Vec<CpuCase>,
    /// By how much this host's clock fell behind those of its peers, where that is the stall: then `from` and `to` are
    /// the same moment of it.
    pub behind: Option<Behind>,
    /// Other hosts of the same hypervisor that stood still at the same time.
    pub neighbours: Vec<String>,
    /// How often it was before the incident could close.
    pub occurrences: u32,
    /// Begin of the first of them.
    pub since: Nanos,
}

/// A clock that fell behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// By how much.
    pub length: Duration,
    /// The peers whose clocks went on.
    pub peers: Vec<String>,
    /// Peers of the same hypervisor whose clocks did not, as this one agrees with them as before: they stood as well.
    pub stood_with: Vec<String>,
}

impl OwnStall {
    /// A lateness of the agent.
    #[must_use]
    pub fn late(from: Nanos, to: Nanos, agent: AgentLate) -> Self {
        let (late_timers, cpus, neighbours) = (Vec::new(), Vec::new(), Vec::new());
        Self { from, to, agent, late_timers, cpus, behind: None, neighbours, occurrences: 1, since: from }
    }

    /// A clock that stood still at `at`.
    #[must_use]
    pub fn clock_stood(at: Nanos, behind: Behind) -> Self {
        Self { behind: Some(behind), ..Self::late(at, at, AgentLate::default()) }
    }

    /// How long it was.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.behind.as_ref().map_or(self.to.since(self.from), |behind| behind.length)
    }

    /// How many CPUs of this host have a sentinel, or were seen to stand still.
    #[must_use]
    pub fn cpu_count(&self) -> usize {
        usize::try_from(self.agent.cpus_watched).unwrap_or(usize::MAX).max(self.cpus.len())
    }

    /// Whether no CPU of this host took a timer interrupt for most of that time; absent where that was not measured.
    #[must_use]
    pub fn all_timers_dead(&self) -> Option<bool> {
        if self.cpu_count() > 0 && late_cpus(&self.late_timers, self.from, self.to) >= self.cpu_count() {
            return Some(true);
        }
        let dead: Option<Vec<bool>> = self.cpus.iter().map(CpuCase::timer_dead).collect();
        let dead = dead.filter(|dead| !dead.is_empty())?;
        Some(dead.into_iter().all(|dead| dead))
    }

    /// Only the longest part of it up to the end of a late timer in most of which no CPU took a timer interrupt.
    #[must_use]
    pub(crate) fn up_to_late_timers(&self) -> Option<Self> {
        let late = self.late_timers.iter().filter(|piece| matches!(piece.fact, Fact::TimerLate { .. }));
        let ends: BTreeSet<Nanos> = late.map(|late| late.to.min(self.to)).collect();
        let mut parts = ends.into_iter().rev().map(|to| Self { to, ..self.clone() });
        parts.find(|part| part.all_timers_dead() == Some(true))
    }

    /// The part of the stall that `nanoseconds` explain, from 0 to 1; absent where they were not measured.
    #[must_use]
    pub fn share(&self, nanoseconds: Option<u64>) -> Option<f64> {
        let length = self.length().as_nanos().max(1) as f64;
        nanoseconds.map(|part| (part as f64 / length).min(1.0))
    }

    /// The part of the stall in which the agent ran or waited for a CPU; absent where neither was measured.
    #[must_use]
    pub fn ran_or_waited(&self) -> Option<f64> {
        let AgentLate { ran_ns, waited_ns, .. } = self.agent;
        self.share([ran_ns, waited_ns].into_iter().flatten().reduce(u64::saturating_add))
    }

    /// The part of the stall that timers of one CPU were late for; absent where timers were not watched.
    #[must_use]
    pub fn timers_late(&self) -> Option<f64> {
        let longest = late_by_cpu(&self.late_timers, self.from, self.to).into_values().max().unwrap_or_default();
        self.agent.timers_watched.then(|| longest.as_secs_f64() / self.length().as_secs_f64().max(1e-9))
    }

    /// All of it as evidence about `host`.
    #[must_use]
    pub fn evidence(&self, host: &str) -> Vec<Evidence> {
        let mut all = Vec::new();
        if self.behind.is_none() {
            all.push(Evidence::during(host, self.from, self.to, Fact::AgentLate(Box::new(self.agent.clone()))));
        }
        if let Some((cpu, stolen_ns)) = self.agent.steal.filter(|(_, stolen)| *stolen > 0) {
            all.push(Evidence::during(host, self.from, self.to, Fact::Steal { cpu, stolen_ns }));
        }
        for piece in
            self.late_timers.iter().cloned().chain(self.cpus.iter().flat_map(|case| case.evidence(host, self.to)))
        {
            if !all.contains(&piece) {
                all.push(piece);
            }
        }
        if let Some(Behind { length, peers, .. }) = &self.behind {
            let fact = Fact::ClockStood { behind_ns: nanos(*length) };
            all.extend(peers.iter().map(|peer| Evidence::at(peer, self.to, fact.clone())));
        }
        all
    }
}

/// CPUs whose timers were late for most of that interval.
pub(crate) fn late_cpus<'a>(pieces: impl IntoIterator<Item = &'a Evidence>, from: Nanos, to: Nanos) -> usize {
    let least = to.since(from).mul_f64(MOST_OF_IT);
    late_by_cpu(pieces, from, to).into_values().filter(|late| *late >= least).count()
}

/// For how much of the interval timers of each CPU were late, whether they were late once or again and again, or could not
/// interrupt it, since it was in a handler.
fn late_by_cpu<'a>(pieces: impl IntoIterator<Item = &'a Evidence>, from: Nanos, to: Nanos) -> BTreeMap<u32, Duration> {
    let mut late: BTreeMap<u32, Vec<(Nanos, Nanos)>> = BTreeMap::new();
    for piece in pieces {
        let without_ticks = match &piece.fact {
            Fact::TimerLate { cpu } => Some((*cpu, (piece.from, piece.to))),
            Fact::CpuStall(stall) => in_handler(stall).map(|interval| (stall.cpu, interval)),
            _ => None,
        };
        if let Some((cpu, interval)) = without_ticks {
            late.entry(cpu).or_default().push(interval);
        }
    }
    late.into_iter().map(|(cpu, intervals)| (cpu, covered(intervals, from, to))).collect()
}

/// From when to when it was in a handler that it has left.
fn in_handler(stall: &CpuStall) -> Option<(Nanos, Nanos)> {
    let handler = stall.handler.as_ref()?;
    Some((handler.since, handler.until?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Handler;

    fn late(cpu: u32, from: u64, to: u64) -> Evidence {
        Evidence::during("a", Nanos(from), Nanos(to), Fact::TimerLate { cpu })
    }

    /// A CPU whose sentinel was late since 0, and which was in a handler for that interval of it.
    fn left_a_handler(cpu: u32, since: u64, until: u64) -> Evidence {
        let handler =
            Handler { name: "local_timer".into(), since: Nanos(since), until: Some(Nanos(until)), per_second: None };
        let stall = CpuStall { cpu, over: true, handler: Some(handler), ..CpuStall::default() };
        Evidence::during("a", Nanos(0), Nanos(until + 50), Fact::CpuStall(Box::new(stall)))
    }

    #[test]
    fn a_cpu_whose_timers_are_late_and_which_then_is_in_a_handler_takes_none_in_either() {
        let pieces = [late(0, 0, 200), late(1, 0, 80), left_a_handler(1, 90, 190), left_a_handler(2, 120, 190)];
        assert_eq!(late_cpus(&pieces, Nanos(0), Nanos(200)), 2);
        assert_eq!(late_cpus(&pieces[..2], Nanos(0), Nanos(200)), 1);
    }

    #[test]
    fn a_pause_in_a_stall_goes_as_far_as_timers_of_all_cpus_were_late() {
        let part = |late_timers: &[Evidence]| {
            let agent = AgentLate { cpus_watched: 2, timers_watched: true, ..AgentLate::default() };
            let stall = OwnStall::late(Nanos(0), Nanos(210), agent);
            OwnStall { late_timers: late_timers.to_vec(), ..stall }.up_to_late_timers().map(|part| part.to.0)
        };
        let both = [late(0, 10, 90), late(1, 10, 91), late(1, 110, 200)];
        assert_eq!(part(&both), Some(91), "nothing was due on CPU 0 in the second pause");
        assert_eq!(part(&[&both[..], &[late(0, 120, 199)]].concat()), Some(200));
        assert_eq!(part(&both[1..]), None, "CPU 0 took its timers");
    }

    #[test]
    fn timers_that_are_late_again_and_again_cover_what_they_cover_together() {
        let pieces = [late(0, 0, 100), late(0, 50, 90), late(0, 100, 180), late(1, 120, 300), late(2, 0, 50)];
        let covered = late_by_cpu(&pieces, Nanos(10), Nanos(200));
        let expected = [(0, 170), (1, 80), (2, 40)].map(|(cpu, late)| (cpu, Duration::from_nanos(late)));
        assert_eq!(covered, BTreeMap::from(expected));
        assert_eq!(late_cpus(&pieces, Nanos(10), Nanos(200)), 1);
    }
}
