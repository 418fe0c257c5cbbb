//! A series of incidents on the clock of its host's restarts.

use std::collections::BTreeMap;

use super::cover::{Cover, hours};
use super::model::{History, Occurrence, Window};
use super::waits::{Quiet, Waits};
use crate::incident::Class;

/// A boot whose first moments were not watched may have had its first incident in them: so long, in milliseconds, an agent
/// may take to start, and a host to be heard again.
const MAY_START_LATE_MS: i64 = 10 * 60 * 1000;
/// A change that takes a restart is noted so long before it, in milliseconds, at most.
const RESTART_FOLLOWS_MS: i64 = 60 * 60 * 1000;

/// A boot, cut off at the end of the report's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Boot {
    start_ms: i64,
    end_ms: i64,
}

/// What the boots of a host say of a series.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct OnBoots {
    /// From boot to the first incident, or until the restart or the mark cut the wait off.
    pub(super) waits: Waits,
    /// Incidents after the first one of their boot, before the mark.
    pub(super) later: u32,
    /// Watched hours between first incidents and the ends of their boots, before the mark.
    pub(super) later_hours: f64,
    /// Waits after the mark.
    pub(super) quiet: Vec<Quiet>,
    /// The boot that the mark fell into had had an incident by then.
    pub(super) had_begun: bool,
    /// Boots before the mark that say nothing: they began before the report or unwatched.
    pub(super) left_out: u32,
    /// Begins of the boots.
    pub(super) starts_ms: Vec<i64>,
}

/// When the host booted: of the agent's own host and of those it heard the store knows it; before, it knows of restarts.
fn starts(history: &History, host: &str) -> Vec<i64> {
    // Of a boot whose wall clock was set meanwhile the clock counts that was watched by for longest.
    let mut own: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for one in history.watched.iter().filter(|one| one.host == host) {
        let known = own.entry(&one.boot_id).or_default();
        *known = (*known).max((one.to_ms - one.from_ms, one.booted_ms));
    }
    let mut starts: Vec<i64> = own.into_values().map(|(_, booted)| booted).collect();
    let first = starts.iter().copied().min().unwrap_or(i64::MAX);
    let of_host = |one: &&Occurrence| one.class == Class::Restart && one.host.as_deref() == Some(host);
    let restarts = history.incidents.iter().filter(of_host).map(|one| one.ended_ms.unwrap_or(one.started_ms));
    // Each is over when the host is heard again, which is after the boot that followed it began.
    starts.extend(restarts.filter(|restart| *restart < first));
    starts.sort_unstable();
    starts
}

/// The restart from which on a change counts: where it recurred after the mark, and the host was restarted within an hour,
/// and it did not recur since. Kernel parameters are such a change.
pub(super) fn restart_of_change(history: &History, series: &[&Occurrence], mark_ms: i64) -> Option<i64> {
    let last = series.last()?;
    let starts = starts(history, last.host.as_deref()?);
    let restart = starts.into_iter().find(|start| *start >= mark_ms)?;
    let recurred = last.started_ms >= mark_ms && last.started_ms < restart;
    (recurred && restart - mark_ms <= RESTART_FOLLOWS_MS).then_some(restart)
}

impl OnBoots {
    /// `series` in order of time.
    pub(super) fn of(history: &History, cover: &Cover, series: &[&Occurrence], mark_ms: i64, window: Window) -> Self {
        let host = series.first().and_then(|one| one.host.as_deref());
        let starts_ms = host.map(|host| starts(history, host)).unwrap_or_default();
        let mut all = Self::default();
        for (place, start) in starts_ms.iter().enumerate() {
            let next = starts_ms.get(place + 1).copied().unwrap_or(window.until_ms);
            let boot = Boot { start_ms: *start, end_ms: next.min(window.until_ms) };
            if boot.end_ms > boot.start_ms && boot.end_ms > window.since_ms {
                all.add(boot, cover, series, mark_ms, window.since_ms);
            }
        }
        all.starts_ms = starts_ms;
        all
    }

    fn add(&mut self, boot: Boot, cover: &Cover, series: &[&Occurrence], mark_ms: i64, since_ms: i64) {
        let Boot { start_ms, end_ms } = boot;
        if start_ms >= mark_ms {
            // Unwatched time is no quiet time, wherever in the boot it was.
            self.quiet.push(Quiet { from: 0.0, to: cover.hours(start_ms, end_ms) });
            return;
        }
        let limit = end_ms.min(mark_ms);
        let mut incidents = series.iter().filter(|one| (start_ms..limit).contains(&one.started_ms)).peekable();
        self.had_begun = incidents.peek().is_some();
        let watched = cover.first_from(start_ms).is_some_and(|first| first - start_ms <= MAY_START_LATE_MS);
        if start_ms < since_ms || !watched {
            self.left_out += 1;
            return;
        }
        let Some(first) = incidents.next() else {
            self.quiet_until_mark(boot, cover, mark_ms);
            return;
        };
        self.waits.ended.push(hours(first.started_ms - start_ms));
        self.later += u32::try_from(incidents.count()).unwrap_or(u32::MAX);
        self.later_hours += cover.hours(first.started_ms, limit);
    }

    fn quiet_until_mark(&mut self, boot: Boot, cover: &Cover, mark_ms: i64) {
        let from = cover.hours(boot.start_ms, boot.end_ms.min(mark_ms));
        if boot.end_ms > mark_ms {
            self.quiet.push(Quiet { from, to: cover.hours(boot.start_ms, boot.end_ms) });
        } else {
            self.waits.cut.push(from);
        }
    }
}

/// Hours between the begins of successive incidents before the mark; with `starts_ms`, only between those of one boot.
pub(super) fn gaps(series: &[&Occurrence], mark_ms: i64, starts_ms: &[i64]) -> Vec<f64> {
    let before: Vec<i64> = series.iter().map(|one| one.started_ms).filter(|started| *started < mark_ms).collect();
    let same_boot = |pair: &&[i64]| !starts_ms.iter().any(|start| (pair[0]..=pair[1]).contains(start));
    before.windows(2).filter(same_boot).map(|pair| hours(pair[1] - pair[0])).collect()
}
