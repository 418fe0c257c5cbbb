//! What is done to all that runs on a host at once: a signal to each process, or next to no CPU time for any of them.
//!
//! The hosts share this machine's CPUs with everything else, so a host is not starved by hogs but by quotas of a control
//! group: a thousandth of one CPU. Real-time tasks, such as corosync's, have a quota of their own in version 1 where the
//! kernel has real-time groups (`CONFIG_RT_GROUP_SCHED`); elsewhere they get their time all the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::guest::cgroup::{Version, find, mounts, write};
use super::helper::Helper;
use super::netns::{Namespace, fresh_prefix};
use super::network::Network;
use super::scenario::Scenario;
use super::step::{Action, Starve};
use crate::stop::Stop;

/// The longest period and the shortest quota that the kernel takes (kernel/sched/core.c, `max_cfs_quota_period` and its
/// neighbours).
const PERIOD: Duration = Duration::from_secs(1);
const QUOTA: Duration = Duration::from_millis(1);
/// What real-time tasks get of each second and CPU. Usually: far more than they need, and for [`super::network::MAX_HOSTS`]
/// together less than the kernel has for all groups (0.95 s). Starved: about one wake-up.
const REAL_TIME: Duration = Duration::from_millis(50);
const REAL_TIME_STARVED: Duration = Duration::from_micros(200);
const REAL_TIME_FILE: &str = "cpu.rt_runtime_us";
/// What a group gets by comparison with whatever else runs on this machine: ten times the usual, since each host stands for
/// a machine of its own.
const SHARES: &str = "10240";
const WEIGHT: &str = "1000";
/// A signal reaches a process that waits for a disk only after that.
const STOPPED_WITHIN: Duration = Duration::from_secs(2);

/// Sends the signal to every process of the host; one that stops has stopped all of them afterwards.
pub(crate) fn signal(namespace: &Namespace, signal: Signal, stop: &Stop) -> Result<()> {
    let processes = namespace.processes()?;
    ensure!(!processes.is_empty(), "nothing runs in {}", namespace.name());
    for pid in &processes {
        kill(Pid::from_raw(*pid), signal).with_context(|| format!("{signal} to the process {pid}"))?;
    }
    if signal == Signal::SIGSTOP {
        let stopped = stop.wait_for(STOPPED_WITHIN, || processes.iter().all(|pid| is_stopped(*pid)))?;
        ensure!(stopped, "not every process of {} has stopped within {STOPPED_WITHIN:?}", namespace.name());
    }
    Ok(())
}

