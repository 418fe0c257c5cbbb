//! Work that keeps the CPUs busy: threads of a scenario, or a real `cargo build` beside all of them.

use std::hint::spin_loop;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::helper::Helper;
use super::step::Load;
use crate::stop::Stop;

/// Starts the busy threads; each ends by itself.
pub(crate) fn start(load: &Load, stop: &Stop) -> Result<Vec<Helper>> {
    let cpus = std::thread::available_parallelism()?.get();
    let end = Instant::now() + load.lasts;
    (0..load.threads_per_cpu * cpus).map(|_| Helper::spawn("busy", stop, move |stop| spin(end, stop))).collect()
}

fn spin(end: Instant, stop: &Stop) -> Result<()> {
    while Instant::now() < end {
        stop.check()?;
        (0..10_000).for_each(|_| spin_loop());
    }
    Ok(())
}

/// `cargo build` of this workspace, over and over: as many at once as there are CPUs, each into a folder of its own,
/// so that no CPU is idle while one of them does what cannot be shared out.
pub(crate) struct Hog {
    /// They end with this value, and the builds with them.
    _threads: Vec<Helper>,
}

impl Hog {
    /// Begins to build, and waits until the compilers are at work.
    pub(crate) fn start(stop: &Stop) -> Result<Self> {
        let cpus = std::thread::available_parallelism()?.get();
        let folder = |number| crate::target().join(format!("load-{}-{number}", std::process::id()));
        let threads = (0..cpus)
            .map(|number| {
                let folder = folder(number);
                Helper::spawn("cargo build", stop, move |stop| build(&folder, stop))
            })
            .collect::<Result<_>>()?;
        let hog = Self { _threads: threads };
        let compiles =
            |number| std::fs::read_to_string(folder(number).join("log")).is_ok_and(|log| log.contains("Compiling"));
        let begun = stop.wait_for(Duration::from_secs(60), || (0..cpus).all(compiles))?;
        ensure!(begun, "`cargo build` as load did not begin");
        Ok(hog)
    }
}

/// Removes what a hog left behind whose runner is no more.
pub(crate) fn remove_leftovers(target: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(target) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix("load-"));
        let owner = owner.and_then(|name| name.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid| !super::netns::is_runner(pid)) {
            super::folder::remove(&entry.path())?;
        }
    }
    Ok(())
}

fn build(folder: &Path, stop: &Stop) -> Result<()> {
    let done = repeat(folder, stop);
    let _ = std::fs::remove_dir_all(folder);
    if stop.raised() { Ok(()) } else { done }
}

fn repeat(folder: &Path, stop: &Stop) -> Result<()> {
    while !stop.raised() {
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder)?;
        let mut build = Build::start(folder)?;
        while build.runs()? {
            stop.sleep_until(Instant::now() + Duration::from_millis(50))?;
        }
    }
    Ok(())
}

/// One `cargo build` with all of its compilers; they are ended with this value.
struct Build(Child);

impl Build {
    fn start(folder: &Path) -> Result<Self> {
        let log = std::fs::File::create(folder.join("log"))?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(cargo)
            .args(["build", "--offline", "--target-dir"])
            .arg(folder)
            .current_dir(crate::root())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start `cargo build` as load")?;
        Ok(Self(child))
    }

    fn runs(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.0.id()) {
            // It may have ended by itself since.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_threads_end_when_their_time_is_over() {
        let load = Load { threads_per_cpu: 1, lasts: Duration::from_millis(50) };
        let started = Instant::now();
        for helper in start(&load, &Stop::default()).unwrap() {
            helper.join().unwrap();
        }
        assert!(started.elapsed() >= load.lasts);
    }
}
