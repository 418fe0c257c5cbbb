//! `lacuna explain ID`: one incident, whole.

use std::path::PathBuf;

use anyhow::{Result, bail};
use lacuna_core::incident::Incident;

use super::output;
use super::source::Source;
use crate::export::html::{self, Beside, Place};
use crate::export::{json, text};
use crate::store::Query;

/// Candidates that are named where an id is not unique.
const CANDIDATES: usize = 10;

const EXAMPLES: &str = "\
Examples:
  lacuna explain 01M8                        # the beginning of an id is enough where no other has it
  lacuna explain 01M8 --html incident.html   # a page for the post-mortem

`lacuna incidents` lists the ids, `lacuna record FILE` saves all that led to the verdict.";

/// Arguments of `lacuna explain`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The incident's id, or a beginning of it that no other has.
    id: String,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// Write a web page to FILE that needs nothing else; one that is there is replaced.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let incident = one(args)?;
    if args.json {
        return output::print(&json::document(&incident)?);
    }
    let earlier = html::only_earlier(args.source.earlier_evidence(&incident), &incident);
    if let Some(file) = &args.html {
        let marks = args.source.marks(&incident);
        let page = html::incident(&incident, Beside { earlier: &earlier, marks: &marks }, Place::Saved);
        return output::save(file, &page);
    }
    output::print(&text::explain(&incident, &earlier, output::paint()))
}

fn one(args: &Args) -> Result<Incident> {
    let query = Query { id_prefix: Some(args.id.clone()), limit: CANDIDATES, ..Query::default() };
    let mut found = args.source.find(&query)?.incidents;
    if let Some(exact) = found.iter().position(|incident| incident.id == args.id) {
        return Ok(found.swap_remove(exact));
    }
    let id = args.id.escape_debug();
    match found.len() {
        0 => bail!("no incident has the id \"{id}\"; `lacuna incidents` lists them"),
        1 => Ok(found.swap_remove(0)),
        _ => {
            let ids: Vec<_> = found.iter().map(|incident| incident.id.as_str()).collect();
            bail!("\"{id}\" is the beginning of several ids: {}", ids.join(", "))
        }
    }
}
