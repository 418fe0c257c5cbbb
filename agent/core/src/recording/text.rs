//! Recordings of version 1: a JSON value a line.

use super::{Damage, Line, Piece};

/// Reads lines of text.
pub(super) struct TextReader<'a> {
    rest: &'a [u8],
    number: u64,
}

impl<'a> TextReader<'a> {
    /// Reads that file.
    #[must_use]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, number: 0 }
    }
}

impl Iterator for TextReader<'_> {
    type Item = Result<Piece, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let (line, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest.get(1..).unwrap_or_default();
        let line = serde_json::from_slice::<Line>(line).map(Piece::Line).map_err(|why| {
            self.rest = &[];
            Damage { at: format!("line {}", self.number), why: why.to_string() }
        });
        Some(line)
    }
}
