//! A simulated fleet with known truth: hosts with the engine that the agent has, clocks that are off, a network that delays,
//! and faults of every kind, several at a time. One seed decides everything.

mod chance;
mod clock;
mod fault;
mod host;
mod machine;
mod network;
mod plan;
mod report;
mod score;
mod world;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

use crate::host::Host;
use crate::plan::{Plan, Wanted};
use crate::report::Report;
use crate::score::Score;

/// Simulates fleets and compares what they conclude with what is true.
#[derive(Parser)]
struct Args {
    /// How many fleets.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    seeds: u64,
    /// The seed of the first one; each has the next.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// How many hosts a fleet has, at least and at most: 5..50.
    #[arg(long, default_value = "5..50", value_parser = hosts)]
    hosts: RangeInclusive<usize>,
    /// For how long each lives, in seconds of its own time.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(45..=86_400))]
    seconds: u64,
    /// How many are simulated at once.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
    jobs: u64,
    /// Prints what befalls the fleet of the first seed and everything that its hosts say, and no table.
    #[arg(long)]
    explain: bool,
    /// Saves what each host of the first seed was told, as recordings in that folder.
    #[arg(long)]
    record: Option<PathBuf>,
    /// Fails where less is right, or somebody is blamed for nothing more often, than the goals say.
    #[arg(long)]
    check: bool,
    /// Prints one JSON document and nothing else.
    #[arg(long)]
    json: bool,
}

fn hosts(text: &str) -> Result<RangeInclusive<usize>> {
    let (least, most) = text.split_once("..").context("two numbers with .. between them, such as 5..50")?;
    let range = least.trim().parse()?..=most.trim().parse()?;
    ensure!((4..=*range.end()).contains(range.start()), "the first number is at least 4 and not above the second");
    ensure!(*range.end() <= 1000, "at most 1000 hosts");
    Ok(range)
}

fn main() -> Result<()> {
    let args = Args::parse();
    if args.explain || args.record.is_some() {
        return one(&args);
    }
    let report = run(&args);
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        report.print();
    }
    if args.check { report.check() } else { Ok(()) }
}

impl Args {
    fn wanted(&self, seed: u64) -> Wanted {
        Wanted { seed, hosts: self.hosts.clone(), lasts: Duration::from_secs(self.seconds) }
    }
}

fn run(args: &Args) -> Report {
    let (next, scores) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= args.seeds {
                        break;
                    }
                    let score = simulate(&args.wanted(args.first_seed.saturating_add(place)));
                    if let Ok(mut scores) = scores.lock() {
                        scores.insert(place, score);
                        progress(scores.len(), args.seeds);
                    }
                }
            });
        }
    });
    let mut report = Report {
        seeds: args.seeds,
        first_seed: args.first_seed,
        seconds_of_each: args.seconds as f64,
        ..Report::default()
    };
    let scores = scores.into_inner().unwrap_or_default();
    scores.into_values().for_each(|score| report.add(score));
    report
}

fn simulate(wanted: &Wanted) -> Score {
    let mut plan = Plan::new(wanted);
    plan.run();
    score::score(wanted.seed, &plan)
}

/// On a terminal only: how far it is.
fn progress(done: usize, of: u64) {
    if std::io::stderr().is_terminal() && done.is_multiple_of(20) {
        eprint!("\r{done} of {of} fleets ");
    }
}

/// The fleet of the first seed: told in words, or saved.
fn one(args: &Args) -> Result<()> {
    let mut plan = Plan::new(&args.wanted(args.first_seed));
    if args.record.is_some() {
        plan.world.hosts.iter_mut().for_each(Host::record);
    }
    plan.run();
    match &args.record {
        Some(folder) => save(folder, &plan),
        None => {
            explain(&plan);
            Ok(())
        }
    }
}

/// Each host's recording, a value a line, as the agent writes it.
fn save(folder: &Path, plan: &Plan) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for host in &plan.world.hosts {
        let path = folder.join(format!("{}.jsonl", host.name));
        let mut file = BufWriter::new(File::create(&path).with_context(|| path.display().to_string())?);
        for line in host.recording.iter().flatten() {
            writeln!(file, "{}", serde_json::to_string(line)?)?;
        }
        file.flush()?;
    }
    println!("{} recordings in {}", plan.world.hosts.len(), folder.display());
    Ok(())
}

fn explain(plan: &Plan) {
    println!("{} hosts", plan.world.hosts.len());
    plan.faults.iter().for_each(|fault| println!("{}", score::describe(fault)));
    for (host, said) in plan.world.hosts.iter().flat_map(|host| host.said.iter().map(move |said| (host, said))) {
        let verdict = &said.incident.verdict;
        println!(
            "{:>8.3} s  {:<4} {} {:?} {} {:?} {} ms: {}",
            said.at.seconds(),
            host.name,
            &said.incident.id[..14],
            said.incident.state,
            verdict.class.name(),
            verdict.subject,
            said.incident.duration_ms,
            verdict.summary
        );
    }
}

#[cfg(test)]
mod tests {
    use lacuna_core::incident::Incident;
    use lacuna_core::recording::replay;

    use super::*;

    fn lived(seed: u64, recorded: bool) -> Plan {
        let mut plan = Plan::new(&Wanted { seed, hosts: 4..=4, lasts: Duration::from_secs(60) });
        if recorded {
            plan.world.hosts.iter_mut().for_each(Host::record);
        }
        plan.run();
        plan
    }

    fn said(host: &Host) -> Vec<Incident> {
        host.said.iter().map(|said| said.incident.clone()).collect()
    }

    #[test]
    fn one_seed_is_one_story() {
        let told = |seed| lived(seed, false).world.hosts.iter().map(said).collect::<Vec<_>>();
        let first: Vec<_> = (1..=4).map(told).collect();
        assert!(first.iter().flatten().any(|said| !said.is_empty()), "nothing befell any of them");
        assert!((1..=4).map(told).eq(first));
    }

    #[test]
    fn what_a_host_was_told_replays_to_what_it_said() {
        for seed in 1..=3 {
            for host in &lived(seed, true).world.hosts {
                let lines = host.recording.iter().flatten().map(|line| serde_json::to_string(line).unwrap());
                let text = lines.collect::<Vec<_>>().join("\n");
                assert_eq!(replay(&text), Ok(said(host)), "seed {seed}, {}", host.name);
            }
        }
    }
}
