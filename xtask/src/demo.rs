//! `cargo xtask demo`: four faults of the same length that look alike from outside, and what each host says of them.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::lab::guest::Release;
use crate::lab::{self, Outcome};

/// The scenario that it plays.
const SCENARIO: &str = "demo";
/// The hosts whose words are shown: the one that stalls, and the peer that suffers.
const HOSTS: [&str; 2] = ["db1", "lb1"];

/// Arguments of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The kernel of the guest that stalls.
    #[arg(long, default_value = "6.12")]
    kernel: Release,
}

/// Plays the scenario and prints what every host said; an error where that is not the truth.
pub(crate) fn run(args: &Args) -> Result<()> {
    eprintln!(
        "A guest db1 (Linux {}) and two hosts that watch it. For 5 s each: a CPU of db1 loses its timer; a CPU of db1 \
         is not run by the hypervisor; packets between db1 and lb1 are dropped; db1 is paused. It takes about 90 s.",
        args.kernel
    );
    let outcomes = lab::outcomes(&lab::Args::kept(SCENARIO, args.kernel))?;
    for Outcome { kept, problems, .. } in &outcomes {
        let folder = kept.as_deref().context("the run kept nothing")?;
        for host in HOSTS {
            tell(host, &folder.join(format!("{host}.incidents.json")))?;
        }
        ensure!(problems.is_empty(), "not as it should be: {}", problems.join("; "));
    }
    Ok(())
}

fn tell(host: &str, path: &Path) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let document: Value = serde_json::from_str(&text)?;
    let incidents = document["incidents"].as_array().into_iter().flatten().map(|incident| &incident["last"]);
    let mut incidents: Vec<_> = incidents.collect();
    incidents.sort_by_key(|incident| incident["id"].to_string());
    println!("\n{host} says:");
    for incident in incidents {
        println!("{}", words(incident));
    }
    Ok(())
}

/// The verdict in one sentence, how sure it is, and which classes the evidence rules out.
fn words(incident: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let verdict = &incident["verdict"];
    let sure = verdict["confidence"].as_f64().unwrap_or_default() * 100.0;
    let others = incident["ruled_out"].as_array().into_iter().flatten();
    let others: Vec<_> = others.map(|other| text(&other["class"])).collect();
    format!(
        "  {:<13} {} ({sure:.0} % sure)\n                not {}",
        text(&verdict["class"]),
        text(&verdict["summary"]),
        others.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_told_with_what_it_is_not() {
        let incident = serde_json::json!({
            "verdict": { "class": "vm-pause", "summary": "db1 stood still for 5.0 s", "confidence": 0.95 },
            "ruled_out": [{ "class": "restart", "because": "the same boot" }, { "class": "path-drop", "because": "x" }],
        });
        let told = words(&incident);
        assert!(told.contains("vm-pause") && told.contains("95 % sure") && told.ends_with("not restart, path-drop"));
    }
}
