//! What runs before the first step: guests, servers, agents that see each other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::Play;
use crate::lab::agent::{self, Agent};
use crate::lab::collector;
use crate::lab::guest::threads::WaitsWatch;
use crate::lab::guest::{self, Guest, Image, Place};
use crate::lab::keepalived::{self, Keepalived};
use crate::lab::keys;
use crate::lab::watch::{Seen, Watch};

/// How long the agents may take until all of them see each other; those in guests load their probes slowly.
const READY: Duration = Duration::from_secs(60);
const GUESTS_READY: Duration = Duration::from_secs(120);
/// How often consoles are looked at while guests load their probes.
const LOOK_AT_CONSOLES: Duration = Duration::from_secs(1);

impl Play<'_> {
    /// Writes the configurations, and lets the guests come up.
    pub(super) fn boot(&mut self, image: Option<&Image>) -> Result<()> {
        for host in &self.scenario.hosts {
            let place = self.network.host(&host.name)?;
            keys::give(self.folder, &host.name, &host.keys)?;
            let mut extra = if self.scenario.collector { collector::configuration()? } else { toml::Table::new() };
            agent::merge(&mut extra, &host.config);
            let config = agent::configure(&self.network, place, &extra, self.folder)?;
            if host.guest {
                let image = image.context("a guest without an image")?;
                let place = Place {
                    name: &host.name,
                    addr: place.addr,
                    tap: &place.port,
                    switch: &self.network.switch,
                    memory: host.memory,
                    folder: self.folder,
                };
                let archive = image.of_guest(&config, self.scenario.stresses(&host.name))?;
                let guest = Guest::start(place, image, &archive)?;
                let waits = WaitsWatch::start(guest.pid, &guest.threads, &self.setting.stop)?;
                self.waits.insert(host.name.clone(), waits);
                self.guests.insert(host.name.clone(), Arc::new(guest));
            }
        }
        self.guests.values().try_for_each(|guest| guest.wait_until_up(1, &self.setting.stop))
    }

    /// Starts keepalived on the hosts that have a priority, and waits until the highest has the virtual address.
    pub(super) fn start_keepalived(&mut self) -> Result<()> {
        let mut highest = None;
        for host in self.scenario.hosts.iter().filter(|host| host.priority.is_some()) {
            self.start_keepalived_on(&host.name)?;
            highest = highest.max(Some((host.priority, &host.name)));
        }
        let Some((_, name)) = highest else { return Ok(()) };
        self.wait_for_vip(std::slice::from_ref(name))
    }

    pub(super) fn start_keepalived_on(&mut self, name: &str) -> Result<()> {
        let priority = self.scenario.host(name).and_then(|host| host.priority).context("no keepalived on this host")?;
        let vip = self.scenario.vip.context("a scenario without a virtual address")?;
        // The one before it has to be gone first: they share their files.
        self.keepalived.remove(name);
        let started = Keepalived::start(self.network.host(name)?, priority, vip, self.folder)?;
        self.keepalived.insert(name.to_owned(), started);
        Ok(())
    }

    pub(super) fn wait_for_vip(&self, on: &[String]) -> Result<()> {
        let vip = self.scenario.vip.context("a scenario without a virtual address")?;
        keepalived::wait_for_holders(&self.network, vip, on, &self.setting.stop)
    }

    pub(super) fn start_agents(&mut self) -> Result<()> {
        for host in &self.scenario.hosts {
            let (namespace, url) = agent::asked(&self.network, self.network.host(&host.name)?);
            let watch = Watch::start(namespace, &url)?;
            self.watches.insert(host.name.clone(), watch);
            self.start(&host.name)?;
        }
        for (name, guest) in &self.guests {
            self.truth.clocks_ahead.insert(name.clone(), guest.clock_ahead()?);
        }
        Ok(())
    }

    /// Starts that host's agent, once the one before it has ended.
    pub(super) fn start(&mut self, name: &str) -> Result<()> {
        if let Some(before) = self.agents.remove(name) {
            self.finish_agent(name, before)?;
        }
        let agent = match self.guests.get(name) {
            Some(guest) => Agent::start_in(guest, self.folder)?,
            None => Agent::start(&self.setting.agent, self.network.host(name)?, self.folder)?,
        };
        self.agents.insert(name.to_owned(), agent);
        Ok(())
    }

    pub(super) fn wait_until_ready(&mut self) -> Result<()> {
        let scenario = self.scenario;
        let (watches, agents, guests) = (&self.watches, &mut self.agents, !self.guests.is_empty());
        let (mut ended, mut looked) = (false, Instant::now());
        let patience = if guests { GUESTS_READY } else { READY };
        let ready = self.setting.stop.wait_for(patience, || {
            // One that hangs while it loads its probes would be waited for in vain. Consoles are long, and time is theirs.
            let looks = guests && looked.elapsed() >= LOOK_AT_CONSOLES;
            if looks {
                looked = Instant::now();
            }
            let hangs = looks && guest::emulator_erred(self.folder).unwrap_or(true);
            ended = hangs || !agents.values_mut().all(Agent::alive);
            ended || watches.iter().all(|(name, watch)| watch.ready(scenario.heard_by(name)))
        })?;
        if ready && !ended {
            return Ok(());
        }
        bail!("the agents do not see each other: {}", self.why_not_ready()?);
    }

    fn why_not_ready(&self) -> Result<String> {
        let mut lines = Vec::new();
        self.guests.values().for_each(|guest| guest.tell_where_it_is());
        for (name, watch) in &self.watches {
            let agent = self.agents.get(name).context("a watch without agent")?;
            if !watch.ready(self.scenario.heard_by(name)) {
                let Seen { health, peers, broken, .. } = watch.seen();
                let up: Vec<_> = peers.iter().map(|peer| (&peer.name, peer.up)).collect();
                let log = agent.tail()?;
                lines.push(format!("{name}: healthz {health:?}, peers {up:?}, {broken:?}, its log ends with: {log}"));
            }
        }
        Ok(lines.join("; "))
    }
}
