//! The commands: data on stdout, messages on stderr; exit 0 done, 1 failed, 2 wrong usage.

pub mod agent;
mod client;
mod completions;
mod config;
mod control;
mod doctor;
mod explain;
mod incidents;
mod man;
mod mark;
mod output;
mod record;
mod replay;
mod report;
mod source;
mod status;
mod watch;

#[cfg(feature = "fuzzing")]
pub use watch::fuzzing;

use std::io::IsTerminal as _;
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

const EXAMPLES: &str = "\
Examples:
  lacuna doctor                       # what works on this machine
  lacuna agent --config FILE          # watch; `lacuna config check FILE` checks the file first
  lacuna watch                        # what the running agent sees, live
  lacuna incidents --since 2h         # what happened
  lacuna explain 01M8                 # why, by the beginning of an id

Exit codes: 0 done, 1 failed, 2 wrong usage.
`lacuna COMMAND --help` has the options and examples of each.";

/// Says, while it happens, who stalled: the network, a guest kernel, the hypervisor, load, or Lacuna itself.
#[derive(Parser)]
#[command(name = "lacuna", version, about, after_help = EXAMPLES)]
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
    /// Show what the running agent sees, live: the terminal is drawn anew each second, and at every change of an incident.
    Watch(watch::Args),
    /// List incidents, newest last; works while no agent runs.
    Incidents(incidents::Args),
    /// Explain one incident: verdict, evidence, what was ruled out and why, timeline.
    Explain(explain::Args),
    /// Save what the running agent was told in the last minutes, or what one that does not run has left.
    Record(record::Args),
    /// Judge recordings again, of one or several hosts, without a kernel; the same ones always say the same.
    Replay(replay::Args),
    /// Note a change, such as a patch or a restart, on the running agent's timeline.
    Mark(mark::Args),
    /// Say what comes back: incidents by class, subject and hour, and what quiet after a change is worth; works while no agent
    /// runs.
    Report(report::Args),
    /// Look at configuration files.
    #[command(subcommand)]
    Config(config::Command),
    /// Print a script with which a shell completes commands, options and verdict classes.
    Completions(completions::Args),
    /// Write the manual pages into a folder, for packages.
    #[command(hide = true)]
    Man(man::Args),
}

/// Arguments were well-formed and wrong all the same; the message says what is allowed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongUsage(String);

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    // Where the log is the terminal itself, it would be written across the view.
    let draws = matches!(command, Command::Watch(_)) && std::io::stderr().is_terminal();
    let logged = if draws { Ok(()) } else { log() };
    match logged.and_then(|()| run(command)) {
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
        Command::Watch(args) => watch::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Incidents(args) => incidents::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Explain(args) => explain::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Record(args) => record::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Replay(args) => replay::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Mark(args) => mark::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Report(args) => report::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Config(command) => config::run(&command).map(|()| ExitCode::SUCCESS),
        Command::Completions(args) => completions::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Man(args) => man::run(&args).map(|()| ExitCode::SUCCESS),
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
