//! What must be there before a command: installed packages, built programs.

use std::path::PathBuf;

use anyhow::Result;

use crate::build;
use crate::packages::{self, Need};

/// Installs what the build lacks.
pub(crate) fn to_build() -> Result<()> {
    packages::ensure(&[Need::Build])
}

/// Installs what the build, the lab and the measurements lack.
pub(crate) fn to_test() -> Result<()> {
    packages::ensure(&[Need::Build, Need::Lab, Need::Bench])
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
