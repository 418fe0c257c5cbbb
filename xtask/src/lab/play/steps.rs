//! The steps of a scenario, carried out.

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use super::Play;
use crate::lab::agent::Agent;
use crate::lab::clock::Moment;
use crate::lab::guest::GuestStep;
use crate::lab::helper::Helper;
use crate::lab::keys::{self, Rekey};
use crate::lab::step::{Action, Starve, Step, ToAgent};
use crate::lab::web::{self, Nginx, Web};
use crate::lab::{fault, flood, iperf, load, traffic, whole_host};

impl Play<'_> {
    pub(super) fn perform(&mut self, step: &Step) -> Result<()> {
        self.beside.mark(step.name.as_deref().unwrap_or("a step"))?;
        let (moment, helpers) = match &step.action {
            Action::Guest(step) => self.act_on_guest(step)?,
            action => Moment::of(|| self.act(action))?,
        };
        let name = step.name.clone().unwrap_or_default();
        self.truth.moments.insert(name.clone(), moment);
        let helpers = helpers.into_iter();
        self.helpers.extend(helpers.map(|helper| (format!("{name}-end"), moment, helper)));
        Ok(())
    }

    fn act(&mut self, action: &Action) -> Result<Vec<Helper>> {
        let network = &self.network;
        let stop = &self.setting.stop;
        match action {
            Action::Drop(rule) => rule.apply(network)?,
            Action::Heal(_) => fault::heal(network)?,
            Action::Router(narrow) => network.narrow(*narrow)?,
            Action::Signal(ToAgent { host, signal }) => self.agent(host)?.signal(signal.signal())?,
            Action::Start(host) => self.start(host)?,
            Action::LinkDown(host) => network.host(host)?.link_down()?,
            Action::LinkUp(host) => network.host(host)?.link_up()?,
            Action::HostGone(host) => {
                network.unplug(network.host(host)?)?;
                if let Some(guest) = self.guests.get(host) {
                    guest.kill();
                    self.agents.remove(host);
                    return Ok(Vec::new());
                }
                self.agent(host)?.signal(Signal::SIGKILL)?;
            }
            Action::Tcp(tcp) => return Ok(traffic::start(network, tcp, stop)?.into()),
            Action::Web(web) => return Ok(vec![self.ask_web(web)?]),
            Action::Iperf(iperf) => return Ok(vec![iperf::start(network, iperf, stop)?]),
            Action::Load(load) => return load::start(load, stop),
            Action::Flood(flood) => return Ok(vec![flood::start(network, flood, self.folder, &self.notes, stop)?]),
            Action::Keys(Rekey { host, are }) => {
                keys::give(self.folder, host, are)?;
                self.agent(host)?.signal(Signal::SIGHUP)?;
            }
            Action::Collector(step) => {
                let collector = self.collector.as_mut().context("no collector")?;
                collector.perform(*step, network, stop)?;
            }
            Action::Keepalived(ToAgent { host, signal }) => {
                let running = self.keepalived.get_mut(host).with_context(|| format!("no keepalived on {host}"))?;
                running.signal(signal.signal())?;
            }
            Action::KeepalivedStart(host) => self.start_keepalived_on(host)?,
            Action::VipOn(hosts) => self.wait_for_vip(hosts)?,
            Action::Split(groups) => fault::split(groups, network)?,
            Action::SignalAll(ToAgent { host, signal }) => {
                whole_host::signal(network.host(host)?.namespace()?, signal.signal(), stop)?;
            }
            Action::Starve(Starve { host, lasts }) => {
                let group = self.groups.get(host).with_context(|| format!("no control group of {host}"))?;
                return Ok(vec![whole_host::Group::starve(group, *lasts, stop)?]);
            }
            Action::Guest(_) => bail!("that is done to a guest"),
        }
        Ok(Vec::new())
    }

    /// Asks the server of a host, which is started with the first who asks.
    fn ask_web(&mut self, web: &Web) -> Result<Helper> {
        let stop = &self.setting.stop;
        if !self.servers.contains_key(&web.to) {
            let started = Nginx::start(self.network.host(&web.to)?, self.folder, stop)?;
            self.servers.insert(web.to.clone(), started);
        }
        web::ask(&self.network, web, self.folder, stop)
    }

    fn act_on_guest(&mut self, step: &GuestStep) -> Result<(Moment, Vec<Helper>)> {
        let guest = self.guests.get(step.host()).context("no such guest")?;
        let boots = guest.boots();
        let (moment, mut helpers) = self.guest_faults.perform(guest, step, &self.setting.stop)?;
        if matches!(step, GuestStep::Reset(_)) {
            self.resets += 1;
            guest.wait_until_up(boots + 1, &self.setting.stop)?;
            // The one before it went with the guest.
            self.agents.remove(&guest.name.clone());
            let agent = Agent::start_in(guest, self.folder)?;
            self.agents.insert(step.host().to_owned(), agent);
            helpers.push(Helper::spawn("start of an agent", &self.setting.stop, |_| Ok(()))?);
        }
        Ok((moment, helpers))
    }
}
