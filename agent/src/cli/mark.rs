//! `lacuna mark "text"`: notes a change on the timeline of the running agent.

use anyhow::{Result, bail};
use lacuna_core::recurrence::MarkNote;

use super::control::Socket;
use super::{WrongUsage, output};
use crate::control::{Answer, Request, mark_text};
use crate::export::json;
use crate::export::table::clean;

const EXAMPLES: &str = "\
Examples:
  lacuna mark \"noapictimer on the kernel command line\"   # before the restart that it takes

`lacuna report` compares before and after the newest mark.";

/// Arguments of `lacuna mark`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// What was changed, such as "noapictimer on the kernel command line".
    text: String,
    #[command(flatten)]
    socket: Socket,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let text = mark_text(&args.text).map_err(WrongUsage)?;
    let note = match args.socket.ask(&Request::Mark { text })?.0 {
        Answer::Marked(note) => note,
        Answer::Refused(error) => bail!("the agent did not note it: {}", clean(&error)),
        Answer::Recording { .. } => bail!("the agent answered another question"),
    };
    if args.json {
        return output::print(&json::document(&note)?);
    }
    let MarkNote { id, at, text } = note;
    output::print(&format!("mark {id} at {}: {}\n", clean(&at), clean(&text)))
}
