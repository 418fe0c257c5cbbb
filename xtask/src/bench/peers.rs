//! `cargo xtask bench peers`: what it costs to watch many peers at ten heartbeats a second, beside bird2 with as many BFD
//! sessions at 100 ms.
//!
//! Each is measured alone, on a link of its own: bird against another bird, the agent, as it is installed, with its probes and
//! with a key, against stand-ins that speak as agents do (`agent/examples/mesh_peers.rs`), and once more without a key. They
//! take turns in one run, each second round the other way round; what counts is the ratio within a round. Each
//! window is two halves, whose ratio is what the machine's own noise does to it (A/A).

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;

use super::bird::{self, Bird};
use super::link::{self, Link, MEASURED};
use super::stats::{median, range};
use super::usage::Usage;
use crate::lab::api::{Client, LOCAL};
use crate::lab::folder::Folder;
use crate::lab::keys;
use crate::stop::Stop;

/// What does not come up in this time never will.
const PATIENCE: Duration = Duration::from_secs(60);
/// What comes up does more than it does later.
const SETTLE: Duration = Duration::from_secs(3);
/// How long an agent may take to end.
const END: Duration = Duration::from_secs(10);
/// The host that is measured; its peers have its key file as well.
const NAME: &str = "a";
/// The port of heartbeats.
const PORT: u16 = 9479;

/// Arguments of `cargo xtask bench peers`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many rounds; fewer than seven show little.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    pairs: u32,
    /// How long each is measured in a round, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: u64,
    /// How many peers, and BFD sessions.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=i64::from(link::MOST)))]
    peers: u8,
    /// Prints one JSON document to stdout and nothing else.
    #[arg(long)]
    json: bool,
    /// The agent to measure, instead of building the one of this workspace.
    #[arg(long, requires = "stand_ins")]
    agent: Option<PathBuf>,
    /// The stand-ins for its peers, built from the same state.
    #[arg(long, requires = "agent")]
    stand_ins: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Subject {
    /// bird2.
    Bird,
    /// The agent, with a key.
    Keyed,
    /// The agent, without one.
    Open,
}

impl Subject {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Bird, "bird"), (Self::Keyed, "lacuna, with a key"), (Self::Open, "lacuna, without")];
}

/// One of them, measured for a while.
#[derive(Clone, Copy, Debug, Serialize)]
struct Window {
    subject: Subject,
    round: u32,
    /// The part of one CPU, in each half.
    cpu_halves: [f64; 2],
    /// Wake-ups a second.
    wakeups: f64,
    rss_mib: f64,
}

impl Window {
    fn cpu(&self) -> f64 {
        self.cpu_halves.iter().sum::<f64>() / 2.0
    }
}

/// The middle of some figures, and their range.
#[derive(Clone, Copy, Debug, Serialize)]
struct Spread {
    median: f64,
    least: f64,
    greatest: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Result<Self> {
        let (least, greatest) = range(values.clone()).context("nothing was measured")?;
        Ok(Self { median: median(values).context("nothing was measured")?, least, greatest })
    }
}

/// Everything that the measurement found.
#[derive(Clone, Debug, Serialize)]
struct Report {
    compared_with: String,
    peers: u8,
    windows: Vec<Window>,
    /// The agent's CPU by bird's, in the same round.
    ratio_keyed: Spread,
    ratio_open: Spread,
    /// The second half of each window by its first.
    a_a: Spread,
}

/// Measures, and fails only where something did not work; the ratio is for the reader.
pub(crate) fn run(args: &Args) -> Result<()> {
    let stop = Stop::on_signals()?;
    crate::lab::clean_up()?;
    let agent = crate::lab::agent_or_build(args.agent.as_deref(), false)?;
    let stand_ins = match &args.stand_ins {
        Some(path) => path.canonicalize().with_context(|| path.display().to_string())?,
        None => crate::build::stand_ins()?,
    };
    let folder = Folder::create("bench-peers")?;
    keys::give(folder.path(), NAME, &[keys::CLUSTER])?;
    let bench = Bench { agent, stand_ins, folder: folder.path().to_owned(), peers: args.peers, stop };
    let windows = match bench.rounds(args) {
        Ok(windows) => windows,
        Err(error) => {
            let kept = folder.keep();
            return Err(error.context(format!("logs are kept in {}", kept.display())));
        }
    };
    let report = Report::of(windows, args)?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        report.print();
    }
    Ok(())
}

/// What the measurement is made with.
struct Bench {
    agent: PathBuf,
    stand_ins: PathBuf,
    folder: PathBuf,
    peers: u8,
    stop: Stop,
}

