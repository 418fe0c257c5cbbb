//! `lacuna incidents`: what is in the store, newest last.

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use lacuna_core::incident::Class;

use super::source::Source;
use super::{client, output};
use crate::clock;
use crate::export::json::Incidents;
use crate::export::{json, text};
use crate::store::{DEFAULT_LIMIT, MAX_LIMIT, Query};
use crate::web;

const EXAMPLES: &str = "\
Examples:
  lacuna incidents --since 2h
  lacuna incidents --since 2026-11-22T21:30:00Z --class vcpu-stall
  lacuna incidents --agent http://10.77.0.11:9480 --json | jq -r '.incidents[].verdict.summary'

`lacuna explain ID` has the evidence of one, `lacuna report` what comes back.";

/// Arguments of `lacuna incidents`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Only those that went on within this time, such as 2h, or since a time such as 2026-11-22T21:36:04Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those of this verdict class, such as path-drop.
    #[arg(long, value_parser = class_names())]
    class: Option<String>,
    /// At most so many, the newest ones.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT, value_parser = limit)]
    limit: usize,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

/// Names the classes to shells, and to whoever mistypes one.
fn class_names() -> PossibleValuesParser {
    Class::ALL.iter().map(|(_, name, _)| *name).collect::<Vec<_>>().into()
}

fn limit(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_LIMIT).contains(number));
    number.ok_or_else(|| format!("allowed: 1 to {MAX_LIMIT}"))
}

pub(super) fn run(args: &Args) -> Result<()> {
    let now = clock::wall();
    let since = args.since.as_deref().map(|since| web::since(since, now));
    let query = Query {
        since: client::usage(since.transpose())?,
        class: client::usage(args.class.as_deref().map(web::class).transpose())?,
        limit: args.limit,
        ..Query::default()
    };
    let found = args.source.find(&query)?;
    note(&found);
    if args.json {
        return output::print(&json::document(&found)?);
    }
    if found.incidents.is_empty() {
        eprintln!("no incidents");
        return Ok(());
    }
    output::print(&text::incidents(&found, output::paint()))
}

/// What the list does not show.
fn note(found: &Incidents) {
    if found.truncated {
        eprintln!("lacuna: there are older ones; see --since and --limit");
    }
    if found.unreadable > 0 {
        eprintln!("lacuna: {} incidents of another version of lacuna cannot be read", found.unreadable);
    }
    if let Some(error) = &found.store_error {
        eprintln!("lacuna: only incidents in the agent's memory: {error}");
    }
}
