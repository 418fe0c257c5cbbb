//! What the machine itself did meanwhile, by its own account in /proc/stat: how busy it was, what was stolen from it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::clock::Stamp;
use super::helper::Helper;
use crate::stop::Stop;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// Readings that are kept: more than an hour.
const MAX_KEPT: usize = 10_000;
/// The kernel's ticks in a second (`USER_HZ`, 100 on every architecture that matters here).
const TICKS: f64 = 100.0;
/// CPUs that are less busy than this count as idle; from 0 to 1.
const IDLE: f64 = 0.6;
/// How long somebody waits for that.
const PATIENCE: Duration = Duration::from_secs(180);

/// Readings in order of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine(Vec<Reading>);

/// Counters since boot, of all CPUs together, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reading {
    /// When, by the wall clock, in nanoseconds.
    pub(crate) wall: u64,
    /// All time, with what was stolen.
    pub(crate) all: f64,
    /// Idle, or waiting for a disk.
    pub(crate) idle: f64,
    /// Taken by the hypervisor.
    pub(crate) steal: f64,
}

impl Machine {
    /// One that said this.
    #[cfg(test)]
    pub(crate) fn of(readings: Vec<Reading>) -> Self {
        Self(readings)
    }

    /// What the hypervisor took, in seconds, in an interval of the wall clock and up to a reading around it; absent
    /// where nothing was read.
    pub(crate) fn steal(&self, from: u64, to: u64) -> Option<f64> {
        let (first, last) = self.around(from, to)?;
        Some(last.steal - first.steal)
    }

    /// The part of the CPUs' time that was not idle, from 0 to 1; absent where nothing was read.
    pub(crate) fn busy(&self, from: u64, to: u64) -> Option<f64> {
        let (first, last) = self.around(from, to)?;
        let all = last.all - first.all;
        (all > 0.0).then(|| 1.0 - (last.idle - first.idle) / all)
    }

    /// The last reading before an interval and the first one after it, or the outermost ones.
    fn around(&self, from: u64, to: u64) -> Option<(&Reading, &Reading)> {
        let before = self.0.partition_point(|reading| reading.wall <= from);
        let after = self.0.partition_point(|reading| reading.wall < to);
        let first = self.0.get(before.saturating_sub(1))?;
        let last = self.0.get(after).or(self.0.last())?;
        (first.wall < last.wall).then_some((first, last))
    }
}

/// The thread that reads; it ends with this value.
pub(crate) struct Readings {
    kept: Arc<Mutex<Vec<Reading>>>,
    _thread: Helper,
}

impl Readings {
    /// Begins to read.
    pub(crate) fn start(stop: &Stop) -> Result<Self> {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&kept);
        let thread = Helper::spawn("machine", stop, move |stop| {
            while !stop.raised() {
                let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
                if into.len() < MAX_KEPT {
                    into.extend(read(Stamp::now()?.wall));
                }
                drop(into);
                let _ = stop.sleep_until(Instant::now() + EVERY);
            }
            Ok(())
        })?;
        Ok(Self { kept, _thread: thread })
    }

    /// What was read until now.
    pub(crate) fn until_now(&self) -> Machine {
        Machine(self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Waits until nothing else keeps the CPUs busy.
pub(crate) fn wait_until_idle(stop: &Stop) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let first = read(Stamp::now()?.wall);
        stop.sleep_until(Instant::now() + 2 * EVERY)?;
        let last = read(Stamp::now()?.wall);
        let readings: Vec<_> = first.into_iter().chain(last).collect();
        let busy = Machine(readings).busy(0, u64::MAX).unwrap_or(0.0);
        if busy < IDLE {
            return Ok(());
        }
        ensure!(
            Instant::now() < end,
            "this scenario needs the CPUs for itself, and for {PATIENCE:?} something else kept them busy ({:.0} %)",
            busy * 100.0
        );
    }
}

fn read(wall: u64) -> Option<Reading> {
    parse(wall, &std::fs::read_to_string("/proc/stat").ok()?)
}

/// The line `cpu`: user, nice, system, idle, iowait, irq, softirq, steal, and guest time that is in user already.
fn parse(wall: u64, stat: &str) -> Option<Reading> {
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    let figures = line.split_whitespace().skip(1).take(8);
    let seconds: Vec<f64> = figures.map(|figure| Some(figure.parse::<f64>().ok()? / TICKS)).collect::<Option<_>>()?;
    let [.., idle, wait, _, _, steal] = seconds[..] else {
        return None;
    };
    (seconds.len() == 8).then(|| Reading { wall, all: seconds.iter().sum(), idle: idle + wait, steal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whole_or_not_at_all() {
        let reading = parse(7, "cpu  100 0 100 300 100 0 0 200 9 10\ncpu0 1").unwrap();
        assert_eq!(reading, Reading { wall: 7, all: 8.0, idle: 4.0, steal: 2.0 });
        assert_eq!(parse(7, "cpu  1 2 3 4\n"), None);
    }

    #[test]
    fn an_interval_is_measured_by_the_readings_around_it() {
        let reading = |wall, all, idle, steal| Reading { wall, all, idle, steal };
        let machine = Machine(vec![
            reading(10, 0.0, 0.0, 0.0),
            reading(20, 10.0, 10.0, 0.0),
            reading(30, 20.0, 10.0, 1.0),
            reading(40, 30.0, 20.0, 1.5),
        ]);
        assert_eq!(machine.busy(20, 30), Some(1.0));
        assert_eq!(machine.busy(12, 18), Some(0.0));
        assert_eq!(machine.steal(25, 35), Some(1.5));
        assert_eq!(machine.steal(0, 100), Some(1.5));
        assert_eq!(Machine::default().steal(0, 100), None);
    }
}
