//! The part of a peer's heartbeats that is lost in one direction: from single numbers to a steady rate.
//!
//! Signal: which numbers arrived, in their order. Ask: is a part of them lost all the time, and which part? The intuition:
//! a path that loses packets loses single ones, here and there; a path that is cut loses all for a while. So losses count
//! as steady where there are several runs of them, none of them long, and where the rate is above 1 % for sure.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::document::Citations;
use crate::incident::Direction;
use crate::time::Nanos;

/// Numbers that a rate is judged by before it is an incident: half a minute at ten a second.
const WINDOW: usize = 300;
/// Numbers that a stated rate is measured over, all of them after the incident was opened.
pub const MEASURED: usize = 300;
/// Fewer show nothing.
const FEWEST: usize = 40;
/// So many separate losses at least are not one event.
const FEWEST_RUNS: usize = 4;
/// A lower rate is no incident: retransmits hide it.
const FLOOR: f64 = 0.01;
/// This many missing in a row are a cut: at 30 % loss the chance of it is below one in a million.
pub const CUT: u64 = 12;
/// In how much time after so many misses in a row further ones show that it is a steady loss. At 30 % the chance that none of
/// twenty heartbeats is lost is below 0.1 %; five in a row come about at 15 % as well, where that of forty is 0.2 %, and two at 5 %,
/// where that of a hundred is 0.6 %.
#[must_use]
pub fn follows_within(misses: u64) -> Duration {
    Duration::from_secs(match misses {
        1..3 => 10,
        3..8 => 4,
        _ => 2,
    })
}

/// The chance of as many misses in a row as make a gap: in a day there are a million heartbeats.
const GAP_BY_CHANCE: f64 = 1e-8;
/// Beyond this loss no more misses are waited for: 27 in a row.
const MOST_LOSS: f64 = 0.5;
/// Runs of independent losses have 1 / (1 - loss) on average, 2 at most: half as much again is no chance of dozens.
const LONGEST_MEAN_RUN: f64 = 3.0;
/// What happens less often than this is not taken for chance.
const RARE: f64 = 0.01;
/// The chance that nothing is lost for as long as ends a steady loss. It is run at each loss, thousands of times an hour.
const END_BY_CHANCE: f64 = 1e-7;
/// The quantile of the normal distribution that leaves 0.1 % outside, on both sides together.
const Z_999: f64 = 3.290_527;

/// A share of packets that were lost, with the interval that holds the true one in 99.9 % of all cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LossRate {
    /// Lost packets of all, 0 to 1.
    pub rate: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// How many packets it was measured over.
    pub packets: u32,
}

impl LossRate {
    /// The score interval of Wilson (Probable inference, the law of succession, and statistical inference, JASA 22, 1927), which
    /// also holds for rates near 0.
    #[must_use]
    pub fn of(lost: usize, packets: usize) -> Self {
        let rate = lost as f64 / packets.max(1) as f64;
        let (low, high) = wilson(lost, packets, Z_999);
        Self { rate, low, high, packets: u32::try_from(packets).unwrap_or(u32::MAX) }
    }

    fn lost(&self) -> u64 {
        (self.rate * f64::from(self.packets)).round() as u64
    }
}

