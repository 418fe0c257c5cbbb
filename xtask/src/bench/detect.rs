//! `cargo xtask bench detect`: how soon a cut is noticed, Lacuna and bird2's BFD side by side.
//!
//! Both watch the same pair of hosts at 100 ms × 3 and meet the same cuts: an nftables rule on the bridge, both ways
//! in one transaction, at a random phase. Both are asked over a connection that is kept, every 4 ms: bird for
//! `show bfd sessions` on its control socket, Lacuna for `/api/v1/incidents`. The time of a cut is the middle of the
//! call of `nft`; it is the same for both. An answer counts when it was received.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lacuna_core::incident::State;
use serde::Serialize;

use super::bird::{self, Bird, Control};
use super::stats::{median, range};
use crate::lab::agent::{self, Agent};
use crate::lab::api::{Client, Incident, LOCAL, wall};
use crate::lab::clock::{Moment, Stamp, seconds};
use crate::lab::fault::{DropRule, Hook, heal};
use crate::lab::folder::Folder;
use crate::lab::network::{Host, Network};
use crate::stop::Stop;

/// How often each is asked.
const POLL: Duration = Duration::from_millis(4);
/// A cut that nobody notices for so long is a failure.
const PATIENCE: Duration = Duration::from_secs(30);
/// Two intervals, in seconds: an incident's length may be wrong by so much.
const LENGTH_TOLERANCE: f64 = 0.2;

/// Arguments of `cargo xtask bench detect`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many cuts.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    cuts: u32,
    /// Prints one JSON document to stdout and nothing else.
    #[arg(long)]
    json: bool,
    /// The agent to measure, instead of building the one of this workspace.
    #[arg(long)]
    agent: Option<PathBuf>,
}

/// One cut, as both saw it; in seconds.
#[derive(Clone, Debug, Serialize)]
struct Cut {
    /// From the cut to bird's session being down.
    bird: f64,
    /// From the cut to an open incident in the API.
    lacuna: f64,
    /// From the cut to the incident's own `detected_at` (its wall clock has milliseconds).
    lacuna_detected_at: f64,
    /// From the cut to its healing.
    length: f64,
    /// How much longer the closed incident is.
    length_error: f64,
    /// Its class in the end.
    class: &'static str,
}

/// Everything that the measurement found.
#[derive(Clone, Debug, Serialize)]
struct Report {
    /// What ours is compared with.
    compared_with: String,
    cuts: Vec<Cut>,
    median_bird: f64,
    median_lacuna: f64,
    median_lacuna_detected_at: f64,
    /// Ours by bird's.
    ratio: f64,
    greatest_length_error: f64,
    lengths_within_two_intervals: bool,
}

/// Measures, and fails only where something did not work; the ratio is for the reader.
pub(crate) fn run(args: &Args) -> Result<()> {
    let stop = Stop::on_signals()?;
    crate::lab::clean_up()?;
    let agent = crate::lab::agent_or_build(args.agent.as_deref(), false)?;
    let folder = Folder::create("bench-detect")?;
    let mut bench = Bench::set_up(agent, &folder, stop)?;
    let cuts = bench.cuts(args);
    drop(bench);
    let cuts = match cuts {
        Ok(cuts) => cuts,
        Err(error) => {
            let kept = folder.keep();
            return Err(error.context(format!("logs are kept in {}", kept.display())));
        }
    };
    let report = Report::of(cuts)?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        report.print();
    }
    ensure!(report.lengths_within_two_intervals, "an incident's length is wrong by more than two intervals");
    Ok(())
}

/// Two hosts with an agent and a bird each.
struct Bench {
    agents: Vec<Agent>,
    birds: Vec<Bird>,
    control: Control,
    network: Network,
    stop: Stop,
}

impl Bench {
    fn set_up(binary: PathBuf, folder: &Folder, stop: Stop) -> Result<Self> {
        let network = Network::create(&["a", "b"])?;
        let (a, b) = (network.host("a")?, network.host("b")?);
        let mut agents = Vec::new();
        for host in [a, b] {
            agent::configure(&network, host, &toml::Table::new(), folder.path())?;
            agents.push(Agent::start(&binary, host, folder.path())?);
        }
        let bird = |host: &Host, peer: &Host| {
            Bird::start(host.namespace()?, &host.name, &[(host.addr, peer.addr)], folder.path())
        };
        let birds = vec![bird(a, b)?, bird(b, a)?];
        let bird = birds.first().context("no bird")?;
        let control = bird.connect(&stop)?;
        Ok(Self { agents, birds, control, network, stop })
    }

