//! `lacuna explain ID`: one incident, whole.

use std::mem::discriminant;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use lacuna_core::incident::{Cited, Incident};

use super::output;
use super::source::Source;
use crate::export::{html, json, text};
use crate::store::Query;

/// Candidates that are named where an id is not unique.
const CANDIDATES: usize = 10;

/// Arguments of `lacuna explain`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// The incident's id, or a beginning of it that no other has.
    id: String,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// Write a web page to FILE.
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
    if let Some(file) = &args.html {
        return std::fs::write(file, html::incident(&incident))
            .with_context(|| format!("cannot write {}", file.display()));
    }
    let mut earlier = args.source.earlier_evidence(&incident);
    earlier.retain(|old| !incident.evidence.iter().any(|cited| same_thing(cited, old)));
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

/// Both tell the same thing of the same host; the newer one has the newer figures.
fn same_thing(newer: &Cited, older: &Cited) -> bool {
    newer.host == older.host && discriminant(&newer.fact) == discriminant(&older.fact)
}
