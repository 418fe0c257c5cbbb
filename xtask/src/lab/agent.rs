//! The agents of a scenario: their configuration, their processes, their logs.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::api;
use super::guest::Guest;
use super::keys;
use super::network::{Host, Network};

/// How long an agent may take to end after SIGTERM.
const END: Duration = Duration::from_secs(10);
/// And in a guest, where each probe that is detached waits for the emulated kernel.
const END_IN_GUEST: Duration = Duration::from_secs(40);
/// The store of an agent in a guest; it goes with the guest.
const GUEST_STORE: &str = "/var/lib/lacuna";
/// Lines of a log that are shown with a failure.
const TAIL: usize = 5;

/// A running agent; it is killed with this value, or with its guest.
pub(crate) struct Agent {
    process: Process,
    log: PathBuf,
    /// The last signal that ends, if one was sent.
    sent: Option<Signal>,
}

/// Where it runs.
enum Process {
    /// In a namespace of this machine.
    Here(Child),
    /// In a guest, as the job of that number, in its so-manieth boot.
    InGuest(Arc<Guest>, u64, usize),
}

/// How an agent ended.
struct Ended {
    clean: bool,
    how: String,
}

impl Agent {
    /// Starts `binary` on that host, as its users do; the log is appended to.
    pub(crate) fn start(binary: &Path, host: &Host, folder: &Path) -> Result<Self> {
        let log = log(folder, &host.name);
        let file = File::options().create(true).append(true).open(&log)?;
        let mut command = host.namespace()?.service(binary);
        command.args(["agent", "--config"]).arg(path(folder, &host.name));
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start the agent of {}", host.name))?;
        Ok(Self { process: Process::Here(child), log, sent: None })
    }

    /// Starts the one in the image of a guest that is up; it logs to the guest's console.
    pub(crate) fn start_in(guest: &Arc<Guest>, folder: &Path) -> Result<Self> {
        let (number, _) = guest.begin(0, "agent-start")?;
        let process = Process::InGuest(Arc::clone(guest), number, guest.boots());
        Ok(Self { process, log: log(folder, &guest.name), sent: None })
    }

