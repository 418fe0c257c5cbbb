//! What waits for the collector, on disk: small files that are written one after the other and removed once they were sent.
//!
//! A record is, all numbers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | the length of its request |
//! | 4 | how many spans that has |
//! | 8 | the first bytes of the BLAKE3 hash of all above and of the request |
//! | n | the request |
//!
//! A file that is torn or damaged is read up to there; the rest of it is counted as lost. Each start of the agent begins a new
//! file. How far all was sent stands in a file of its own, which is replaced as a whole; where that is lost, what was sent already
//! is sent again.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The folder in that of the store.
pub const FOLDER: &str = "traces";
const EXTENSION: &str = "spans";
const PROGRESS: &str = "sent";
/// Bytes of a record before its request.
const HEAD: usize = 16;
/// Longest request of one record; a longer one is damage.
const MAX_REQUEST: usize = 4 << 20;
/// The part of all room that one file may take.
const FILES: u64 = 8;

/// Why spans were given up, as the metric names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// There was no room for more, and they were the oldest.
    Full,
    /// The disk did not take them.
    Disk,
    /// The file was damaged; counted as one where it cannot be known how many they were.
    Damaged,
}

/// A place in the spool: the number of a file, and a byte of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    file: u64,
    offset: u64,
}

/// What is to be sent next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// One request.
    pub request: Vec<u8>,
    /// How many spans it has.
    pub spans: u64,
    /// What all before was sent up to once this is.
    until: Place,
}

/// A file; its spans are those that wait.
#[derive(Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    spans: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    /// Bytes that all files may have together.
    most: u64,
    /// Oldest first; the last one is being written where `writing` is there.
    segments: VecDeque<Segment>,
    writing: Option<File>,
    next_number: u64,
    /// All before was sent.
    sent: Place,
    lost: BTreeMap<Lost, u64>,
}

impl Spool {
    /// What agents before have left in that folder, which is made where it is missing; it may take `most` bytes.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(folder: &Path, most: u64) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        let mut numbers: Vec<u64> = fs::read_dir(folder)?.filter_map(|entry| number_of(&entry.ok()?.path())).collect();
        numbers.sort_unstable();
        let sent = progress(&folder.join(PROGRESS)).unwrap_or_default();
        let mut spool = Self {
            folder: folder.to_owned(),
            most,
            segments: VecDeque::new(),
            writing: None,
            // Also beyond a file that is gone: what was sent of it is no part of another.
            next_number: numbers.last().copied().unwrap_or_default().max(sent.file) + 1,
            sent,
            lost: BTreeMap::new(),
        };
        for number in numbers {
            spool.take_over(number)?;
        }
        spool.make_room(0)?;
        Ok(spool)
    }

    /// A file of an agent before: gone where all of it was sent.
    fn take_over(&mut self, number: u64) -> io::Result<()> {
        let path = self.path(number);
        if number < self.sent.file {
            return fs::remove_file(path);
        }
        let content = fs::read(&path)?;
        let from = if number == self.sent.file { self.sent.offset } else { 0 };
        let mut rest = content.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default();
        let mut spans = 0;
        while let Some((record, after)) = record(rest) {
            spans += u64::from(record.spans);
            rest = after;
        }
        self.segments.push_back(Segment { number, bytes: content.len() as u64, spans });
        Ok(())
    }

    /// Adds a request with so many spans.
    ///
    /// # Errors
    /// The disk does not take it; it is counted as lost.
    pub fn put(&mut self, request: &[u8], spans: u32) -> io::Result<()> {
        let written = self.try_put(request, spans);
        if written.is_err() {
            // What was written of it is damage: the next one begins a new file.
            self.writing = None;
            self.lose(Lost::Disk, spans.into());
        }
        written
    }

    fn try_put(&mut self, request: &[u8], spans: u32) -> io::Result<()> {
        if request.len() > MAX_REQUEST {
            return Err(io::Error::other("the request is too long"));
        }
        let mut bytes = head(request, spans).to_vec();
        bytes.extend_from_slice(request);
        let length = bytes.len() as u64;
        if self.segments.back().is_some_and(|last| last.bytes + length > self.most / FILES) {
            self.writing = None;
        }
        self.make_room(length)?;
        if self.writing.is_none() {
            self.begin()?;
        }
        let (Some(file), Some(segment)) = (&mut self.writing, self.segments.back_mut()) else { return Ok(()) };
        file.write_all(&bytes)?;
        file.sync_data()?;
        segment.bytes += length;
        segment.spans += u64::from(spans);
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        let number = self.next_number;
        self.next_number += 1;
        let path = self.path(number);
        self.writing = Some(OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)?);
        self.segments.push_back(Segment { number, bytes: 0, spans: 0 });
        Ok(())
    }

    /// Removes the oldest files until so many more bytes fit.
    fn make_room(&mut self, length: u64) -> io::Result<()> {
        while !self.segments.is_empty() && self.waiting_bytes() + length > self.most {
            if self.segments.len() == 1 {
                self.writing = None;
            }
            let spans = self.segments.front().map_or(0, |oldest| oldest.spans);
            self.lose(Lost::Full, spans);
            self.remove_first()?;
        }
        Ok(())
    }

    fn remove_first(&mut self) -> io::Result<()> {
        let Some(first) = self.segments.pop_front() else { return Ok(()) };
        self.sent = self.sent.max(Place { file: first.number.saturating_add(1), offset: 0 });
        match fs::remove_file(self.path(first.number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The oldest that waits, as one request of at most `most` bytes, or of one record where that is longer.
    ///
    /// # Errors
    /// A file cannot be read or removed.
    pub fn next(&mut self, most: usize) -> io::Result<Option<Batch>> {
        while let Some(first) = self.segments.front() {
            let (number, is_last) = (first.number, self.segments.len() == 1 && self.writing.is_some());
            let from = if number == self.sent.file { self.sent.offset } else { 0 };
            let content = fs::read(self.path(number))?;
            let rest = content.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default();
            if let Some(batch) = batch(rest, Place { file: number, offset: from }, most) {
                return Ok(Some(batch));
            }
            // What is left there cannot be read, or is not there.
            let waiting = self.segments.front_mut().map_or(0, |first| std::mem::take(&mut first.spans));
            let torn = !rest.is_empty();
            if torn || waiting > 0 {
                self.lose(Lost::Damaged, waiting.max(1));
            }
            if is_last && !torn {
                return Ok(None);
            }
            if is_last {
                self.writing = None;
            }
            self.remove_first()?;
        }
        Ok(None)
    }

    /// The collector has it.
    ///
    /// # Errors
    /// The progress cannot be written: after a restart it would be sent again.
    pub fn done(&mut self, batch: &Batch) -> io::Result<()> {
        if batch.until <= self.sent {
            // Its file had to make room meanwhile.
            return Ok(());
        }
        self.sent = batch.until;
        let first = self.segments.front_mut().filter(|first| first.number == batch.until.file);
        if let Some(first) = first {
            first.spans = first.spans.saturating_sub(batch.spans);
        }
        let text = format!("{} {}\n", self.sent.file, self.sent.offset);
        let (new, path) = (self.folder.join(format!("{PROGRESS}.new")), self.folder.join(PROGRESS));
        fs::write(&new, text)?;
        fs::rename(&new, path)
    }

    /// Spans that wait.
    #[must_use]
    pub fn waiting_spans(&self) -> u64 {
        self.segments.iter().map(|segment| segment.spans).sum()
    }

    /// Bytes of all files.
    #[must_use]
    pub fn waiting_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Spans that were given up since it was opened, by why.
    #[must_use]
    pub fn lost(&self) -> &BTreeMap<Lost, u64> {
        &self.lost
    }

    fn lose(&mut self, why: Lost, spans: u64) {
        *self.lost.entry(why).or_default() += spans;
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:020}.{EXTENSION}"))
    }
}

struct Record<'a> {
    request: &'a [u8],
    spans: u32,
}

