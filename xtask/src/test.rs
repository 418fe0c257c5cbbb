//! `cargo xtask test`: every test there is, step by step, with times and one closing line. What takes long by its nature is a
//! command of its own: repeats of the lab, and hours of `cargo xtask fuzz`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::{dashboards, fuzz, lab, lint, page, prepare, sh, sim};

/// Scenarios at once, which mostly wait, and fuzz targets.
const JOBS: u32 = 4;
/// Fleets that are simulated.
const SIMULATED: u32 = 1000;
/// How long each fuzz target is fed, in seconds.
const FED: u32 = 30;

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this step (what it needs is built all the same).
    #[arg(long)]
    only: Option<Step>,
}

/// The steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Step {
    /// The format of the code.
    Format,
    /// Probes and agent.
    Build,
    /// Clippy, warnings denied.
    Clippy,
    /// Unit, property and integration tests.
    Unit,
    /// A thousand simulated fleets.
    Sim,
    /// Every scenario of the namespace lab.
    Lab,
    /// Dashboards, rules and alerts, with Prometheus and Alertmanager beside agents.
    Dashboards,
    /// The web page in a browser.
    Page,
    /// Each fuzz target for half a minute.
    Fuzz,
}

/// What runs where nothing else is asked for, in order.
const STEPS: [Step; 9] = [
    Step::Format,
    Step::Build,
    Step::Clippy,
    Step::Unit,
    Step::Sim,
    Step::Lab,
    Step::Dashboards,
    Step::Page,
    Step::Fuzz,
];

/// How many of something passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: usize,
    failed: usize,
}

/// Runs the steps; an error where anything failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    prepare::to_test()?;
    prepare::to_browse()?;
    let mut done = Vec::new();
    let only = args.only.map(|only| vec![only]);
    for step in only.unwrap_or_else(|| STEPS.to_vec()) {
        println!("\n== {step:?}");
        let started = Instant::now();
        let tally = counted(step);
        println!("== {step:?}: {}", row(tally, started.elapsed()));
        done.push((step, tally, started.elapsed()));
    }
    summary(&done)
}

/// Runs one step; one that cannot be carried out is one failure.
fn counted(step: Step) -> Tally {
    perform(step).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        Tally { passed: 0, failed: 1 }
    })
}

fn perform(step: Step) -> Result<Tally> {
    let one = Tally { passed: 1, failed: 0 };
    match step {
        Step::Format => lint::format().map(|()| one),
        Step::Build => prepare::agent().map(|_| one),
        Step::Clippy => lint::clippy().map(|()| one),
        Step::Unit => cargo_test(),
        Step::Sim => sim::run(&sim::Args::checked(SIMULATED)).map(|()| one),
        Step::Lab => scenarios(),
        Step::Dashboards => dashboards_and_alerts(),
        Step::Page => page::run(&page::Args::with(prepare::agent()?)).map(|()| one),
        Step::Fuzz => fuzz_targets(),
    }
}

/// `cargo test`, its output shown and its own figures counted.
fn cargo_test() -> Result<Tally> {
    let mut child =
        sh::cargo(&["test", "--no-fail-fast"]).stdout(Stdio::piped()).spawn().context("cannot start `cargo test`")?;
    let stdout = child.stdout.take().context("`cargo test` without output")?;
    let mut tally = Tally::default();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        if let Some(Tally { passed, failed }) = figures(&line) {
            tally.passed += passed;
            tally.failed += failed;
        }
    }
    let clean = child.wait()?.success();
    ensure!(clean || tally.failed > 0, "`cargo test` could not run every test");
    Ok(tally)
}

/// The figures of a line like `test result: ok. 12 passed; 0 failed; …`.
fn figures(line: &str) -> Option<Tally> {
    let rest = line.strip_prefix("test result: ")?;
    let figure = |word: &str| {
        let before = rest.split(word).next()?;
        before.split_whitespace().next_back()?.parse().ok()
    };
    Some(Tally { passed: figure(" passed")?, failed: figure(" failed")? })
}

fn scenarios() -> Result<Tally> {
    let outcomes = lab::outcomes(&lab::Args::all(JOBS, prepare::agent()?))?;
    let passed = outcomes.iter().filter(|outcome| outcome.passed).count();
    Ok(Tally { passed, failed: outcomes.len() - passed })
}

/// What lies in `dashboards/`, and what becomes of it in the lab; the one does not hide the other.
fn dashboards_and_alerts() -> Result<Tally> {
    let checked = dashboards::check();
    if let Err(error) = &checked {
        eprintln!("error: {error:#}");
    }
    let lab::dashboards::Outcome { passed, failed, .. } = lab::dashboards::outcome(&prepare::agent()?)?;
    let (right, wrong) = (usize::from(checked.is_ok()), usize::from(checked.is_err()));
    Ok(Tally { passed: passed.len() + right, failed: failed.len() + wrong })
}

fn fuzz_targets() -> Result<Tally> {
    let (passed, failed) = fuzz::outcomes(&fuzz::Args::brief(FED, JOBS))?;
    Ok(Tally { passed, failed })
}

fn row(tally: Tally, took: Duration) -> String {
    let Tally { passed, failed } = tally;
    format!("{passed} passed, {failed} failed, {:.0} s", took.as_secs_f64())
}

fn summary(done: &[(Step, Tally, Duration)]) -> Result<()> {
    println!();
    let mut all = Tally::default();
    for (step, tally, took) in done {
        println!("{:<10} {}", format!("{step:?}").to_lowercase(), row(*tally, *took));
        all.passed += tally.passed;
        all.failed += tally.failed;
    }
    println!("{} passed, {} failed", all.passed, all.failed);
    ensure!(all.failed == 0, "some tests failed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_result_line_only() {
        let cases = [
            ("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured", Some((12, 0))),
            ("test result: FAILED. 3 passed; 2 failed; 0 ignored", Some((3, 2))),
            ("test lab::passed ... ok", None),
            ("2 passed, 1 failed", None),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|(passed, failed)| Tally { passed, failed });
            assert_eq!(figures(line), expected, "{line}");
        }
    }

    #[test]
    fn a_failure_anywhere_is_an_error() {
        let good = Tally { passed: 2, failed: 0 };
        let bad = Tally { passed: 2, failed: 1 };
        let took = Duration::from_secs(1);
        assert!(summary(&[(Step::Unit, good, took)]).is_ok());
        assert!(summary(&[(Step::Unit, good, took), (Step::Lab, bad, took)]).is_err());
    }
}
