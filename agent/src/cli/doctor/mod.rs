//! `lacuna doctor`: what works on this machine, what does not, and what to do about it.

mod checks;
mod collector;
mod keys;
mod network;
mod peers;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;

use super::output;
use crate::config::{Config, host_name};
use crate::export::json;
use crate::probes;

const EXAMPLES: &str = "\
Examples:
  lacuna doctor                                        # kernel, probes, capabilities, clock
  lacuna doctor --config /etc/lacuna/lacuna.toml       # also keys, store and peers

Each line that is not ok says what to do about it.";

/// Arguments of `lacuna doctor`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The configuration that the agent would run with [default: none, hence no peers].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let config = match &args.config {
        Some(file) => Config::load(file)?,
        None => Config::without_file(&host_name()),
    };
    let statuses = survey(&config);
    let report = checks::report(Path::new("/"), &config, &statuses);
    if args.json {
        output::print(&json::document(&report)?)?;
    } else {
        output::print(&report.text(output::paint()))?;
    }
    Ok(if report.works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Attaches every probe as the agent would, and takes them down again.
fn survey(config: &Config) -> Vec<probes::ProbeStatus> {
    let threshold = config.thresholds.cpu_stall;
    let options = probes::Options { timer_late: threshold, runqueue_delay: threshold, ..probes::Options::default() };
    probes::attach(&options).status
}
