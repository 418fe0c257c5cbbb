//! `cargo xtask bench page`: how long the web page takes, and what it weighs, with a hundred incidents in the store and with ten
//! thousand.
//!
//! Two real agents watch each other, each with a store that was filled before. They are asked in turns over connections that are
//! kept, so that what else the machine does befalls both; what counts is the ratio of the medians. `/api/v1/status`, which does
//! not read the store, is asked as well: its ratio is what the machine's own noise does.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::stats::median;
use crate::lab::agent::{self, Agent};
use crate::lab::api::{Client, LOCAL};
use crate::lab::folder::Folder;
use crate::lab::network::Network;
use crate::stop::Stop;
use crate::{build, process};

/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Answers before it counts: what is read for the first time comes from the disk.
const WARM_UP: usize = 20;
/// The page with the full store may take so many times as long as with the other.
const MOST: f64 = 2.0;
/// And weigh so much, in bytes.
const HEAVIEST: usize = 100_000;

/// Arguments of `cargo xtask bench page`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each is asked.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(20..=100_000))]
    rounds: u32,
    /// Incidents in the one store.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    few: u32,
    /// Incidents in the other.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    many: u32,
    /// Prints one JSON document to stdout and nothing else.
    #[arg(long)]
    json: bool,
    /// The agent to measure, instead of building the one of this workspace.
    #[arg(long)]
    agent: Option<PathBuf>,
    /// What fills the stores (`agent/examples/many_incidents.rs`), instead of building it.
    #[arg(long)]
    filler: Option<PathBuf>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Report {
    few: Answers,
    many: Answers,
    /// The medians of the pages, the second by the first.
    ratio: f64,
    /// The same of answers that do not read the store.
    ratio_without_store: f64,
}

/// Of one agent; medians in seconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Answers {
    incidents: u32,
    page: f64,
    page_bytes: usize,
    status: f64,
}

/// Measures; an error where the page is too slow or too heavy.
pub(crate) fn run(args: &Args) -> Result<()> {
    let stop = Stop::on_signals()?;
    crate::lab::clean_up()?;
    let agent = crate::lab::agent_or_build(args.agent.as_deref(), false)?;
    let filler = args.filler.clone().map_or_else(build::many_incidents, Ok)?;
    let folder = Folder::create("bench-page")?;
    let measured = measure(args, &agent, &filler, folder.path(), &stop);
    let report = match measured {
        Ok(report) => report,
        Err(error) => {
            let kept = folder.keep();
            return Err(error.context(format!("logs are kept in {}", kept.display())));
        }
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        report.print(args.rounds);
    }
    report.judge()
}

fn measure(args: &Args, binary: &Path, filler: &Path, folder: &Path, stop: &Stop) -> Result<Report> {
    let network = Network::create(&["few", "many"])?;
    let mut agents = Vec::new();
    for (host, count) in network.hosts.iter().zip([args.few, args.many]) {
        agent::configure(&network, host, &toml::Table::new(), folder)?;
        let mut fill = std::process::Command::new(filler);
        process::run(fill.arg(agent::store(folder, &host.name)).arg(count.to_string()))?;
        agents.push(Agent::start(binary, host, folder)?);
    }
    let asked = std::thread::scope(|scope| {
        let askers = network.hosts.iter().map(|host| Asker::start(scope, host.namespace(), stop));
        rounds(&askers.collect::<Result<Vec<_>>>()?, args.rounds, stop)
    })?;
    ensure!(agents.iter_mut().all(Agent::alive), "an agent ended");
    let [few, many] = asked;
    Report::of(few.answers(args.few)?, many.answers(args.many)?)
}

/// The times of one agent's answers, in seconds.
#[derive(Default)]
struct Times {
    page: Vec<f64>,
    page_bytes: usize,
    status: Vec<f64>,
}

impl Times {
    fn answers(&self, incidents: u32) -> Result<Answers> {
        let middle = |times: &[f64]| median(times.iter().copied().skip(WARM_UP)).context("no answers");
        Ok(Answers { incidents, page: middle(&self.page)?, page_bytes: self.page_bytes, status: middle(&self.status)? })
    }
}

/// A thread in an agent's namespace that asks when it is told to.
struct Asker {
    ask: std::sync::mpsc::Sender<&'static str>,
    answer: std::sync::mpsc::Receiver<Result<(f64, usize)>>,
}

