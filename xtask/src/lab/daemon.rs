//! Programs of others that run on beside the agents.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stop::Stop;

/// How long one may take to end.
const END: Duration = Duration::from_secs(5);

/// A program that runs on; it is ended with this value.
pub(crate) struct Daemon(Child);

impl Daemon {
    /// Starts it; what it says is added to that log, which the lab may add lines of its own to.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn();
        Ok(Self(child.with_context(|| format!("cannot start the program that logs to {}", log.display()))?))
    }

    /// Whether it still runs.
    pub(crate) fn alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Does not wait until it has.
    pub(crate) fn tell_to_end(&self) {
        let Ok(pid) = i32::try_from(self.0.id()).map(Pid::from_raw) else { return };
        // Not waited for yet, so the number is still its own. What is stopped cannot end.
        for signal in [Signal::SIGTERM, Signal::SIGCONT] {
            let _ = kill(pid, signal);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.tell_to_end();
        let ended = Stop::default().wait_for(END, || !self.alive());
        if !matches!(ended, Ok(true)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}
