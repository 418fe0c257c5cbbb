//! What changes something goes over a Unix socket that is for root and the socket's group: one request, a line of JSON, and
//! one answer, another line. HTTP stays read-only.

mod serve;
mod socket;
#[cfg(test)]
mod tests;

use lacuna_core::recurrence::MarkNote;
use serde::{Deserialize, Serialize};

pub use serve::{Behind, LONGEST_REQUEST, MAX_CONNECTIONS, serve};
pub use socket::{ControlError, ControlSocket};

/// Longest text of a mark, in characters.
pub const LONGEST_MARK: usize = 200;

/// What an agent can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Note a change.
    Mark {
        /// What was changed, see [`mark_text`].
        text: String,
    },
    /// Give the recording of the last minutes.
    Record,
}

impl Request {
    /// Reads a request from a line with its end.
    ///
    /// # Errors
    /// It has no end, or is none of this version of the agent.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        if line.last() != Some(&b'\n') {
            return Err(format!("a request is one line of at most {LONGEST_REQUEST} bytes"));
        }
        serde_json::from_slice(line).map_err(|error| format!("not a request of this version of lacuna: {error}"))
    }
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The change is noted, and outlasts the agent and the host.
    Marked(MarkNote),
    /// So many bytes of a recording follow.
    Recording {
        /// How many.
        bytes: u64,
        /// Files of the ring that were read only up to a damage, each with the place of it.
        damaged: Vec<String>,
    },
    /// Nothing was done, and why.
    Refused(String),
}

/// The text of a mark without blanks around it.
///
/// # Errors
/// It is empty, too long, or would steer a terminal.
pub fn mark_text(text: &str) -> Result<String, String> {
    let text = text.trim();
    let fits = (1..=LONGEST_MARK).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if fits {
        return Ok(text.to_owned());
    }
    let shown: String = text.chars().take(40).collect();
    Err(format!("\"{}\" is not a text; allowed: 1 to {LONGEST_MARK} printable characters", shown.escape_debug()))
}
