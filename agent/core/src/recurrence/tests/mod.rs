//! Published tables, properties, and the first of the outages that this project was made from.

mod incident_a;
mod properties;
mod tables;

use super::*;
use crate::incident::Class;

const HOUR_MS: i64 = 3_600_000;
/// 2013-07-01T00:00:00Z.
const START_MS: i64 = 1_372_636_800_000;

fn at(hours: f64) -> i64 {
    START_MS + (hours * 3_600_000.0).round() as i64
}

fn at_hours(ms: i64) -> f64 {
    (ms - START_MS) as f64 / 3_600_000.0
}

/// A past that is told hour by hour.
#[derive(Default)]
struct Story {
    history: History,
    boots: u32,
}

impl Story {
    /// A boot that is watched from its begin until `to`.
    fn boot(mut self, from: f64, to: f64) -> Self {
        self.boots += 1;
        self.watched_in_boot(from, from, to)
    }

    fn watched_in_boot(mut self, booted: f64, from: f64, to: f64) -> Self {
        let boot_id = format!("boot-{}", self.boots);
        let one = Watched { host: "db1".into(), boot_id, booted_ms: at(booted), from_ms: at(from), to_ms: at(to) };
        self.history.watched.push(one);
        self
    }

    /// An incident of 15 s.
    fn incident(mut self, hours: f64) -> Self {
        let one = Occurrence {
            class: Class::TimerLockup,
            subject: "db1".into(),
            host: Some("db1".into()),
            peer: None,
            started_ms: at(hours),
            ended_ms: Some(at(hours) + 15_000),
            times: 1,
        };
        self.history.incidents.push(one);
        self
    }

    /// An incident each minute, or a little more or less.
    fn burst(mut self, from: f64, to: f64) -> Self {
        let mut at = from;
        let mut odd = false;
        while at < to - 0.01 {
            self = self.incident(at);
            at += if odd { 50.0 } else { 70.0 } / 3600.0;
            odd = !odd;
        }
        self
    }

    fn report(&self, mark: f64, until: f64) -> Report {
        let mark = Mark { id: 1, at_ms: at(mark), text: "noapictimer".into() };
        let window = Window { since_ms: START_MS, until_ms: at(until) };
        report(&self.history, window, Some(&mark), std::slice::from_ref(&mark))
    }

    fn recurrence(&self, mark: f64, until: f64) -> Recurrence {
        self.report(mark, until).series[0].recurrence.clone().unwrap()
    }

    fn quiet(&self, mark: f64, until: f64) -> QuietTime {
        self.recurrence(mark, until).quiet.unwrap()
    }
}

fn near(value: f64, expected: f64, relative: f64) {
    assert!((value - expected).abs() <= expected.abs() * relative, "{value} is not {expected}");
}
