//! `cargo xtask bench`: Lacuna beside other programs.

mod bird;
mod detect;
pub(crate) mod stats;

use anyhow::Result;

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// From a cut to the open incident, beside bird2's BFD.
    Detect(detect::Args),
}

/// Runs that measurement.
pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::Detect(args) => detect::run(args),
    }
}
