//! `lacuna report`: what comes back, and what quiet after a change is worth.

use std::path::PathBuf;

use anyhow::{Result, bail};
use lacuna_core::recurrence::{self, Mark, Window};

use super::source::Place;
use super::{WrongUsage, client, output};
use crate::clock;
use crate::export::table::clean;
use crate::export::{html, json, report};
use crate::store::{Past, millis};
use crate::web;

const EXAMPLES: &str = "\
Examples:
  lacuna report                                     # the last two weeks, before and after the newest mark
  lacuna report --since 30d --mark noapictimer

`lacuna mark \"text\"` notes a change.";

/// Arguments of `lacuna report`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Of this time, such as 14d, or since a time such as 2026-11-22T21:36:04Z.
    #[arg(long, value_name = "TIME", default_value = "14d")]
    since: String,
    /// Before and after the newest mark with this text, or this part of it [default: the newest mark].
    #[arg(long, value_name = "TEXT")]
    mark: Option<String>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    /// Write a web page to FILE that needs nothing else; one that is there is replaced.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let now = clock::wall();
    let since = client::usage(web::since(&args.since, now))?;
    let past = args.place.reader()?.past(since)?;
    let window = Window { since_ms: millis(since).max(past.complete_from_ms), until_ms: millis(now) };
    note(&past, millis(since), window);
    let mark = chosen(args.mark.as_deref(), &past.marks, window)?;
    let report = recurrence::report(&past.history, window, mark, &past.marks);
    if args.json {
        return output::print(&json::document(&report)?);
    }
    if let Some(file) = &args.html {
        return output::save(file, &html::report(&report));
    }
    output::print(&report::text(&report, output::paint()))
}

/// What the report is not about.
fn note(past: &Past, since_ms: i64, window: Window) {
    if window.since_ms > since_ms {
        eprintln!("lacuna: older incidents are not kept any more; the report begins where they are complete");
    }
    if past.unreadable > 0 {
        eprintln!("lacuna: {} incidents of another version of lacuna cannot be read", past.unreadable);
    }
}

/// The mark that is asked for: of those with that text the newest, else of those with a part of that text.
fn chosen<'a>(text: Option<&str>, marks: &'a [Mark], window: Window) -> Result<Option<&'a Mark>> {
    let inside = |mark: &&Mark| (window.since_ms..=window.until_ms).contains(&mark.at_ms);
    let Some(text) = text else {
        return Ok(marks.iter().rfind(inside));
    };
    let exact = marks.iter().rfind(|mark| mark.text == text);
    let found = exact.or_else(|| marks.iter().rfind(|mark| mark.text.contains(text)));
    match found {
        Some(mark) if inside(&mark) => Ok(Some(mark)),
        Some(mark) => {
            let mark = recurrence::MarkNote::from(mark);
            let wrong = format!("--mark: \"{}\" was noted at {}, outside of --since", clean(&mark.text), mark.at);
            Err(WrongUsage(wrong).into())
        }
        None => bail!("no mark has the text \"{}\"; {}", text.escape_debug(), known(marks)),
    }
}

fn known(marks: &[Mark]) -> String {
    if marks.is_empty() {
        return "none was noted yet, `lacuna mark` notes one".to_owned();
    }
    let known: Vec<String> = marks.iter().map(|mark| format!("\"{}\"", clean(&mark.text))).collect();
    format!("known: {}", known.join(", "))
}