    /// Sends it a signal.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        match &self.process {
            Process::Here(child) => {
                kill(Pid::from_raw(i32::try_from(child.id())?), signal).context("signal to agent")?
            }
            Process::InGuest(guest, ..) => drop(guest.request(0, &format!("agent-signal {signal}"))?),
        }
        if matches!(signal, Signal::SIGTERM | Signal::SIGKILL) {
            self.sent = Some(signal);
        }
        Ok(())
    }

    /// Ends it as its users do; what is wrong with how it ended, or with its log.
    pub(crate) fn finish(mut self) -> Result<Vec<String>> {
        if self.ended()?.is_none() && self.sent.is_none() {
            self.signal(Signal::SIGCONT)?;
            self.signal(Signal::SIGTERM)?;
        }
        let ended = self.wait()?;
        let mut problems = self.panics()?;
        let clean = ended.as_ref().is_some_and(|ended| ended.clean);
        match (self.sent, ended) {
            (Some(Signal::SIGKILL), _) => {}
            (_, _) if clean && self.sent.is_some() => {}
            (Some(_), Some(ended)) => problems.push(format!("ended with {} after SIGTERM", ended.how)),
            (None, Some(ended)) => problems.push(format!("ended by itself: {}", ended.how)),
            (_, None) => {
                if let Process::InGuest(guest, ..) = &self.process {
                    guest.tell_where_it_is();
                }
                problems.push(format!("did not end {:?} after SIGTERM", self.patience()));
            }
        }
        if !problems.is_empty() {
            problems.push(format!("its log ends with: {}", self.tail()?));
        }
        Ok(problems)
    }

    /// The end of its log.
    pub(crate) fn tail(&self) -> Result<String> {
        let text = self.text()?;
        let lines: Vec<_> = text.lines().collect();
        Ok(lines[lines.len().saturating_sub(TAIL)..].join(" | "))
    }

    /// Whether it still runs (or stands still).
    pub(crate) fn alive(&mut self) -> bool {
        matches!(self.ended(), Ok(None))
    }

    fn ended(&mut self) -> Result<Option<Ended>> {
        match &mut self.process {
            Process::Here(child) => {
                let status = child.try_wait()?;
                Ok(status.map(|status| Ended { clean: status.success(), how: status.to_string() }))
            }
            Process::InGuest(guest, ..) if !guest.alive() => {
                Ok(Some(Ended { clean: false, how: "the emulator ended".into() }))
            }
            Process::InGuest(guest, number, _) => {
                Ok(guest.how_ended(*number).map(|how| Ended { clean: how == "exit 0", how }))
            }
        }
    }

    fn patience(&self) -> Duration {
        match &self.process {
            // One that has booted anew has nothing left to end.
            Process::InGuest(guest, _, boot) if guest.boots() > *boot => Duration::ZERO,
            Process::InGuest(..) => END_IN_GUEST,
            Process::Here(_) => END,
        }
    }

    fn wait(&mut self) -> Result<Option<Ended>> {
        let began = Instant::now();
        loop {
            let ended = self.ended()?;
            if ended.is_some() || began.elapsed() > self.patience() {
                return Ok(ended);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn panics(&self) -> Result<Vec<String>> {
        let text = self.text()?;
        let lines = text.lines().filter(|line| line.contains("panicked at") || line.contains("Kernel panic"));
        Ok(lines.map(str::to_owned).collect())
    }

    /// Its log; that of a guest has what firmware and kernel said, too.
    fn text(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log).with_context(|| self.log.display().to_string())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Process::Here(child) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Writes the configuration of that host's agent, with what the scenario has beyond the usual; its text.
pub(crate) fn configure(network: &Network, host: &Host, extra: &toml::Table, folder: &Path) -> Result<String> {
    let mut config: toml::Table = toml::from_str(&usual(network, host, &trust(network, host, folder)?, folder))?;
    merge(&mut config, extra);
    let (path, text) = (path(folder, &host.name), toml::to_string(&config)?);
    std::fs::write(&path, &text).with_context(|| path.display().to_string())?;
    Ok(text)
}

/// Where the agent of that host answers, and from which namespace it is asked.
pub(crate) fn asked<'a>(network: &'a Network, host: &'a Host) -> (&'a str, String) {
    match host.namespace() {
        Ok(namespace) => (namespace.name(), api::LOCAL.to_owned()),
        Err(_) => (network.switch.name(), format!("http://{}", listen(host))),
    }
}

fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.toml"))
}

/// Where the store of that host's agent is, unless it is in a guest.
pub(crate) fn store(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.store"))
}

/// Where the log of that host's agent is.
pub(crate) fn log(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

/// Where it listens for HTTP: that of a guest is asked over the bridge.
fn listen(host: &Host) -> String {
    let addr = if host.is_guest() { host.addr } else { Ipv4Addr::LOCALHOST };
    format!("{addr}:9480")
}

/// How heartbeats are authenticated: by the keys of that host, else by one that all share; guests have no part in the
/// runner's files.
fn trust(network: &Network, host: &Host, folder: &Path) -> Result<String> {
    if network.hosts.iter().any(Host::is_guest) {
        return Ok("insecure = true".to_owned());
    }
    let path = keys::file(folder, &host.name);
    if !path.exists() {
        keys::give(folder, &host.name, &[keys::CLUSTER])?;
    }
    Ok(format!("key_file = {path:?}"))
}

fn usual(network: &Network, host: &Host, trust: &str, folder: &Path) -> String {
    let (name, heartbeats) = (&host.name, host.heartbeats());
    let store = if host.is_guest() { GUEST_STORE.into() } else { store(folder, name) };
    // A guest has a /run of its own.
    let control = match host.is_guest() {
        true => String::new(),
        false => format!("control = {{ socket = {:?} }}\n", folder.join(format!("{name}.sock"))),
    };
    let mut text = format!(
        "host = {name:?}\n\
         heartbeat = {{ listen = \"{heartbeats}\", interval = \"100ms\", {trust} }}\n\
         store = {{ path = {store:?} }}\n\
         http = {{ listen = {:?}, recordings = true }}\n\
         {control}",
        listen(host)
    );
    for peer in network.hosts.iter().filter(|peer| peer.name != *name) {
        text += &format!("[[peers]]\nname = {:?}\naddr = \"{}\"\n", peer.name, peer.heartbeats());
    }
    text
}

/// Lays `over` on `table`, member by member.
pub(crate) fn merge(table: &mut toml::Table, over: &toml::Table) {
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
