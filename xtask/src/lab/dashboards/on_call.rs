//! `cargo xtask lab on-call`: what one stall is to whoever is on call. db1 is a guest whose CPU 1 loses its timer; lb1 and lb2, in
//! namespaces on its bridge, are witnesses. One page must come and one end of it, every host must come to the same verdict, the
//! collector must have one trace of all three, and the page of each must have its lanes. `--write` keeps pictures in docs/page/.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lacuna_core::incident::{Class, State};
use serde_json::Value;

use super::paged::Paged;
use super::prometheus::{Prometheus, Servers};
use super::webhook::Webhook;
use super::{FIRES, Outcome, QUIET, RESOLVED, TOLD, clients, served, wait_for, wait_until_ready};
use crate::lab::agent::{self, Agent};
use crate::lab::api::Incident;
use crate::lab::collector::{self, Collector, Held};
use crate::lab::folder::Folder;
use crate::lab::guest::step::OnCpu;
use crate::lab::guest::{self, Faults, Guest, GuestStep, Image, Release};
use crate::lab::network::{Host, Network, Place};
use crate::page::browser::{Browser, Look};
use crate::stop::Stop;
use crate::{lab, prepare};

/// The host that stalls and its witnesses.
const HOSTS: [(&str, Place); 3] = [("db1", Place::Guest), ("lb1", Place::Near), ("lb2", Place::Near)];
/// The CPU that loses its timer.
const CPU: u32 = 1;
/// The page that must come.
const PAGE: Paged = Paged { subject: "db1", says: &["db1", "lb1", "lb2"] };
/// How long the agents may take until all of them hear each other: the one in the guest loads its probes slowly.
const READY: Duration = Duration::from_secs(120);
/// How long it may take until every host says that it is over, and why.
const CLOSED: Duration = Duration::from_secs(30);
/// The memory of the guest, in MiB.
const MEMORY: u32 = 384;
/// The page at night, and the name of its picture.
const LOOK: Look = Look { size: (1280, 900), dark: true, scripts: true };
const PICTURES: &str = "docs/page";

/// Arguments of `cargo xtask lab on-call`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// Writes the pictures of the page to docs/page/, where all is as it must be.
    #[arg(long)]
    write: bool,
    /// The kernel of the guest.
    #[arg(long, default_value = "6.12")]
    kernel: Release,
    /// The agent to run, linked statically, instead of building the one of this workspace.
    #[arg(long)]
    agent: Option<PathBuf>,
}

/// Runs it; an error where something is not as it must be.
pub(in crate::lab) fn run(args: &Args) -> Result<()> {
    prepare::to_watch()?;
    prepare::to_browse()?;
    let binary = lab::agent_or_build(args.agent.as_deref(), true)?;
    let images = lab::images(&binary, Some(args.kernel))?;
    let image = images.first().context("no image to boot from")?;
    eprintln!("A guest db1 (Linux {}) and two hosts that watch it; it takes about four minutes.", args.kernel);
    let stop = Stop::on_signals()?;
    lab::clean_up()?;
    let folder = Folder::create("on-call")?;
    let mut tries = 0;
    let played = loop {
        tries += 1;
        let played = play(&binary, image, folder.path(), &stop);
        stop.check()?;
        let erred = played.is_err() && guest::emulator_erred(folder.path())?;
        if !erred || tries == lab::TRIES {
            break played;
        }
        eprintln!("{}; once more", lab::EMULATOR_ERRED);
        folder.empty()?;
    };
    if let Ok(outcome) = &played {
        outcome.tell();
    }
    let judged = played.and_then(|outcome| outcome.check());
    if judged.is_ok() && args.write {
        keep_pictures(folder.path())?;
    }
    judged.inspect_err(|_| eprintln!("logs and pictures are kept in {}", folder.keep().display()))
}

fn play(binary: &Path, image: &Image, folder: &Path, stop: &Stop) -> Result<Outcome> {
    let network = Network::with_places(&HOSTS)?;
    let stage = Stage::set(binary, image, &network, folder, stop)?;
    network.switch.enter(|| stage.play())
}

