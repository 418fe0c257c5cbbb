//! One run of a scenario: hosts, agents, steps, judgement; everything that it made is gone afterwards.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::agent::{self, Agent};
use super::clock::Moment;
use super::collector::{self, Collector};
use super::compare::Beside;
use super::figures::{Figures, judge_logs};
use super::flood::Notes;
use super::guest::threads::WaitsWatch;
use super::guest::{self, ANSWER, Faults, Guest, Image};
use super::helper::Helper;
use super::judge::{Judgement, Truth, judge};
use super::keepalived::Keepalived;
use super::machine::{self, Readings};
use super::network::Network;
use super::replayed::{self, Recorded};
use super::scenario::{Scenario, SeesPathMtu};
use super::watch::{Seen, Watch};
use super::web::Nginx;
use super::whole_host;
use crate::stop::Stop;

mod start;
mod steps;

/// How long the kernel's watchdog takes to say that a CPU is stuck: its threshold of 20 s, and it looks every 4 s.
const WATCHDOG: Duration = Duration::from_secs(30);
/// The gateway must have answered not longer ago than this, in seconds.
const ANCHOR_AGE: f64 = 5.0;

/// What all runs have in common.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The agent's binary.
    pub(crate) agent: PathBuf,
    /// Whether a build keeps the CPUs busy.
    pub(crate) loaded: bool,
    /// How often each recording is replayed.
    pub(crate) replays: u32,
    /// Raised by Ctrl-C.
    pub(crate) stop: Stop,
}

/// A scenario that runs. The agents end before their network does: fields are dropped in this order.
struct Play<'a> {
    scenario: &'a Scenario,
    setting: &'a Setting,
    folder: &'a Path,
    helpers: Vec<(String, Moment, Helper)>,
    watches: BTreeMap<String, Watch>,
    /// Hosts that are to be starved: what has no time cannot end.
    groups: BTreeMap<String, Arc<whole_host::Group>>,
    agents: BTreeMap<String, Agent>,
    /// Faults that last end before the guests do: what is frozen cannot be killed.
    guest_faults: Faults,
    guests: BTreeMap<String, Arc<Guest>>,
    /// Resets that were asked for.
    resets: usize,
    /// What was wrong with how agents ended.
    faults: Vec<String>,
    readings: Readings,
    /// By host; they end before their network does.
    keepalived: BTreeMap<String, Keepalived>,
    /// What else is compared with Lacuna.
    beside: Beside,
    collector: Option<Collector>,
    servers: BTreeMap<String, Nginx>,
    waits: BTreeMap<String, WaitsWatch>,
    truth: Truth,
    /// What there is to tell of floods.
    notes: Notes,
    /// As they were when all hosts saw each other.
    figures: Figures,
    network: Network,
}

/// Runs it, guests with that image; logs, configurations and stores are in `folder`, and what the agents said when it failed.
pub(crate) fn play(scenario: &Scenario, image: Option<&Image>, setting: &Setting, folder: &Path) -> Result<Judgement> {
    if scenario.alone {
        machine::wait_until_idle(&setting.stop)?;
    }
    let mut play = Play::set_up(scenario, setting, folder)?;
    let judged = play.run(image);
    if judged.is_err() {
        play.hear_guests_out()?;
    }
    judged
}

impl<'a> Play<'a> {
    fn set_up(scenario: &'a Scenario, setting: &'a Setting, folder: &'a Path) -> Result<Self> {
        let hosts: Vec<_> = scenario.hosts.iter().map(|host| (host.name.as_str(), host.place())).collect();
        let mut network = Network::with_places(&hosts)?;
        if scenario.ipv6 {
            network.add_ipv6()?;
        }
        Ok(Self {
            scenario,
            setting,
            folder,
            helpers: Vec::new(),
            watches: BTreeMap::new(),
            groups: BTreeMap::new(),
            agents: BTreeMap::new(),
            guest_faults: Faults::default(),
            guests: BTreeMap::new(),
            resets: 0,
            faults: Vec::new(),
            readings: Readings::start(&setting.stop)?,
            keepalived: BTreeMap::new(),
            beside: Beside::default(),
            collector: None,
            servers: BTreeMap::new(),
            waits: BTreeMap::new(),
            truth: Truth { loaded: setting.loaded || scenario.makes_load(), ..Truth::default() },
            notes: Notes::default(),
            figures: Figures::default(),
            network,
        })
    }

