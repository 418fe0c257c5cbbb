//! `lacuna status`: the running agent's view.

use anyhow::Result;

use super::client::{self, DEFAULT_AGENT};
use super::output;
use crate::export::json::{self, Status};
use crate::export::text;

const EXAMPLES: &str = "\
Examples:
  lacuna status
  lacuna status --agent http://10.77.0.11:9480
  lacuna status --json | jq '.peers[] | select(.up == false) | .name'

`lacuna watch` shows the same live, `lacuna explain ID` what an open incident rests on.";

/// Arguments of `lacuna status`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The agent to ask.
    #[arg(long, value_name = "URL", env = "LACUNA_AGENT", default_value = DEFAULT_AGENT, value_parser = client::agent_url)]
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
