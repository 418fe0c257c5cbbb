//! `cargo xtask`: one enum, one file a command.

mod build;
mod packages;
mod process;

use anyhow::Result;
use clap::Parser;

/// Builds, runs, tests and measures Lacuna.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Builds the probes and the agent into one self-contained binary.
    Build(build::Args),
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Build(args) => build::run(&args),
    }
}
