//! Child processes whose progress is seen: their stdout goes to our stderr, which keeps ours for results.

use std::io;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Runs `command` to its end.
///
/// # Errors
/// Where it cannot be started, or fails; the message shows the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    eprintln!("+ {shown}");
    let stderr = io::stderr().as_fd().try_clone_to_owned()?;
    let status = command.stdout(Stdio::from(stderr)).status().with_context(|| format!("could not start: {shown}"))?;
    ensure!(status.success(), "failed ({status}): {shown}");
    Ok(())
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}
