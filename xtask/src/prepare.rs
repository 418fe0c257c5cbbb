//! What must be there before a command: installed packages, built programs.

use std::path::PathBuf;

use anyhow::Result;

use crate::{build, packages};

/// What namespaces, faults and the comparison need from Debian.
const LAB: [&str; 5] = [
    "iproute2",
    "iputils-ping",
    "nftables",
    "util-linux",
    "bird2",
];

/// Installs what the build lacks, and with `lab` what the tests need beyond that.
pub(crate) fn packages(lab: bool) -> Result<()> {
    packages::ensure(if lab { &LAB } else { &[] })
}

/// The agent with the probes inside, built from this workspace.
pub(crate) fn agent() -> Result<PathBuf> {
    build::probes()?;
    build::agent(false)
}
