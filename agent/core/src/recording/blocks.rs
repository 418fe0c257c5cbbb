//! The container of compact lines, since version 2: checksummed blocks, so that a file that was torn is read up to there.
//!
//! It begins with [`MAGIC`]. A block is, all numbers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | 1: a part begins, which can be read without those before it; 0: the part goes on |
//! | 8 | its number, one more than that of the block before, from 0 at the agent's start |
//! | 4 | the length of its lines |
//! | 8 | the first bytes of the BLAKE3 hash of all above and of its lines |
//! | n | its lines |
//!
//! A part begins with [`Line::Begin`]. Parts may follow each other in a file, or be files of their own.

use super::compact::{Reader, Writer};
use super::{Damage, Line, Piece};
use crate::evidence::Evidence;

/// The first bytes of a file; the last one is the version of the container.
pub const MAGIC: [u8; 8] = *b"LACUNAR2";
/// Bytes of a block before its lines.
const HEAD: usize = 21;
/// Most bytes of lines in a block; a longer one is damage.
const MAX_BLOCK: usize = 16 << 20;

/// Writes blocks.
#[derive(Default)]
pub struct BlockWriter {
    number: u64,
    begins: bool,
    lines: Writer,
    waiting: Vec<u8>,
}

impl BlockWriter {
    /// Begins a part; the next line has to be [`Line::Begin`]. What waits is lost: take it first.
    pub fn begin_part(&mut self) {
        self.begins = true;
        self.lines = Writer::default();
        self.waiting.clear();
    }

    /// Adds a line to the block that is next.
    pub fn put(&mut self, line: &Line) {
        self.lines.put(line, &mut self.waiting);
    }

    /// Adds the line of a piece of evidence.
    pub fn put_evidence(&mut self, evidence: &Evidence) {
        self.lines.put_evidence(evidence, &mut self.waiting);
    }

    /// Bytes that wait for the next block.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The block of all lines that wait.
    pub fn take(&mut self) -> Vec<u8> {
        let lines = &self.waiting;
        let mut block = Vec::with_capacity(HEAD + lines.len());
        block.push(u8::from(std::mem::take(&mut self.begins)));
        block.extend(self.number.to_be_bytes());
        block.extend(u32::try_from(lines.len()).unwrap_or(u32::MAX).to_be_bytes());
        let sum = checksum(&block, lines);
        block.extend(sum);
        block.extend(lines);
        self.waiting.clear();
        self.number += 1;
        block
    }
}

fn checksum(head: &[u8], lines: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head).update(lines);
    let mut sum = [0; 8];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    sum
}

/// How many of these bytes are whole blocks after [`MAGIC`], with it; 0 where they do not begin with it. What a block says is
/// not looked at, only its checksum.
#[must_use]
pub fn intact(bytes: &[u8]) -> usize {
    if !bytes.starts_with(&MAGIC) {
        return 0;
    }
    let mut at = MAGIC.len();
    while let Some(block) = bytes.get(at..).filter(|block| !block.is_empty()) {
        let Ok((_, lines)) = split(block) else { break };
        at += HEAD + lines.len();
    }
    at
}

/// The fields and the lines of the block that these bytes begin with.
fn split(block: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let (head, rest) = block.split_at_checked(HEAD).ok_or("it ends within the head of a block")?;
    let (fields, sum) = head.split_at(HEAD - 8);
    let length = usize::try_from(number(&fields[9..])).ok().filter(|length| *length <= MAX_BLOCK);
    let length = length.ok_or_else(|| format!("a block has more than {MAX_BLOCK} bytes"))?;
    let lines = rest.get(..length).ok_or("it ends within a block")?;
    if checksum(fields, lines) != sum {
        return Err("a block does not have its checksum".into());
    }
    Ok((fields, lines))
}

/// Reads blocks up to their end or to the first damage.
pub(super) struct BlockReader<'a> {
    bytes: &'a [u8],
    /// Where the block begins that is read, and the one after it.
    at: usize,
    next_at: usize,
    /// What is not read yet of the block's lines.
    rest: &'a [u8],
    lines: Reader,
    /// The number of the next block, where nothing is missing.
    next: Option<u64>,
    ended: bool,
}

impl<'a> BlockReader<'a> {
    /// Reads a file that begins with [`MAGIC`].
    #[must_use]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let at = MAGIC.len();
        Self { bytes, at, next_at: at, rest: &[], lines: Reader::default(), next: None, ended: false }
    }

    fn read(&mut self) -> Result<Option<Piece>, String> {
        loop {
            if let Some(line) = self.lines.next(&mut self.rest).map_err(|why| why.0)? {
                return Ok(Some(Piece::Line(line)));
            }
            self.at = self.next_at;
            let Some(block) = self.bytes.get(self.at..).filter(|block| !block.is_empty()) else { return Ok(None) };
            if self.open(block)? {
                return Ok(Some(Piece::Hole));
            }
        }
    }

    /// Takes the block at the beginning of those bytes; whether others are missing before it.
    fn open(&mut self, block: &'a [u8]) -> Result<bool, String> {
        let (fields, lines) = split(block)?;
        let (begins, number) = (number(&fields[..1]) == 1, number(&fields[1..9]));
        // Each start of the agent counts from 0.
        let missing = self.next.is_some_and(|next| next != number) && !(begins && number == 0);
        if begins {
            self.lines = Reader::default();
        } else if missing || self.next.is_none() {
            return Err("a block cannot be read without the one before, which is missing".into());
        }
        (self.rest, self.next_at, self.next) = (lines, self.at + HEAD + lines.len(), number.checked_add(1));
        Ok(missing)
    }
}

impl Iterator for BlockReader<'_> {
    type Item = Result<Piece, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let read = self.read();
        self.ended = !matches!(read, Ok(Some(_)));
        read.map_err(|why| Damage { at: format!("byte {}", self.at), why }).transpose()
    }
}

/// A big-endian number of at most eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
