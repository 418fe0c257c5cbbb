//! Where the commands write: whole texts to stdout, and quietly no more once nobody reads (`lacuna incidents | head`).

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::termios::tcgetwinsize;

use crate::export::table::Paint;

/// The reader of stdout is gone: nothing is left to do, and nothing went wrong.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub(super) struct Ended;

/// Writes `text` to stdout.
pub(super) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Ended.into()),
        written => written.context("cannot write to stdout"),
    }
}

/// Writes a document to a file, and says so.
pub(super) fn save(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("lacuna: {} bytes in {}", text.len(), file.display());
    Ok(())
}

/// What stdout shows: colours on terminals only, and not where `NO_COLOR` is set; lines as wide as the terminal.
pub(super) fn paint() -> Paint {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return Paint::PLAIN;
    }
    // A serial line says that it has no columns, which means that it does not know.
    let width = tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
    Paint { colour: colour_is_welcome(), width }
}

/// Whether the log on stderr is coloured.
pub(super) fn stderr_colour() -> bool {
    io::stderr().is_terminal() && colour_is_welcome()
}

/// See <https://no-color.org>; a dumb terminal shows the codes as they are.
pub(super) fn colour_is_welcome() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no_color && !terminal_is_dumb()
}

/// Whether the terminal can only print one line after the other.
pub(super) fn terminal_is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}
