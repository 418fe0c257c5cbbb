//! The table of a run: what was injected beside what was concluded, how soon, and who was blamed for nothing.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use lacuna_core::incident::Class;
use serde::Serialize;

use crate::score::{Concluded, Judged, Score};

/// How many of the failures are printed.
const SHOWN: usize = 20;

/// Everything that a run found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) seeds: u64,
    pub(crate) first_seed: u64,
    /// True time of each fleet, in seconds.
    pub(crate) seconds_of_each: f64,
    /// How long the simulation took, in seconds.
    pub(crate) took_seconds: f64,
    #[serde(flatten)]
    pub(crate) score: Score,
}

/// The length of an incident may be off by a tenth, or by so many seconds.
const LENGTH_MAY_BE_OFF: f64 = 0.3;

/// So much of what can be known must be concluded right.
const RIGHT_AT_LEAST: f64 = 0.995;
/// In so many hours of hosts somebody may be blamed once for nothing.
const HOURS_FOR_A_BLAME: f64 = 10_000.0;

/// A line of the matrix.
#[derive(Debug, Default)]
struct Row {
    judged: usize,
    right: usize,
    unknown: usize,
    wrong: usize,
    missed: usize,
    /// How soon each was said, in seconds.
    detected: Vec<f64>,
    /// Lengths that were told.
    lengths: usize,
    /// Those of them that are close to the true one.
    close: usize,
}

impl Row {
    fn take(&mut self, judged: &Judged) {
        self.judged += 1;
        self.detected.extend(judged.detected);
        if let Some(longer) = judged.longer {
            self.lengths += 1;
            self.close += usize::from(longer.abs() <= (judged.length / 10.0).max(LENGTH_MAY_BE_OFF));
        }
        match judged.concluded {
            Concluded::Right => self.right += 1,
            Concluded::Unknown => self.unknown += 1,
            Concluded::Wrong(_) => self.wrong += 1,
            Concluded::Missed => self.missed += 1,
        }
    }
}

impl Report {
    pub(crate) fn add(&mut self, score: Score) {
        self.score.judged.extend(score.judged);
        self.score.blames.extend(score.blames);
        self.score.needless += score.needless;
        for (class, count) in score.taken_back {
            *self.score.taken_back.entry(class).or_default() += count;
        }
        self.score.host_seconds += score.host_seconds;
        self.score.traces.merge(score.traces);
        self.score.calibration.merge(&score.calibration);
    }

    /// Whether the goals are reached.
    pub(crate) fn check(&self) -> Result<()> {
        let knowable = self.score.judged.iter().filter(|judged| judged.knowable);
        let right = knowable.clone().filter(|judged| judged.concluded == Concluded::Right).count() as f64;
        let part = right / (knowable.count() as f64).max(1.0);
        ensure!(part >= RIGHT_AT_LEAST, "{:.2} % are right, {:.2} % must be", part * 100.0, RIGHT_AT_LEAST * 100.0);
        let guessed = self.score.judged.iter().filter(|judged| matches!(judged.concluded, Concluded::Wrong(_))).count();
        ensure!(guessed == 0, "{guessed} verdicts name another class than the true one");
        let allowed = (self.score.host_seconds / 3600.0 / HOURS_FOR_A_BLAME).floor();
        let blames = self.score.blames.len();
        ensure!(blames as f64 <= allowed, "{blames} verdicts without a fault, at most {allowed} may be");
        Ok(())
    }

    /// Seeds with a wrong, missing or needless word.
    fn failures(&self) -> Vec<&Judged> {
        let failed = |judged: &&Judged| match judged.concluded {
            Concluded::Right => false,
            Concluded::Unknown => judged.knowable,
            Concluded::Wrong(_) | Concluded::Missed => true,
        };
        self.score.judged.iter().filter(failed).collect()
    }

