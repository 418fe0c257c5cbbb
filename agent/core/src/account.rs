//! A peer's own account of its stall, on this host's clock.

use std::time::Duration;

use crate::evidence::StallReport;
use crate::incident::Class;
use crate::peer::Peer;
use crate::time::Nanos;

/// What a peer says of its own stall, and when that was on this host's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its words.
    pub report: StallReport,
    /// Begin, on this host's boot clock.
    pub from: Nanos,
    /// End, or how far it has gone, on this host's boot clock.
    pub to: Nanos,
}

/// How far a peer's account may be off on this host's clock.
pub(crate) const ACCOUNT_SLACK: Duration = Duration::from_millis(500);

impl Account {
    /// The report as `peer`, whose last heartbeat carried it, and this host's clock have it. What was over before this host's
    /// boot is none of its business; what began before it is as old as that.
    fn of(peer: &Peer, report: StallReport) -> Option<Self> {
        let to = peer.on_own_clock(report.to)?;
        let moved = peer.ends.of(&report).map_or(Duration::ZERO, |end| to.since(end));
        let from = peer.on_own_clock(report.from).unwrap_or_default().minus(moved);
        Some(Self { report, from, to: to.minus(moved) })
    }

    /// Everything that `peer` last told.
    pub fn all(peer: &Peer) -> impl Iterator<Item = Self> + '_ {
        peer.stalls.iter().filter_map(|report| Self::of(peer, *report))
    }

    /// Whether it is of what that host's kernel or hypervisor did, which is worth an incident also where the host
    /// went on sending.
    #[must_use]
    pub fn is_of_the_host(&self) -> bool {
        let StallReport { class, cpu, .. } = self.report;
        let of_the_host = [
            Class::TimerLockup,
            Class::CpuLockup,
            Class::SchedulerStall,
            Class::VcpuStall,
            Class::VmPause,
            Class::HypervisorStall,
            Class::IoStall,
        ];
        of_the_host.contains(&class) || class == Class::Unknown && cpu.is_some()
    }

    /// Whether it was at the time of that interval of this host's clock.
    #[must_use]
    pub fn touches(&self, from: Nanos, to: Nanos) -> bool {
        self.touches_within(from, to, ACCOUNT_SLACK)
    }

    /// The same where both may be off by `slack`.
    pub(crate) fn touches_within(&self, from: Nanos, to: Nanos, slack: Duration) -> bool {
        self.from <= to.plus(slack) && self.to.plus(slack) >= from
    }
}

/// When stalls of a peer that are over ended on this host's clock, at the latest. Each heartbeat tells it again: packets may be
/// late and never early, and what the peer's clock stood still since then would make the end later than it was.
#[derive(Clone, Debug, Default)]
pub struct Ends(Vec<(StallReport, Nanos)>);

impl Ends {
    /// What the newest heartbeat tells, which puts a moment of the peer's clock `place`s on this host's.
    pub(crate) fn note(&mut self, stalls: &[StallReport], place: impl Fn(Nanos) -> Option<Nanos>) {
        let over = stalls.iter().filter(|report| !report.open);
        let placed = over.filter_map(|report| {
            let end = place(report.to)?;
            Some((*report, self.of(report).map_or(end, |known| known.min(end))))
        });
        self.0 = placed.collect();
    }

    /// Absent while it goes on.
    fn of(&self, report: &StallReport) -> Option<Nanos> {
        let is_it = |known: &StallReport| (known.from, known.to, known.cpu) == (report.from, report.to, report.cpu);
        self.0.iter().find(|(known, _)| is_it(known)).map(|(_, end)| *end)
    }
}
