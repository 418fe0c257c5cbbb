//! Child processes: helpers for a CPU, jobs that take time, the agent. The first process also inherits orphans.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::cpu;

/// How long a helper may take that does one thing.
const PATIENCE: Duration = Duration::from_secs(2);
/// Above every ordinary task, so that a helper comes to run on a CPU that some task does not leave.
const PRIORITY: i32 = 90;
/// Jobs at once.
const MAX_JOBS: usize = 64;

/// The jobs that run: by process, the number of the request that began it.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    running: BTreeMap<i32, u64>,
    /// What ended and is not told yet.
    ended: Vec<(u64, String)>,
}

impl Jobs {
    /// Starts this program, on the CPU of the calling thread, as a helper that does `words`; its end is told under
    /// `number`.
    pub(crate) fn start(&mut self, number: u64, words: &[&str]) -> Result<Pid> {
        self.start_command(number, &mut helper(words))
    }

    /// Starts a program on any CPU; its end is told under `number`.
    pub(crate) fn start_anywhere(&mut self, number: u64, command: &mut Command) -> Result<Pid> {
        let mine = cpu::everywhere()?;
        let started = self.start_command(number, command);
        cpu::back_to(&mine)?;
        started
    }

    fn start_command(&mut self, number: u64, command: &mut Command) -> Result<Pid> {
        ensure!(self.running.len() < MAX_JOBS, "too many jobs");
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let pid = i32::try_from(child.id())?;
        self.running.insert(pid, number);
        Ok(Pid::from_raw(pid))
    }

    /// Runs a helper to its end; an error says what it says.
    pub(crate) fn run(&mut self, words: &[&str]) -> Result<()> {
        let mut child = helper(words).stderr(Stdio::piped()).spawn().context("cannot start a helper")?;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = child.try_wait()? {
                let mut said = String::new();
                if let Some(mut stderr) = child.stderr.take() {
                    std::io::Read::read_to_string(&mut stderr, &mut said)?;
                }
                ensure!(status.success(), "{}: {status}: {}", words.join(" "), said.trim());
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        // It cannot end where its CPU does not run; it is reaped later.
        let _ = child.kill();
        bail!("{}: not done after {PATIENCE:?}", words.join(" "));
    }

    /// Sends a signal to every job of that number.
    pub(crate) fn signal(&self, number: u64, signal: Signal) {
        for pid in self.running.iter().filter(|(_, job)| **job == number).map(|(pid, _)| *pid) {
            // It may have ended by itself since.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// The jobs that ended since, each by the number of its request and how it ended.
    pub(crate) fn ended(&mut self) -> Vec<(u64, String)> {
        while let Some((pid, how)) = reap() {
            if let Some(number) = self.running.remove(&pid.as_raw()) {
                self.ended.push((number, how));
            }
        }
        std::mem::take(&mut self.ended)
    }

    /// Whether that process still runs, as far as was seen.
    pub(crate) fn runs(&self, pid: Pid) -> bool {
        self.running.contains_key(&pid.as_raw())
    }
}

/// This program as a helper.
pub(crate) fn helper(words: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg("helper").args(words).stdin(Stdio::null()).process_group(0);
    command
}

/// In a helper: moves to that CPU, above ordinary tasks.
pub(crate) fn take_cpu(cpu: usize) -> Result<()> {
    cpu::real_time(PRIORITY)?;
    cpu::pin(cpu)
}

fn reap() -> Option<(Pid, String)> {
    match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(pid, code)) => Some((pid, format!("exit {code}"))),
        Ok(WaitStatus::Signaled(pid, signal, _)) => Some((pid, signal.as_str().to_owned())),
        // Nobody has ended, or there is nobody.
        Ok(_) | Err(_) => None,
    }
}
