//! Commands of the system, with errors that say which command failed and what it wrote to stderr.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs it and returns what it wrote to stdout; with `input` on its stdin.
pub(crate) fn output(command: &mut Command, input: &str) -> Result<String> {
    let line = line(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that ends without reading says why by its status.
        let _ = stdin.write_all(input.as_bytes());
    }
    let done = child.wait_with_output()?;
    if !done.status.success() {
        let stderr = String::from_utf8_lossy(&done.stderr);
        bail!("`{line}` failed: {}: {}", done.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The command from its words.
pub(crate) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words.first().copied().unwrap_or_default());
    command.args(words.iter().skip(1));
    command
}

/// `cargo`, the one that runs this, in this workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = crate::build::cargo();
    command.args(args).current_dir(crate::root());
    command
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_command_and_stderr() {
        let error = output(&mut command(&["sh", "-c", "echo no such thing >&2; exit 3"]), "");
        let text = error.unwrap_err().to_string();
        assert!(text.contains("sh -c") && text.contains("no such thing"), "{text}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = output(&mut command(&["no-such-program"]), "").unwrap_err();
        assert!(error.to_string().contains("no-such-program"));
    }

    #[test]
    fn input_reaches_the_command() {
        assert_eq!(output(&mut command(&["cat"]), "hello").unwrap(), "hello");
    }
}
