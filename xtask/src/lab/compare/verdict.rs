//! Whether what a product said is right: a cell of the table. Pure: what was said goes in, the judgement comes out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::beside::Product;
use super::said::{Conclusion, Said};
use super::truth::Truth;

/// A product that did not run for less than this says so of every pause of a busy machine.
const LATE: f64 = 1.0;

/// What was said in one fault, and what was the matter.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// The name of its scenario.
    pub(super) name: String,
    /// What was really the matter.
    pub(super) truth: Truth,
    /// By product.
    pub(super) said: BTreeMap<Product, Vec<Said>>,
}

/// How right it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mark {
    /// It says what was the matter, and with whom.
    Right,
    /// The others cannot tell; who stood still says afterwards that it did.
    OnlyItself,
    /// It says of a host that stood still what it says of a path that was cut.
    CannotTell,
    /// It misses somebody who did not stand still, over a path that was not cut.
    Wrong,
    /// It says nothing.
    Nothing,
}

/// A cell of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Cell {
    /// How right it is.
    pub(super) mark: Mark,
    /// What was said, in short.
    pub(super) told: String,
    /// Why that is right or not.
    pub(super) judged: String,
}

/// Judges what a product said in one of the faults, in the light of what it said in the others.
pub(super) fn cell(product: Product, fault: &Fault, all: &[Fault]) -> Cell {
    let said = fault.said.get(&product).map(Vec::as_slice).unwrap_or_default();
    let told = told(product, said);
    let (mark, judged) = judge(product, fault, said, all);
    Cell { mark, told, judged }
}

fn judge(product: Product, fault: &Fault, said: &[Said], all: &[Fault]) -> (Mark, String) {
    let missed = missed(said);
    let innocent: BTreeMap<&str, Vec<&str>> = missed
        .iter()
        .map(|(by, of)| {
            let of = of.keys().filter(|of| !fault.truth.concerns(by, of));
            (*by, of.copied().collect::<Vec<_>>())
        })
        .filter(|(_, of)| !of.is_empty())
        .collect();
    if !innocent.is_empty() {
        let blames = grouped(innocent).into_iter().map(|(by, of)| {
            let verb = if by.len() == 1 { "blames" } else { "blame" };
            format!("{} {verb} {}", by.join(", "), of.join(", "))
        });
        return (Mark::Wrong, format!("wrong: {}", blames.collect::<Vec<_>>().join("; ")));
    }
    let itself: Vec<_> = late(said).into_keys().filter(|by| fault.truth.stood_still(by)).collect();
    if missed.is_empty() {
        return match itself.is_empty() {
            true => (Mark::Nothing, "does not notice".into()),
            false => (Mark::Right, "right".into()),
        };
    }
    let Some(other) = all.iter().find(|other| is_mistaken_for(fault, other, product)) else {
        return (Mark::Right, "right".into());
    };
    let same = format!("cannot tell: the same words as for a {}", other.name.replace('-', " "));
    match itself.is_empty() {
        true => (Mark::CannotTell, same),
        false => (Mark::OnlyItself, format!("{same}; only {} itself knows, afterwards", itself.join(", "))),
    }
}

/// Whether the other fault has another cause, and the product says the same of it. Each has one way only to say that
/// somebody is gone.
fn is_mistaken_for(fault: &Fault, other: &Fault, product: Product) -> bool {
    let said = other.said.get(&product).map(Vec::as_slice).unwrap_or_default();
    other.truth.is_network() != fault.truth.is_network() && !missed(said).is_empty()
}

/// Who misses whom, and how often.
fn missed(said: &[Said]) -> BTreeMap<&str, BTreeMap<&str, u32>> {
    let mut missed: BTreeMap<&str, BTreeMap<&str, u32>> = BTreeMap::new();
    for Said { by, what } in said {
        if let Conclusion::Gone(gone) = what {
            for of in gone {
                *missed.entry(by).or_default().entry(of).or_default() += 1;
            }
        }
    }
    missed
}

/// Who says that it did not run itself, and for how many seconds at the most.
fn late(said: &[Said]) -> BTreeMap<&str, f64> {
    let mut late: BTreeMap<&str, f64> = BTreeMap::new();
    for Said { by, what } in said {
        if let Conclusion::SelfLate(seconds) = what
            && *seconds >= LATE
        {
            let longest = late.entry(by).or_default();
            *longest = longest.max(*seconds);
        }
    }
    late
}

fn told(product: Product, said: &[Said]) -> String {
    let mut parts = Vec::new();
    let missed = missed(said);
    let times = missed.values().flat_map(BTreeMap::values).max().copied().unwrap_or_default();
    let by_host = missed.iter().map(|(by, of)| (*by, of.keys().copied().collect::<Vec<_>>())).collect();
    if !missed.is_empty() {
        let flaps = if times > 1 { format!(" (up to {times} times)") } else { String::new() };
        let groups = grouped(by_host).into_iter();
        let groups = groups.map(|(by, of)| format!("{}: {}", by.join(", "), is_gone(product, &of.join(", "))));
        parts.push(groups.collect::<Vec<_>>().join("; ") + &flaps);
    }
    for (by, seconds) in late(said) {
        let how = if product == Product::Corosync { "was not scheduled for" } else { "timer late by" };
        parts.push(format!("{by} of itself: {how} {seconds:.1} s"));
    }
    let alone = said.iter().filter(|said| matches!(said.what, Conclusion::NoQuorum));
    let alone: BTreeSet<_> = alone.map(|said| said.by.as_str()).collect();
    if !alone.is_empty() {
        parts.push(format!("{}: no quorum", alone.into_iter().collect::<Vec<_>>().join(", ")));
    }
    parts.join("; ")
}

/// The words of the product itself, in short.
fn is_gone(product: Product, of: &str) -> String {
    match product {
        Product::Keepalived => format!("advertisement timeout of {of}, becomes master"),
        Product::Bird => format!("session to {of} expired"),
        Product::Corosync => format!("{of} failed"),
    }
}

/// Hosts that say the same of the same ones together, and of whom.
fn grouped<'a>(by_host: BTreeMap<&'a str, Vec<&'a str>>) -> Vec<(Vec<&'a str>, Vec<&'a str>)> {
    let mut groups: Vec<(Vec<&str>, Vec<&str>)> = Vec::new();
    for (by, of) in by_host {
        match groups.iter_mut().find(|(_, same)| *same == of) {
            Some((group, _)) => group.push(by),
            None => groups.push((vec![by], of)),
        }
    }
    groups
}

#[cfg(test)]
mod tests;
