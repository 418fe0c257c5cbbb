//! `cargo xtask dashboards`: the JSON for Grafana from its description, and whether all that lies in `dashboards/` is as it
//! must be: the JSON by Grafana's published types, the rules by Prometheus's own tool.

pub(crate) mod description;
mod grafana;
mod links;
mod panels;
mod schema;
mod tools;

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use self::description::Description;
use crate::prepare;

/// Arguments of `cargo xtask dashboards`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Writes nothing: an error where a file is not what the description makes, or not what Grafana and Prometheus take.
    #[arg(long)]
    check: bool,
}

/// Writes the files, or checks them.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.check {
        prepare::to_watch()?;
        return check();
    }
    for (path, document) in documents()? {
        std::fs::write(&path, text(&document)?).with_context(|| path.display().to_string())?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Whether all of it is as it must be.
///
/// # Errors
/// The first thing that is not, and what to do about it.
pub(crate) fn check() -> Result<()> {
    for (path, document) in documents()? {
        let there: Value = std::fs::read_to_string(&path)
            .map_err(anyhow::Error::from)
            .and_then(|text| Ok(serde_json::from_str(&text)?))
            .with_context(|| path.display().to_string())?;
        ensure!(
            there == document,
            "{} is not what its description makes: run `cargo xtask dashboards`",
            path.display()
        );
    }
    println!("the dashboards are what their description makes");
    tools::check_rules()?;
    schema::check()
}

/// Where all of it is.
pub(crate) fn folder() -> PathBuf {
    crate::root().join("dashboards")
}

/// The files and what has to be in them.
fn documents() -> Result<Vec<(PathBuf, Value)>> {
    let Description { common, dashboards } = Description::read()?;
    let path = |name: &str| folder().join("grafana").join(format!("{name}.json"));
    Ok(dashboards.iter().map(|(name, dashboard)| (path(name), grafana::document(&common, dashboard))).collect())
}

fn text(document: &Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(document)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_what_the_description_makes() {
        for (path, document) in documents().unwrap() {
            let there: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            assert!(there == document, "{}: run `cargo xtask dashboards`", path.display());
        }
    }
}