impl Asker {
    fn start<'scope>(
        scope: &'scope std::thread::Scope<'scope, '_>,
        namespace: Result<&crate::lab::netns::Namespace>,
        stop: &Stop,
    ) -> Result<Self> {
        let name = namespace?.name().to_owned();
        let (ask, asked) = std::sync::mpsc::channel::<&'static str>();
        let (answers, answer) = std::sync::mpsc::channel();
        let stop = stop.clone();
        scope.spawn(move || {
            let client = match ready(&name, &stop) {
                Ok(client) => client,
                // Who asks is told by the first answer.
                Err(error) => return drop(answers.send(Err(error))),
            };
            while let Ok(path) = asked.recv() {
                if answers.send(timed(&client, path)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { ask, answer })
    }

    /// How long that took, in seconds, and how long it is, in bytes.
    fn ask(&self, path: &'static str) -> Result<(f64, usize)> {
        // A thread that has ended says why.
        let _ = self.ask.send(path);
        self.answer.recv().context("the one who asks has ended")?
    }
}

/// A connection to the agent of that namespace, once it answers.
fn ready(namespace: &str, stop: &Stop) -> Result<Client> {
    crate::lab::netns::join(namespace)?;
    let client = Client::new(LOCAL, PATIENCE);
    let healthy = stop.wait_for(PATIENCE, || client.health().is_ok_and(|(status, _)| status == 200))?;
    ensure!(healthy, "the agent in {namespace} is not healthy after {PATIENCE:?}");
    Ok(client)
}

fn timed(client: &Client, path: &str) -> Result<(f64, usize)> {
    let began = Instant::now();
    let text = client.text(path)?;
    Ok((began.elapsed().as_secs_f64(), text.len()))
}

/// Each second round the other way round.
fn rounds(askers: &[Asker], rounds: u32, stop: &Stop) -> Result<[Times; 2]> {
    let mut times = [Times::default(), Times::default()];
    let warm_up = u32::try_from(WARM_UP)?;
    for round in 0..rounds + warm_up {
        stop.check()?;
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for place in order {
            let asker = askers.get(place).context("an agent is missing")?;
            let (page, bytes) = asker.ask("/")?;
            let (status, _) = asker.ask("/api/v1/status")?;
            let own = &mut times[place];
            own.page.push(page);
            own.status.push(status);
            own.page_bytes = own.page_bytes.max(bytes);
        }
    }
    Ok(times)
}

impl Report {
    fn of(few: Answers, many: Answers) -> Result<Self> {
        ensure!(few.page > 0.0 && few.status > 0.0, "an answer took no time");
        let (ratio, ratio_without_store) = (many.page / few.page, many.status / few.status);
        Ok(Self { few, many, ratio, ratio_without_store })
    }

    fn print(&self, rounds: u32) {
        println!("{rounds} answers each, medians");
        for answers in [&self.few, &self.many] {
            let Answers { incidents, page, page_bytes, status } = answers;
            println!(
                "{incidents:>7} incidents  page {:.2} ms, {:.1} kB  status {:.2} ms",
                page * 1e3,
                *page_bytes as f64 / 1e3,
                status * 1e3
            );
        }
        println!("ratio of the pages: {:.2} (allowed {MOST:.0})", self.ratio);
        println!("ratio of what does not read the store: {:.2}", self.ratio_without_store);
    }

    fn judge(&self) -> Result<()> {
        let heaviest = self.few.page_bytes.max(self.many.page_bytes);
        ensure!(heaviest < HEAVIEST, "a page weighs {heaviest} bytes");
        ensure!(self.ratio <= MOST, "the page takes {:.2} times as long", self.ratio);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(page: f64, page_bytes: usize) -> Answers {
        Answers { incidents: 1, page, page_bytes, status: 0.001 }
    }

    #[test]
    fn what_is_too_slow_or_too_heavy_is_an_error() {
        let judged = |few: Answers, many: Answers| Report::of(few, many).unwrap().judge();
        assert!(judged(answers(0.002, 40_000), answers(0.0039, 40_000)).is_ok());
        assert!(judged(answers(0.002, 40_000), answers(0.0041, 40_000)).is_err());
        assert!(judged(answers(0.002, 40_000), answers(0.002, 100_000)).is_err());
        assert!(Report::of(answers(0.0, 1), answers(1.0, 1)).is_err());
    }

    #[test]
    fn the_first_answers_do_not_count() {
        let times = |first: f64| Times {
            page: std::iter::repeat_n(first, WARM_UP).chain([0.001; 5]).collect(),
            page_bytes: 7,
            status: vec![0.002; WARM_UP + 5],
        };
        assert_eq!(times(9.0).answers(3).unwrap(), times(0.0).answers(3).unwrap());
        assert!(Times::default().answers(3).is_err());
    }
}
