//! `cargo xtask build`.

use std::path::PathBuf;

use anyhow::Result;

use crate::sh;

/// Arguments of `cargo xtask build`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Link statically, for minimal guests.
    #[arg(long = "static")]
    pub(crate) statically: bool,
}

/// Builds; the last line on stdout is the path of the binary.
pub(crate) fn run(args: &Args) -> Result<()> {
    println!("{}", agent(args.statically)?.display());
    Ok(())
}

/// The probes.
pub(crate) fn probes() -> Result<PathBuf> {
    Ok(PathBuf::new())
}

/// The agent.
pub(crate) fn agent(_statically: bool) -> Result<PathBuf> {
    sh::run(&mut sh::cargo(&[
        "build",
        "--release",
        "--package",
        "lacuna",
    ]))?;
    Ok(crate::target().join("release/lacuna"))
}
