//! What must be there before a command: installed packages, built programs.

use std::path::PathBuf;

use anyhow::Result;

use crate::build;
use crate::packages::{self, Need};

/// Installs what the build lacks.
pub(crate) fn to_build() -> Result<()> {
    packages::ensure(&[Need::Build])
}

/// Installs what the build, the lab, the measurements and the dashboards' proof lack.
pub(crate) fn to_test() -> Result<()> {
    packages::ensure(&[Need::Build, Need::Lab, Need::Bench, Need::Watch])
}

/// Installs what the proof of dashboards and alerts lacks.
pub(crate) fn to_watch() -> Result<()> {
    packages::ensure(&[Need::Build, Need::Lab, Need::Watch])
}

/// Installs what it takes to look at the page.
pub(crate) fn to_browse() -> Result<()> {
    packages::ensure(&[Need::Build, Need::Lab, Need::Browser])
}

/// Installs what the comparison with others lacks, beyond the lab.
pub(crate) fn to_compare() -> Result<()> {
    packages::ensure(&[Need::Build, Need::Lab, Need::Compare])
}

/// Installs what guests of the lab need beyond that.
pub(crate) fn to_run_guests() -> Result<()> {
    packages::ensure(&[Need::Build, Need::Lab, Need::Guests])
}

/// The agent with the probes inside, built from this workspace.
pub(crate) fn agent() -> Result<PathBuf> {
    build::agent(false)
}