    pub(crate) fn print(&self) {
        println!(
            "{} seeds from {} on, {:.0} s each: {:.1} host-hours, {:.0} simulated seconds of a host in one",
            self.seeds,
            self.first_seed,
            self.seconds_of_each,
            self.score.host_seconds / 3600.0,
            self.score.host_seconds / self.took_seconds.max(1e-9)
        );
        self.print_matrix();
        self.print_incidents();
        self.print_wrong();
        self.print_blames();
        self.score.traces.print(SHOWN);
        self.score.calibration.print();
        let failures = self.failures();
        let lengths = self.score.judged.iter().filter(|judged| judged.longer.is_some_and(|longer| longer.abs() > 2.0));
        for judged in lengths.take(SHOWN) {
            println!(
                "seed {:<6} {} is {:+.1} s off: {}",
                judged.seed,
                judged.observer,
                judged.longer.unwrap_or_default(),
                judged.fault
            );
        }
        for judged in failures.iter().take(SHOWN) {
            println!("seed {:<6} {} says {:?}: {}", judged.seed, judged.observer, judged.concluded, judged.fault);
        }
        if failures.len() > SHOWN {
            println!("and {} more", failures.len() - SHOWN);
        }
    }

    fn print_matrix(&self) {
        println!(
            "\n{:<18} {:>7} {:>8} {:>8} {:>6} {:>6} {:>8} {:>8} {:>9}",
            "injected", "judged", "right", "unknown", "wrong", "missed", "median", "99 %", "length"
        );
        let mut rows: BTreeMap<(Class, bool), Row> = BTreeMap::new();
        for judged in &self.score.judged {
            rows.entry((judged.class, judged.knowable)).or_default().take(judged);
        }
        for ((class, knowable), mut row) in rows {
            let name = if knowable { class.name().to_owned() } else { format!("{} (?)", class.name()) };
            row.detected.sort_by(f64::total_cmp);
            let quantile = |part: f64| match row.detected.len() {
                0 => "-".to_owned(),
                length => format!("{:.2} s", row.detected[((length - 1) as f64 * part).round() as usize]),
            };
            println!(
                "{name:<18} {:>7} {:>8} {:>8} {:>6} {:>6} {:>8} {:>8} {:>9}",
                row.judged,
                row.right,
                row.unknown,
                row.wrong,
                row.missed,
                quantile(0.5),
                quantile(0.99),
                format!("{}/{}", row.close, row.lengths)
            );
        }
    }

    /// How many incidents a host has of one fault.
    fn print_incidents(&self) {
        let concluded = self.score.judged.iter().filter(|judged| judged.incidents > 0);
        let (mut faults, mut incidents, mut most) = (0, 0, 0);
        for judged in concluded {
            (faults, incidents, most) = (faults + 1, incidents + judged.incidents, most.max(judged.incidents));
        }
        println!("\n{:.3} incidents per fault and host, {most} at most", incidents as f64 / f64::from(faults.max(1)));
        println!("{} incidents without a verdict and without a fault", self.score.needless);
        for (class, count) in &self.score.taken_back {
            println!("{count} times {} was said for a while without such a fault, and taken back", class.name());
        }
    }

    fn print_wrong(&self) {
        let mut wrong: BTreeMap<(Class, Class), usize> = BTreeMap::new();
        for judged in &self.score.judged {
            if let Concluded::Wrong(class) = judged.concluded {
                *wrong.entry((judged.class, class)).or_default() += 1;
            }
        }
        for ((class, concluded), count) in wrong {
            println!("{count} times {} was called {}", class.name(), concluded.name());
        }
    }

    fn print_blames(&self) {
        println!("\n{} verdicts without a fault", self.score.blames.len());
        let mut kinds: BTreeMap<(Class, String), usize> = BTreeMap::new();
        for blame in &self.score.blames {
            let near = blame.near.iter().map(|fault| fault.split([' ', '(']).next().unwrap_or_default());
            *kinds.entry((blame.class, near.collect::<Vec<_>>().join(" and "))).or_default() += 1;
        }
        for ((class, near), count) in kinds {
            println!("{count} times {} beside {}", class.name(), if near.is_empty() { "nothing" } else { &near });
        }
        for blame in self.score.blames.iter().take(5 * SHOWN) {
            println!("{blame}");
        }
    }
}
