//! What the lab tells: a line for each run, a table at the end, files for what failed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use super::judge::Truth;
use super::watch::Seen;

/// One run of a scenario.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// The scenario.
    pub(crate) scenario: String,
    /// Which repetition, from 1.
    pub(crate) run: u32,
    /// Whether every verdict was as it must be.
    pub(crate) passed: bool,
    /// How long it took.
    pub(crate) seconds: f64,
    /// Expectations that were reached.
    pub(crate) reached: Vec<String>,
    /// What was missing or wrong.
    pub(crate) problems: Vec<String>,
    /// Incidents beyond the expected ones that are true on this machine.
    pub(crate) excused: Vec<String>,
    /// Why runs before this one say nothing of the agent, and it was made once more.
    pub(crate) again: Vec<String>,
    /// Where logs, configurations and documents are, if they were kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kept: Option<PathBuf>,
}

/// Tells one run.
pub(crate) fn print_outcome(outcome: &Outcome, repeated: bool) {
    let word = if outcome.passed { "ok    " } else { "FAILED" };
    let run = if repeated { format!(" #{}", outcome.run) } else { String::new() };
    println!("{word} {}{run}  {:.1} s", outcome.scenario, outcome.seconds);
    for line in &outcome.reached {
        println!("         {line}");
    }
    for line in &outcome.excused {
        println!("       + {line}");
    }
    for line in &outcome.again {
        println!("       ~ once more: {line}");
    }
    for line in &outcome.problems {
        println!("       ! {line}");
    }
    if let Some(kept) = &outcome.kept {
        println!("         kept in {}", kept.display());
    }
}

/// Tells all of them: a row for each scenario.
pub(crate) fn print_table(outcomes: &[Outcome], took: Duration) {
    let mut rows: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        rows.entry(&outcome.scenario).or_default().push(outcome);
    }
    println!("\n{:<24} {:>5} {:>7} {:>7} {:>9}", "scenario", "runs", "passed", "failed", "median");
    for (name, runs) in rows {
        let passed = runs.iter().filter(|run| run.passed).count();
        let median = crate::bench::stats::median(runs.iter().map(|run| run.seconds));
        println!(
            "{name:<24} {:>5} {passed:>7} {:>7} {:>7.1} s",
            runs.len(),
            runs.len() - passed,
            median.unwrap_or_default(),
        );
    }
    let passed = outcomes.iter().filter(|outcome| outcome.passed).count();
    let failed = outcomes.len() - passed;
    println!("\n{passed} passed, {failed} failed in {:.0} s", took.as_secs_f64());
}

/// Writes what the agents said, and what really happened, beside their logs.
pub(crate) fn keep_documents(folder: &Path, seen: &BTreeMap<String, Seen>, truth: &Truth) -> Result<()> {
    for (host, seen) in seen {
        let incidents: Vec<_> = seen
            .incidents
            .values()
            .map(|history| {
                let versions = history.versions.iter().map(|version| {
                    json!({ "seen": version.at, "class": version.class, "subject": version.subject,
                            "provisional": version.provisional, "state": version.state })
                });
                json!({ "last": history.document, "versions": versions.collect::<Vec<_>>() })
            })
            .collect();
        let document = json!({ "health": seen.health, "broken": seen.broken, "incidents": incidents });
        let text = serde_json::to_string_pretty(&document)?;
        std::fs::write(folder.join(format!("{host}.incidents.json")), text)?;
    }
    let first = truth.moments.values().map(|moment| moment.before.wall).min().unwrap_or_default();
    let waits: BTreeMap<_, _> = truth.waits.iter().map(|(name, waits)| (name, waits.long_ones(first))).collect();
    let truth = json!({ "moments": truth.moments, "steal_seconds": truth.machine.steal(0, u64::MAX),
                        "busy": truth.machine.busy(0, u64::MAX), "loaded": truth.loaded, "waits": waits });
    std::fs::write(folder.join("truth.json"), serde_json::to_string_pretty(&truth)?)?;
    Ok(())
}