    fn run(&mut self, image: Option<&Image>) -> Result<Judgement> {
        if self.scenario.collector {
            self.collector = Some(Collector::start(&self.network, self.folder, &self.setting.stop)?);
        }
        self.boot(image)?;
        self.start_keepalived()?;
        if self.scenario.compared {
            self.beside = Beside::start(self.scenario, &self.network, self.folder)?;
        }
        self.start_agents()?;
        self.wait_until_ready()?;
        self.figures = Figures::read(self.scenario, &self.network)?;
        self.beside.wait_until_settled(&self.setting.stop)?;
        self.groups = whole_host::groups(self.scenario, &self.network)?;
        let started = Instant::now();
        for step in &self.scenario.steps {
            self.setting.stop.sleep_until(started + step.at)?;
            self.no_guest_rebooted()?;
            self.perform(step).with_context(|| format!("the step at {:?}", step.at))?;
        }
        self.setting.stop.sleep_until(started + self.scenario.lasts)?;
        self.no_guest_rebooted()?;
        self.join_helpers()?;
        self.wait_for_verdicts()?;
        self.finish()
    }

    /// Why a guest hangs its kernel says on the console, but only after a while.
    fn hear_guests_out(&self) -> Result<()> {
        for guest in self.guests.values().filter(|guest| guest.alive() && !guest.answers(0, ANSWER)) {
            guest.tell_where_it_is();
            self.setting.stop.wait_for(WATCHDOG, || guest::emulator_erred(self.folder).unwrap_or(true))?;
        }
        Ok(())
    }

    fn finish_agent(&mut self, name: &str, agent: Agent) -> Result<()> {
        let faults = agent.finish()?.into_iter();
        self.faults.extend(faults.map(|fault| format!("{name}: the agent {fault}")));
        Ok(())
    }

    /// A kernel that panics boots anew; then there is nothing to wait for.
    fn no_guest_rebooted(&self) -> Result<()> {
        match self.guests.values().find(|guest| guest.boots() > 1 + self.resets) {
            Some(guest) => bail!("{} has booted anew by itself: its console is in {}.log", guest.name, guest.name),
            None => Ok(()),
        }
    }

    fn agent(&mut self, host: &str) -> Result<&mut Agent> {
        let agent = self.agents.get_mut(host);
        agent.with_context(|| format!("no agent on {host}"))
    }

    /// Waits for traffic and load to end; the last end of a step is a moment of its own.
    fn join_helpers(&mut self) -> Result<()> {
        for (name, mut moment, helper) in self.helpers.drain(..) {
            moment.before = helper.join()?;
            moment.after = moment.before;
            let latest = self.truth.moments.entry(name).or_insert(moment);
            if latest.after < moment.after {
                *latest = moment;
            }
        }
        Ok(())
    }

    /// A verdict that is still missing may come within the scenario's patience.
    fn wait_for_verdicts(&mut self) -> Result<()> {
        let end = Instant::now() + self.scenario.patience;
        while Instant::now() < end && !self.judgement()?.missing.is_empty() {
            self.no_guest_rebooted()?;
            self.setting.stop.sleep_until(Instant::now() + Duration::from_millis(200))?;
        }
        Ok(())
    }

    fn judgement(&mut self) -> Result<Judgement> {
        self.truth.machine = self.readings.until_now();
        let waits = self.waits.iter();
        self.truth.waits = waits.map(|(name, watch)| (name.clone(), watch.until_now())).collect();
        judge(self.scenario, &self.truth, &self.seen())
    }

    fn seen(&self) -> BTreeMap<String, Seen> {
        let watches = self.watches.iter();
        watches.map(|(name, watch)| (name.clone(), watch.seen())).collect()
    }

