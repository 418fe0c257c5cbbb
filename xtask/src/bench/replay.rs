//! `cargo xtask bench replay`: how long `lacuna replay` takes for an hour of a whole fleet, beside the simulation that recorded it.
//!
//! Both run the same engines over the same evidence, each on one core; what the simulation does beside is the network and the
//! clocks of the fleet, what the replay does is to read the recordings. Processor time counts, so that whoever else is on the
//! machine does not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde::{Deserialize, Serialize};

use crate::lab::folder::Folder;
use crate::{process, sim};

/// What an hour of [`HOSTS`] with [`PEERS`] each may take, in seconds of a core.
const ALLOWED_SECONDS: f64 = 60.0;
const HOSTS: u32 = 50;
const PEERS: u32 = 16;
const HOUR_MINUTES: u32 = 60;

/// Arguments of `cargo xtask bench replay`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Hosts of the fleet.
    #[arg(long, default_value_t = HOSTS, value_parser = clap::value_parser!(u32).range(9..=1000))]
    hosts: u32,
    /// How many of them each one watches; an even number.
    #[arg(long, default_value_t = PEERS, value_parser = clap::value_parser!(u32).range(4..=200))]
    peers: u32,
    /// How long they live.
    #[arg(long, default_value_t = HOUR_MINUTES, value_parser = clap::value_parser!(u32).range(1..=600))]
    minutes: u32,
    /// Prints one JSON document to stdout and nothing else.
    #[arg(long)]
    json: bool,
    /// The agent to measure, instead of building the one of this workspace.
    #[arg(long)]
    agent: Option<PathBuf>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Report {
    hosts: u32,
    peers: u32,
    minutes: u32,
    recorded_bytes: u64,
    incidents: usize,
    /// Seconds of a core.
    simulation: f64,
    replay: f64,
    allowed: f64,
    /// The replay by the simulation.
    ratio: f64,
}

/// What is read of `lacuna replay --json`.
#[derive(Deserialize)]
struct Replayed {
    incidents: Vec<serde::de::IgnoredAny>,
    recordings: Vec<serde::de::IgnoredAny>,
}

/// Measures; an error where the replay takes longer than it may.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.peers.is_multiple_of(2), "a host watches as many on either side of it: an even number of peers");
    ensure!(args.peers < args.hosts, "{} peers of {} hosts: there are not so many others", args.peers, args.hosts);
    let agent = crate::lab::agent_or_build(args.agent.as_deref(), false)?;
    let simulation = sim::build()?;
    // Removed with all in it, however this ends.
    let folder = Folder::create("bench-replay")?;
    let report = measure(args, &agent, &simulation, &folder.path().join("fleet"))?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        report.print();
    }
    report.judge()
}

fn measure(args: &Args, agent: &Path, simulation: &Path, fleet: &Path) -> Result<Report> {
    let began = seconds_of_children()?;
    let hosts = format!("{0}..{0}", args.hosts);
    let mut record = Command::new(simulation);
    record.args(["--hosts", &hosts, "--aside", &(args.peers / 2).to_string()]);
    record.args(["--seconds", &(args.minutes * 60).to_string(), "--record"]).arg(fleet);
    process::run(&mut record)?;
    let recorded = seconds_of_children()?;
    let mut recorded_bytes = 0;
    for file in std::fs::read_dir(fleet)? {
        recorded_bytes += file?.metadata()?.len();
    }
    eprintln!("+ {} replay --json {}", agent.display(), fleet.display());
    let output = Command::new(agent).args(["replay", "--json"]).arg(fleet).stderr(Stdio::inherit()).output();
    let output = output.context("could not start the replay")?;
    ensure!(output.status.success(), "the replay failed ({})", output.status);
    let replayed_at = seconds_of_children()?;
    let said: Replayed = serde_json::from_slice(&output.stdout).context("the replay's document")?;
    ensure!(said.recordings.len() == args.hosts as usize, "{} recordings were replayed", said.recordings.len());
    let share = f64::from(args.hosts * args.peers * args.minutes) / f64::from(HOSTS * PEERS * HOUR_MINUTES);
    Ok(Report {
        hosts: args.hosts,
        peers: args.peers,
        minutes: args.minutes,
        recorded_bytes,
        incidents: said.incidents.len(),
        simulation: recorded - began,
        replay: replayed_at - recorded,
        allowed: ALLOWED_SECONDS * share,
        ratio: (replayed_at - recorded) / (recorded - began),
    })
}

/// Seconds of a core that processes used which this one started and waited for.
fn seconds_of_children() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6)
}

impl Report {
    fn print(&self) {
        let Self { hosts, peers, minutes, recorded_bytes, incidents, simulation, replay, allowed, ratio } = self;
        let megabytes = *recorded_bytes as f64 / 1e6;
        println!("{hosts} hosts that watch {peers} each for {minutes} min: {megabytes:.0} MB, {incidents} incidents");
        println!("simulated and recorded in {simulation:.1} s of a core");
        println!("replayed in {replay:.1} s of a core (allowed {allowed:.1} s)");
        println!("ratio (replay / simulation): {ratio:.2}");
    }

    fn judge(&self) -> Result<()> {
        let Self { replay, allowed, .. } = self;
        ensure!(replay <= allowed, "the replay took {replay:.1} s of a core instead of {allowed:.1} s");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_process_that_has_ended_is_seen() {
        let before = seconds_of_children().unwrap();
        let work = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done";
        assert!(Command::new("sh").args(["-c", work]).status().unwrap().success());
        assert!(seconds_of_children().unwrap() > before);
    }

    #[test]
    fn a_replay_that_takes_too_long_is_an_error() {
        let report = |replay| Report {
            hosts: 50,
            peers: 16,
            minutes: 60,
            recorded_bytes: 1,
            incidents: 1,
            simulation: 100.0,
            replay,
            allowed: 60.0,
            ratio: replay / 100.0,
        };
        assert!(report(60.0).judge().is_ok());
        assert!(report(60.1).judge().is_err());
    }
}
