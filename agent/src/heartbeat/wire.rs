//! The forms on the wire, version 7. All numbers are big-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | magic `LC` |
//! | 1 | version |
//! | 1 | kind: 0 a heartbeat, 1 one of the MTU, 2 one that is fragmented, 3 a size probe |
//! | 1 + n | the sender's name, UTF-8, 1 to 64 bytes |
//! | 16 | boot id |
//! | 8 × 3 | incarnation, number, boot clock (nanoseconds) |
//! | … | what the kind adds, see below |
//! | 16 | the tag of all before it (`keys`); not where the cluster has no keys |
//!
//! A heartbeat adds:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | flags: 1 goodbye, 2 `heard` is there, 4 `hypervisor` is there, 8 `probe` is there, 16 `hole` is there, 32 `drops` is there |
//! | 8 × 2 | wall clock (nanoseconds), what was not taken: overflows, and what was refused from the receiver's address |
//! | 8 × 4 | heard: incarnation, number, count, age (nanoseconds); only with flag 2 |
//! | 8 | hash of the label `hypervisor`; only with flag 4 |
//! | 6 | the newest size probe: its id (4), its bytes (2); only with flag 8 |
//! | 3 | the hole: its reason, the largest that passes (2, 0: not known); only with flag 16 |
//! | 8 × 3, 2 × (1 + n) | what the kernel dropped of the heartbeats from and to the receiver, those that it refused to send, and its names of both reasons (n = 0: none), at most 40 bytes of `A`-`Z`, `0`-`9` and `_`; only with flag 32 |
//! | 1 + n × 17 | large ones that were heard: size (1 MTU, 2 fragmented), number, count |
//! | 1 + n × 25 | flows, how packets came in: size (0 small, 1 MTU, 2 fragmented), duplicates, overtaken, variation (nanoseconds, `u64::MAX`: not known) |
//! | 1 + n × 21 | own stalls: from, to (boot clock, nanoseconds), class, state, CPU (2 bytes, `u16::MAX`: none), flags (1 goes on, 2 deaf, 4 the clock stopped, 8 it ran on) |
//! | 1 + n × (33 or 41) | incidents of the sender that it tells of, see `story` |
//! | 1 + n × 17 | views: hash of the name, age and time without a gap in milliseconds (`u32::MAX`: never heard), kernel (0 unknown, 1 answers, 2 silent) |
//! | 1, 1 + 4 + 8 | 0: those are all; 1, and of the views that are not there: within how many milliseconds each was heard, the hashes of all names joined by exclusive or |
//!
//! The others add what was heard last of the receiver, its incarnation and number (8 × 2; 0: nothing yet), the id of the question
//! (4; a size probe only) and zeros up to their length. Nothing may follow. A decoder refuses what
//! it cannot read whole.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, TryGetError};
use lacuna_core::evidence::{Heard, Heartbeat, LargeHeartbeat, MAX_STALLS, MAX_STORIES, MAX_VIEWS, OtherViews, Size};
use lacuna_core::time::{Nanos, WallNanos, nanos};

use super::keys::TAG_LEN;

mod drops;
mod size;
mod stall;
mod story;
mod view;

/// First two bytes of every packet.
const MAGIC: u16 = 0x4c43;
/// The version that this module speaks.
pub const VERSION: u8 = 7;
/// Longest name of a host, in bytes.
pub const MAX_NAME: usize = 64;
/// Longest heartbeat of the small kind: with its headers it stays below the smallest MTU that IPv6 allows (1280, RFC 8200).
pub const MAX_SMALL: usize = 1216;
/// Longest packet: that of UDP over IPv4.
pub const MAX_PACKET: usize = 65_507;
/// Large heartbeats of so many sizes are told of.
const MAX_LARGE: usize = 2;
/// Packets of so many sizes are.
const MAX_FLOWS: usize = 3;

const HEARTBEAT: u8 = 0;
const LARGE_MTU: u8 = 1;
const LARGE_FRAGMENTED: u8 = 2;
const PROBE_KIND: u8 = 3;
const GOODBYE: u8 = 1;
const HEARD: u8 = 2;
const HYPERVISOR: u8 = 4;
const PROBE: u8 = 8;
const HOLE: u8 = 16;
const DROPS: u8 = 32;

