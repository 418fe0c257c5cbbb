//! `cargo xtask lab dashboards`: Prometheus and Alertmanager with the files of `dashboards/prometheus` beside three agents, two
//! of which lose each other's packets. Every query of every panel must have data, nobody may name a series that no agent exports,
//! and whoever is paged must be paged once.

mod docs;
pub(super) mod on_call;
mod paged;
mod prometheus;
mod queries;
mod webhook;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use self::paged::Paged;
use self::prometheus::{Prometheus, Servers};
use self::queries::Ran;
use self::webhook::Webhook;
use super::agent::{self, Agent};
use super::api::Client;
use super::collector::{self, Collector};
use super::fault::{self, DropRule};
use super::folder::Folder;
use super::network::{Host, Network};
use crate::dashboards::description::Description;
use crate::stop::Stop;
use crate::{prepare, sh};

/// The hosts; `a` and `b` lose each other, and the agent of `c` is stopped for a while.
const HOSTS: [&str; 3] = ["a", "b", "c"];
/// The page that must come: the path between two hosts, and both say so.
const PAGE: Paged = Paged { subject: "a - b", says: &["a", "b"] };
/// How long the agents may take until all of them hear each other.
const READY: Duration = Duration::from_secs(60);
/// How long all is well at first: rates need some scrapes.
const QUIET: Duration = Duration::from_secs(15);
/// How long the agent of `c` is stopped at least: one scrape interval.
const STOPPED: Duration = Duration::from_secs(5);
/// And how much longer, until a rule of Prometheus has seen what both others miss: a scrape of each and an evaluation, all of
/// them every 5 s, and with what went before it stays below the 15 s of a page.
const SEEN: Duration = Duration::from_secs(7);
/// What is recorded while two hosts miss another and do not know why.
const MISSED: &str = "job_host:lacuna_missed:bool";
/// How long it may take until the alert fires: 15 s by its rule, and three evaluations and scrapes.
const FIRES: Duration = Duration::from_secs(45);
/// And until it is told: Alertmanager waits for 10 s.
const TOLD: Duration = Duration::from_secs(30);
/// And until its end is told: 30 s by the rule, and 30 s between two words about one group.
const RESOLVED: Duration = Duration::from_secs(100);
/// How often it is looked whether something came.
const LOOK: Duration = Duration::from_millis(250);
/// A request to an agent that takes longer fails.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of `cargo xtask lab dashboards`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Writes the answers into docs/dashboards.md, where all is as it must be.
    #[arg(long)]
    write: bool,
    /// The agent to run, instead of building the one of this workspace.
    #[arg(long)]
    agent: Option<PathBuf>,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    /// What was as it must be, a line each.
    pub(crate) passed: Vec<String>,
    /// What was not.
    pub(crate) failed: Vec<String>,
    /// The queries that had data.
    ran: Vec<Ran>,
}

/// Runs it; an error where something is not as it must be.
pub(super) fn run(args: &Args) -> Result<()> {
    prepare::to_watch()?;
    let agent = super::agent_or_build(args.agent.as_deref(), false)?;
    let outcome = outcome(&agent)?;
    outcome.check()?;
    if args.write { docs::write(&outcome.ran) } else { Ok(()) }
}

/// Runs it with that agent, and tells what came of it.
///
/// # Errors
/// It could not be run at all.
pub(crate) fn outcome(agent: &Path) -> Result<Outcome> {
    // Inside of the namespaces nothing could be installed.
    crate::collector::program()?;
    let stop = Stop::on_signals()?;
    super::clean_up()?;
    let folder = Folder::create("dashboards")?;
    let network = Network::create(&HOSTS)?;
    let lab = || Lab { agent, network: &network, folder: folder.path(), stop: &stop, agents: Vec::new() };
    let played = network.switch.enter(|| lab().play());
    stop.check()?;
    let good = played.as_ref().is_ok_and(|outcome| outcome.failed.is_empty());
    if !good {
        eprintln!("logs are kept in {}", folder.keep().display());
    }
    let outcome = played?;
    outcome.tell();
    Ok(outcome)
}

