//! Where a run keeps its files: `target/lab/<scenario>-<n>`, removed unless it is kept.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::netns::is_runner;

/// In every folder: the process id of the runner that made it.
const OWNER: &str = "runner.pid";

/// A folder of one run.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Folder {
    /// A new one; the number is the first that is free.
    pub(crate) fn create(scenario: &str) -> Result<Self> {
        let parent = parent();
        std::fs::create_dir_all(&parent).with_context(|| parent.display().to_string())?;
        let mut number = 1_u32;
        loop {
            let path = parent.join(format!("{scenario}-{number}"));
            match std::fs::create_dir(&path) {
                Ok(()) => {
                    std::fs::write(path.join(OWNER), std::process::id().to_string())?;
                    return Ok(Self { path, kept: false });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            }
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what a run left in it.
    pub(crate) fn empty(&self) -> Result<()> {
        for entry in std::fs::read_dir(&self.path)? {
            let path = entry?.path();
            match path.is_dir() {
                true => remove(&path)?,
                false if path.file_name().is_some_and(|name| name == OWNER) => {}
                false => std::fs::remove_file(&path)?,
            }
        }
        Ok(())
    }

    /// Leaves it there, until a runner starts after this one has ended.
    pub(crate) fn keep(mut self) -> PathBuf {
        self.kept = true;
        self.path.clone()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept && std::fs::remove_dir_all(&self.path).is_err() {
            eprintln!("warning: cannot remove {}", self.path.display());
        }
    }
}

/// Removes the folders of runners that have ended.
pub(crate) fn remove_old() -> Result<()> {
    let Ok(entries) = std::fs::read_dir(parent()) else {
        return Ok(());
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let owner = std::fs::read_to_string(path.join(OWNER));
        let owner = owner.ok().and_then(|pid| pid.parse().ok());
        if owner.is_some_and(|pid| !is_runner(pid)) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes a folder; another runner may have been faster.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if path.exists() => Err(error).with_context(|| path.display().to_string()),
        _ => Ok(()),
    }
}

fn parent() -> PathBuf {
    crate::target().join("lab")
}
