//! `cargo xtask lab`: faults between real agents in network namespaces and virtual machines, and whether each says
//! what is true.

pub(crate) mod agent;
pub(crate) mod api;
pub(crate) mod clock;
mod collector;
mod compare;
mod daemon;
pub(crate) mod dashboards;
pub(crate) mod fault;
mod figures;
mod flood;
pub(crate) mod folder;
pub(crate) mod guest;
mod helper;
mod iperf;
mod judge;
mod keepalived;
pub(crate) mod keys;
mod load;
mod machine;
pub(crate) mod netns;
pub(crate) mod network;
mod play;
mod receiver;
mod replayed;
mod report;
pub(crate) mod router;
mod scenario;
mod step;
mod traffic;
mod watch;
mod web;
mod whole_host;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use self::folder::Folder;
use self::guest::{Image, Release};
use self::judge::Judgement;
use self::play::Setting;
pub(crate) use self::report::Outcome;
use self::scenario::Scenario;
use crate::stop::Stop;
use crate::{build, prepare};

/// A run that says nothing of the agent is made so many times at most: in one of thirty a guest dies of the emulator, in
/// one of ten where an agent starts twice.
const TRIES: usize = 4;

/// What is told of a run in which a guest died of the emulator.
pub(crate) const EMULATOR_ERRED: &str = "a guest's kernel died while it patched its code, of the emulator";

/// Arguments of `cargo xtask lab`.
#[derive(clap::Args, Clone, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    subcommand_precedence_over_arg = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    instead: Option<Instead>,
    /// Names of scenarios, paths of scenario files, `all` that need no guests, or `guests`: all with virtual machines.
    #[arg(required_unless_present = "list")]
    scenarios: Vec<String>,
    /// Lists the scenarios and what they show.
    #[arg(long)]
    list: bool,
    /// Runs each scenario that often.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Runs that many scenarios at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    jobs: u32,
    /// Runs guests with this kernel only, instead of with each.
    #[arg(long)]
    kernel: Option<Release>,
    /// Keeps the CPUs busy with `cargo build` meanwhile.
    #[arg(long)]
    load: bool,
    /// Prints one JSON document to stdout and nothing else.
    #[arg(long)]
    json: bool,
    /// Keeps logs, configurations and documents of the runs that passed, too.
    #[arg(long)]
    keep_logs: bool,
    /// Replays what each agent recorded that often, in different surroundings: every time it must print the same bytes.
    #[arg(long, default_value_t = replayed::REPLAYS, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    replays: u32,
    /// The agent to run, instead of building the one of this workspace.
    #[arg(long)]
    agent: Option<PathBuf>,
}

/// What is not the run of some scenarios.
#[derive(clap::Subcommand, Clone, Debug)]
enum Instead {
    /// What keepalived, bird2's BFD, corosync and Lacuna conclude from the same faults, in one table.
    Compare(compare::Args),
    /// Whether Prometheus and Alertmanager make of three agents what dashboards and alerts promise.
    Dashboards(dashboards::Args),
    /// What one stall is to whoever is on call: a page, a verdict, and what the web page shows of it.
    OnCall(dashboards::on_call::Args),
}

impl Args {
    /// Every scenario once that needs no guests.
    pub(crate) fn all(jobs: u32, agent: PathBuf) -> Self {
        Self { jobs, agent: Some(agent), ..Self::once("all") }
    }

    /// One scenario with guests once, with that kernel, its logs and documents kept.
    pub(crate) fn kept(scenario: &str, kernel: Release) -> Self {
        Self { kernel: Some(kernel), keep_logs: true, ..Self::once(scenario) }
    }

    fn once(scenario: &str) -> Self {
        Self {
            instead: None,
            scenarios: vec![scenario.into()],
            list: false,
            repeat: 1,
            jobs: 1,
            kernel: None,
            load: false,
            json: false,
            keep_logs: false,
            replays: replayed::REPLAYS,
            agent: None,
        }
    }
}

