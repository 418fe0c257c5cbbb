//! CPUs that have more work than they can do: from one reading a second to a lasting state.

use std::collections::VecDeque;
use std::time::Duration;

use crate::evidence::CpuLoad;
use crate::time::Nanos;

/// Below this part of the CPUs' time there is room left.
const BUSY: f64 = 0.95;
/// Tasks must have waited for a CPU for at least this part of the time, where the kernel tells (PSI "some").
const PRESSURE: f64 = 0.3;
/// A state ends, or is called off, when this many more readings were to the contrary: single ones are noise.
const CALM_READINGS: u32 = 3;
/// Readings kept for the averages.
const WINDOW: usize = 60;

/// More work than CPUs, since when and how much.
#[derive(Clone, Debug, Default)]
pub struct LoadTrack {
    /// Begin of the first saturated reading.
    since: Option<Nanos>,
    /// End of the last saturated reading.
    last: Nanos,
    /// How many more readings were not saturated than were, of late.
    calm: u32,
    readings: VecDeque<CpuLoad>,
}

/// The facts of one saturation, as the rules see them.
#[derive(Clone, Debug, PartialEq)]
pub struct Saturation {
    /// Begin.
    pub since: Nanos,
    /// End of the last saturated reading.
    pub last: Nanos,
    /// True once it is over.
    pub over: bool,
    /// Averages over the last minute of it.
    pub load: CpuLoad,
}

/// Whether one reading shows more work than CPUs.
#[must_use]
pub fn saturated(load: &CpuLoad) -> bool {
    load.busy >= BUSY && load.runnable > load.cpus && load.pressure.is_none_or(|waited| waited >= PRESSURE)
}

impl LoadTrack {
    /// Takes a reading; answers with the saturation if one lasts for at least `threshold`, or has just ended.
    pub fn on_reading(&mut self, from: Nanos, to: Nanos, load: &CpuLoad, threshold: Duration) -> Option<Saturation> {
        if saturated(load) {
            self.since = self.since.or(Some(from));
            self.last = to;
            self.calm = self.calm.saturating_sub(1);
            self.remember(load);
        } else {
            self.calm = self.calm.saturating_add(1);
        }
        let since = self.since?;
        let over = self.calm >= CALM_READINGS;
        let long = self.last.since(since) >= threshold;
        let found = long.then(|| Saturation { since, last: self.last, over, load: self.average() });
        if over {
            *self = Self::default();
        }
        found
    }

    /// Whether there was more work than CPUs at the last readings, however short that is so far.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        self.since.is_some()
    }

    fn remember(&mut self, load: &CpuLoad) {
        if self.readings.len() == WINDOW {
            self.readings.pop_front();
        }
        self.readings.push_back(load.clone());
    }

    fn average(&self) -> CpuLoad {
        let mean = |of: &dyn Fn(&CpuLoad) -> f64| {
            self.readings.iter().map(of).sum::<f64>() / self.readings.len().max(1) as f64
        };
        let waited: Vec<f64> = self.readings.iter().filter_map(|load| load.pressure).collect();
        CpuLoad {
            cpus: self.readings.back().map_or(1, |load| load.cpus),
            busy: mean(&|load| load.busy),
            steal: mean(&|load| load.steal),
            runnable: mean(&|load| f64::from(load.runnable)).round() as u32,
            pressure: (!waited.is_empty()).then(|| waited.iter().sum::<f64>() / waited.len() as f64),
        }
    }
}
