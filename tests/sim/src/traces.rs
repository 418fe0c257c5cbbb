//! Whether one fault is one trace on all hosts that are right about it, and no trace is that of two faults.

use std::collections::{BTreeMap, BTreeSet};

use lacuna_core::trace::TraceId;
use serde::Serialize;

use crate::fault::Fault;
use crate::score::{Story, describe, is_right_story};

/// What was found of all faults that more than one host was right about.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Traces {
    pub(crate) faults: usize,
    /// Those whose incidents go under several names, in words.
    pub(crate) apart: Vec<String>,
    /// Faults that have nothing to do with each other and go under one name, in words.
    pub(crate) mixed: Vec<String>,
}

impl Traces {
    /// Takes what the hosts of a fleet said in the end.
    pub(crate) fn take(&mut self, seed: u64, faults: &[Fault], stories: &[Vec<Story<'_>>]) {
        let named: Vec<BTreeMap<usize, BTreeSet<TraceId>>> = faults.iter().map(|fault| names(fault, stories)).collect();
        for (fault, by_observer) in faults.iter().zip(&named).filter(|(_, by_observer)| by_observer.len() > 1) {
            self.faults += 1;
            let all: BTreeSet<TraceId> = by_observer.values().flatten().copied().collect();
            if all.len() > 1 && !has_one_in_common(by_observer) {
                self.apart.push(format!("seed {seed:<6} {by_observer:?}: {}", describe(fault)));
            }
        }
        for (place, (fault, one)) in faults.iter().zip(&named).enumerate() {
            for (other, two) in faults.iter().zip(&named).skip(place + 1) {
                let all = |names: &BTreeMap<usize, BTreeSet<TraceId>>| -> BTreeSet<TraceId> {
                    names.values().flatten().copied().collect()
                };
                if are_strangers(fault, other) && !all(one).is_disjoint(&all(two)) {
                    self.mixed.push(format!("seed {seed:<6} {} and {}", describe(fault), describe(other)));
                }
            }
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.faults += other.faults;
        self.apart.extend(other.apart);
        self.mixed.extend(other.mixed);
    }

    pub(crate) fn print(&self, shown: usize) {
        let (apart, mixed) = (self.apart.len(), self.mixed.len());
        println!(
            "\n{apart} of {} faults that several hosts saw are in no trace of all, {mixed} times two are in one",
            self.faults
        );
        self.apart.iter().take(shown).for_each(|fault| println!("apart: {fault}"));
        self.mixed.iter().take(shown).for_each(|faults| println!("mixed: {faults}"));
    }
}

/// Under which names each host that is right has it; one that came back may be several incidents.
fn names(fault: &Fault, stories: &[Vec<Story<'_>>]) -> BTreeMap<usize, BTreeSet<TraceId>> {
    let mut names: BTreeMap<usize, BTreeSet<TraceId>> = BTreeMap::new();
    for (observer, stories) in stories.iter().enumerate() {
        let right = stories.iter().filter(|story| is_right_story(story, fault, observer));
        for last in right.filter_map(Story::last) {
            names.entry(observer).or_default().insert(last.trace_id);
        }
    }
    names
}

fn has_one_in_common(names: &BTreeMap<usize, BTreeSet<TraceId>>) -> bool {
    let first = names.values().next().into_iter().flatten();
    first.into_iter().any(|trace| names.values().all(|names| names.contains(trace)))
}

/// Two that befall other hosts.
fn are_strangers(one: &Fault, other: &Fault) -> bool {
    let hosts = one.kind.hosts();
    !one.is_paired_with(other) && !other.kind.hosts().iter().any(|host| hosts.contains(host))
}