    fn finish(&mut self) -> Result<Judgement> {
        self.beside.end()?;
        let mut judgement = self.judgement()?;
        self.note_gateway(&mut judgement)?;
        self.note_path_mtu(&mut judgement);
        judgement.reached.append(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
        let figures = Figures::read(self.scenario, &self.network)?;
        self.figures.judge(&self.scenario.figures, &figures, &mut judgement);
        let mut seen = BTreeMap::new();
        for (name, watch) in std::mem::take(&mut self.watches) {
            seen.insert(name, watch.end()?);
        }
        self.guest_faults.heal();
        let mut recorded = self.record_guests(&mut judgement)?;
        for (name, agent) in std::mem::take(&mut self.agents) {
            self.finish_agent(&name, agent)?;
        }
        judgement.wrong.append(&mut self.faults);
        if let Some(collector) = self.collector.take() {
            collector::judge(&collector.end(), &seen, &mut judgement)?;
        }
        self.record_others(&mut recorded)?;
        for (name, recorded) in &recorded {
            replayed::judge(&self.setting.agent, name, recorded, self.setting.replays, &mut judgement)?;
        }
        judge_logs(&self.scenario.logs, self.folder, &mut judgement)?;
        super::report::keep_documents(self.folder, &seen, &self.truth)?;
        Ok(judgement)
    }

    /// What agents in guests have recorded goes with them; it is asked for while they run.
    fn record_guests(&self, judgement: &mut Judgement) -> Result<BTreeMap<String, Recorded>> {
        let running = self.guests.keys().filter(|name| self.agents.contains_key(*name));
        let mut all = BTreeMap::new();
        for name in running {
            let (namespace, url) = agent::asked(&self.network, self.network.host(name)?);
            let file = self.recording(name);
            match Recorded::of_agent(namespace, &url, &file) {
                Ok(recorded) => drop(all.insert(name.clone(), recorded)),
                Err(error) => judgement.wrong.push(format!("{name}: no recording: {error:#}")),
            }
        }
        Ok(all)
    }

    /// Those of the others are in their stores, once they have ended.
    fn record_others(&self, all: &mut BTreeMap<String, Recorded>) -> Result<()> {
        for host in self.scenario.hosts.iter().filter(|host| !host.guest) {
            let (name, store) = (&host.name, agent::store(self.folder, &host.name));
            all.insert(name.clone(), Recorded::of_store(&self.setting.agent, &store, self.recording(name))?);
        }
        Ok(())
    }

    fn recording(&self, host: &str) -> PathBuf {
        self.folder.join(format!("{host}.lacuna"))
    }

    fn note_gateway(&self, judgement: &mut Judgement) -> Result<()> {
        for name in &self.scenario.sees_gateway {
            let seen = self.watches.get(name).map(Watch::seen).unwrap_or_default();
            let address = self.network.host(name)?.gateway().to_string();
            let gateway = seen
                .peers
                .iter()
                .find(|peer| peer.role == "anchor" && peer.addr.split(':').next() == Some(address.as_str()));
            match gateway.map(|gateway| gateway.last_echo_seconds) {
                Some(Some(age)) if age < ANCHOR_AGE => {
                    judgement.reached.push(format!("{name}: the gateway answered {age:.1} s ago"));
                }
                Some(age) => judgement
                    .missing
                    .push(format!("{name}: the gateway's last answer is {age:?} s old, allowed are {ANCHOR_AGE}")),
                None => judgement.missing.push(format!("{name}: no anchor {address} among its peers")),
            }
        }
        Ok(())
    }

    fn note_path_mtu(&self, judgement: &mut Judgement) {
        for SeesPathMtu { host, peer, mtu } in &self.scenario.sees_path_mtu {
            let seen = self.watches.get(host).map(Watch::seen).unwrap_or_default();
            let told = seen.peers.iter().find(|known| known.name == *peer).and_then(|peer| peer.path_mtu_bytes);
            if told == *mtu {
                judgement.reached.push(format!("{host}: was told a path MTU to {peer} of {told:?}"));
            } else {
                judgement.missing.push(format!("{host}: was told a path MTU to {peer} of {told:?}, must be {mtu:?}"));
            }
        }
    }
}
