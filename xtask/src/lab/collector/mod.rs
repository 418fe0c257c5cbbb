//! A collector beside the agents: it takes their traces, and hands all on to the lab, which looks at what it has.

mod judge;
mod sink;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::daemon::Daemon;
use super::network::{GATEWAY, Network};
use crate::collector;
use crate::stop::Stop;

pub(crate) use self::judge::{judge, stalls_in};
pub(crate) use self::sink::{Held, Sink};

/// Where it takes traces by gRPC; by HTTP on the next port.
const GRPC: u16 = 4317;
const HTTP: u16 = 4318;
/// How long it may take until it listens.
const LISTENS: Duration = Duration::from_secs(20);

/// `collector` of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CollectorStep {
    /// It ends.
    Stop,
    /// It is started again.
    Start,
}

/// The collector of a scenario. It is ended with this value, and what it has handed on first.
pub(crate) struct Collector {
    running: Option<Daemon>,
    sink: Sink,
    program: PathBuf,
    folder: PathBuf,
}

impl Collector {
    /// Starts it where the bridge is: every host reaches it, whatever happens between hosts.
    pub(crate) fn start(network: &Network, folder: &Path, stop: &Stop) -> Result<Self> {
        let sink = network.switch.enter(|| Sink::start(stop))?;
        let mut collector = Self { running: None, sink, program: collector::program()?, folder: folder.to_owned() };
        collector.perform(CollectorStep::Start, network, stop)?;
        Ok(collector)
    }

    /// Ends it, or starts it again and waits until it listens.
    pub(crate) fn perform(&mut self, step: CollectorStep, network: &Network, stop: &Stop) -> Result<()> {
        // The one before has to be gone first: they share a port.
        self.running = None;
        if step == CollectorStep::Stop {
            return Ok(());
        }
        let path = |ending: &str| self.folder.join(format!("collector.{ending}"));
        let mut command = network.switch.service(&self.program);
        command.arg("start").args(["--otlp-grpc-endpoint", &format!("{GATEWAY}:{GRPC}")]);
        command.args(["--otlp-http-endpoint", &format!("{GATEWAY}:{HTTP}")]);
        command.args(["--exporter", "otlp", "--otlp-exporter-protocol", "http", "--otlp-exporter-compression", "none"]);
        command.args(["--otlp-exporter-endpoint", &format!("http://{}", sink::LISTEN)]);
        command.arg("--pid-file").arg(path("pid")).arg("--log-file").arg(path("own.log"));
        self.running = Some(Daemon::start(command, &path("log"))?);
        let address = (GATEWAY, GRPC).into();
        let listens = || std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
        let up = network.switch.enter(|| stop.wait_for(LISTENS, listens))?;
        ensure!(up, "the collector does not listen: see collector.log");
        Ok(())
    }

    /// What it has handed on so far.
    pub(crate) fn held(&self) -> Held {
        self.sink.held()
    }

    /// Once what agents have sent to it has been handed on.
    pub(crate) fn end(mut self) -> Held {
        self.running = None;
        self.held()
    }
}

/// What the configuration of every agent has where there is one.
pub(crate) fn configuration() -> Result<toml::Table> {
    toml::from_str(&format!("otlp = {{ endpoint = \"http://{GATEWAY}:{GRPC}\" }}")).context("the collector's address")
}