/// The lab while it runs.
struct Lab<'a> {
    agent: &'a Path,
    network: &'a Network,
    folder: &'a Path,
    stop: &'a Stop,
    /// In the order of [`HOSTS`].
    agents: Vec<Agent>,
}

impl Lab<'_> {
    /// On a thread in the namespace of the switch, which reaches every host.
    fn play(&mut self) -> Result<Outcome> {
        let webhook = Webhook::start(self.stop)?;
        let mut servers = Servers::start(&self.network.switch, &self.network.hosts, self.folder)?;
        let _collector = Collector::start(self.network, self.folder, self.stop)?;
        self.start_agents()?;
        servers.wait_until_ready(self.stop)?;
        let clients = self.clients();
        wait_until_ready(&mut self.agents, &clients, READY, self.stop)?;
        let (prometheus, began) = (Prometheus::new(), Instant::now());
        self.pause(QUIET)?;
        self.mark()?;
        self.stop_an_agent(&prometheus)?;
        DropRule::both_ways("a", "b").apply(self.network)?;
        let fires = || prometheus.alerts().is_ok_and(|alerts| alerts.iter().any(|alert| PAGE.fires(alert)));
        ensure!(self.wait_for(FIRES, fires)?, "no alert about {} fires after {FIRES:?}", PAGE.subject);
        ensure!(self.wait_for(TOLD, || !webhook.got("/page").is_empty())?, "nobody was paged within {TOLD:?}");
        let mut outcome = self.ask(&prometheus, began.elapsed().as_secs_f64())?;
        fault::heal(self.network)?;
        let resolved = || webhook.got("/page").iter().any(|page| page.status == "resolved");
        let told = self.wait_for(RESOLVED, resolved)?;
        let over = !prometheus.alerts()?.iter().any(|alert| PAGE.fires(alert));
        outcome.add("the alert is over once the path is healed", over && told, "it still fires, or nobody was told");
        outcome.judge("one page for one stall with two witnesses", PAGE.is_all_of(&webhook.got("/page")));
        let alive = !webhook.got("/alive").is_empty();
        outcome.add("the watchdog reaches its receiver", alive, "it does not");
        self.end(&mut outcome)?;
        Ok(outcome)
    }

    fn start_agents(&mut self) -> Result<()> {
        for host in &self.network.hosts {
            let mut extra = served(host)?;
            if host.name == "c" {
                // Below a file, so that there is an agent with a part that does less than it should.
                let socket = format!("control = {{ socket = {:?} }}", self.folder.join("peers.json/control.sock"));
                agent::merge(&mut extra, &toml::from_str(&socket)?);
            }
            agent::configure(self.network, host, &extra, self.folder)?;
            self.agents.push(Agent::start(self.agent, host, self.folder)?);
        }
        Ok(())
    }

    fn clients(&self) -> Vec<Client> {
        clients(self.network)
    }

    fn pause(&self, length: Duration) -> Result<()> {
        self.stop.sleep_until(Instant::now() + length)
    }

    fn wait_for(&self, patience: Duration, done: impl FnMut() -> bool) -> Result<bool> {
        wait_for(self.stop, patience, done)
    }

    /// As its users do.
    fn mark(&self) -> Result<()> {
        let socket = self.folder.join("a.sock").display().to_string();
        let agent = self.agent.display().to_string();
        sh::output(&mut sh::command(&[&agent, "mark", "--socket", &socket, "before the fault"]), "").map(|_| ())
    }

    /// Its peers miss the agent of `c`, and cannot say yet why; afterwards it says so itself.
    fn stop_an_agent(&mut self, prometheus: &Prometheus) -> Result<()> {
        let seen = || prometheus.now(MISSED).is_ok_and(|series| !series.is_empty());
        let stop = self.stop;
        let c = self.agents.last_mut().context("no agents")?;
        c.signal(Signal::SIGSTOP)?;
        let waited = stop.sleep_until(Instant::now() + STOPPED).and_then(|()| wait_for(stop, SEEN, seen));
        c.signal(Signal::SIGCONT)?;
        waited?;
        let clients = self.clients();
        let closed = |client: &Client| {
            let incidents = client.incidents().unwrap_or_default();
            incidents.iter().any(|incident| incident["state"] == "closed")
        };
        let over = self.wait_for(READY, || clients.iter().all(closed))?;
        ensure!(over, "the stall of the agent of c is not over after {READY:?}");
        Ok(())
    }

    /// Runs every query while the fault lasts.
    fn ask(&self, prometheus: &Prometheus, seconds: f64) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        for ran in queries::run(prometheus, &Description::read()?, seconds)? {
            match &ran.series {
                Ok(series) => outcome.passed.push(format!("{}: {} series", ran.place, series.len())),
                Err(why) => outcome.failed.push(format!("{}: {why}: {}", ran.place, ran.expr)),
            }
            outcome.ran.push(ran);
        }
        let broken = queries::broken_rules(prometheus)?;
        outcome.add("every rule is evaluated, of series that are there", broken.is_empty(), &broken.join("; "));
        let mut known = Vec::new();
        for client in self.clients() {
            known.extend(client.incidents()?.iter().filter_map(|one| one["trace_id"].as_str().map(str::to_owned)));
        }
        let traces = prometheus.traces("lacuna_incidents_opened_total", seconds)?;
        let lead = traces.iter().any(|trace| known.contains(trace));
        outcome.add("exemplars lead to the traces of incidents", lead, &format!("{traces:?} beside {known:?}"));
        Ok(outcome)
    }

    fn end(&mut self, outcome: &mut Outcome) -> Result<()> {
        for (agent, name) in self.agents.drain(..).zip(HOSTS) {
            let problems = agent.finish()?;
            outcome.add(&format!("the agent of {name} ended well"), problems.is_empty(), &problems.join("; "));
        }
        Ok(())
    }
}

