//! `cargo xtask sim`: a simulated fleet with known truth, and what it concludes (tests/sim).

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{process, sh};

/// The package of the simulation.
const PACKAGE: &str = "lacuna-sim";

/// Arguments of `cargo xtask sim`.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Those of the simulation: `cargo xtask sim --help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

impl Args {
    /// So many fleets, held to the goals.
    pub(crate) fn checked(seeds: u32) -> Self {
        Self { rest: vec!["--check".into(), "--seeds".into(), seeds.to_string().into()] }
    }
}

/// Builds it, optimised, and runs it; an error where it fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let status = Command::new(build()?).args(&args.rest).status().context("could not start the simulation")?;
    ensure!(status.success(), "the simulation failed ({status})");
    Ok(())
}

/// Builds it, optimised; its path.
pub(crate) fn build() -> Result<PathBuf> {
    process::run(&mut sh::cargo(&["build", "--quiet", "--release", "--package", PACKAGE]))?;
    Ok(crate::target().join("release").join(PACKAGE))
}
