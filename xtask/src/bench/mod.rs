//! `cargo xtask bench`: Lacuna beside other programs.

mod bird;
mod detect;
mod link;
mod page;
mod peers;
mod replay;
pub(crate) mod stats;
mod usage;

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
    /// What it costs to watch many peers, beside bird2's BFD with as many sessions.
    Peers(peers::Args),
    /// The web page with a hundred incidents in the store, and with ten thousand.
    Page(page::Args),
    /// The replay of an hour of a whole fleet, beside the simulation that recorded it.
    Replay(replay::Args),
}

/// Runs that measurement.
pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::Detect(args) => detect::run(args),
        What::Peers(args) => peers::run(args),
        What::Page(args) => page::run(args),
        What::Replay(args) => replay::run(args),
    }
}