/// The interval for `lost` of `packets` that lies `z` standard deviations around.
fn wilson(lost: usize, packets: usize, z: f64) -> (f64, f64) {
    let (n, z2) = (packets.max(1) as f64, z * z);
    let rate = lost as f64 / n;
    let middle = rate + z2 / (2.0 * n);
    let half = z * (rate * (1.0 - rate) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    (((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0))
}

/// Losses in one direction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LossTrack {
    /// Whether each of the newest numbers was lost, oldest first.
    window: VecDeque<bool>,
    /// When the first of those was noticed that are remembered as lost; absent where none is, which is told at once that way.
    since: Option<Nanos>,
}

impl LossTrack {
    /// At `at`, `missing` numbers had not arrived, then `arrived` did. What is as long as a cut is no steady loss, and is
    /// left out.
    pub fn record(&mut self, missing: u64, arrived: u64, at: Nanos) {
        let lost = if missing < CUT { missing } else { 0 };
        if self.since.is_none() || self.lost() == 0 {
            self.since = (lost > 0).then_some(at);
        }
        // As a rule nothing is lost: a window that is full of that stays as it is.
        if self.since.is_none() && self.window.len() == WINDOW {
            return;
        }
        let news = (0..lost).map(|_| true).chain((0..arrived.min(WINDOW as u64)).map(|_| false));
        self.window.extend(news);
        let excess = self.window.len().saturating_sub(WINDOW);
        self.window.drain(..excess);
    }

    /// So many that were missing came in after all: the newest ones that count as lost.
    pub fn fill(&mut self, count: u64) {
        fill(&mut self.window, count);
    }

    /// When the oldest loss was noticed that is remembered.
    #[must_use]
    pub fn since(&self) -> Option<Nanos> {
        self.since
    }

    /// The rate since the first loss that is remembered, which is left out since it chose the begin, where it is a steady loss.
    #[must_use]
    pub fn steady(&self) -> Option<LossRate> {
        self.since?;
        let runs = self.runs();
        let enough = self.window.len() >= FEWEST && runs.len() >= FEWEST_RUNS && is_even(&runs);
        if !enough {
            return None;
        }
        let (lost, packets) = (self.lost().saturating_sub(1), self.since_first().saturating_sub(1));
        Some(LossRate::of(lost, packets)).filter(|rate| rate.low > FLOOR)
    }

    /// Whether the longest run of losses may be a part of a steady loss, by the others: a short cut may be none.
    #[must_use]
    pub fn is_suspicious(&self) -> bool {
        if self.since.is_none() {
            return false;
        }
        let runs = self.runs();
        let longest = runs.iter().copied().max().unwrap_or_default();
        let since = self.since_first();
        let (lost, of) = (runs.iter().sum::<usize>() - longest, since - longest);
        let chance = more_in_a_row(lost, of, longest.saturating_sub(1)) * since as f64;
        runs.len() >= 2 && is_even(&runs) && chance >= RARE
    }

    /// How many misses in a row make a gap: so many that steady losses are not as long by chance. 0 where none show.
    #[must_use]
    pub fn misses_of_a_gap(&self) -> u32 {
        if !self.is_suspicious() {
            return 0;
        }
        misses_at(self.lost() as f64 / self.since_first().max(1) as f64)
    }

    /// How many large heartbeats in a row must be missing to show a loss by size: as above, but every loss counts from the first
    /// one on, since a loss that has just begun shows in a few (by Laplace's rule of succession). 0 where nothing was lost.
    #[must_use]
    pub fn misses_of_a_hole(&self) -> u32 {
        if self.since.is_none() {
            return 0;
        }
        match self.lost() {
            0 => 0,
            lost => misses_at((lost + 1) as f64 / (self.since_first() + 2) as f64),
        }
    }

    /// How many are remembered from the first loss on.
    fn since_first(&self) -> usize {
        self.window.len() - self.window.iter().position(|lost| *lost).unwrap_or(self.window.len())
    }

    fn lost(&self) -> usize {
        self.window.iter().filter(|lost| **lost).count()
    }

    /// The length of each run of losses.
    fn runs(&self) -> Vec<usize> {
        let all: Vec<bool> = self.window.iter().copied().collect();
        all.chunk_by(|one, other| one == other).filter(|run| run[0]).map(<[bool]>::len).collect()
    }
}

/// The chance that the next `more` are lost where `lost` of `of` were: Laplace's rule of succession, one after another, as each that is
/// lost makes a higher rate likelier. With the rate at first it is far too small where few were counted.
fn more_in_a_row(lost: usize, of: usize, more: usize) -> f64 {
    (0..more).map(|so_far| (lost + so_far + 1) as f64 / (of + so_far + 2) as f64).product()
}

/// How many misses in a row steady losses of that rate have by a chance below [`GAP_BY_CHANCE`].
fn misses_at(loss: f64) -> u32 {
    (GAP_BY_CHANCE.ln() / loss.clamp(FLOOR, MOST_LOSS).ln()).ceil() as u32
}

/// Whether the runs but the longest are no longer than losses by chance are.
fn is_even(runs: &[usize]) -> bool {
    let longest = runs.iter().copied().max().unwrap_or_default();
    let others = runs.len().saturating_sub(1);
    (runs.iter().sum::<usize>() - longest) as f64 <= others as f64 * LONGEST_MEAN_RUN
}

/// A steady loss that goes on: its rate over a fixed number of packets, none of which led to the decision that it is one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LossMeasure {
    /// Whether each number since the last stated rate was lost, oldest first.
    outcomes: VecDeque<bool>,
    /// What led to the decision that it is one.
    found: Option<LossRate>,
    /// The rate as stated last.
    stated: Option<LossRate>,
    /// Numbers that arrived since the last that did not.
    in_a_row: usize,
    /// How many were lost since it began, up to the last one, and of how many.
    lost: u64,
    of: u64,
}

