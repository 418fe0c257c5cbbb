//! The ring: files of about twenty seconds, the oldest of which go when there is no room. Those around an incident go last.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use lacuna_core::recording::MAGIC;
use lacuna_core::time::Nanos;

/// The folder in that of the store.
pub const FOLDER: &str = "recording";
const EXTENSION: &str = "lacuna";
/// Of files that are kept.
pub(super) const KEPT: &str = "kept.lacuna";
/// The parts of all room that one file, and all files that are kept, may take.
const FILES: u64 = 8;
const KEPT_PART: u64 = 2;

/// See the module's documentation.
#[derive(Debug)]
pub struct Ring {
    folder: PathBuf,
    /// Bytes that all files may have together, that they have, and those of them that are kept.
    most: u64,
    pub(super) used: u64,
    kept: u64,
    /// By which files sort: the start of the agent, or more where the wall clock was set back since files were written.
    start: u64,
    /// How many files it has begun.
    begun: u64,
    /// Oldest first; the last one is being written where `file` is there.
    parts: Vec<Part>,
    file: Option<File>,
    /// Files that begin before this are kept.
    keep_until: Nanos,
}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    bytes: u64,
    kept: bool,
    /// What it holds, on this boot's clock; absent where it is of an agent before.
    holds: Option<(Nanos, Nanos)>,
}

impl Ring {
    /// The ring in that folder, which is made where it is missing; `most` bytes long, with what agents before have left.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(folder: &Path, most: u64, incarnation: u64) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        let mut parts = Vec::new();
        for path in files_in(folder)? {
            let kept = path.to_string_lossy().ends_with(KEPT);
            parts.push(Part { bytes: fs::metadata(&path)?.len(), kept, path, holds: None });
        }
        let newest = parts.last().and_then(|part| start_of(&part.path));
        let size = |kept: bool| parts.iter().filter(|part| !kept || part.kept).map(|part| part.bytes).sum();
        let (used, kept) = (size(false), size(true));
        let mut ring = Self {
            folder: folder.to_owned(),
            most,
            used,
            kept,
            start: newest.map_or(incarnation, |newest| incarnation.max(newest.saturating_add(1))),
            begun: 0,
            parts,
            file: None,
            keep_until: Nanos::default(),
        };
        ring.make_room(0)?;
        Ok(ring)
    }

    /// How many bytes a file may have before the next one begins.
    #[must_use]
    pub fn most_of_a_part(&self) -> u64 {
        self.most / FILES
    }

    /// Every file, oldest first.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.parts.iter().map(|part| part.path.clone()).collect()
    }

    /// Writes a block that ends at `at`, as the first one of a new file where it `begins` one.
    ///
    /// # Errors
    /// The disk does not take it. Blocks up to the next one that begins a file are refused then: they could not be read.
    pub fn write(&mut self, block: &[u8], begins: bool, at: Nanos) -> io::Result<()> {
        let written = self.try_write(block, begins, at);
        if written.is_err() {
            self.file = None;
        }
        written
    }

    fn try_write(&mut self, block: &[u8], begins: bool, at: Nanos) -> io::Result<()> {
        let length = block.len() as u64 + if begins { MAGIC.len() as u64 } else { 0 };
        if begins {
            self.file = None;
        }
        self.make_room(length)?;
        if begins {
            self.begin(at)?;
        }
        let refused =
            || io::Error::other("a block before could not be written, and this one cannot be read without it");
        let (Some(file), Some(part)) = (&mut self.file, self.parts.last_mut()) else { return Err(refused()) };
        if begins {
            file.write_all(&MAGIC)?;
        }
        file.write_all(block)?;
        part.bytes += length;
        part.holds = part.holds.map(|(from, _)| (from, at));
        self.used += length;
        self.kept += if part.kept { length } else { 0 };
        Ok(())
    }

    fn begin(&mut self, at: Nanos) -> io::Result<()> {
        let kept = at < self.keep_until;
        let extension = if kept { KEPT } else { EXTENSION };
        let path = self.folder.join(format!("{:020}-{:08}.{extension}", self.start, self.begun));
        self.file = Some(OpenOptions::new().write(true).create_new(true).mode(0o640).open(&path)?);
        self.begun += 1;
        // A block is written at its end: the file holds what came since the one before ended.
        let from = self.parts.last().and_then(|part| part.holds).map_or(at, |(_, to)| to);
        self.parts.push(Part { path, bytes: 0, kept, holds: Some((from, at)) });
        Ok(())
    }

    /// Keeps the files that hold any of that time longer than others.
    ///
    /// # Errors
    /// A file cannot be renamed.
    pub fn keep(&mut self, from: Nanos, to: Nanos) -> io::Result<()> {
        self.keep_until = self.keep_until.max(to);
        for part in self.parts.iter_mut().filter(|part| !part.kept) {
            if part.holds.is_none_or(|(begin, end)| begin > to || end < from) {
                continue;
            }
            let path = part.path.with_extension(KEPT);
            gone_or(fs::rename(&part.path, &path))?;
            (part.path, part.kept) = (path, true);
            self.kept += part.bytes;
        }
        Ok(())
    }

    /// Removes the oldest files until so many bytes more have room.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        while self.used + bytes > self.most {
            let kept_goes = self.kept > self.most / KEPT_PART;
            let finished = self.parts.len() - usize::from(self.file.is_some());
            let all = self.parts[..finished].iter();
            let victim = all.clone().position(|part| part.kept == kept_goes).or_else(|| all.clone().position(|_| true));
            let Some(victim) = victim else { return Err(io::Error::other("a block has no room")) };
            gone_or(fs::remove_file(&self.parts[victim].path))?;
            let part = self.parts.remove(victim);
            self.used -= part.bytes;
            self.kept -= if part.kept { part.bytes } else { 0 };
        }
        Ok(())
    }
}

/// The start that a file is named by.
fn start_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split_once('-')?.0.parse().ok()
}

/// A file that somebody else has removed takes no room either.
fn gone_or(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Every file of a ring, oldest first.
///
/// # Errors
/// The folder cannot be read.
pub(super) fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