    fn cuts(&mut self, args: &Args) -> Result<Vec<Cut>> {
        let mut cuts = Vec::new();
        for number in 1..=args.cuts {
            let cut = self.cut().with_context(|| format!("cut {number}"))?;
            if !args.json {
                println!(
                    "cut {number:>3}  bird {:.3} s  lacuna {:.3} s  {} of {:.3} s, {:+.3} s off",
                    cut.bird, cut.lacuna, cut.class, cut.length, cut.length_error
                );
            }
            cuts.push(cut);
        }
        Ok(cuts)
    }

    fn cut(&mut self) -> Result<Cut> {
        self.wait_until_up()?;
        self.pause(Duration::from_secs(1))?;
        let known: BTreeSet<_> = incidents(&self.network)?.into_iter().map(|(id, _)| id).collect();
        let (cut, bird, (lacuna, id)) = self.notice(&known)?;
        self.pause(Duration::from_secs(1))?;
        let (healed, ()) = Moment::of(|| heal(&self.network))?;
        let closed = self.wait_until_closed(&id)?;
        let length = seconds(cut.middle(), healed.middle());
        let told = seconds(0, closed.duration_ms.saturating_mul(1_000_000));
        Ok(Cut {
            bird: seconds(cut.middle(), bird.boot),
            lacuna: seconds(cut.middle(), lacuna.boot),
            lacuna_detected_at: seconds(cut.middle_wall(), wall(&closed.detected_at)?),
            length,
            length_error: told - length,
            class: closed.verdict.class.name(),
        })
    }

    /// Cuts while both are asked: when it was, when bird said so, when Lacuna did and with which incident.
    fn notice(&mut self, known: &BTreeSet<String>) -> Result<(Moment, Stamp, (Stamp, String))> {
        let rule = DropRule { hook: Hook::Switch, ..DropRule::both_ways("a", "b") };
        let Self { control, network, stop, .. } = self;
        let network = &*network;
        std::thread::scope(|scope| {
            let bird = scope.spawn(|| poll(stop, || Ok((!control.is_up()?).then_some(()))));
            let lacuna = scope.spawn(|| {
                network.host("a")?.namespace()?.join()?;
                let client = client();
                poll(stop, || new_incident(&client, known))
            });
            stop.sleep_until(Instant::now() + random(Duration::from_millis(200)))?;
            let (cut, ()) = Moment::of(|| rule.apply(network))?;
            let bird = bird.join().map_err(|_| anyhow::anyhow!("panicked"))?;
            let lacuna = lacuna.join().map_err(|_| anyhow::anyhow!("panicked"))?;
            let (bird, ()) = bird.context("bird")?;
            let lacuna = lacuna.context("lacuna")?;
            ensure!(
                bird > cut.before && lacuna.0 > cut.before,
                "a session or an incident came before the cut: this run measures nothing"
            );
            Ok((cut, bird, lacuna))
        })
    }

    /// `least` and up to half a second more, so that cuts and healing meet every phase of the heartbeats.
    fn pause(&self, least: Duration) -> Result<()> {
        let more = random(Duration::from_millis(500));
        self.stop.sleep_until(Instant::now() + least + more)
    }

    fn wait_until_up(&mut self) -> Result<()> {
        ensure!(self.agents.iter_mut().all(Agent::alive) && !self.birds.is_empty(), "an agent ended");
        let (control, network) = (&mut self.control, &self.network);
        let up = self
            .stop
            .wait_for(PATIENCE, || control.is_up().unwrap_or(false) && lacuna_is_up(network).unwrap_or(false))?;
        ensure!(up, "bird's session and Lacuna's peer are not both up after {PATIENCE:?}");
        Ok(())
    }

    fn wait_until_closed(&self, id: &str) -> Result<Incident> {
        let mut closed = None;
        let network = &self.network;
        self.stop.wait_for(PATIENCE, || {
            let all = incidents(network).unwrap_or_default();
            closed = all.into_iter().find(|(known, incident)| known == id && incident.state == State::Closed);
            closed.is_some()
        })?;
        let (_, closed) = closed.context("the incident did not close after healing")?;
        Ok(closed)
    }
}