/// Why a packet was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It is no heartbeat at all.
    #[error("does not start with the magic bytes")]
    Magic,
    /// Another version.
    #[error("version {0}; this agent speaks version {VERSION}")]
    Version(u8),
    /// It ends too early.
    #[error("too short")]
    Short,
    /// Something follows the end, or it is longer than any heartbeat.
    #[error("too long")]
    Long,
    /// The name is empty, too long or not UTF-8.
    #[error("the name is empty, longer than {MAX_NAME} bytes or not UTF-8")]
    Name,
    /// A count or a code is out of range.
    #[error("a count or code is out of range")]
    Range,
}

impl WireError {
    /// A short name of the reason, for the counter.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Magic => "magic",
            Self::Version(_) => "version",
            Self::Short => "short",
            Self::Long => "long",
            Self::Name => "name",
            Self::Range => "range",
        }
    }
}

impl From<TryGetError> for WireError {
    fn from(_: TryGetError) -> Self {
        Self::Short
    }
}

/// What a packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A heartbeat of the small kind.
    Heartbeat(Arc<Heartbeat>),
    /// A large heartbeat, without a length: that is the packet's.
    Large(LargeHeartbeat, Echo),
    /// A size probe.
    Probe {
        /// Grows by one with each probe to this host.
        seq: u64,
        /// Which of the questions it belongs to.
        id: u32,
        /// The sender's boot id.
        boot_id: [u8; 16],
        /// The start of the sender's agent.
        incarnation: u64,
        /// When it left, on the sender's boot clock.
        sent_at: Nanos,
        /// What its sender had heard.
        echo: Echo,
    },
}

/// What the sender of a packet heard last of the receiver; zeros where nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// The start of the receiver's agent.
    pub incarnation: u64,
    /// The number of the small heartbeat.
    pub seq: u64,
}

/// Who sends, in all kinds.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The name of the host.
    pub name: &'a str,
    /// Its boot id.
    pub boot_id: [u8; 16],
    /// The start of its agent.
    pub incarnation: u64,
}

/// Writes `beat` of the host `sender` into `out`, which is emptied first; no tag yet.
///
/// # Errors
/// [`WireError::Name`] where the name does not fit. Lists beyond their limits are cut.
pub fn encode(sender: &str, beat: &Heartbeat, out: &mut Vec<u8>) -> Result<(), WireError> {
    let from = Sender { name: sender, boot_id: beat.boot_id, incarnation: beat.incarnation };
    put_head(out, HEARTBEAT, &from, beat.seq, beat.sent_at)?;
    out.put_u8(
        flag(beat.goodbye, GOODBYE)
            | flag(beat.heard.is_some(), HEARD)
            | flag(beat.hypervisor.is_some(), HYPERVISOR)
            | flag(beat.probe.is_some(), PROBE)
            | flag(beat.hole.is_some(), HOLE)
            | flag(beat.drops.is_some(), DROPS),
    );
    out.put_u64(beat.sent_wall.0);
    out.put_u64(beat.overflow);
    if let Some(heard) = &beat.heard {
        for number in [heard.incarnation, heard.seq, heard.count, nanos(heard.age)] {
            out.put_u64(number);
        }
    }
    if let Some(hypervisor) = beat.hypervisor {
        out.put_u64(hypervisor);
    }
    if let Some(probe) = beat.probe {
        size::put_probe(out, probe);
    }
    if let Some(hole) = beat.hole {
        size::put_hole(out, hole);
    }
    if let Some(drops) = &beat.drops {
        drops::put(out, drops);
    }
    put_list(out, &beat.large, MAX_LARGE, size::put_large);
    put_list(out, &beat.flows, MAX_FLOWS, size::put_flow);
    put_list(out, &beat.stalls, MAX_STALLS, stall::put);
    put_list(out, &beat.stories, MAX_STORIES, story::put);
    // What does not fit any more is left out: those in trouble come first.
    let room = MAX_SMALL.saturating_sub(out.len() + 1 + view::OTHERS_BYTES + TAG_LEN) / view::BYTES;
    let views = &beat.views[..beat.views.len().min(room).min(MAX_VIEWS)];
    put_list(out, views, MAX_VIEWS, view::put);
    let is_whole = views.len() == beat.views.len();
    view::put_others(out, if is_whole { beat.others } else { Some(not_all(beat.others)) });
    Ok(())
}

