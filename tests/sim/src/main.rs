//! A simulated fleet with known truth: hosts with the engine that the agent has, clocks that are off, a network that delays,
//! and faults of every kind, several at a time. One seed decides everything.

mod calibration;
mod chance;
mod clock;
mod details;
mod fault;
mod host;
mod machine;
mod network;
mod plan;
mod report;
mod score;
mod traces;
mod world;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use lacuna_core::recording::InMemory;

use crate::host::Host;
use crate::plan::{Mix, Plan, Wanted};
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
    /// How many hosts each watches on either side of it, in a fleet of more than eight.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=100))]
    aside: u8,
    /// Which faults there are more of: what was calibrated on one mix is tried on another.
    #[arg(long, value_enum, default_value_t)]
    mix: Mix,
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
        Wanted {
            seed,
            hosts: self.hosts.clone(),
            lasts: Duration::from_secs(self.seconds),
            mix: self.mix,
            aside: self.aside.into(),
        }
    }
}

fn run(args: &Args) -> Report {
    let began = Instant::now();
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
                    // A long run need not end before somebody looks into them.
                    score.blames.iter().for_each(|blame| eprintln!("{blame}"));
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
        took_seconds: began.elapsed().as_secs_f64(),
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
        Some(folder) => save(folder, plan),
        None => {
            explain(&plan);
            Ok(())
        }
    }
}

/// Each host's recording, as the agent writes it.
fn save(folder: &Path, plan: Plan) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let hosts = plan.world.hosts.len();
    for host in plan.world.hosts {
        let path = folder.join(format!("{}.lacuna", host.name));
        let file = host.recording.map(InMemory::into_file).unwrap_or_default();
        std::fs::write(&path, file).with_context(|| path.display().to_string())?;
    }
    println!("{hosts} recordings in {}", folder.display());
    Ok(())
}

fn explain(plan: &Plan) {
    println!("{} hosts", plan.world.hosts.len());
    plan.faults.iter().for_each(|fault| println!("{}", score::describe(fault)));
    for (host, said) in plan.world.hosts.iter().flat_map(|host| host.said.iter().map(move |said| (host, said))) {
        let verdict = &said.incident.verdict;
        println!(
            "{:>8.3} s  {:<4} {} {} {:?} {} {:?} {} ms: {}",
            said.at.seconds(),
            host.name,
            &said.incident.id[..14],
            said.incident.trace_id,
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
    use lacuna_core::recording::{Options, replay};

    use super::*;
    use crate::clock::Time;
    use crate::fault::{Fault, Kind};

    fn lived(seed: u64, recorded: bool) -> Plan {
        let mut plan =
            Plan::new(&Wanted { seed, hosts: 4..=4, lasts: Duration::from_secs(60), mix: Mix::Even, aside: 2 });
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

    fn assert_replays(plan: Plan, what: &str) {
        for mut host in plan.world.hosts {
            let recording = host.recording.take().unwrap().into_file();
            let replayed = replay(&recording, &Options::default()).unwrap();
            assert_eq!(replayed.said, said(&host), "{what}, {}", host.name);
        }
    }

    #[test]
    fn a_restored_machine_goes_on_with_what_it_had_been_told() {
        let mut plan =
            Plan::new(&Wanted { seed: 1, hosts: 4..=4, lasts: Duration::from_secs(60), mix: Mix::Even, aside: 2 });
        let at = |seconds: u64| Time(seconds * 1_000_000_000);
        plan.faults = vec![Fault::once(Kind::Restored { host: 1, taken: at(20) }, at(30), at(33))];
        plan.world.hosts.iter_mut().for_each(Host::record);
        plan.world.hosts[1].remember();
        plan.run();
        let forgotten = |said: &host::Said| said.at > at(20) && said.at < at(33);
        assert!(!plan.world.hosts[1].said.iter().any(forgotten));
        assert!(plan.world.hosts.iter().all(|host| host.said.iter().any(|said| said.at > at(30))), "all notice it");
        assert_replays(plan, "restored");
    }

    #[test]
    fn what_a_host_was_told_replays_to_what_it_said() {
        for seed in 1..=3 {
            assert_replays(lived(seed, true), &format!("seed {seed}"));
        }
    }
}
