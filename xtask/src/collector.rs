//! A collector of traces that others made: rotel, whose package on PyPI holds the program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::packages::{self, Need};
use crate::process;

/// The version that the lab is known to work with.
const ROTEL: &str = "0.0.1a15";
/// Debian's, whose library the program of that package is linked with.
const PYTHON: &str = "/usr/bin/python3";

/// The program; it is installed below the target's folder where it is not there.
///
/// # Errors
/// Where it cannot be installed; the message names what is missing.
pub(crate) fn program() -> Result<PathBuf> {
    let folder = crate::target().join(format!("rotel-{ROTEL}"));
    if let Some(program) = find(&folder) {
        return Ok(program);
    }
    packages::ensure(&[Need::Collector])?;
    process::run(Command::new(PYTHON).args(["-m", "venv"]).arg(&folder))?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", &format!("rotel=={ROTEL}")]);
    process::run(&mut pip)?;
    find(&folder).with_context(|| format!("the package rotel {ROTEL} was installed, but has no program"))
}

/// The folder of the packages is named after the version of Python.
fn find(folder: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(folder.join("lib")).ok()?;
    let programs = versions.filter_map(|entry| Some(entry.ok()?.path().join("site-packages/rotel/rotel-agent")));
    programs.into_iter().find(|path| path.is_file())
}