/// Everything that runs. The agents end before the guest does.
struct Stage<'a> {
    network: &'a Network,
    folder: &'a Path,
    stop: &'a Stop,
    binary: &'a Path,
    agents: Vec<Agent>,
    collector: Collector,
    guest: Arc<Guest>,
}

impl<'a> Stage<'a> {
    /// Writes all configurations, and lets the guest come up.
    fn set(binary: &'a Path, image: &Image, network: &'a Network, folder: &'a Path, stop: &'a Stop) -> Result<Self> {
        let configure = |host: &Host| agent::configure(network, host, &served(host)?, folder);
        let [db1, witnesses @ ..] = &*network.hosts else { anyhow::bail!("no hosts") };
        let archive = image.of_guest(&configure(db1)?, false)?;
        for witness in witnesses {
            configure(witness)?;
        }
        let Host { name, addr, port: tap, .. } = db1;
        let place = guest::Place { name, addr: *addr, tap, switch: &network.switch, memory: MEMORY, folder };
        let guest = Arc::new(Guest::start(place, image, &archive)?);
        guest.wait_until_up(1, stop)?;
        let collector = Collector::start(network, folder, stop)?;
        Ok(Self { network, folder, stop, binary, agents: Vec::new(), collector, guest })
    }

    /// On a thread in the namespace of the switch, which reaches every host.
    fn play(mut self) -> Result<Outcome> {
        let webhook = Webhook::start(self.stop)?;
        let mut servers = Servers::start(&self.network.switch, &self.network.hosts, self.folder)?;
        self.start_agents()?;
        servers.wait_until_ready(self.stop)?;
        // Why a guest hangs shows only while it runs.
        wait_until_ready(&mut self.agents, &clients(self.network), READY, self.stop)
            .inspect_err(|_| self.guest.tell_where_it_is())?;
        self.stop.sleep_until(Instant::now() + QUIET)?;
        let prometheus = Prometheus::new();
        let fires = || prometheus.alerts().is_ok_and(|alerts| alerts.iter().any(|alert| PAGE.fires(alert)));
        self.timer(GuestStep::TimerMask)?;
        ensure!(wait_for(self.stop, FIRES, fires)?, "no alert about {} fires after {FIRES:?}", PAGE.subject);
        ensure!(wait_for(self.stop, TOLD, || !webhook.got("/page").is_empty())?, "nobody was paged within {TOLD:?}");
        self.timer(GuestStep::TimerUnmask)?;
        let mut outcome = Outcome::default();
        let over = wait_for(self.stop, CLOSED, || self.verdicts().is_ok())?;
        outcome.judge("every host comes to one verdict", if over { Ok(()) } else { self.verdicts().map(drop) });
        let resolved = || webhook.got("/page").iter().any(|page| page.status == "resolved");
        let told = wait_for(self.stop, RESOLVED, resolved)?;
        outcome.add("the alert is over once the timer is back", told, "nobody was told");
        outcome.judge("one page for one stall with three witnesses", PAGE.is_all_of(&webhook.got("/page")));
        let told = self.verdicts().unwrap_or_default();
        self.look(&told, &mut outcome)?;
        self.end(&told, &mut outcome)?;
        Ok(outcome)
    }

    fn start_agents(&mut self) -> Result<()> {
        for host in &self.network.hosts {
            self.agents.push(match host.is_guest() {
                true => Agent::start_in(&self.guest, self.folder)?,
                false => Agent::start(self.binary, host, self.folder)?,
            });
        }
        Ok(())
    }

    fn timer(&self, step: impl FnOnce(OnCpu) -> GuestStep) -> Result<()> {
        let on = OnCpu { host: self.guest.name.clone(), cpu: CPU };
        Faults::default().perform(&self.guest, &step(on), self.stop).map(drop)
    }

    /// The incident of each host, in their order; what is wrong where one has another, none yet, or several.
    fn verdicts(&self) -> Result<Vec<Incident>, String> {
        let each = clients(self.network).into_iter().zip(&self.network.hosts);
        let each = each.map(|(client, host)| {
            let documents = client.incidents().map_err(|error| format!("{}: {error:#}", host.name))?;
            the_one(&documents).map_err(|why| format!("{}: {why}", host.name))
        });
        each.collect()
    }

