//! What the engine was told, and the replay of it: evidence is recorded, never incidents.
//!
//! Version 1 is a JSON value a line; version 2 is compact and checksummed ([`blocks`]); in version 3 heartbeats tell of incidents
//! as well, and since version 4 they are told by what is [`news`] in them instead of by a whole [`beat`]. All hold the same lines:
//! older ones are read without a change.

mod beat;
mod blocks;
mod clocks;
mod compact;
mod fields;
mod news;
mod replay;
mod tale;
#[cfg(test)]
mod tests;
mod text;

use serde::{Deserialize, Serialize};

use crate::engine::Me;
use crate::evidence::Evidence;
use crate::incident::Incident;
use crate::settings::Settings;
use crate::time::Nanos;

use self::blocks::BlockReader;
pub use self::blocks::{BlockWriter, MAGIC, intact};
pub use self::clocks::{ClockNotes, ahead};
pub use self::replay::{Options, ReplayError, Replayed, replay, tell};
use self::text::TextReader;

/// The newest version of recordings; all before it can be read as well.
pub const VERSION: u32 = 4;

/// A block is written once it has so many bytes; it has a few more then.
pub const BLOCK_BYTES: usize = 64 << 10;

/// A line of a recording. What is rare is in a box: millions of others are moved about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// The first one, the first one of each further start of the agent, and of each part that can be read alone: who was
    /// told.
    Begin {
        /// [`VERSION`] at the time of writing.
        version: u32,
        /// The engine's settings.
        settings: Box<Settings>,
        /// Who the engine worked for.
        me: Box<Me>,
    },
    /// The engine was given a piece of evidence.
    Evidence(Evidence),
    /// The engine was told the time.
    Timeout(Nanos),
    /// The engine took over an incident of an earlier run.
    Adopt(Box<Incident>, Nanos),
    /// The engine was given other settings.
    Configure(Box<Settings>),
}

/// What is read of a recording.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// A line.
    Line(Line),
    /// Lines are missing here.
    Hole,
}

/// Where a recording cannot be read any further.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Where: `line 7`, `byte 4096`.
    pub at: String,
    /// What is wrong there.
    pub why: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.at, self.why)
    }
}

/// A recording in memory: a part for each [`Line::Begin`].
#[derive(Default)]
pub struct InMemory {
    writer: BlockWriter,
    bytes: Vec<u8>,
}

impl InMemory {
    /// Adds a line.
    pub fn put(&mut self, line: &Line) {
        let begins = matches!(line, Line::Begin { .. });
        if self.writer.waiting() >= BLOCK_BYTES || begins && self.writer.waiting() > 0 {
            self.bytes.extend(self.writer.take());
        }
        if begins {
            self.writer.begin_part();
        }
        self.writer.put(line);
    }

    /// What would be its file.
    #[must_use]
    pub fn into_file(mut self) -> Vec<u8> {
        self.bytes.extend(self.writer.take());
        [&MAGIC[..], &self.bytes].concat()
    }
}

/// Reads a recording of any version, up to its end or to the first damage.
pub fn pieces(bytes: &[u8]) -> Box<dyn Iterator<Item = Result<Piece, Damage>> + '_> {
    if bytes.starts_with(&MAGIC) { Box::new(BlockReader::new(bytes)) } else { Box::new(TextReader::new(bytes)) }
}
