//! `cargo xtask build`.

use anyhow::Result;

/// Arguments of `cargo xtask build`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Link statically, for minimal guests.
    #[arg(long = "static")]
    pub(crate) statically: bool,
}

/// Builds; the last line on stdout is the path of the binary.
pub(crate) fn run(_args: &Args) -> Result<()> {
    anyhow::bail!("not there yet")
}
