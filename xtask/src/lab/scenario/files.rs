//! The files of scenarios, and which of them somebody asks for.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Scenario;

/// The folder of the scenarios with guests, below that of the others; its name also stands for all of them.
const GUESTS: &str = "guests";
/// The folder of those that compare Lacuna with others.
const COMPARED: &str = "compare";

/// The folder of the scenarios.
fn folder() -> PathBuf {
    crate::root().join("tests/scenarios")
}

/// All that need no guests, by name.
pub(crate) fn all() -> Result<Vec<Scenario>> {
    all_in(&folder())
}

/// All with guests, by name.
pub(crate) fn with_guests() -> Result<Vec<Scenario>> {
    all_in(&folder().join(GUESTS))
}

/// All that compare Lacuna with others, by name.
pub(crate) fn compared() -> Result<Vec<Scenario>> {
    all_in(&folder().join(COMPARED))
}

fn all_in(folder: &Path) -> Result<Vec<Scenario>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    paths.sort();
    paths.iter().map(|path| Scenario::read(path)).collect()
}

/// Those that were asked for: names, paths of files, `all` that need no guests, or `guests`, all with them.
pub(crate) fn choose(asked: &[String]) -> Result<Vec<Scenario>> {
    let mut chosen = Vec::new();
    for name in asked {
        match name.as_str() {
            "all" => chosen.extend(all()?.into_iter().filter(|scenario| !scenario.long)),
            GUESTS => chosen.extend(with_guests()?.into_iter().filter(|scenario| !scenario.long)),
            name => chosen.push(find(name)?),
        }
    }
    Ok(chosen)
}

/// By its name, that of one with guests with or without `guests/` before it, or by the path of its file.
fn find(name: &str) -> Result<Scenario> {
    let file = format!("{}.toml", name.strip_prefix("guests/").unwrap_or(name));
    let places = [folder().join(&file), folder().join(GUESTS).join(&file)];
    let known = if name.starts_with("guests/") { &places[1..] } else { &places[..] };
    if let Some(path) = known.iter().find(|path| path.is_file()) {
        return Scenario::read(path);
    }
    if name.contains('/') || name.ends_with(".toml") {
        return Scenario::read(Path::new(name));
    }
    let known: Vec<_> = all()?.into_iter().chain(with_guests()?).map(|known| known.name).collect();
    anyhow::bail!("no scenario `{name}`; there are: all, {GUESTS}, {}", known.join(", "));
}
