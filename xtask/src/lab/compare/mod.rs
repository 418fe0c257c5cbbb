//! `cargo xtask lab compare`: the same faults for keepalived's VRRP, bird2's BFD, corosync and Lacuna, side by side on every
//! host, what each concludes of whom, and whether that is right.
//!
//! Each fault is a scenario of `tests/scenarios/compare`, with Lacuna judged as in every scenario. The others are judged by
//! what their logs had from the first step on: who misses whom, against who was really cut off or stood still.

mod beside;
mod bird;
mod corosync;
mod keepalived;
mod lacuna;
mod said;
mod table;
mod truth;
mod verdict;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

pub(crate) use self::beside::Beside;
use self::beside::Product;
use self::table::{Column, Row};
use self::truth::Truth;
use self::verdict::{Cell, Fault, Mark};
use super::play::Setting;
use super::report::Outcome;
use super::scenario::{self, Scenario};
use crate::stop::Stop;
use crate::{prepare, sh, tables};

/// The faults in the order of the table.
const FAULTS: [&str; 5] = ["drop", "stopped-peer", "starved-peer", "starved-observer", "partition"];
/// How often a fault is tried on a machine that is too busy with other things.
const TRIES: u32 = 6;
/// The document with the table, and its place there.
const DOCUMENT: &str = "README.md";
const PLACE: &str = "lab compare";

/// Arguments of `cargo xtask lab compare`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Prints one JSON document to stdout and nothing else.
    #[arg(long)]
    json: bool,
    /// Writes the table into the README as well, unless Lacuna was wrong.
    #[arg(long)]
    write: bool,
    /// The agent to run, instead of building the one of this workspace.
    #[arg(long)]
    agent: Option<PathBuf>,
}

/// Runs every fault and prints the table; an error where Lacuna was wrong in one of them.
pub(super) fn run(args: &Args) -> Result<()> {
    let scenarios = in_order(scenario::compared()?)?;
    let stop = Stop::on_signals()?;
    prepare::to_compare()?;
    super::clean_up()?;
    let agent = super::agent_or_build(args.agent.as_deref(), false)?;
    let setting = Setting { agent, loaded: false, replays: super::replayed::REPLAYS, stop };
    let (mut faults, mut cells) = (Vec::new(), Vec::new());
    for scenario in &scenarios {
        eprintln!("{}: {}", scenario.name, scenario.about);
        let (fault, cell) = play(scenario, &setting)?;
        faults.push(fault);
        cells.push(cell);
    }
    let rows = rows(&scenarios, &faults, cells);
    let (table, versions) = (table::markdown(&rows), versions()?);
    if args.json {
        println!("{}", json!({ "faults": rows, "versions": versions }));
    } else {
        let versions: Vec<_> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        print!("{table}\n{}\n", versions.join(", "));
    }
    let wrong = rows.iter().filter(|row| row.cells.iter().any(is_wrong_lacuna)).count();
    ensure!(wrong == 0, "Lacuna was wrong in {wrong} of {} faults", rows.len());
    if args.write { tables::write(DOCUMENT, PLACE, &table) } else { Ok(()) }
}

fn in_order(mut scenarios: Vec<Scenario>) -> Result<Vec<Scenario>> {
    let place = |scenario: &Scenario| FAULTS.iter().position(|name| *name == scenario.name);
    let all = scenarios.len() == FAULTS.len() && scenarios.iter().all(|scenario| place(scenario).is_some());
    ensure!(all, "the scenarios to compare must be {FAULTS:?}");
    scenarios.sort_by_key(place);
    Ok(scenarios)
}

/// One fault: what everyone said of it. A run in which this machine itself held up a host says nothing of anybody, and is
/// made again.
fn play(scenario: &Scenario, setting: &Setting) -> Result<(Fault, Cell)> {
    let mut left = TRIES;
    loop {
        left -= 1;
        let outcome = super::run_kept(scenario, setting)?;
        let folder = outcome.kept.as_deref().context("the run kept nothing")?;
        // Without documents the run itself failed, and its problem says why.
        let held_up = lacuna::held_up(scenario, folder).with_context(|| outcome.problems.join("; "))?;
        if left == 0 || held_up.is_empty() {
            return read(scenario, &outcome, folder);
        }
        eprintln!("  this machine held up hosts by itself: {}; once more", held_up.join(", "));
    }
}

fn read(scenario: &Scenario, outcome: &Outcome, folder: &Path) -> Result<(Fault, Cell)> {
    let said = Product::ALL.map(|product| Ok((product, product.said(scenario, folder)?)));
    let said = said.into_iter().collect::<Result<BTreeMap<_, _>>>()?;
    let cell = lacuna::cell(scenario, outcome, folder)?;
    eprintln!("  Lacuna: {}; {:.0} s, kept in {}", cell.judged, outcome.seconds, folder.display());
    for line in &outcome.excused {
        eprintln!("  of this machine, and not of the fault: {line}");
    }
    Ok((Fault { name: scenario.name.clone(), truth: Truth::of(scenario), said }, cell))
}

fn rows(scenarios: &[Scenario], faults: &[Fault], lacuna: Vec<Cell>) -> Vec<Row> {
    let others = |fault: &Fault| {
        let column = |product: Product| Column {
            product: product.program(),
            cell: verdict::cell(product, fault, faults),
            said: fault.said.get(&product).cloned(),
        };
        Product::ALL.map(column)
    };
    let rows = scenarios.iter().zip(faults).zip(lacuna);
    let row = |((scenario, fault), cell): ((&Scenario, &Fault), Cell)| Row {
        fault: scenario.name.clone(),
        about: scenario.about.clone(),
        cells: others(fault).into_iter().chain([Column { product: "lacuna", cell, said: None }]).collect(),
    };
    rows.map(row).collect()
}

fn is_wrong_lacuna(column: &Column) -> bool {
    column.product == "lacuna" && column.cell.mark != Mark::Right
}

/// The versions of the others: the first word of what they say that begins like one.
fn versions() -> Result<BTreeMap<&'static str, String>> {
    let version = |product: Product| {
        let program = product.program();
        let option = if product == Product::Corosync { "-v" } else { "--version" };
        let said = sh::output(&mut sh::command(&["sh", "-c", &format!("{program} {option} 2>&1")]), "")?;
        Ok((program, version_in(&said).with_context(|| format!("{program} does not say its version"))?))
    };
    Product::ALL.into_iter().map(version).collect()
}

fn version_in(said: &str) -> Option<String> {
    let mut words = said.split(|letter: char| letter.is_whitespace() || "',v".contains(letter));
    let is_version = |word: &&str| word.contains('.') && word.starts_with(|first: char| first.is_ascii_digit());
    words.find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenarios_are_those_of_the_table() {
        let names: Vec<_> = in_order(scenario::compared().unwrap()).unwrap().into_iter().map(|s| s.name).collect();
        assert_eq!(names, FAULTS);
    }

    #[test]
    fn a_version_is_found_in_what_each_of_them_prints() {
        for (said, expected) in [
            ("Keepalived v2.2.7 (01/16,2022)\n", "2.2.7"),
            ("BIRD version 2.0.12\n", "2.0.12"),
            ("Corosync Cluster Engine, version '3.1.7'\n", "3.1.7"),
        ] {
            assert_eq!(version_in(said).as_deref(), Some(expected));
        }
        assert_eq!(version_in("usage: x"), None);
    }
}
