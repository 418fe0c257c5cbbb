//! Load on a link by iperf3: one stream between two hosts, with a rate that it must nearly reach.

use std::net::Ipv4Addr;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::helper::Helper;
use super::netns;
use super::network::Network;
use crate::stop::Stop;

/// Where the servers listen: for TCP, and for datagrams.
const PORTS: [&str; 2] = ["5201", "5202"];
/// Longer than the MTU, so that every datagram is fragmented.
const DATAGRAM: &str = "4000";
/// The server may take so long until it listens.
const LISTENS: Duration = Duration::from_secs(3);
/// Beyond the length of the load, so long until the client has its figures.
const FIGURES: Duration = Duration::from_secs(15);
/// The part of the rate that must arrive, or the link was not loaded.
const REACHED: f64 = 0.5;

/// `iperf` in a scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Iperf {
    /// The host that sends.
    pub(crate) from: String,
    /// The host that receives.
    pub(crate) to: String,
    /// For how long, in whole seconds.
    #[serde(with = "humantime_serde")]
    pub(crate) lasts: Duration,
    /// How many megabits a second.
    pub(crate) mbit: u32,
    /// Datagrams that are fragmented, instead of TCP.
    #[serde(default)]
    pub(crate) datagrams: bool,
}

/// Begins to send; the thread ends by itself, with an error where much less arrived than was to.
pub(crate) fn start(network: &Network, iperf: &Iperf, stop: &Stop) -> Result<Helper> {
    let (from, to) = (network.host(&iperf.from)?, network.host(&iperf.to)?);
    let (client, server) = (from.namespace()?.name().to_owned(), to.namespace()?.name().to_owned());
    let (iperf, addr) = (iperf.clone(), to.addr);
    Helper::spawn("iperf3", stop, move |stop| {
        let _server = Running::start(&server, &["--server", "--bind", &addr.to_string(), "--port", port(&iperf)])?;
        let received = send(&client, addr, &iperf, stop)?;
        let wanted = f64::from(iperf.mbit) * REACHED;
        ensure!(received >= wanted, "{received:.0} Mbit/s arrived, must be {wanted:.0} at least");
        Ok(())
    })
}

fn port(iperf: &Iperf) -> &'static str {
    PORTS[usize::from(iperf.datagrams)]
}

/// Sends until it is over; how many megabits a second arrived.
fn send(namespace: &str, to: Ipv4Addr, iperf: &Iperf, stop: &Stop) -> Result<f64> {
    let (to, rate) = (to.to_string(), format!("{}M", iperf.mbit));
    let seconds = iperf.lasts.as_secs().to_string();
    let mut args = vec!["--json", "--client", &to, "--port", port(iperf), "--bitrate", &rate, "--time", &seconds];
    if iperf.datagrams {
        args.extend(["--udp", "--length", DATAGRAM]);
    }
    let began = Instant::now();
    loop {
        let mut client = Running::start(namespace, &args)?;
        let ended = stop.wait_for(iperf.lasts + FIGURES, || !client.runs())?;
        ensure!(ended, "the client did not end {FIGURES:?} after its time");
        let output = client.output()?;
        match received(&output.stdout) {
            // The server does not listen yet.
            Err(_) if began.elapsed() < LISTENS => std::thread::sleep(Duration::from_millis(100)),
            told => return told,
        }
    }
}

/// What the receiver got, in megabits a second.
fn received(json: &[u8]) -> Result<f64> {
    let told: Value = serde_json::from_slice(json).context("iperf3 wrote no JSON")?;
    if let Some(error) = told.get("error") {
        bail!("iperf3: {error}");
    }
    let rate = ["/end/sum_received/bits_per_second", "/end/sum/bits_per_second"];
    let rate = rate.iter().find_map(|path| told.pointer(path)?.as_f64()).context("iperf3 told no rate")?;
    let lost = told.pointer("/end/sum/lost_percent").and_then(Value::as_f64).unwrap_or(0.0);
    Ok(rate * (1.0 - lost / 100.0) / 1e6)
}

/// A process of iperf3; it is killed with this value.
struct Running(Option<Child>);

impl Running {
    fn start(namespace: &str, args: &[&str]) -> Result<Self> {
        let mut iperf = netns::service(namespace, "iperf3");
        iperf.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Ok(Self(Some(iperf.spawn().context("cannot start iperf3 (package iperf3)")?)))
    }

    fn runs(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn output(&mut self) -> Result<Output> {
        Ok(self.0.take().context("asked twice")?.wait_with_output()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_or_the_error() {
        let tcp = br#"{"end":{"sum_sent":{"bits_per_second":2e8},"sum_received":{"bits_per_second":1e8}}}"#;
        assert_eq!(received(tcp).unwrap(), 100.0);
        let udp = br#"{"end":{"sum":{"bits_per_second":1e8,"lost_percent":25.0}}}"#;
        assert_eq!(received(udp).unwrap(), 75.0);
        let refused = br#"{"start":{},"end":{},"error":"unable to connect to server"}"#;
        assert!(received(refused).unwrap_err().to_string().contains("unable to connect"));
        assert!(received(b"").is_err());
    }

    #[test]
    fn a_link_is_loaded() {
        let network = Network::create(&["a", "b"]).unwrap();
        for datagrams in [false, true] {
            let lasts = Duration::from_secs(1);
            let iperf = Iperf { from: "a".into(), to: "b".into(), lasts, mbit: 20, datagrams };
            start(&network, &iperf, &Stop::default()).unwrap().join().unwrap();
        }
    }
}