fn head(request: &[u8], spans: u32) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&u32::try_from(request.len()).unwrap_or(u32::MAX).to_be_bytes());
    head[4..8].copy_from_slice(&spans.to_be_bytes());
    let hash = blake3::Hasher::new().update(&head[..8]).update(request).finalize();
    head[8..].copy_from_slice(&hash.as_bytes()[..8]);
    head
}

/// The record that begins there, and what follows it; absent where there is none that is whole.
fn record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (found, rest) = bytes.split_first_chunk::<HEAD>()?;
    let number = |from: usize| u32::from_be_bytes([found[from], found[from + 1], found[from + 2], found[from + 3]]);
    let (length, spans) = (usize::try_from(number(0)).ok()?, number(4));
    let (request, rest) = rest.split_at_checked(length).filter(|_| length <= MAX_REQUEST)?;
    (head(request, spans) == *found).then_some((Record { request, spans }, rest))
}

/// The records from there on that fit together; absent where there is none.
fn batch(mut rest: &[u8], from: Place, most: usize) -> Option<Batch> {
    let mut batch = Batch { request: Vec::new(), spans: 0, until: from };
    while let Some((record, after)) = record(rest) {
        if !batch.request.is_empty() && batch.request.len() + record.request.len() > most {
            break;
        }
        batch.request.extend_from_slice(record.request);
        batch.spans += u64::from(record.spans);
        batch.until.offset += (HEAD + record.request.len()) as u64;
        rest = after;
    }
    (batch.until != from).then_some(batch)
}

fn number_of(path: &Path) -> Option<u64> {
    let is_segment = path.extension().is_some_and(|extension| extension == EXTENSION);
    number(path.file_stem()?.to_str()?).filter(|_| is_segment)
}

/// One that leaves room for as many as an agent ever begins.
fn number(text: &str) -> Option<u64> {
    text.parse::<u32>().ok().map(u64::from)
}

fn progress(path: &Path) -> Option<Place> {
    let text = fs::read_to_string(path).ok()?;
    let (file, offset) = text.trim_end().split_once(' ')?;
    Some(Place { file: number(file)?, offset: offset.parse().ok()? })
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