impl Report {
    fn of(cuts: Vec<Cut>) -> Result<Self> {
        let middle = |figure: fn(&Cut) -> f64| median(cuts.iter().map(figure)).context("no cuts");
        let (median_bird, median_lacuna) = (middle(|cut| cut.bird)?, middle(|cut| cut.lacuna)?);
        let errors = cuts.iter().map(|cut| cut.length_error.abs());
        let greatest_length_error = errors.fold(0.0, f64::max);
        Ok(Self {
            compared_with: format!("{}, BFD 100 ms x 3", bird::version()?),
            median_bird,
            median_lacuna,
            median_lacuna_detected_at: middle(|cut| cut.lacuna_detected_at)?,
            ratio: median_lacuna / median_bird,
            greatest_length_error,
            lengths_within_two_intervals: greatest_length_error <= LENGTH_TOLERANCE,
            cuts,
        })
    }

    fn print(&self) {
        println!("\n{}; {} cuts, times from the cut", self.compared_with, self.cuts.len());
        self.print_row("bird: session down", |cut| cut.bird);
        self.print_row("lacuna: incident open in the API", |cut| cut.lacuna);
        self.print_row("lacuna: its detected_at", |cut| cut.lacuna_detected_at);
        self.print_row("error of the incident's length", |cut| cut.length_error);
        println!("ratio of the medians (lacuna / bird): {:.2}", self.ratio);
        println!("greatest error of a length: {:.3} s (allowed {LENGTH_TOLERANCE} s)", self.greatest_length_error);
    }

    fn print_row(&self, name: &str, figure: fn(&Cut) -> f64) {
        let values = || self.cuts.iter().map(figure);
        if let (Some(middle), Some((least, greatest))) = (median(values()), range(values())) {
            println!("{name:<34} median {middle:+.3} s  [{least:+.3} … {greatest:+.3}]");
        }
    }
}

/// Asks again and again until there is an answer: when it came, and what it was.
fn poll<T>(stop: &Stop, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<(Stamp, T)> {
    let end = Instant::now() + PATIENCE;
    let mut next = Instant::now();
    while Instant::now() < end {
        stop.check()?;
        if let Some(answer) = ask()? {
            return Ok((Stamp::now()?, answer));
        }
        next = (next + POLL).max(Instant::now());
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    anyhow::bail!("did not notice the cut in {PATIENCE:?}")
}

fn new_incident(client: &Client, known: &BTreeSet<String>) -> Result<Option<String>> {
    let mut incidents = parsed(client)?.into_iter();
    let new =
        incidents.find(|(id, incident)| incident.state == State::Open && !known.contains(id) && is_about_b(incident));
    Ok(new.map(|(id, _)| id))
}

/// Whatever the machine's own noise is, it is not about the other end of the cut.
fn is_about_b(incident: &Incident) -> bool {
    incident.verdict.subject.values().any(|member| member == "b")
}

fn parsed(client: &Client) -> Result<Vec<(String, Incident)>> {
    let documents = client.incidents()?.into_iter();
    documents
        .map(|document| {
            let incident: Incident = serde_json::from_value(document)?;
            Ok((incident.id.clone(), incident))
        })
        .collect()
}

fn incidents(network: &Network) -> Result<Vec<(String, Incident)>> {
    network.host("a")?.namespace()?.enter(|| parsed(&client()))
}

/// Whether the agent of `a` is healthy, hears its peer, and has no open incident.
fn lacuna_is_up(network: &Network) -> Result<bool> {
    network.host("a")?.namespace()?.enter(|| {
        let client = client();
        let healthy = client.health()?.0 == 200;
        let hears = client.peers()?.iter().any(|peer| peer.role == "peer" && peer.up == Some(true));
        let open = parsed(&client)?.iter().any(|(_, incident)| incident.state == State::Open);
        Ok(healthy && hears && !open)
    })
}

fn client() -> Client {
    Client::new(LOCAL, Duration::from_secs(1))
}

/// Anything below `limit`, in steps of a microsecond.
fn random(limit: Duration) -> Duration {
    let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX).max(1);
    Duration::from_micros(RandomState::new().hash_one(Instant::now()) % micros)
}