impl Bench {
    fn rounds(&self, args: &Args) -> Result<Vec<Window>> {
        let half = Duration::from_secs(args.seconds) / 2;
        let mut windows = Vec::new();
        for round in 1..=args.pairs {
            let mut turns = Subject::ALL;
            if round % 2 == 0 {
                turns.reverse();
            }
            for (subject, name) in turns {
                let window = self.window(subject, round, half).with_context(|| format!("{name}, round {round}"))?;
                if !args.json {
                    println!(
                        "round {round:>2}  {name:<20} {:.2} % of a CPU  {:.0} wake-ups/s  {:.1} MiB",
                        window.cpu() * 100.0,
                        window.wakeups,
                        window.rss_mib
                    );
                }
                windows.push(window);
            }
        }
        Ok(windows)
    }

    fn window(&self, subject: Subject, round: u32, half: Duration) -> Result<Window> {
        let link = Link::create(self.peers, subject == Subject::Bird)?;
        let running = match subject {
            Subject::Bird => self.birds(&link)?,
            Subject::Keyed => self.agent(&link, Some(&keys::file(&self.folder, NAME)))?,
            Subject::Open => self.agent(&link, None)?,
        };
        self.stop.sleep_until(Instant::now() + SETTLE)?;
        let mut at = Vec::new();
        for _ in 0..3 {
            at.push((Instant::now(), Usage::of(running.pid())?));
            if at.len() < 3 {
                self.stop.sleep_until(Instant::now() + half)?;
            }
        }
        running.end()?;
        let [(begin, first), (middle, second), (end, third)] = &at[..] else { anyhow::bail!("three readings") };
        let cpu = |from: &Usage, to: &Usage, length: Duration| to.since(from).0.as_secs_f64() / length.as_secs_f64();
        Ok(Window {
            subject,
            round,
            cpu_halves: [cpu(first, second, *middle - *begin), cpu(second, third, *end - *middle)],
            wakeups: third.since(first).1 as f64 / (*end - *begin).as_secs_f64(),
            rss_mib: third.rss_kib as f64 / 1024.0,
        })
    }

    fn birds(&self, link: &Link) -> Result<Running> {
        let pairs = |one: fn(u8) -> Ipv4Addr, other: fn(u8) -> Ipv4Addr| {
            (1..=self.peers).map(|number| (one(number), other(number))).collect::<Vec<_>>()
        };
        let measured = Bird::start(&link.measured, "measured", &pairs(link::own, link::peer), &self.folder)?;
        let other = Bird::start(&link.others, "others", &pairs(link::peer, link::own), &self.folder)?;
        let mut control = measured.connect(&self.stop)?;
        let all = usize::from(self.peers);
        let up = self.stop.wait_for(PATIENCE, || control.sessions_up().is_ok_and(|up| up == all))?;
        ensure!(up, "not all BFD sessions came up in {PATIENCE:?}");
        Ok(Running::Birds([measured, other]))
    }

    fn agent(&self, link: &Link, key: Option<&Path>) -> Result<Running> {
        let config = self.folder.join("agent.toml");
        std::fs::write(&config, self.config(key)).with_context(|| config.display().to_string())?;
        let mut stand_ins = link.others.service(&self.stand_ins);
        stand_ins.args([NAME, &format!("{MEASURED}:{PORT}"), &link::peer(1).to_string(), &self.peers.to_string()]);
        stand_ins.args(key).stdin(Stdio::piped());
        let stand_ins = self.start(stand_ins, "stand-ins.log")?;
        let mut agent = link.measured.service(&self.agent);
        agent.args(["agent", "--config"]).arg(&config).stdin(Stdio::null());
        let agent = self.start(agent, "agent.log")?;
        let all = usize::from(self.peers);
        let up = self.stop.wait_for(PATIENCE, || link.measured.enter(peers_up).is_ok_and(|up| up == all))?;
        ensure!(up, "not all peers were heard in {PATIENCE:?}");
        Ok(Running::Agent(agent, stand_ins))
    }

    fn start(&self, mut command: std::process::Command, log: &str) -> Result<Program> {
        let mut log = std::fs::File::options().create(true).append(true).open(self.folder.join(log))?;
        writeln!(log, "--- {command:?}")?;
        let child = command.stdout(log.try_clone()?).stderr(log).spawn().with_context(|| format!("{command:?}"))?;
        Ok(Program(child))
    }

    fn config(&self, key: Option<&Path>) -> String {
        let trust = key.map_or_else(|| "insecure = true".to_owned(), |key| format!("key_file = {key:?}"));
        let mut text = format!(
            "host = {NAME:?}\n\
             heartbeat = {{ listen = \"{MEASURED}:{PORT}\", interval = \"100ms\", {trust} }}\n\
             store = {{ path = {:?} }}\n",
            self.folder.join("store")
        );
        for number in 1..=self.peers {
            text += &format!("[[peers]]\nname = \"p{number}\"\naddr = \"{}:{PORT}\"\n", link::peer(number));
        }
        text
    }
}

