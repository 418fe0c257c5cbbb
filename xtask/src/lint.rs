//! `cargo xtask lint`: format and clippy.

use anyhow::Result;

use crate::sh;

/// Both, warnings denied.
pub(crate) fn run() -> Result<()> {
    format()?;
    clippy()
}

/// The format of every crate, the probes' too.
pub(crate) fn format() -> Result<()> {
    sh::run(&mut sh::cargo(&["fmt", "--all", "--check"]))
}

/// Clippy over every crate that is built for this machine.
pub(crate) fn clippy() -> Result<()> {
    sh::run(&mut sh::cargo(&[
        "clippy",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}
