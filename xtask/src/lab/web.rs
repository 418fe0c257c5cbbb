//! A real web server with a real client: nginx answers on one host, curl asks from another, several requests at once.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use super::helper::Helper;
use super::netns::Namespace;
use super::network::{Host, Network};
use crate::stop::Stop;

/// Where nginx listens.
const PORT: u16 = 8080;
/// How long it may take until it listens, or has ended.
const PATIENCE: Duration = Duration::from_secs(10);
/// What each connection gets in a second: load that two cores hardly notice.
const KIB_PER_SECOND: u32 = 256;
/// A request that takes longer has failed, in seconds.
const LONGEST_REQUEST: &str = "4";
/// Requests that one run of curl may make; it is ended long before.
const REQUESTS: u32 = 100_000;

/// `web` in a scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Web {
    /// The host with the client.
    pub(crate) from: String,
    /// The host with the server.
    pub(crate) to: String,
    /// For how long the client asks, again and again.
    #[serde(with = "humantime_serde")]
    pub(crate) lasts: Duration,
    /// How long each answer is; at 256 KiB a second.
    pub(crate) kib: u32,
    /// How many requests are under way at once.
    pub(crate) at_once: u32,
    /// How many of them must be answered in full.
    pub(crate) served: Served,
}

/// How many requests were answered in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Served {
    /// Every one that ended.
    All,
    /// Some, and others were not.
    Some,
}

/// A running nginx; it ends with this value.
pub(crate) struct Nginx(Child);

impl Nginx {
    /// Starts it on `host`; its files are in `folder`. It has a file of each length that is asked for.
    pub(crate) fn start(host: &Host, folder: &Path, stop: &Stop) -> Result<Self> {
        let path = |ending: &str| folder.join(format!("nginx-{}.{ending}", host.name));
        let (config, log, pid) = (path("conf"), path("log"), path("pid"));
        std::fs::create_dir_all(root(folder, &host.name))?;
        std::fs::write(&config, text(host, folder, &pid))?;
        let file = std::fs::File::options().create(true).append(true).open(&log)?;
        let child = host
            .namespace()?
            .service("nginx")
            .arg("-e")
            .arg(&log)
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot start nginx (package nginx)")?;
        let started = Self(child);
        // It is written once the socket listens.
        let listens = stop.wait_for(PATIENCE, || std::fs::read(&pid).is_ok_and(|text| !text.is_empty()))?;
        ensure!(listens, "nginx on {} does not listen after {PATIENCE:?}: see {}", host.name, log.display());
        Ok(started)
    }

    fn end(&mut self) -> Result<ExitStatus> {
        kill(Pid::from_raw(i32::try_from(self.0.id())?), Signal::SIGTERM)?;
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < end, "nginx did not end within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if self.end().is_err() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Where the files are that the server of that host has.
fn root(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("nginx-{name}.files"))
}

/// One process, since one that is killed leaves no others behind then.
fn text(host: &Host, folder: &Path, pid: &Path) -> String {
    format!(
        "daemon off;\nmaster_process off;\npid {};\nevents {{ worker_connections 256; }}\n\
         http {{\n\
         access_log off;\n\
         server {{ listen {}:{PORT}; root {}; limit_rate {KIB_PER_SECOND}k; }}\n\
         }}\n",
        pid.display(),
        host.addr,
        root(folder, &host.name).display()
    )
}

/// Begins to ask; the thread ends by itself, with an error where other than what was expected was served.
pub(crate) fn ask(network: &Network, web: &Web, folder: &Path, stop: &Stop) -> Result<Helper> {
    let (from, to) = (network.host(&web.from)?, network.host(&web.to)?);
    let name = format!("{}k", web.kib);
    std::fs::write(root(folder, &to.name).join(&name), vec![b'x'; web.kib as usize * 1024])?;
    let log = folder.join(format!("curl-{}-{}.log", web.from, web.to));
    let client = curl(from.namespace()?, &format!("http://{}:{PORT}/{name}?[1-{REQUESTS}]", to.addr), web, &log)?;
    let (web, end) = (web.clone(), Instant::now() + web.lasts);
    Helper::spawn("curl", stop, move |stop| {
        let mut client = client;
        let waited = stop.sleep_until(end);
        let ended = client.try_wait()?;
        client.kill()?;
        client.wait()?;
        waited?;
        ensure!(ended.is_none(), "ended by itself: {ended:?}; see {}", log.display());
        judge(&web, &std::fs::read(&log)?)
    })
}

fn curl(namespace: &Namespace, url: &str, web: &Web, log: &Path) -> Result<Child> {
    let mut curl = namespace.service("curl");
    curl.args(["--silent", "--no-progress-meter", "--output", "/dev/null", "--max-time", LONGEST_REQUEST])
        .args(["--parallel", "--parallel-immediate", "--parallel-max", &web.at_once.to_string()])
        // Not to stdout, which is held back as long as it is a file.
        .args(["--write-out", "%{stderr}%{exitcode} %{http_code} %{size_download}\\n", url]);
    let file = std::fs::File::create(log)?;
    curl.env_remove("http_proxy").stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    curl.spawn().context("cannot start curl (package curl)")
}

/// Counts the requests that ended: those that were answered in full, and the others.
fn count(web: &Web, log: &[u8]) -> (usize, usize) {
    let whole = format!("0 200 {}", u64::from(web.kib) * 1024);
    let ended = log.lines().map_while(Result::ok).filter(|line| line.split(' ').count() == 3);
    let (served, failed): (Vec<_>, Vec<_>) = ended.partition(|line| *line == whole);
    (served.len(), failed.len())
}

fn judge(web: &Web, log: &[u8]) -> Result<()> {
    let (served, failed) = count(web, log);
    let as_expected = served > 0 && (failed > 0) == (web.served == Served::Some);
    ensure!(as_expected, "{served} requests were served and {failed} failed, expected was {:?}", web.served);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::folder::Folder;

    fn web(served: Served) -> Web {
        let lasts = Duration::from_millis(1500);
        Web { from: "a".into(), to: "b".into(), lasts, kib: 64, at_once: 2, served }
    }

    #[test]
    fn what_was_served_is_told_from_what_was_not() {
        let log = b"0 200 65536\n28 200 1024\n0 404 153\ncurl: (7) Failed to connect\n0 200 65536\n";
        assert_eq!(count(&web(Served::Some), log), (2, 2));
        assert!(judge(&web(Served::Some), log).is_ok());
        assert!(judge(&web(Served::All), log).is_err());
        assert!(judge(&web(Served::All), b"").is_err(), "nothing was served");
    }

    #[test]
    fn a_real_client_is_served_by_a_real_server() {
        let network = Network::create(&["a", "b"]).unwrap();
        let (folder, stop) = (Folder::create("web-test").unwrap(), Stop::default());
        let server = Nginx::start(network.host("b").unwrap(), folder.path(), &stop).unwrap();
        ask(&network, &web(Served::All), folder.path(), &stop).unwrap().join().unwrap();
        let failing = ask(&network, &web(Served::Some), folder.path(), &stop).unwrap().join();
        assert!(format!("{:#}", failing.unwrap_err()).contains("0 failed"));
        drop(server);
    }
}
