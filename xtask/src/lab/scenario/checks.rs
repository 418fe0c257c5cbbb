//! What a scenario may not say.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Host, Scenario, SeesPathMtu};
use crate::lab::fault::Hook;
use crate::lab::network::MAX_HOSTS;
use crate::lab::step::{Action, Starve, Step, ToAgent};

impl Scenario {
    pub(super) fn check_hosts(&self) -> Result<()> {
        let count = self.hosts.len();
        ensure!((1..=MAX_HOSTS).contains(&count), "{count} hosts; allowed are 1 to {MAX_HOSTS}");
        let mut names = BTreeSet::new();
        for Host { name, guest, far, priority, .. } in &self.hosts {
            ensure!(!(*guest && *far), "host `{name}`: a guest cannot be behind the router");
            let plain = !guest && !far;
            ensure!(
                !self.ipv6 || plain,
                "host `{name}`: with `ipv6` there are no guests, and nobody is behind the router"
            );
            ensure!(
                priority.is_none() || self.vip.is_some() && !guest,
                "host `{name}`: a priority needs the scenario's `vip`, and no guest"
            );
            let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            ensure!(
                plain && (1..=8).contains(&name.len()) && name != "switch" && name != "router",
                "host `{name}`: a name is 1 to 8 lower-case letters and digits, and not `switch` or `router`"
            );
            ensure!(names.insert(name), "host `{name}` is there twice");
            ensure!(!(self.compared && *guest), "host `{name}`: a guest runs neither bird nor corosync");
        }
        Ok(())
    }

    pub(super) fn check_steps(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        let mut last = Duration::ZERO;
        for step in &self.steps {
            for host in step.action.hosts() {
                self.check_host(host, "a step")?;
            }
            self.check_guest(&step.action)?;
            let at = humantime::format_duration(step.at);
            ensure!(step.at >= last, "the step at {at} is not in order of time");
            ensure!(step.ends() <= self.lasts, "the step at {at} ends after `lasts`");
            last = step.at;
            for name in step.moments() {
                ensure!(names.insert(name.clone()), "two steps are named `{name}`");
            }
        }
        Ok(())
    }

    pub(super) fn check_expectations(&self) -> Result<()> {
        let moments: BTreeSet<_> = self.steps.iter().flat_map(Step::moments).collect();
        for expect in &self.expect {
            self.check_host(&expect.host, "an expectation")?;
            ensure!(
                expect.within.is_none() || expect.from.is_some(),
                "`within` needs the step `from` that it counts from"
            );
            for name in [&expect.from, &expect.to].into_iter().flatten() {
                ensure!(
                    moments.contains(name),
                    "an expectation of `{}`: no step is named `{name}`; there are {moments:?}",
                    expect.host
                );
            }
        }
        let asked = self.figures.iter().map(|figure| &figure.host).chain(self.logs.iter().map(|log| &log.host));
        for host in asked {
            self.check_host(host, "`figures` or `logs`")?;
        }
        for host in &self.sees_gateway {
            self.check_host(host, "`sees-gateway`")?;
        }
        for SeesPathMtu { host, peer, .. } in &self.sees_path_mtu {
            self.check_host(host, "`sees-path-mtu`")?;
            self.check_host(peer, "`sees-path-mtu`")?;
        }
        Ok(())
    }

    /// What is done to guests only is done to a guest, on a CPU that it has; what needs a namespace is not.
    fn check_guest(&self, action: &Action) -> Result<()> {
        let is_guest = |name: &str| self.host(name).is_some_and(|host| host.guest);
        match action {
            Action::Guest(step) => {
                let host = step.host();
                ensure!(is_guest(host), "a step for guests names `{host}`, which is none");
                step.check()
            }
            Action::SignalAll(ToAgent { host, .. }) | Action::Starve(Starve { host, .. }) => {
                ensure!(!is_guest(host), "`{host}` is a guest: its processes are not this machine's");
                Ok(())
            }
            Action::Keepalived(ToAgent { host, .. }) | Action::KeepalivedStart(host) => {
                let runs = self.host(host).is_some_and(|host| host.priority.is_some());
                ensure!(runs, "`{host}` has no priority, so it runs no keepalived");
                Ok(())
            }
            Action::Router(_) => {
                let far = self.hosts.iter().any(|host| host.far);
                ensure!(far, "`router` needs a host in the second segment (`far = true`)");
                Ok(())
            }
            Action::Collector(_) => {
                ensure!(self.collector, "the step `collector` needs the scenario's");
                Ok(())
            }
            Action::VipOn(_) => {
                ensure!(self.vip.is_some(), "`vip-on` needs the scenario's `vip`");
                Ok(())
            }
            Action::LinkDown(host) | Action::LinkUp(host) => {
                ensure!(!is_guest(host), "the link of the guest `{host}` cannot be taken down");
                Ok(())
            }
            Action::Keys(keys) => {
                ensure!(!is_guest(&keys.host), "the guest `{}` has no key", keys.host);
                Ok(())
            }
            Action::Tcp(_) | Action::Web(_) | Action::Iperf(_) | Action::Flood(_) => {
                ensure!(!action.hosts().into_iter().any(is_guest), "traffic runs between namespaces only");
                Ok(())
            }
            Action::Drop(rule) => {
                let guests = is_guest(&rule.from) || is_guest(&rule.to);
                ensure!(!guests || rule.hook == Hook::Switch, "packets of guests are dropped at the switch only");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check_host(&self, name: &str, place: &str) -> Result<()> {
        let known: Vec<_> = self.hosts.iter().map(|host| host.name.as_str()).collect();
        ensure!(known.contains(&name), "{place} names the host `{name}`; there are {known:?}");
        Ok(())
    }
}