/// Runs the scenarios; an error where one failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.instead {
        Some(Instead::Compare(args)) => return compare::run(args),
        Some(Instead::Dashboards(args)) => return dashboards::run(args),
        Some(Instead::OnCall(args)) => return dashboards::on_call::run(args),
        None => {}
    }
    if args.list {
        for scenario in scenario::all()?.into_iter().chain(scenario::with_guests()?) {
            println!("{:<24} {}", scenario.name, scenario.about);
        }
        return Ok(());
    }
    let started = Instant::now();
    let outcomes = outcomes(args)?;
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    if args.json {
        println!("{}", serde_json::json!({ "runs": outcomes }));
    } else {
        report::print_table(&outcomes, started.elapsed());
    }
    ensure!(failed == 0, "{failed} of {} runs failed", outcomes.len());
    Ok(())
}

/// Runs the scenarios and tells each run as it ends.
pub(crate) fn outcomes(args: &Args) -> Result<Vec<Outcome>> {
    let scenarios = chosen(args)?;
    let stop = Stop::on_signals()?;
    clean_up()?;
    let guests = scenarios.iter().any(Scenario::has_guests);
    let agent = agent_or_build(args.agent.as_deref(), guests)?;
    if scenarios.iter().any(|scenario| scenario.collector) {
        crate::collector::program()?;
    }
    let images = if guests { images(&agent, args.kernel)? } else { Vec::new() };
    let setting = Setting { agent, loaded: args.load, replays: args.replays, stop: stop.clone() };
    let hog = args.load.then(|| load::Hog::start(&stop)).transpose()?;
    let outcomes = run_all(&queue(scenarios, args.repeat, &images), args, &setting)?;
    drop(hog);
    stop.check()?;
    Ok(outcomes)
}

/// The scenarios that were asked for, without those that cannot be judged under load.
fn chosen(args: &Args) -> Result<Vec<Scenario>> {
    let (alone, mut chosen): (Vec<_>, Vec<_>) =
        scenario::choose(&args.scenarios)?.into_iter().partition(|scenario| scenario.alone);
    if !args.load {
        chosen.extend(alone);
        return Ok(chosen);
    }
    for Scenario { name, .. } in alone {
        eprintln!("left out: {name}, which needs the CPUs for itself, not with --load");
    }
    ensure!(!chosen.is_empty(), "no scenario is left to run");
    Ok(chosen)
}

/// The agent that was named, or else the one of this workspace with all that it takes to test it.
/// Guests need one that is linked statically.
pub(crate) fn agent_or_build(named: Option<&Path>, guests: bool) -> Result<PathBuf> {
    if guests {
        prepare::to_run_guests()?;
    }
    if let Some(agent) = named {
        return agent.canonicalize().with_context(|| format!("the agent {}", agent.display()));
    }
    prepare::to_test()?;
    build::agent(guests)
}

/// What guests boot from: an image for each kernel.
pub(crate) fn images(agent: &Path, only: Option<Release>) -> Result<Vec<Arc<Image>>> {
    let first = build::first_process()?;
    let releases = only.map_or_else(|| Release::ALL.to_vec(), |only| vec![only]);
    let images = releases.into_iter().map(|release| Image::make(release, agent, &first).map(Arc::new));
    images.collect()
}

/// Removes what runners left behind that were killed.
pub(crate) fn clean_up() -> Result<()> {
    // First, since what is frozen cannot be ended.
    guest::cgroup::remove_leftovers()?;
    for name in netns::remove_leftovers()? {
        eprintln!("removed the namespace {name}, left behind by a runner that is no more");
    }
    load::remove_leftovers(&crate::target())?;
    folder::remove_old()
}

/// A run that is still to be made.
struct Turn {
    scenario: Scenario,
    /// What its guests boot from, where it has any.
    image: Option<Arc<Image>>,
    run: u32,
}

impl Turn {
    /// The name of the scenario, with the kernel of its guests.
    fn name(&self) -> String {
        let name = &self.scenario.name;
        self.image.as_ref().map_or_else(|| name.clone(), |image| format!("{name}@{}", image.release))
    }
}

