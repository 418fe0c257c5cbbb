//! The commands: data on stdout, messages on stderr; exit 0 done, 1 failed, 2 wrong usage.

pub mod agent;
mod client;
mod config;
mod doctor;
mod explain;
mod incidents;
mod output;
mod source;
mod status;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, ConfigError};
use output::Ended;

/// What the log shows, such as `debug` or `lacuna::driver=debug`; [`DEFAULT_LOG`] where it is not set.
const LOG_VARIABLE: &str = "LACUNA_LOG";
/// The name resolver's own warnings are left out: what goes wrong with it is told by discovery, once.
const DEFAULT_LOG: &str = "info,hickory=error";
/// Exit code for wrong usage; clap has the same.
const WRONG_USAGE: u8 = 2;

/// Says, while it happens, who stalled: the network, a guest kernel, the hypervisor, load, or Lacuna itself.
#[derive(Parser)]
#[command(name = "lacuna", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent in the foreground, until SIGTERM or SIGINT; SIGHUP re-reads the configuration.
    Agent(agent::Args),
    /// Say, line by line, what works here; exit 1 where the agent could not do its main job.
    Doctor(doctor::Args),
    /// Show what the running agent sees: peers, CPUs, probes, open incidents.
    Status(status::Args),
    /// List incidents, newest last; works while no agent runs.
    Incidents(incidents::Args),
    /// Explain one incident: verdict, evidence, what was ruled out and why, timeline.
    Explain(explain::Args),
    /// Look at configuration files.
    #[command(subcommand)]
    Config(config::Command),
}

/// Arguments were well-formed and wrong all the same; the message says what is allowed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongUsage(String);

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    match log().and_then(|()| run(command)) {
        Ok(code) => code,
        Err(error) if error.is::<Ended>() => ExitCode::SUCCESS,
        Err(error) if error.is::<ConfigError>() => {
            // Each line names the file already.
            eprintln!("{error}");
            ExitCode::from(WRONG_USAGE)
        }
        Err(error) => {
            eprintln!("lacuna: {error:#}");
            ExitCode::from(if error.is::<WrongUsage>() { WRONG_USAGE } else { 1 })
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Agent(args) => {
            let config = Config::load(&args.config)?;
            agent::run(&args, config).map(|()| ExitCode::SUCCESS)
        }
        Command::Doctor(args) => doctor::run(&args),
        Command::Status(args) => status::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Incidents(args) => incidents::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Explain(args) => explain::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Config(command) => config::run(&command).map(|()| ExitCode::SUCCESS),
    }
}

fn log() -> Result<()> {
    let text = std::env::var(LOG_VARIABLE).unwrap_or_else(|_| DEFAULT_LOG.to_owned());
    let filter = EnvFilter::try_new(&text).map_err(|error| {
        WrongUsage(format!("{LOG_VARIABLE}={text}: {error}; allowed: error, warn, info, debug, trace, or target=level"))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output::stderr_colour())
        .init();
    Ok(())
}
