//! The agents of a scenario: their configuration, their processes, their logs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::network::{Host, Network};

/// How long an agent may take to end after SIGTERM.
const END: Duration = Duration::from_secs(10);
/// Lines of a log that are shown with a failure.
const TAIL: usize = 5;

/// A running agent; it is killed with this value.
pub(crate) struct Agent {
    child: Child,
    log: PathBuf,
    /// The last signal that ends, if one was sent.
    sent: Option<Signal>,
}

impl Agent {
    /// Starts `binary` on that host, as its users do; the log is appended to.
    pub(crate) fn start(binary: &Path, host: &Host, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{}.log", host.name));
        let file = File::options().create(true).append(true).open(&log)?;
        let mut command = host.namespace.service(binary);
        command.args(["agent", "--config"]).arg(path(folder, host));
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start the agent of {}", host.name))?;
        Ok(Self { child, log, sent: None })
    }

    /// Sends it a signal.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal).context("signal to agent")?;
        if matches!(signal, Signal::SIGTERM | Signal::SIGKILL) {
            self.sent = Some(signal);
        }
        Ok(())
    }

    /// Ends it as its users do; what is wrong with how it ended, or with its log.
    pub(crate) fn finish(mut self) -> Result<Vec<String>> {
        let before = self.child.try_wait()?;
        if before.is_none() && self.sent.is_none() {
            self.signal(Signal::SIGCONT)?;
            self.signal(Signal::SIGTERM)?;
        }
        let status = self.wait()?;
        let mut problems = self.panics()?;
        let clean = status.is_some_and(|status| status.success());
        match (self.sent, status) {
            (Some(Signal::SIGKILL), _) => {}
            (_, _) if clean && self.sent.is_some() => {}
            (Some(_), Some(status)) => problems.push(format!("ended with {status} after SIGTERM")),
            (None, Some(status)) => problems.push(format!("ended by itself: {status}")),
            (_, None) => problems.push(format!("did not end {END:?} after SIGTERM")),
        }
        if !problems.is_empty() {
            problems.push(format!("its log ends with: {}", self.tail()?));
        }
        Ok(problems)
    }

    /// The end of its log.
    pub(crate) fn tail(&self) -> Result<String> {
        let text = std::fs::read_to_string(&self.log)?;
        let lines: Vec<_> = text.lines().collect();
        Ok(lines[lines.len().saturating_sub(TAIL)..].join(" | "))
    }

    /// Whether it still runs (or stands still).
    pub(crate) fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn wait(&mut self) -> Result<Option<ExitStatus>> {
        let end = Instant::now() + END;
        loop {
            let status = self.child.try_wait()?;
            if status.is_some() || Instant::now() > end {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn panics(&self) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(&self.log)?;
        let lines = text.lines().filter(|line| line.contains("panicked at"));
        Ok(lines.map(str::to_owned).collect())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes the configuration of that host's agent, with what the scenario has beyond the usual.
pub(crate) fn configure(network: &Network, host: &Host, extra: &toml::Table, folder: &Path) -> Result<()> {
    let mut config: toml::Table = toml::from_str(&usual(network, host, folder))?;
    merge(&mut config, extra);
    let path = path(folder, host);
    std::fs::write(&path, toml::to_string(&config)?).with_context(|| path.display().to_string())
}

fn path(folder: &Path, host: &Host) -> PathBuf {
    folder.join(format!("{}.toml", host.name))
}

fn usual(network: &Network, host: &Host, folder: &Path) -> String {
    let Host { name, addr, .. } = host;
    let store = folder.join(format!("{name}.store"));
    let mut text = format!(
        "host = {name:?}\n\
         heartbeat = {{ listen = \"{addr}:9479\", interval = \"100ms\", insecure = true }}\n\
         store = {{ path = {store:?} }}\n\
         http = {{ listen = \"127.0.0.1:9480\" }}\n"
    );
    for peer in network.hosts.iter().filter(|peer| peer.name != *name) {
        let Host { name, addr, .. } = peer;
        text += &format!("[[peers]]\nname = {name:?}\naddr = \"{addr}:9479\"\n");
    }
    text
}

/// Lays `over` on `table`, member by member.
fn merge(table: &mut toml::Table, over: &toml::Table) {
    for (key, value) in over {
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(value)) => merge(inner, value),
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_keeps_its_neighbours() {
        let mut table: toml::Table = toml::from_str("[t]\na = 1\nb = 2\n").unwrap();
        merge(&mut table, &toml::from_str("c = 4\n[t]\nb = 3\n").unwrap());
        let expected: toml::Table = toml::from_str("c = 4\n[t]\na = 1\nb = 3\n").unwrap();
        assert_eq!(table, expected);
    }
}