/// The longest first, so that they do not end alone; those that must be alone at the end.
/// One with guests runs on each kernel.
fn queue(mut scenarios: Vec<Scenario>, repeat: u32, images: &[Arc<Image>]) -> Vec<Turn> {
    scenarios.sort_by_key(|scenario| (scenario.alone, std::cmp::Reverse(scenario.lasts)));
    let mut turns = Vec::new();
    for scenario in scenarios {
        let images: Vec<_> = images.iter().cloned().map(Some).collect();
        for image in if scenario.has_guests() { images } else { vec![None] } {
            let turn = |run| Turn { scenario: scenario.clone(), image: image.clone(), run };
            turns.extend((1..=repeat).map(turn));
        }
    }
    turns
}

fn run_all(turns: &[Turn], args: &Args, setting: &Setting) -> Result<Vec<Outcome>> {
    let alone = turns.partition_point(|turn| !turn.scenario.alone);
    let (together, alone) = turns.split_at(alone);
    let mut outcomes = run_some(together, args.jobs, args, setting)?;
    outcomes.extend(run_some(alone, 1, args, setting)?);
    Ok(outcomes)
}

fn run_some(turns: &[Turn], jobs: u32, args: &Args, setting: &Setting) -> Result<Vec<Outcome>> {
    let waiting = Mutex::new(turns.iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    while let (false, Some(turn)) = (setting.stop.raised(), next()) {
                        let outcome = run_one(turn, args, setting)?;
                        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                        if !args.json {
                            report::print_outcome(&outcome, args.repeat > 1);
                        }
                        done.push(outcome);
                    }
                    Ok(())
                })
            })
            .collect();
        for worker in workers {
            match worker.join() {
                Ok(ended) => ended?,
                Err(_) => bail!("a run panicked"),
            }
        }
        Ok(())
    })?;
    Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Runs a scenario without guests once, and keeps its logs and documents.
fn run_kept(scenario: &Scenario, setting: &Setting) -> Result<Outcome> {
    let turn = Turn { scenario: scenario.clone(), image: None, run: 1 };
    run_one(&turn, &Args { keep_logs: true, ..Args::once(&scenario.name) }, setting)
}

fn run_one(turn: &Turn, args: &Args, setting: &Setting) -> Result<Outcome> {
    let started = Instant::now();
    let scenario = &turn.scenario;
    let folder = Folder::create(&turn.name())?;
    let mut again = Vec::new();
    let judged = loop {
        let judged = play::play(scenario, turn.image.as_deref(), setting, folder.path());
        setting.stop.check()?;
        match says_nothing(scenario, &judged, folder.path())? {
            Some(why) if again.len() + 1 < TRIES => {
                eprintln!("{}: {why}; once more", turn.name());
                again.push(why);
                folder.empty()?;
            }
            _ => break judged,
        }
    };
    let (passed, reached, problems, excused) = match judged {
        Ok(judged) => {
            let passed = judged.passed();
            let problems = [judged.missing, judged.wrong].concat();
            (passed, judged.reached, problems, judged.excused)
        }
        Err(error) => (false, Vec::new(), vec![format!("{error:#}")], Vec::new()),
    };
    Ok(Outcome {
        scenario: turn.name(),
        run: turn.run,
        passed,
        seconds: started.elapsed().as_secs_f64(),
        reached,
        problems,
        excused,
        again,
        kept: (!passed || args.keep_logs).then(|| folder.keep()),
    })
}

/// Why a run says nothing of the agent: a guest died of the emulator or never ran one, or it failed and this machine stalled a
/// guest, which is another fault than those that it was to be judged by.
fn says_nothing(scenario: &Scenario, judged: &Result<Judgement>, folder: &Path) -> Result<Option<String>> {
    if scenario.has_guests() && guest::emulator_erred(folder)? {
        return Ok(Some(EMULATOR_ERRED.into()));
    }
    Ok(match judged {
        Err(error) => error.downcast_ref::<guest::NotUp>().map(ToString::to_string),
        Ok(judged) if judged.passed() => None,
        Ok(judged) => judged.disturbed.clone(),
    })
}