/// By the letter after the name in /proc/PID/stat; names may have brackets and spaces.
fn is_stopped(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// A group for each host that is starved by one of the steps, or for all where they are compared, with all that runs there
/// by now.
pub(crate) fn groups(scenario: &Scenario, network: &Network) -> Result<BTreeMap<String, Arc<Group>>> {
    let is_starved = |name: &str| {
        let mut actions = scenario.steps.iter().map(|step| &step.action);
        actions.any(|action| matches!(action, Action::Starve(Starve { host, .. }) if host == name))
    };
    let hosts = network.hosts.iter().filter(|host| scenario.compared || is_starved(&host.name));
    hosts.map(|host| Ok((host.name.clone(), Arc::new(Group::of(host.namespace()?)?)))).collect()
}

/// The control group of a host; with this value it goes away, and the processes are out of it.
#[derive(Debug)]
pub(crate) struct Group {
    version: Version,
    mount: PathBuf,
    folder: PathBuf,
}

impl Group {
    /// One with every process that the host has now, and its children later. It has to be there before the agent reads for
    /// the first time how long its own group was throttled.
    pub(crate) fn of(namespace: &Namespace) -> Result<Self> {
        let (version, mount) = find(&mounts()?, "cpu").context("no control group with `cpu` is mounted")?;
        let folder = mount.join(fresh_prefix());
        std::fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
        let group = Self { version, mount, folder };
        match version {
            Version::One => group.write("cpu.shares", SHARES)?,
            Version::Two => {
                write(&group.mount.join("cgroup.subtree_control"), "+cpu")?;
                group.write("cpu.weight", WEIGHT)?;
            }
        }
        group.limit_real_time(REAL_TIME)?;
        for pid in namespace.processes()? {
            let text = pid.to_string();
            write(&group.folder.join("cgroup.procs"), &text).with_context(|| format!("the process {pid}"))?;
        }
        Ok(group)
    }

    /// Starves the host from now on, until the helper ends; it fails where the quota was never used up.
    pub(crate) fn starve(group: &Arc<Self>, lasts: Duration, stop: &Stop) -> Result<Helper> {
        let end = Instant::now() + lasts;
        let before = group.times_throttled()?;
        group.limit(true)?;
        let group = Arc::clone(group);
        Helper::spawn("starved host", stop, move |stop| {
            let slept = stop.sleep_until(end);
            group.limit(false)?;
            slept?;
            ensure!(group.times_throttled()? > before, "the quota of {QUOTA:?} in {PERIOD:?} was never used up");
            Ok(())
        })
    }

    fn limit(&self, starved: bool) -> Result<()> {
        let (quota, period) = (QUOTA.as_micros(), PERIOD.as_micros());
        match self.version {
            Version::One => {
                let quota = if starved { quota.to_string() } else { "-1".to_owned() };
                self.write("cpu.cfs_period_us", &period.to_string())?;
                self.write("cpu.cfs_quota_us", &quota)?;
            }
            Version::Two if starved => self.write("cpu.max", &format!("{quota} {period}"))?,
            Version::Two => self.write("cpu.max", "max")?,
        }
        self.limit_real_time(if starved { REAL_TIME_STARVED } else { REAL_TIME })
    }

    fn limit_real_time(&self, runtime: Duration) -> Result<()> {
        match self.folder.join(REAL_TIME_FILE).exists() {
            true => self.write(REAL_TIME_FILE, &runtime.as_micros().to_string()),
            false => Ok(()),
        }
    }

    fn times_throttled(&self) -> Result<u64> {
        let text = read(&self.folder.join("cpu.stat"))?;
        let figure = text.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse().ok());
        figure.context("cpu.stat has no nr_throttled")
    }

    fn remove(&self) -> Result<()> {
        self.limit(false)?;
        for pid in read(&self.folder.join("cgroup.procs"))?.lines() {
            // It may have ended.
            let _ = write(&self.mount.join("cgroup.procs"), pid);
        }
        std::fs::remove_dir(&self.folder).with_context(|| self.folder.display().to_string())
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        write(&self.folder.join(file), text)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("warning: {error:#}");
        }
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts in a file for as long as it gets time.
    fn counting(namespace: &Namespace, file: &Path) -> std::process::Child {
        let mut shell = namespace.service("sh");
        shell.args(["-c", "while :; do echo x >> \"$0\"; done"]).arg(file);
        shell.spawn().unwrap()
    }

    fn grows(file: &Path) -> u64 {
        let length = || std::fs::metadata(file).map_or(0, |file| file.len());
        let before = length();
        std::thread::sleep(Duration::from_millis(900));
        length() - before
    }

    #[test]
    fn a_host_stands_still_while_it_is_stopped_or_starved_and_goes_on() {
        let namespace = Namespace::create(&format!("{}-whole", fresh_prefix())).unwrap();
        let file = std::env::temp_dir().join(format!("xtask-whole-{}", std::process::id()));
        let (stop, mut child) = (Stop::default(), counting(&namespace, &file));
        assert!(stop.wait_for(Duration::from_secs(20), || file.exists()).unwrap());

        signal(&namespace, Signal::SIGSTOP, &stop).unwrap();
        assert_eq!(grows(&file), 0);
        signal(&namespace, Signal::SIGCONT, &stop).unwrap();

        let group = Arc::new(Group::of(&namespace).unwrap());
        let folder = group.folder.clone();
        let before = grows(&file);
        let helper = Group::starve(&group, Duration::from_secs(3), &stop).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        let starved = grows(&file);
        helper.join().unwrap();
        let after = grows(&file);
        drop(group);
        child.kill().unwrap();
        child.wait().unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(starved * 10 < before && starved * 10 < after, "{before} {starved} {after}");
        assert!(!folder.exists());
    }
}
