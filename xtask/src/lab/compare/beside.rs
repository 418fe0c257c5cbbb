//! The products that run beside Lacuna on every host of a scenario, and what their logs had during it.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::said::{Hosts, Said};
use super::{bird, corosync, keepalived};
use crate::lab::daemon::Daemon;
use crate::lab::network::Network;
use crate::lab::scenario::Scenario;
use crate::stop::Stop;

/// How long it may take until all sessions are up and all hosts are members.
const SETTLE: Duration = Duration::from_secs(60);
/// How the lines begin that the lab adds to the logs.
const MARK: &str = "=== lab: ";
/// The mark after which a log has nothing more of a scenario.
const LAST: &str = "=== lab: over";

/// What Lacuna is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Product {
    /// VRRP, adverts of 0.2 s.
    Keepalived,
    /// BFD, 100 ms × 3.
    Bird,
    /// A token of 300 ms.
    Corosync,
}

impl Product {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Keepalived, Self::Bird, Self::Corosync];

    /// Its program, by which its files are named as well.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Keepalived => "keepalived",
            Self::Bird => "bird",
            Self::Corosync => "corosync",
        }
    }

    fn log(self, host: &str, folder: &Path) -> PathBuf {
        folder.join(format!("{}-{host}.log", self.program()))
    }

    /// What it said on every host between the first mark and the last one.
    pub(super) fn said(self, scenario: &Scenario, folder: &Path) -> Result<Vec<Said>> {
        let hosts = Hosts::of(scenario);
        let mut all = Vec::new();
        for (by, _) in &hosts.0 {
            let path = self.log(by, folder);
            let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
            let text = String::from_utf8_lossy(&text);
            let log = between_marks(&text).with_context(|| format!("{} has no marks", path.display()))?;
            let conclusions = match self {
                Self::Keepalived => keepalived::conclusions(by, log, scenario),
                Self::Bird => bird::conclusions(log, &hosts),
                Self::Corosync => corosync::conclusions(log, &hosts),
            };
            all.extend(conclusions.into_iter().map(|what| Said { by: by.clone(), what }));
        }
        Ok(all)
    }
}

fn between_marks(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(MARK)?;
    Some(rest.split_once(LAST)?.0)
}

/// The running products that the scenario does not start by itself; they end with this value.
#[derive(Default)]
pub(crate) struct Beside {
    daemons: Vec<Daemon>,
    logs: Vec<PathBuf>,
    /// Absent where nothing is compared.
    settled: Option<(Hosts, PathBuf)>,
}

impl Beside {
    /// Starts bird and corosync on every host.
    pub(crate) fn start(scenario: &Scenario, network: &Network, folder: &Path) -> Result<Self> {
        let hosts = Hosts::of(scenario);
        let mut beside = Self::default();
        for host in &network.hosts {
            for (product, command) in [
                (Product::Bird, bird::command(host, &hosts, folder)?),
                (Product::Corosync, corosync::command(host, &hosts, folder)?),
            ] {
                beside.daemons.push(Daemon::start(command, &product.log(&host.name, folder))?);
            }
            beside.logs.extend(Product::ALL.map(|product| product.log(&host.name, folder)));
        }
        beside.settled = Some((hosts, folder.to_owned()));
        Ok(beside)
    }

    /// Waits until every one hears all others.
    pub(crate) fn wait_until_settled(&self, stop: &Stop) -> Result<()> {
        let Some((hosts, folder)) = &self.settled else { return Ok(()) };
        let log = |product: Product, host: &str| std::fs::read_to_string(product.log(host, folder)).unwrap_or_default();
        let settled = |host: &str| {
            bird::is_settled(host, hosts, &log(Product::Bird, host))
                && corosync::is_settled(hosts, &log(Product::Corosync, host))
        };
        let all = stop.wait_for(SETTLE, || hosts.0.iter().all(|(name, _)| settled(name)))?;
        let missing: Vec<_> = hosts.0.iter().map(|(name, _)| name).filter(|name| !settled(name)).collect();
        ensure!(all, "bird or corosync on {missing:?} do not hear all others after {SETTLE:?}");
        Ok(())
    }

    /// Adds a line to every log, before a step.
    pub(crate) fn mark(&self, step: &str) -> Result<()> {
        self.add(&format!("{MARK}{step}"))
    }

    /// Adds the line after which only the end of the scenario is logged.
    pub(crate) fn end(&self) -> Result<()> {
        self.add(LAST)
    }

    fn add(&self, line: &str) -> Result<()> {
        for path in &self.logs {
            let mut log = File::options().append(true).open(path).with_context(|| path.display().to_string())?;
            writeln!(log, "{line}").with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

impl Drop for Beside {
    /// All are told first, and waited for then.
    fn drop(&mut self) {
        self.daemons.iter().for_each(Daemon::tell_to_end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_belongs_to_the_scenario() {
        let text = "up\n=== lab: cut\ndown\n=== lab: healed\nup\n=== lab: over\nended\n";
        assert_eq!(between_marks(text), Some("cut\ndown\n=== lab: healed\nup\n"));
        assert_eq!(between_marks("up\n=== lab: cut\ndown\n"), None);
    }
}
