//! The terminal: taken over, and always given back.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ratatui::crossterm::event::{self, Event};
use ratatui::{DefaultTerminal, Frame};

use super::keys::{self, Key};
use crate::cli::{WrongUsage, output};

/// What somebody did at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Key(Key),
    /// It has another size now.
    Resized,
    Nothing,
}

/// Refuses what is no terminal to draw on.
pub(super) fn check() -> Result<()> {
    let what = if !io::stdout().is_terminal() {
        "stdout is none"
    } else if !io::stdin().is_terminal() {
        "stdin is none"
    } else if output::terminal_is_dumb() {
        "TERM=dumb says that it can only print lines"
    } else {
        return Ok(());
    };
    Err(WrongUsage(format!("watch needs a terminal, and {what}; `lacuna status` prints the same once")).into())
}

/// The terminal while this is alive: nothing is echoed, and what was on it comes back at the end, also after a panic.
pub(super) struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    /// Takes the terminal over. A panic from here on gives it back before it is told.
    pub(super) fn open() -> Result<Self> {
        let opened = ratatui::try_init();
        if opened.is_err() {
            // Half of it may be done.
            give_back();
        }
        Ok(Self { terminal: opened.context("cannot draw on this terminal")? })
    }

    pub(super) fn draw(&mut self, view: impl FnOnce(&mut Frame)) -> Result<()> {
        self.terminal.draw(view).map(drop).context("cannot draw on this terminal any more")
    }

    /// What somebody did, waiting for it for at most `patience`.
    pub(super) fn input(&mut self, patience: Duration) -> Result<Input> {
        let gone = "cannot read from this terminal any more";
        if !event::poll(patience).context(gone)? {
            return Ok(Input::Nothing);
        }
        Ok(match event::read().context(gone)? {
            Event::Key(event) => keys::meaning(event).map_or(Input::Nothing, Input::Key),
            Event::Resize(..) => Input::Resized,
            _ => Input::Nothing,
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A panic has given it back already: doing that twice would put the cursor above what the panic said.
        if !std::thread::panicking() {
            give_back();
        }
    }
}

fn give_back() {
    // Whoever closed the terminal does not miss it.
    let _ = ratatui::try_restore();
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
