//! `lacuna replay`: the same judgement again, of what was recorded.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use lacuna_core::incident::Incident;
use lacuna_core::recording::{self, Options, Replayed, replay};
use serde::Serialize;

use super::output;
use crate::export::json::Incidents;
use crate::export::{json, text};

const EXAMPLES: &str = "\
Examples:
  lacuna replay db1.lacuna lb1.lacuna
  lacuna replay --gap 200ms fleet            # would another threshold have seen it?";

/// Arguments of `lacuna replay`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Recordings, or folders that hold some; each of another host.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Judge with another `thresholds.gap`, such as 200ms: would it have been seen?
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    gap: Option<Duration>,
    /// Judge with another `thresholds.cpu_stall`.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    cpu_stall: Option<Duration>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// The document of `--json`.
#[derive(Debug, Serialize)]
struct Document {
    /// Every incident in its last version, by the time of its begin on the clock of the first host.
    incidents: Vec<Incident>,
    recordings: Vec<Heard>,
}

/// What a recording was like.
#[derive(Debug, Serialize)]
struct Heard {
    file: String,
    host: String,
    incidents: usize,
    /// How often lines are missing.
    holes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<recording::Damage>,
    /// By how much its wall clock is ahead of the first host's; absent where no heartbeat tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_ahead_ms: Option<f64>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let options = Options { gap: args.gap, cpu_stall: args.cpu_stall };
    let files = files(&args.files)?;
    let mut replayed = Vec::new();
    for file in &files {
        replayed.push(read(file, &options)?);
    }
    let document = document(&files, &replayed)?;
    document.recordings.iter().for_each(note);
    if args.json {
        return output::print(&json::document(&document)?);
    }
    if document.incidents.is_empty() {
        eprintln!("no incidents");
        return Ok(());
    }
    let Document { incidents, .. } = document;
    let found = Incidents { incidents, truncated: false, unreadable: 0, store_error: None };
    output::print(&text::incidents(&found, output::paint()))
}

/// Those files, and the recordings in those folders.
fn files(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
            inside.push(entry?.path());
        }
        inside.retain(|path| path.extension().is_some_and(|ending| ending == "lacuna"));
        ensure!(!inside.is_empty(), "no recording (NAME.lacuna) in {}", path.display());
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

fn read(file: &Path, options: &Options) -> Result<Replayed> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    replay(&bytes, options).with_context(|| file.display().to_string())
}

fn document(files: &[PathBuf], replayed: &[Replayed]) -> Result<Document> {
    let hosts: Vec<_> = replayed.iter().map(|one| (one.host.as_str(), &one.clocks)).collect();
    let ahead = recording::ahead(&hosts);
    let (mut incidents, mut recordings) = (Vec::new(), Vec::new());
    for ((file, one), ahead) in files.iter().zip(replayed).zip(ahead) {
        let last = one.last_versions();
        recordings.push(Heard {
            file: file.display().to_string(),
            host: one.host.clone(),
            incidents: last.len(),
            holes: one.holes,
            damage: one.damage.clone(),
            clock_ahead_ms: ahead.map(|ns| (ns / 1000) as f64 / 1000.0),
        });
        for incident in last {
            incidents.push((corrected_ns(&incident.started_at, ahead.unwrap_or(0))?, incident.clone()));
        }
    }
    incidents.sort_by(|(one_at, one), (other_at, other)| {
        (one_at, &one.id, &one.observer).cmp(&(other_at, &other.id, &other.observer))
    });
    Ok(Document { incidents: incidents.into_iter().map(|(_, incident)| incident).collect(), recordings })
}

/// That time on the clock of the first host, in nanoseconds since 1970.
fn corrected_ns(time: &str, ahead_ns: i64) -> Result<i128> {
    let time = humantime::parse_rfc3339(time).with_context(|| format!("\"{time}\" is no time"))?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(i128::try_from(since.as_nanos()).unwrap_or(i128::MAX) - i128::from(ahead_ns))
}

/// What the list does not show.
fn note(heard: &Heard) {
    let Heard { file, host, holes, damage, clock_ahead_ms, .. } = heard;
    if *holes > 0 {
        eprintln!("lacuna: {file}: lines are missing {holes} times: what was open then is told no further");
    }
    if let Some(damage) = damage {
        eprintln!("lacuna: {file}: read up to a damage: {damage}");
    }
    if clock_ahead_ms.is_some_and(|ms| ms.abs() >= 1.0) {
        eprintln!("lacuna: the clock of {host} is {:+.3} ms ahead", clock_ahead_ms.unwrap_or_default());
    }
}
