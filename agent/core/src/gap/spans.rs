//! Between two heartbeats of a peer: how much of the time is due, who slept, and whose clock stood.

use std::time::Duration;

use crate::peer::Arrival;

/// For how long this host slept before a heartbeat came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slept {
    /// Of the time since the one before, by its own clock.
    pub seen: Duration,
    /// Besides: before that one, which waited for this host, or while its clock stood still.
    pub besides: Duration,
}

impl Slept {
    /// How many of the heartbeats that are `missing` left meanwhile, at most. Those of the time in which it was awake are lost,
    /// unless the peer was silent then.
    pub(super) fn missed(self, missing: u64, silence: Duration, interval: Duration) -> u64 {
        let passed = silence.saturating_add(self.besides);
        let quiet = beyond_due(passed, missing, interval);
        let awake = silence.saturating_sub(self.seen).saturating_sub(quiet);
        let lost = whole(awake, interval).saturating_sub(2);
        missing.saturating_sub(lost).min(intervals(self.seen.saturating_add(self.besides), interval))
    }
}

/// How many heartbeats leave a peer in `slept`, at most; a stall begins up to an interval before it is noticed.
fn intervals(slept: Duration, interval: Duration) -> u64 {
    if slept.is_zero() { 0 } else { whole(slept, interval).saturating_add(2) }
}

/// How many intervals fit into `time`.
pub(super) fn whole(time: Duration, interval: Duration) -> u64 {
    u64::try_from(time.as_nanos() / interval.as_nanos().max(1)).unwrap_or(u64::MAX)
}

/// For how long the peer sent nothing before it was heard again, by what is missing and this host's clock; zero for
/// less than an interval.
pub(crate) fn quiet(arrival: &Arrival, interval: Duration) -> Duration {
    let passed = arrival.silence.saturating_add(clock_stood(arrival, interval));
    let quiet = beyond_due(passed, arrival.missing, interval);
    if arrival.send_hole.is_some() && quiet > interval { quiet } else { Duration::ZERO }
}

/// For how long the packet had waited for this host, which slept: less time passed for the peer than here. Others wait behind it.
pub(super) fn held_up(arrival: &Arrival, slept: Duration) -> Duration {
    let passed_there = arrival.send_hole.map_or(arrival.silence, |(before, after)| after.since(before));
    arrival.silence.saturating_sub(passed_there).min(slept)
}

/// For how long this host's clock stood still: more time passed between two heartbeats for the peer than for us. A
/// heartbeat that was late explains an interval.
pub(super) fn clock_stood(arrival: &Arrival, interval: Duration) -> Duration {
    let passed_there = arrival.send_hole.map_or(Duration::ZERO, |(before, after)| after.since(before));
    let stood = passed_there.saturating_sub(arrival.silence);
    if stood > interval { stood } else { Duration::ZERO }
}

/// How much of the time between two arrivals is beyond what the heartbeats take that are `missing` between them.
pub(super) fn beyond_due(passed: Duration, missing: u64, interval: Duration) -> Duration {
    passed.saturating_sub(times(interval, missing.saturating_add(1)))
}

/// The time that `count` intervals take.
pub(crate) fn times(interval: Duration, count: u64) -> Duration {
    interval.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}
