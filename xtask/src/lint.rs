//! `cargo xtask lint`: format and clippy.

use anyhow::Result;

use crate::{process, sh};

/// Both, warnings denied.
pub(crate) fn run() -> Result<()> {
    format()?;
    clippy()
}

/// The format of every crate, the probes' too.
pub(crate) fn format() -> Result<()> {
    process::run(&mut sh::cargo(&["fmt", "--all", "--check"]))
}

/// Clippy over every crate that is built for this machine, and over the fuzz targets, which want more of the agent's to be public.
pub(crate) fn clippy() -> Result<()> {
    process::run(&mut sh::cargo(&["clippy", "--all-targets", "--", "-D", "warnings"]))?;
    process::run(&mut sh::cargo(&["clippy", "--package", "lacuna-fuzz", "--", "-D", "warnings"]))
}
