//! How sure the verdicts were beside how often they were right.
//!
//! Each verdict counts once for an incident: what is said again while only its length grows is the same verdict.

use std::collections::BTreeMap;

use lacuna_core::incident::{Class, Incident};
use serde::Serialize;

/// Verdicts of one kind that were equally sure, to the hundredth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Kind {
    pub(crate) class: Class,
    pub(crate) provisional: bool,
    /// In hundredths.
    pub(crate) confidence: u32,
}

/// How many there were, and how many of them were right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    pub(crate) said: u64,
    pub(crate) right: u64,
}

/// All that was said, by kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calibration(BTreeMap<Kind, Tally>);

impl Kind {
    fn of(incident: &Incident) -> Option<Self> {
        let (class, provisional) = (incident.verdict.class, incident.provisional);
        let confidence = (incident.verdict.confidence * 100.0).round() as u32;
        (class != Class::Unknown).then_some(Self { class, provisional, confidence })
    }
}

impl Calibration {
    /// Takes all that was said of one incident.
    pub(crate) fn take<'a>(
        &mut self,
        versions: impl Iterator<Item = &'a Incident>,
        is_right: impl Fn(&Incident) -> bool,
    ) {
        let mut kinds: BTreeMap<Kind, bool> = BTreeMap::new();
        for incident in versions {
            if let Some(kind) = Kind::of(incident) {
                kinds.entry(kind).or_insert_with(|| is_right(incident));
            }
        }
        for (kind, right) in kinds {
            self.add(kind, Tally { said: 1, right: u64::from(right) });
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(kind, tally)| self.add(*kind, *tally));
    }

    fn add(&mut self, kind: Kind, more: Tally) {
        let tally = self.0.entry(kind).or_default();
        tally.said += more.said;
        tally.right += more.right;
    }

    /// By confidence in tenths, rounded: which part of them is right. Without `split-brain`: no host here has two cards.
    fn bins(&self) -> BTreeMap<u32, Tally> {
        let mut bins: BTreeMap<u32, Tally> = BTreeMap::new();
        for (kind, tally) in self.0.iter().filter(|(kind, _)| kind.class != Class::SplitBrain) {
            let bin = bins.entry((kind.confidence + 5) / 10).or_default();
            bin.said += tally.said;
            bin.right += tally.right;
        }
        bins
    }

    pub(crate) fn print(&self) {
        println!("\n{:<18} {:>11} {:>6} {:>8} {:>8}", "said", "", "sure", "verdicts", "right");
        for (kind, tally) in &self.0 {
            let when = if kind.provisional { "provisional" } else { "" };
            println!(
                "{:<18} {when:>11} {:>6} {:>8} {:>8}",
                kind.class.name(),
                percent(f64::from(kind.confidence) / 100.0),
                tally.said,
                percent(tally.part())
            );
        }
        for (tenth, tally) in self.bins() {
            let sure = percent(f64::from(tenth) / 10.0);
            println!("{:<30} {sure:>6} {:>8} {:>8}", "all that are about", tally.said, percent(tally.part()));
        }
    }
}

impl Tally {
    fn part(self) -> f64 {
        self.right as f64 / (self.said as f64).max(1.0)
    }
}

fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}
