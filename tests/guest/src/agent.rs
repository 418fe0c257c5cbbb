//! The agent under test: started in a control group of its own, its log passed on to the console.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::jobs::Jobs;

/// In the image of each guest.
const BINARY: &str = "/lab/lacuna";
const CONFIG: &str = "/lab/lacuna.toml";
/// Stdout and stderr; the console would hold the agent up.
const LOG: &str = "/run/agent.log";
/// The console, which the runner keeps.
const CONSOLE: &str = "/dev/console";
/// What is passed on at a time.
const PIECE: usize = 8 * 1024;

/// The agent's process and the part of its log that was passed on.
#[derive(Debug, Default)]
pub(crate) struct Agent {
    pid: Option<Pid>,
    log: Option<File>,
    /// Kept open: closing a terminal waits until all of it is out (`tty_wait_until_sent`).
    console: Option<File>,
}

impl Agent {
    /// Starts it; its end is told under `number`.
    pub(crate) fn start(&mut self, jobs: &mut Jobs, number: u64) -> Result<()> {
        ensure!(!self.pid.is_some_and(|pid| jobs.runs(pid)), "the agent runs already");
        let log = File::options().create(true).append(true).open(LOG).context(LOG)?;
        let mut command = Command::new(BINARY);
        command.args(["agent", "--config", CONFIG]).stdin(std::process::Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let pid = jobs.start_anywhere(number, &mut command)?;
        self.pid = Some(pid);
        crate::busy::Group::Agent.join(pid)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, jobs: &Jobs, name: &str) -> Result<()> {
        let signal: Signal = name.parse().with_context(|| format!("the signal {name}"))?;
        match self.pid.filter(|pid| jobs.runs(*pid)) {
            Some(pid) => kill(pid, signal).context("signal to the agent"),
            None => bail!("the agent does not run"),
        }
    }

    /// Passes what is new in its log on to the console, at most a piece of it; whether there was something.
    pub(crate) fn pass_log_on(&mut self) -> Result<bool> {
        if self.log.is_none() && Path::new(LOG).exists() {
            self.log = Some(File::open(LOG)?);
        }
        let Some(log) = &mut self.log else {
            return Ok(false);
        };
        let mut piece = Vec::with_capacity(PIECE);
        log.take(PIECE as u64).read_to_end(&mut piece)?;
        if !piece.is_empty() {
            if self.console.is_none() {
                let options = O_NOCTTY | O_NONBLOCK;
                self.console = Some(File::options().write(true).custom_flags(options).open(CONSOLE)?);
            }
            // A console that takes nothing now must not hold the first process up.
            let _ = self.console.as_mut().map(|console| console.write_all(&piece));
        }
        Ok(!piece.is_empty())
    }
}
