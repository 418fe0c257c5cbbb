//! Network namespaces: made, entered, removed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::sh;

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";
/// How the names of all namespaces of a runner begin; its process id follows.
const PREFIX: &str = "lac";

/// A network namespace that goes away with this value, and so do the links in it.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes it, with `lo` up and without IPv6 (whose own chatter would only blur what is tested).
    pub(crate) fn create(name: &str) -> Result<Self> {
        sh::output(&mut sh::command(&["ip", "netns", "add", name]), "")
            .context("network namespaces need root and the package iproute2")?;
        let made = Self { name: name.into() };
        made.ip("link set lo up\n")?;
        made.enter(|| {
            let all = "/proc/sys/net/ipv6/conf/all/disable_ipv6";
            if Path::new(all).exists() {
                std::fs::write(all, "1").context(all)?;
            }
            Ok(())
        })?;
        Ok(made)
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs lines of `ip -batch` in it.
    pub(crate) fn ip(&self, lines: &str) -> Result<()> {
        let mut ip = sh::command(&["ip", "-n", &self.name, "-batch", "-"]);
        sh::output(&mut ip, lines).map(|_| ())
    }

    /// Runs a script of `nft` in it, as one transaction.
    pub(crate) fn nft(&self, script: &str) -> Result<()> {
        let mut nft = self.command("nft");
        sh::output(nft.args(["-f", "-"]), script)
            .map(|_| ())
            .with_context(|| format!("nftables in {}: {script}", self.name))
    }

    /// A program to start in it. The mounts stay those of the machine, unlike with `ip netns exec`, which hides
    /// tracefs and the control groups from the program.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        command(&self.name, program)
    }

    /// The same for a program that lives on: it is ended by the kernel with the thread that starts it.
    pub(crate) fn service(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        service(&self.name, program)
    }

    /// The numbers of the processes in it.
    pub(crate) fn processes(&self) -> Result<Vec<i32>> {
        processes(&self.name)
    }

    /// Runs `work` on a thread of its own inside of it.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.join()?;
                work()
            });
            thread.join().map_err(|_| anyhow!("the thread in {} panicked", self.name))?
        })
    }

    /// Moves the calling thread into it, for good.
    pub(crate) fn join(&self) -> Result<()> {
        join(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.name) {
            eprintln!("warning: {error:#}");
        }
    }
}

/// Moves the calling thread into the namespace of that name, for good.
pub(crate) fn join(name: &str) -> Result<()> {
    let path = path(name);
    let file = File::open(&path).with_context(|| path.display().to_string())?;
    setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {name}"))
}

/// As [`Namespace::command`], by the name of the namespace.
fn command(name: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", path(name).display()));
    command.arg("--").arg(program);
    command
}

/// As [`Namespace::service`], by the name of the namespace.
pub(crate) fn service(name: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = command(name, "setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// The beginning of the names of one set of namespaces: unlike any other, also of other runners.
pub(crate) fn fresh_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{number}", std::process::id())
}

/// Removes the namespaces (and ends what runs in them) that a runner left behind which is no more.
pub(crate) fn remove_leftovers() -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for name in names()? {
        if owner_of(&name).is_some_and(|pid| !is_runner(pid)) {
            let done = end_processes(&name).and_then(|()| remove(&name));
            // Another runner that starts now may have been faster.
            if path(&name).exists() {
                done?;
            }
            removed.push(name);
        }
    }
    Ok(removed)
}

/// Whether that process is a living runner, and not another program with a number that was used again.
pub(crate) fn is_runner(pid: u32) -> bool {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let name = program.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with("xtask")
}

fn names() -> Result<Vec<String>> {
    if !Path::new(NAMES).exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(NAMES).context(NAMES)?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

/// The process id of the runner in the name of what it made.
pub(crate) fn owner_of(name: &str) -> Option<u32> {
    let (pid, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
    pid.parse().ok()
}

fn processes(name: &str) -> Result<Vec<i32>> {
    let pids = sh::output(&mut sh::command(&["ip", "netns", "pids", name]), "")?;
    Ok(pids.lines().filter_map(|line| line.trim().parse().ok()).collect())
}

fn end_processes(name: &str) -> Result<()> {
    for pid in processes(name)? {
        // It may have ended by itself since.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    Ok(())
}

fn remove(name: &str) -> Result<()> {
    sh::output(&mut sh::command(&["ip", "netns", "del", name]), "").map(|_| ())
}

fn path(name: &str) -> PathBuf {
    Path::new(NAMES).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_goes_away_with_its_value() {
        let name = format!("{}-gone", fresh_prefix());
        let made = Namespace::create(&name).unwrap();
        assert!(path(&name).exists());
        let links = made.enter(|| Ok(std::fs::read_to_string("/proc/thread-self/net/dev")?));
        assert!(links.unwrap().contains("lo:"));
        drop(made);
        assert!(!path(&name).exists());
    }

    #[test]
    fn the_owner_is_read_from_the_name() {
        let cases = [("lac1234-0-a", Some(1234)), ("lac1234", None), ("lacuna-a", None), ("other", None)];
        for (name, expected) in cases {
            assert_eq!(owner_of(name), expected, "{name}");
        }
    }

    #[test]
    fn leftovers_of_a_dead_runner_are_removed_with_their_processes() {
        // No process has a number beyond the kernel's largest limit of 2^22.
        let name = format!("lac{}-{}", 5_000_000 + std::process::id(), "a");
        let left = Namespace::create(&name).unwrap();
        let mut sleeper = left.command("sleep").arg("600").spawn().unwrap();
        while !in_namespace(&name, sleeper.id()) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let mine = Namespace::create(&format!("{}-kept", fresh_prefix())).unwrap();
        assert!(remove_leftovers().unwrap().contains(&name));
        assert!(!sleeper.wait().unwrap().success());
        assert!(path(mine.name()).exists(), "that of a living runner stays");
        std::mem::forget(left);
    }

    fn in_namespace(name: &str, pid: u32) -> bool {
        let pids = sh::output(&mut sh::command(&["ip", "netns", "pids", name]), "").unwrap();
        pids.lines().any(|line| line.trim() == pid.to_string())
    }
}
