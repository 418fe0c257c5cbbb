//! Keeps the evidence that the engine was given, a JSON value a line, so that a run can be replayed.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use lacuna_core::recording::Line;

/// A recording that is being written; stops at its limit.
pub struct Recorder {
    file: BufWriter<File>,
    room: u64,
    /// Lines that it had no room for, or that could not be written.
    pub refused: u64,
}

impl Recorder {
    /// Starts a recording of at most `limit` bytes.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(path: &Path, limit: u64) -> io::Result<Self> {
        Ok(Self { file: BufWriter::new(File::create(path)?), room: limit, refused: 0 })
    }

    /// Takes a line; one that does not fit is counted, and so is every one after it: a hole would replay wrongly.
    pub fn take(&mut self, line: &Line) {
        let text = serde_json::to_string(line).unwrap_or_default();
        let length = text.len() as u64 + 1;
        let written = self.refused == 0 && length <= self.room && writeln!(self.file, "{text}").is_ok();
        if written {
            self.room -= length;
        } else {
            self.refused += 1;
        }
    }

    /// Writes out what is still in memory.
    pub fn flush(&mut self) {
        if self.file.flush().is_err() {
            self.refused += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lacuna_core::evidence::{Evidence, Fact};
    use lacuna_core::time::Nanos;

    use super::*;

    #[test]
    fn it_stops_at_its_limit_and_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let line = Line::Evidence(Evidence::at("db1", Nanos(5), Fact::EchoSent));
        let length = serde_json::to_string(&line).unwrap().len() as u64 + 1;
        let mut recorder = Recorder::create(&path, 2 * length).unwrap();
        for _ in 0..5 {
            recorder.take(&line);
        }
        recorder.flush();
        assert_eq!(recorder.refused, 3);
        let text = fs::read_to_string(&path).unwrap();
        let read: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, [line.clone(), line]);
    }
}
