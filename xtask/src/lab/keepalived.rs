//! keepalived (VRRP, RFC 5798) on hosts of a scenario: which of them has the virtual address.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::network::{Host, Network};
use crate::sh;
use crate::stop::Stop;

/// How long it may take until the address is where it should be. A backup takes over after three adverts of 0.2 s and less
/// than one more (RFC 5798, 6.1), and adds the address then.
const SETTLE: Duration = Duration::from_secs(10);
/// How long it may take to end: it tells its peers and gives the address back.
const END: Duration = Duration::from_secs(5);

/// A running keepalived; it ends with this value, and gives the address back.
pub(crate) struct Keepalived {
    child: Child,
    /// Where it keeps the number of its second process, which does VRRP.
    worker: PathBuf,
}

impl Keepalived {
    /// Starts it on `host`; of those that hear each other the one with the highest priority gets the address.
    pub(crate) fn start(host: &Host, priority: u8, vip: Ipv4Addr, folder: &Path) -> Result<Self> {
        let path = |ending: &str| folder.join(format!("keepalived-{}.{ending}", host.name));
        let (config, worker) = (path("conf"), path("worker.pid"));
        std::fs::write(&config, text(&host.name, priority, vip))?;
        let log = std::fs::File::options().create(true).append(true).open(path("log"))?;
        let child = host
            .namespace()?
            .service("keepalived")
            .args(["--dont-fork", "--vrrp", "--log-console", "--log-detail", "--use-file"])
            .arg(&config)
            .arg("--pid")
            .arg(path("pid"))
            .arg("--vrrp_pid")
            .arg(&worker)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start keepalived (package keepalived)")?;
        Ok(Self { child, worker })
    }

    /// Sends a signal: one that ends to the whole, one that stops or lets go on to the process that does VRRP.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        let whole = matches!(signal, Signal::SIGTERM | Signal::SIGKILL);
        let pid = if whole { i32::try_from(self.child.id())? } else { self.worker_pid()? };
        kill(Pid::from_raw(pid), signal).context("signal to keepalived")?;
        if whole {
            self.wait()?;
        }
        Ok(())
    }

    fn worker_pid(&self) -> Result<i32> {
        let text = std::fs::read_to_string(&self.worker).with_context(|| self.worker.display().to_string())?;
        Ok(text.trim().parse()?)
    }

    fn wait(&mut self) -> Result<()> {
        let end = Instant::now() + END;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < end, "keepalived did not end within {END:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // A process that is stopped cannot end.
        let _ = self.signal(Signal::SIGCONT);
        if self.signal(Signal::SIGTERM).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits until exactly these hosts have the address.
pub(crate) fn wait_for_holders(network: &Network, vip: Ipv4Addr, expected: &[String], stop: &Stop) -> Result<()> {
    let mut holders = Vec::new();
    let mut sorted = expected.to_vec();
    sorted.sort();
    let settled = stop.wait_for(SETTLE, || {
        holders = holding(network, vip);
        holders == sorted
    })?;
    ensure!(settled, "{vip} must be on {sorted:?}, and is on {holders:?} after {SETTLE:?}");
    Ok(())
}

/// The hosts that have the address, sorted.
fn holding(network: &Network, vip: Ipv4Addr) -> Vec<String> {
    let holds = |host: &&Host| {
        let Ok(namespace) = host.namespace() else { return false };
        let to = format!("{vip}/32");
        let mut ip = sh::command(&["ip", "-n", namespace.name(), "address", "show", "to", &to]);
        sh::output(&mut ip, "").is_ok_and(|text| !text.trim().is_empty())
    };
    let mut names: Vec<_> = network.hosts.iter().filter(holds).map(|host| host.name.clone()).collect();
    names.sort();
    names
}

/// Version 3 of VRRP allows adverts below a second; all begin as backups, as keepalived's own documentation advises.
fn text(name: &str, priority: u8, vip: Ipv4Addr) -> String {
    format!(
        "global_defs {{\n\
         \x20 router_id {name}\n\
         \x20 vrrp_version 3\n\
         }}\n\
         vrrp_instance vip {{\n\
         \x20 state BACKUP\n\
         \x20 interface eth0\n\
         \x20 virtual_router_id 51\n\
         \x20 priority {priority}\n\
         \x20 advert_int 0.2\n\
         \x20 virtual_ipaddress {{\n\
         \x20   {vip}/32\n\
         \x20 }}\n\
         }}\n"
    )
}
