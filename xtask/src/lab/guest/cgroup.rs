//! Control groups of this machine that hold threads of an emulator: frozen, or with a quota. Version 1 where its
//! controller is mounted, else version 2 with a threaded group.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::lab::netns::{fresh_prefix, owner_of};

/// What is mounted.
const MOUNTS: &str = "/proc/self/mounts";
/// The group of the threads, in version 2 below that of the process.
const THREADS: &str = "threads";

/// Which hierarchy has the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// A hierarchy for each controller.
    One,
    /// One for all of them.
    Two,
}

/// A group that holds some threads of a process; it goes away with this value, and the threads back.
#[derive(Debug)]
pub(crate) struct Group {
    version: Version,
    mount: PathBuf,
    folder: PathBuf,
    process: u32,
    threads: Vec<u32>,
}

impl Group {
    /// A group for freezing.
    pub(crate) fn for_freezing(process: u32, threads: &[u32]) -> Result<Self> {
        Self::create("freezer", process, threads)
    }

    /// A group with a bound of the time that all threads in it get together.
    pub(crate) fn with_quota(process: u32, threads: &[u32], quota: Duration, period: Duration) -> Result<Self> {
        let group = Self::create("cpu", process, threads)?;
        let (quota, period) = (quota.as_micros(), period.as_micros());
        match group.version {
            Version::One => {
                group.write("cpu.cfs_period_us", &period.to_string())?;
                group.write("cpu.cfs_quota_us", &quota.to_string())?;
            }
            Version::Two => group.write("cpu.max", &format!("{quota} {period}"))?,
        }
        Ok(group)
    }

    /// Freezes or thaws the threads.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<()> {
        match self.version {
            Version::One => self.write("freezer.state", if frozen { "FROZEN" } else { "THAWED" }),
            Version::Two => self.write("cgroup.freeze", if frozen { "1" } else { "0" }),
        }
    }

    /// Whether every thread stands still now.
    pub(crate) fn is_frozen(&self) -> Result<bool> {
        match self.version {
            Version::One => Ok(self.read("freezer.state")?.trim() == "FROZEN"),
            Version::Two => Ok(self.read("cgroup.events")?.lines().any(|line| line == "frozen 1")),
        }
    }

    /// How many periods had to end before the threads could go on.
    pub(crate) fn times_throttled(&self) -> Result<u64> {
        let text = self.read("cpu.stat")?;
        let figure = text.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse().ok());
        figure.context("cpu.stat has no nr_throttled")
    }

    fn create(controller: &str, process: u32, threads: &[u32]) -> Result<Self> {
        let (version, mount) = find(&mounts()?, controller).with_context(|| {
            format!("no control group with `{controller}` is mounted: threads of an emulator cannot be held without it")
        })?;
        let own = mount.join(fresh_prefix());
        std::fs::create_dir(&own).with_context(|| own.display().to_string())?;
        let folder = if version == Version::One { own.clone() } else { own.join(THREADS) };
        let group = Self { version, mount, folder, process, threads: threads.to_vec() };
        if version == Version::Two {
            group.prepare(controller, &own)?;
        }
        let list = if version == Version::One { "tasks" } else { "cgroup.threads" };
        threads.iter().try_for_each(|thread| group.write(list, &thread.to_string()))?;
        Ok(group)
    }

    /// Version 2 takes single threads only in a threaded group below the one that has the whole process.
    fn prepare(&self, controller: &str, own: &Path) -> Result<()> {
        write(&own.join("cgroup.procs"), &self.process.to_string())?;
        std::fs::create_dir(&self.folder).with_context(|| self.folder.display().to_string())?;
        self.write("cgroup.type", "threaded")?;
        if controller == "cpu" {
            write(&self.mount.join("cgroup.subtree_control"), "+cpu")?;
            write(&own.join("cgroup.subtree_control"), "+cpu")?;
        }
        Ok(())
    }

    fn remove(&self) -> Result<()> {
        if self.version == Version::Two || self.folder.join("freezer.state").exists() {
            self.freeze(false)?;
        }
        match self.version {
            Version::One => {
                for thread in &self.threads {
                    // It may have ended.
                    let _ = write(&self.mount.join("tasks"), &thread.to_string());
                }
                std::fs::remove_dir(&self.folder)?;
            }
            Version::Two => {
                let _ = write(&self.mount.join("cgroup.procs"), &self.process.to_string());
                std::fs::remove_dir(&self.folder)?;
                self.folder.parent().map(std::fs::remove_dir).transpose()?;
            }
        }
        Ok(())
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        write(&self.folder.join(file), text)
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.folder.join(file);
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("warning: {}: {error:#}", self.folder.display());
        }
    }
}

/// Removes the groups of runners that are no more; their emulators have ended with them.
pub(crate) fn remove_leftovers() -> Result<()> {
    let mounts = mounts()?;
    let found = ["freezer", "cpu"].into_iter().filter_map(|controller| find(&mounts, controller));
    for (version, mount) in found {
        for entry in std::fs::read_dir(&mount)?.flatten() {
            let left = entry.file_name().to_str().and_then(owner_of);
            if left.is_none_or(crate::lab::netns::is_runner) {
                continue;
            }
            if version == Version::One && entry.path().join("freezer.state").exists() {
                // What was killed while it was frozen ends only when it is not.
                write(&entry.path().join("freezer.state"), "THAWED")?;
            }
            // Another runner may have been faster; what still ends there is for the next one.
            let _ = std::fs::remove_dir(entry.path().join(THREADS));
            let _ = std::fs::remove_dir(entry.path());
        }
    }
    Ok(())
}

/// What is mounted, a line each.
pub(crate) fn mounts() -> Result<String> {
    std::fs::read_to_string(MOUNTS).context(MOUNTS)
}

/// Where a controller is mounted; in version 2 freezing is part of every group.
pub(crate) fn find(mounts: &str, controller: &str) -> Option<(Version, PathBuf)> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        Some((words.next()?, words.next()?, words.next()?))
    });
    let one =
        mounts.clone().find(|(_, kind, options)| *kind == "cgroup" && options.split(',').any(|o| o == controller));
    let two = || mounts.clone().find(|(_, kind, _)| *kind == "cgroup2");
    let (version, (path, ..)) = one.map(|one| (Version::One, one)).or_else(|| Some((Version::Two, two()?)))?;
    Some((version, PathBuf::from(path)))
}

/// Writes a file of a group.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    ensure!(path.exists(), "{} is not there", path.display());
    std::fs::write(path, text).with_context(|| format!("{}: {text}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_is_preferred_where_its_controller_is_mounted() {
        let two = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        let one = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n";
        assert_eq!(find(two, "cpu"), Some((Version::Two, "/sys/fs/cgroup".into())));
        let both = format!("{two}{one}");
        assert_eq!(find(&both, "cpu"), Some((Version::One, "/sys/fs/cgroup/cpu,cpuacct".into())));
        assert_eq!(find(&both, "freezer"), Some((Version::Two, "/sys/fs/cgroup".into())));
        assert_eq!(find("tmpfs /tmp tmpfs rw 0 0\n", "cpu"), None);
    }

    #[test]
    fn a_frozen_thread_stands_still_and_its_group_goes_away() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let group = Group::for_freezing(child.id(), &[child.id()]).unwrap();
        group.freeze(true).unwrap();
        let end = std::time::Instant::now() + Duration::from_secs(5);
        while !group.is_frozen().unwrap() && std::time::Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(group.is_frozen().unwrap());
        group.freeze(false).unwrap();
        let folder = group.folder.clone();
        drop(group);
        assert!(!folder.exists());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