/// How many peers the agent in this namespace hears.
fn peers_up() -> Result<usize> {
    let peers = Client::new(LOCAL, Duration::from_secs(1)).peers()?;
    Ok(peers.iter().filter(|peer| peer.role == "peer" && peer.up == Some(true)).count())
}

/// A process that ends with this value.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What runs during a window: the first one is measured.
enum Running {
    Birds([Bird; 2]),
    Agent(Program, Program),
}

impl Running {
    fn pid(&self) -> u32 {
        match self {
            Self::Birds([measured, _]) => measured.pid(),
            Self::Agent(agent, _) => agent.0.id(),
        }
    }

    /// An agent ends as its users end it: its probes are detached before the next one comes.
    fn end(self) -> Result<()> {
        let Self::Agent(mut agent, _stand_ins) = self else { return Ok(()) };
        kill(Pid::from_raw(i32::try_from(agent.0.id())?), Signal::SIGTERM).context("the agent has ended")?;
        let began = Instant::now();
        while agent.0.try_wait()?.is_none() {
            ensure!(began.elapsed() < END, "the agent did not end in {END:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Report {
    fn of(windows: Vec<Window>, args: &Args) -> Result<Self> {
        let cpu = |subject, round| {
            let same = |window: &&Window| (window.subject, window.round) == (subject, round);
            windows.iter().find(same).map(Window::cpu)
        };
        let ratios = |subject| -> Vec<f64> {
            let pairs = (1..=args.pairs).filter_map(|round| Some((cpu(subject, round)?, cpu(Subject::Bird, round)?)));
            pairs.map(|(ours, birds)| ours / birds).collect()
        };
        let (keyed, open) = (ratios(Subject::Keyed), ratios(Subject::Open));
        Ok(Self {
            compared_with: format!("{}, {} BFD sessions at 100 ms", bird::version()?, args.peers),
            peers: args.peers,
            ratio_keyed: Spread::of(keyed.into_iter())?,
            ratio_open: Spread::of(open.into_iter())?,
            a_a: Spread::of(windows.iter().map(|window| window.cpu_halves[1] / window.cpu_halves[0]))?,
            windows,
        })
    }

    fn print(&self) {
        println!("\n{}; {} windows", self.compared_with, self.windows.len());
        for (subject, name) in Subject::ALL {
            let of = |figure: fn(&Window) -> f64| {
                let windows = self.windows.iter().filter(move |window| window.subject == subject);
                Spread::of(windows.map(figure))
            };
            if let (Ok(cpu), Ok(wakeups), Ok(rss)) =
                (of(|window| window.cpu() * 100.0), of(|window| window.wakeups), of(|window| window.rss_mib))
            {
                println!(
                    "{name:<28} {:.2} % of a CPU [{:.2} … {:.2}], {:.0} wake-ups/s, {:.1} MiB",
                    cpu.median, cpu.least, cpu.greatest, wakeups.median, rss.median
                );
            }
        }
        let rows = [
            ("lacuna with a key / bird", self.ratio_keyed),
            ("lacuna without / bird", self.ratio_open),
            ("A/A: half / half", self.a_a),
        ];
        for (name, Spread { median, least, greatest }) in rows {
            println!("{name:<28} {median:.2} [{least:.2} … {greatest:.2}]");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(subject: Subject, round: u32, cpu_halves: [f64; 2]) -> Window {
        Window { subject, round, cpu_halves, wakeups: 30.0, rss_mib: 15.0 }
    }

    #[test]
    fn a_ratio_is_that_of_one_round() {
        let args = Args { pairs: 3, seconds: 2, peers: 50, json: true, agent: None, stand_ins: None };
        let mut windows = Vec::new();
        for (round, noise) in [(1, 1.0), (2, 4.0), (3, 2.0)] {
            let halves = [0.02 * noise, 0.04 * noise];
            windows.push(window(Subject::Bird, round, halves));
            windows.push(window(Subject::Keyed, round, halves.map(|half| half / 2.0)));
            windows.push(window(Subject::Open, round, halves.map(|half| half / 4.0)));
        }
        let report = Report::of(windows, &args).unwrap();
        let close = |spread: Spread, value: f64| {
            [spread.median, spread.least, spread.greatest].iter().all(|figure| (figure - value).abs() < 1e-9)
        };
        assert!(
            close(report.ratio_keyed, 0.5) && close(report.ratio_open, 0.25) && close(report.a_a, 2.0),
            "{report:?}"
        );
    }
}