    /// At the page of the incident of each host.
    fn look(&self, told: &[Incident], outcome: &mut Outcome) -> Result<()> {
        let mut browser = Browser::start(&self.network.switch, self.folder, self.stop)?;
        for (host, incident) in self.network.hosts.iter().zip(told) {
            let home = format!("http://{}:9480/", host.addr);
            browser.visit(&format!("{home}incidents/{}", incident.id), LOOK)?;
            let lanes = browser.evaluate(LANES)?;
            let lanes: Vec<_> = lanes.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            // The first lane is the one that stopped; a host that only knows by the account of db1 has no gap of its own.
            let first = format!("{} CPU {CPU}", self.guest.name);
            let good = lanes.first().is_some_and(|lane| lane.starts_with(&first));
            outcome.add(&format!("the page of {} has its lanes", host.name), good, &format!("{lanes:?}"));
            browser.picture(&self.folder.join(picture(&host.name)))?;
            let problems = browser.problems(&[&home])?;
            outcome.add(
                &format!("the browser is content with {}", host.name),
                problems.is_empty(),
                &problems.join("; "),
            );
        }
        Ok(())
    }

    /// The agents first, which send what they still have.
    fn end(self, told: &[Incident], outcome: &mut Outcome) -> Result<()> {
        for (agent, (name, _)) in self.agents.into_iter().zip(HOSTS) {
            let problems = agent.finish()?;
            outcome.add(&format!("the agent of {name} ended well"), problems.is_empty(), &problems.join("; "));
        }
        let told: BTreeSet<_> = told.iter().map(|one| one.trace_id.as_str()).collect();
        outcome.judge("the collector has one trace with spans of three hosts", is_of_all(&self.collector.end(), &told));
        Ok(())
    }
}

/// The names of the lanes, from the top.
const LANES: &str = "[...document.querySelectorAll('#drawing .name')].map(name => name.textContent)";

/// Whether there is one trace, which has a stall of every host, and all of them say the same of it.
fn is_of_all(held: &Held, traces: &BTreeSet<&str>) -> Result<(), String> {
    let must = BTreeSet::from(HOSTS.map(|(host, _)| (host, Class::TimerLockup.name())));
    let has: Vec<_> = traces.iter().map(|trace| collector::stalls_in(held, trace)).collect();
    if held.broken.is_empty() && has == [must] { Ok(()) } else { Err(format!("{has:?}; broken: {:?}", held.broken)) }
}

/// The one incident about the timer of that CPU, once it is over.
fn the_one(documents: &[Value]) -> Result<Incident, String> {
    let incidents = documents.iter().map(|document| serde_json::from_value::<Incident>(document.clone()));
    let incidents: Vec<_> = incidents.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let told: Vec<_> = incidents.iter().filter(|one| one.verdict.class == Class::TimerLockup).collect();
    let is = |one: &Incident| {
        let subject = &one.verdict.subject;
        subject.get("host").is_some_and(|host| host == PAGE.subject) && subject.get("cpu").is_some_and(|cpu| cpu == CPU)
    };
    match &*told {
        [one] if is(one) && one.state == State::Closed => Ok((*one).clone()),
        _ => {
            let all = incidents.iter().map(|one| format!("{:?}: {}", one.state, one.verdict.summary));
            Err(format!("not one closed timer-lockup of CPU {CPU}: {}", all.collect::<Vec<_>>().join("; ")))
        }
    }
}

fn picture(host: &str) -> String {
    format!("on-call-{host}.png")
}

fn keep_pictures(from: &Path) -> Result<()> {
    for (host, _) in HOSTS {
        let (from, to) = (from.join(picture(host)), crate::root().join(PICTURES).join(picture(host)));
        std::fs::copy(&from, &to).with_context(|| to.display().to_string())?;
    }
    println!("pictures in {PICTURES}");
    Ok(())
}