impl Outcome {
    fn tell(&self) {
        for line in &self.passed {
            println!("ok      {line}");
        }
        for line in &self.failed {
            println!("FAILED  {line}");
        }
    }

    fn check(&self) -> Result<()> {
        let (passed, failed) = (self.passed.len(), self.failed.len());
        ensure!(failed == 0, "{failed} of {} failed", failed + passed);
        Ok(())
    }

    fn add(&mut self, what: &str, good: bool, problem: &str) {
        self.judge(what, if good { Ok(()) } else { Err(problem.to_owned()) });
    }

    fn judge(&mut self, what: &str, judged: Result<(), String>) {
        match judged {
            Ok(()) => self.passed.push(what.to_owned()),
            Err(problem) => self.failed.push(format!("{what}: {problem}")),
        }
    }
}

/// What the configuration of an agent has that is asked from outside its host, and sends traces.
fn served(host: &Host) -> Result<toml::Table> {
    let mut served = toml::from_str(&format!("http = {{ listen = \"{}:9480\" }}", host.addr))?;
    agent::merge(&mut served, &collector::configuration()?);
    Ok(served)
}

/// Those of all agents, in the order of the hosts.
fn clients(network: &Network) -> Vec<Client> {
    let hosts = network.hosts.iter();
    hosts.map(|host| Client::new(&format!("http://{}:9480", host.addr), TIMEOUT)).collect()
}

/// Waits until every agent hears all others.
fn wait_until_ready(agents: &mut [Agent], clients: &[Client], patience: Duration, stop: &Stop) -> Result<()> {
    let hears_all = |client: &Client| {
        let peers = client.peers().unwrap_or_default();
        peers.iter().filter(|peer| peer.role == "peer" && peer.up == Some(true)).count() == clients.len() - 1
    };
    let done = || !agents.iter_mut().all(Agent::alive) || clients.iter().all(hears_all);
    if wait_for(stop, patience, done)? && agents.iter_mut().all(Agent::alive) {
        return Ok(());
    }
    let tails: Result<Vec<_>> = agents.iter().map(Agent::tail).collect();
    anyhow::bail!("the agents do not hear each other: {}", tails?.join("; "))
}

/// Asks now and then; false where the patience ended first.
fn wait_for(stop: &Stop, patience: Duration, mut done: impl FnMut() -> bool) -> Result<bool> {
    let end = Instant::now() + patience;
    while !done() {
        if Instant::now() > end {
            return Ok(false);
        }
        stop.sleep_until(Instant::now() + LOOK)?;
    }
    Ok(true)
}
