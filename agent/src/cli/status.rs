//! `lacuna status`: the running agent's view.

use anyhow::Result;

use super::client::{self, DEFAULT_AGENT};
use super::output;
use crate::export::json::{self, Status};
use crate::export::text;

/// Arguments of `lacuna status`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The agent to ask.
    #[arg(long, value_name = "URL", default_value = DEFAULT_AGENT, value_parser = client::agent_url)]
    agent: String,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let status: Status = client::get(&args.agent, "/api/v1/status")?;
    if args.json {
        return output::print(&json::document(&status)?);
    }
    output::print(&text::status(&status, output::paint()))
}