/// A sum that is none of those views: whoever is left out may be in trouble, so nobody must take them for all.
fn not_all(others: Option<OtherViews>) -> OtherViews {
    let others = others.unwrap_or_default();
    OtherViews { all: !others.all, ..others }
}

/// Writes a large heartbeat that is `bytes` long on the whole, with `tag` of these left for the tag.
///
/// # Errors
/// [`WireError::Name`] where the name does not fit, [`WireError::Short`] where that is no large heartbeat.
pub fn encode_large(
    (sender, echo): (&Sender<'_>, Echo),
    size: Size,
    seq: u64,
    sent_at: Nanos,
    bytes: usize,
    tag: usize,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    let kind = match size {
        Size::Small => return Err(WireError::Range),
        Size::Mtu => LARGE_MTU,
        Size::Fragmented => LARGE_FRAGMENTED,
    };
    put_head(out, kind, sender, seq, sent_at)?;
    put_echo(out, echo);
    pad(out, bytes, tag)
}

/// Writes a size probe that is `bytes` long on the whole, with `tag` of these left for the tag.
///
/// # Errors
/// As [`encode_large`].
pub fn encode_probe(
    (sender, echo): (&Sender<'_>, Echo),
    (seq, id): (u64, u32),
    sent_at: Nanos,
    bytes: usize,
    tag: usize,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    put_head(out, PROBE_KIND, sender, seq, sent_at)?;
    put_echo(out, echo);
    out.put_u32(id);
    pad(out, bytes, tag)
}

fn put_echo(out: &mut Vec<u8>, echo: Echo) {
    out.put_u64(echo.incarnation);
    out.put_u64(echo.seq);
}

fn get_echo(from: &mut &[u8]) -> Result<Echo, WireError> {
    Ok(Echo { incarnation: from.try_get_u64()?, seq: from.try_get_u64()? })
}

fn pad(out: &mut Vec<u8>, bytes: usize, tag: usize) -> Result<(), WireError> {
    let end = bytes.checked_sub(tag).filter(|end| *end >= out.len()).ok_or(WireError::Short)?;
    out.resize(end, 0);
    Ok(())
}

fn put_head(out: &mut Vec<u8>, kind: u8, sender: &Sender<'_>, seq: u64, sent_at: Nanos) -> Result<(), WireError> {
    out.clear();
    out.put_u16(MAGIC);
    out.put_u8(VERSION);
    out.put_u8(kind);
    let name = sender.name;
    let length = u8::try_from(name.len()).ok().filter(|length| (1..=MAX_NAME).contains(&usize::from(*length)));
    out.put_u8(length.ok_or(WireError::Name)?);
    out.put_slice(name.as_bytes());
    out.put_slice(&sender.boot_id);
    for number in [sender.incarnation, seq, sent_at.0] {
        out.put_u64(number);
    }
    Ok(())
}

fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

/// The newest `most` items, after their number.
fn put_list<T>(out: &mut Vec<u8>, list: &[T], most: usize, put: impl Fn(&mut Vec<u8>, &T)) {
    let newest = &list[list.len().saturating_sub(most)..];
    out.put_u8(u8::try_from(newest.len()).unwrap_or(u8::MAX));
    for item in newest {
        put(out, item);
    }
}

/// Reads a packet, without its tag: the sender's name and what it says.
///
/// # Errors
/// [`WireError`] says what is wrong with it; nothing of such a packet may be used.
pub fn decode(mut packet: &[u8]) -> Result<(String, Message), WireError> {
    let length = packet.len();
    let from = &mut packet;
    if length > MAX_PACKET {
        return Err(WireError::Long);
    }
    if from.try_get_u16()? != MAGIC {
        return Err(WireError::Magic);
    }
    let version = from.try_get_u8()?;
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    let kind = from.try_get_u8()?;
    if kind == HEARTBEAT && length > MAX_SMALL - TAG_LEN {
        return Err(WireError::Long);
    }
    let name = get_name(from)?;
    let mut boot_id = [0; 16];
    from.try_copy_to_slice(&mut boot_id)?;
    let (incarnation, seq, sent_at) = (from.try_get_u64()?, from.try_get_u64()?, Nanos(from.try_get_u64()?));
    let message = match kind {
        HEARTBEAT => Message::Heartbeat(Arc::new(get_beat(from, (boot_id, incarnation, seq, sent_at))?)),
        LARGE_MTU | LARGE_FRAGMENTED => {
            let size = if kind == LARGE_MTU { Size::Mtu } else { Size::Fragmented };
            let large = LargeHeartbeat { size, bytes: 0, seq, sent_at, boot_id, incarnation };
            Message::Large(large, get_echo(from)?)
        }
        PROBE_KIND => {
            let (echo, id) = (get_echo(from)?, from.try_get_u32()?);
            Message::Probe { seq, id, boot_id, incarnation, sent_at, echo }
        }
        _ => return Err(WireError::Range),
    };
    if kind != HEARTBEAT {
        skip_zeros(from)?;
    }
    if from.has_remaining() { Err(WireError::Long) } else { Ok((name, message)) }
}

/// What fills a large packet up says nothing, so that nothing can hide there.
fn skip_zeros(from: &mut &[u8]) -> Result<(), WireError> {
    if from.iter().any(|byte| *byte != 0) {
        return Err(WireError::Range);
    }
    from.advance(from.len());
    Ok(())
}

fn get_name(from: &mut &[u8]) -> Result<String, WireError> {
    let length = usize::from(from.try_get_u8()?);
    if length == 0 || length > MAX_NAME {
        return Err(WireError::Name);
    }
    let mut name = vec![0; length];
    from.try_copy_to_slice(&mut name)?;
    String::from_utf8(name).map_err(|_| WireError::Name)
}

fn get_beat(from: &mut &[u8], head: ([u8; 16], u64, u64, Nanos)) -> Result<Heartbeat, WireError> {
    let (boot_id, incarnation, seq, sent_at) = head;
    let flags = from.try_get_u8()?;
    if flags & !(GOODBYE | HEARD | HYPERVISOR | PROBE | HOLE | DROPS) != 0 {
        return Err(WireError::Range);
    }
    let given = |flag: u8| (flags & flag != 0).then_some(());
    Ok(Heartbeat {
        boot_id,
        incarnation,
        seq,
        sent_at,
        sent_wall: WallNanos(from.try_get_u64()?),
        overflow: from.try_get_u64()?,
        goodbye: flags & GOODBYE != 0,
        heard: given(HEARD).map(|()| get_heard(from)).transpose()?,
        hypervisor: given(HYPERVISOR).map(|()| from.try_get_u64()).transpose()?,
        probe: given(PROBE).map(|()| size::get_probe(from)).transpose()?,
        hole: given(HOLE).map(|()| size::get_hole(from)).transpose()?,
        drops: given(DROPS).map(|()| drops::get(from)).transpose()?,
        large: get_list(from, MAX_LARGE, size::get_large)?,
        flows: get_list(from, MAX_FLOWS, size::get_flow)?,
        stalls: get_list(from, MAX_STALLS, stall::get)?,
        stories: get_list(from, MAX_STORIES, story::get)?,
        views: get_list(from, MAX_VIEWS, view::get)?,
        others: view::get_others(from)?,
    })
}

fn get_heard(from: &mut &[u8]) -> Result<Heard, WireError> {
    Ok(Heard {
        incarnation: from.try_get_u64()?,
        seq: from.try_get_u64()?,
        count: from.try_get_u64()?,
        age: Duration::from_nanos(from.try_get_u64()?),
    })
}

fn get_list<T>(
    from: &mut &[u8],
    most: usize,
    get: impl Fn(&mut &[u8]) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let length = usize::from(from.try_get_u8()?);
    if length > most {
        return Err(WireError::Range);
    }
    (0..length).map(|_| get(from)).collect()
}

#[cfg(test)]
mod tests;
