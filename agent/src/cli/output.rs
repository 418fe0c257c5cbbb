//! Where the commands write: whole texts to stdout, and quietly no more once nobody reads (`lacuna incidents | head`).

use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::{Context, Result};

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

/// Colours for stdout: on terminals only, and not where `NO_COLOR` is set.
pub(super) fn paint() -> Paint {
    Paint { colour: io::stdout().is_terminal() && colour_is_welcome() }
}

/// Whether the log on stderr is coloured.
pub(super) fn stderr_colour() -> bool {
    io::stderr().is_terminal() && colour_is_welcome()
}

/// See <https://no-color.org>; a dumb terminal shows the codes as they are.
fn colour_is_welcome() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !no_color && !dumb
}