impl LossMeasure {
    /// Of a loss that was found at that rate, where this direction loses.
    #[must_use]
    pub fn since(found: Option<LossRate>) -> Self {
        Self { found, ..Self::default() }
    }

    /// As [`LossTrack::record`].
    pub fn record(&mut self, missing: u64, arrived: u64) {
        let (lost, arrived) = (missing.min(CUT) as usize, arrived.min(WINDOW as u64) as usize);
        self.outcomes.extend(std::iter::repeat_n(true, lost));
        if lost > 0 {
            self.lost += lost as u64;
            self.of += (self.in_a_row + lost) as u64;
            self.in_a_row = 0;
            self.state();
        }
        self.outcomes.extend(std::iter::repeat_n(false, arrived));
        self.in_a_row += arrived;
        // What came after the loss had ended is never stated, and need not be kept.
        self.outcomes.truncate(3 * MEASURED);
    }

    /// As [`LossTrack::fill`].
    pub fn fill(&mut self, count: u64) {
        self.lost = self.lost.saturating_sub(count);
        fill(&mut self.outcomes, count);
    }

    /// States the rate of the oldest packets, once a loss behind them shows that it had not ended by then.
    fn state(&mut self) {
        while self.outcomes.len() > MEASURED {
            let lost = self.outcomes.drain(..MEASURED).filter(|lost| *lost).count();
            self.stated = Some(LossRate::of(lost, MEASURED));
        }
    }

    /// The rate over [`MEASURED`] packets; absent until so many were counted.
    #[must_use]
    pub fn rate(&self) -> Option<LossRate> {
        self.stated
    }

    /// Whether nothing was lost for so long that the loss has ended: one of the rate that is stated, or of the rate since it began
    /// if that is lower; until that is known, of any rate that what was counted allows.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let since = if self.of < MEASURED as u64 {
            let (lost, of) = self.found.map_or((0, 0), |found| (found.lost(), u64::from(found.packets)));
            patience_by_count(self.lost + lost, self.of + of).min(patience(FLOOR))
        } else {
            patience(self.lost as f64 / self.of as f64)
        };
        let stated = self.stated.map_or(0.0, |stated| patience(stated.rate));
        self.in_a_row as f64 >= stated.max(since).max(FEWEST as f64)
    }
}

/// After how many packets in a row a loss of that rate has ended.
fn patience(rate: f64) -> f64 {
    END_BY_CHANCE.ln() / (1.0 - rate.clamp(FLOOR, MOST_LOSS)).ln()
}

/// The same where the rate is known only by `lost` packets of `of`, the last of which was lost: then the next loss is more than n
/// packets away by a chance of (of / (of + n))^lost (Lomax: Business failures, JASA 49, 1954).
fn patience_by_count(lost: u64, of: u64) -> f64 {
    of as f64 * (END_BY_CHANCE.powf(-1.0 / lost.max(1) as f64) - 1.0)
}

/// A steady loss between this host and one peer, as the rules see it.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The other end.
    pub peer: String,
    /// When the first loss was noticed.
    pub since: Nanos,
    /// When the last one was, once it is over.
    pub back: Option<Nanos>,
    /// The part that is lost from the peer.
    pub from_peer: Option<LossRate>,
    /// The part that is lost to the peer, by its account.
    pub to_peer: Option<LossRate>,
    /// What the incident cites.
    pub citations: Citations,
}

impl Loss {
    /// Which way packets are lost.
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        match (self.from_peer, self.to_peer) {
            (Some(_), Some(_)) => Some(Direction::Both),
            (Some(_), None) => Some(Direction::FromPeer),
            (None, Some(_)) => Some(Direction::ToPeer),
            (None, None) => None,
        }
    }

    /// As [`LossTrack::misses_of_a_gap`], by the rate that is stated of that direction.
    #[must_use]
    pub fn misses_of_a_gap(&self, direction: Direction) -> u32 {
        let rate = if direction == Direction::FromPeer { self.from_peer } else { self.to_peer };
        rate.map_or(0, |rate| misses_at(rate.high))
    }

    /// Each direction that loses, with its rate.
    pub fn directions(&self) -> impl Iterator<Item = (Direction, LossRate)> {
        let from = self.from_peer.map(|rate| (Direction::FromPeer, rate));
        let to = self.to_peer.map(|rate| (Direction::ToPeer, rate));
        from.into_iter().chain(to)
    }
}

fn fill(outcomes: &mut VecDeque<bool>, count: u64) {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    outcomes.iter_mut().rev().filter(|lost| **lost).take(count).for_each(|lost| *lost = false);
}

#[cfg(test)]
mod tests;
