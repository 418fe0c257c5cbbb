//! A store with many incidents, for `cargo xtask bench page`: `many_incidents DIRECTORY COUNT`. They are of the last days, a minute
//! apart, so that an agent that starts on it keeps them.

#[path = "../tests/support/many.rs"]
mod many;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use lacuna::store::{Store, StoreSettings};
use lacuna_core::incident::Incident;

const ONE: &str = include_str!("../tests/data/path-drop.json");

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(count)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("many_incidents DIRECTORY COUNT");
    };
    let (directory, count) = (PathBuf::from(directory), count.parse().context("COUNT")?);
    let settings = StoreSettings { path: directory.clone(), ..StoreSettings::default() };
    let ended = SystemTime::now() - Duration::from_secs(60);
    let time = |at: SystemTime| humantime::format_rfc3339_millis(at).to_string();
    let mut one: Incident = serde_json::from_str(ONE)?;
    one.started_at = time(ended - Duration::from_millis(one.duration_ms));
    one.ended_at = Some(time(ended));
    let mut store = Store::open(&settings)?;
    store.put(&one)?;
    drop(store);
    many::multiply(&directory.join("incidents.db"), count)?;
    Ok(())
}
