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

use std::time::Duration;

use bytes::{Buf, BufMut, TryGetError};
use lacuna_core::evidence::{
    FlowReport, Heard, Heartbeat, HoleReason, HoleReport, KernelDrops, LargeHeard, LargeHeartbeat, MAX_REASON,
    MAX_STALLS, MAX_STORIES, MAX_VIEWS, OtherViews, PeerView, Size, SizeProbe, StallReport, Way, named,
};
use lacuna_core::incident::{AgentState, Class, ClockState};
use lacuna_core::time::{Nanos, WallNanos, nanos};

use super::keys::TAG_LEN;

mod story;

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
const OPEN: u8 = 1;
const DEAF: u8 = 2;
const STOPPED: u8 = 4;
const RAN_ON: u8 = 8;
const NO_CPU: u16 = u16::MAX;
const NEVER: u32 = u32::MAX;
const NOT_KNOWN: u64 = u64::MAX;

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
    Heartbeat(Box<Heartbeat>),
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
        out.put_u32(probe.id);
        out.put_u16(probe.bytes);
    }
    if let Some(hole) = beat.hole {
        out.put_u8(reason_code(hole.reason));
        out.put_u16(hole.passes.unwrap_or(0));
    }
    if let Some(drops) = &beat.drops {
        put_drops(out, drops);
    }
    put_list(out, &beat.large, MAX_LARGE, put_large);
    put_list(out, &beat.flows, MAX_FLOWS, put_flow);
    put_list(out, &beat.stalls, MAX_STALLS, put_stall);
    put_list(out, &beat.stories, MAX_STORIES, story::put);
    // What does not fit any more is left out: the newest views are no more than the oldest.
    let room = MAX_SMALL.saturating_sub(out.len() + 1 + OTHERS_BYTES + TAG_LEN) / VIEW_BYTES;
    let room = room.min(MAX_VIEWS);
    put_list(out, &beat.views, room, put_view);
    // Whoever is left out may be in trouble: then nothing is said of those that are not there.
    put_others(out, beat.others.filter(|_| beat.views.len() <= room));
    Ok(())
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

fn put_stall(out: &mut Vec<u8>, stall: &StallReport) {
    out.put_u64(stall.from.0);
    out.put_u64(stall.to.0);
    out.put_u8(class_code(stall.class));
    out.put_u8(state_code(stall.state));
    out.put_u16(stall.cpu.and_then(|cpu| u16::try_from(cpu).ok()).unwrap_or(NO_CPU));
    out.put_u8(
        flag(stall.open, OPEN)
            | flag(stall.deaf, DEAF)
            | flag(stall.clock == Some(ClockState::Stopped), STOPPED)
            | flag(stall.clock == Some(ClockState::RanOn), RAN_ON),
    );
}

fn put_large(out: &mut Vec<u8>, large: &LargeHeard) {
    out.put_u8(if large.size == Size::Mtu { LARGE_MTU } else { LARGE_FRAGMENTED });
    out.put_u64(large.seq);
    out.put_u64(large.count);
}

fn put_flow(out: &mut Vec<u8>, flow: &FlowReport) {
    out.put_u8(match flow.size {
        Size::Small => HEARTBEAT,
        Size::Mtu => LARGE_MTU,
        Size::Fragmented => LARGE_FRAGMENTED,
    });
    out.put_u64(flow.duplicates);
    out.put_u64(flow.reordered);
    out.put_u64(flow.variation.map_or(NOT_KNOWN, |variation| nanos(variation).min(NOT_KNOWN - 1)));
}

/// Bytes of a view.
const VIEW_BYTES: usize = 17;

fn put_view(out: &mut Vec<u8>, view: &PeerView) {
    out.put_u64(view.peer);
    for time in [view.heard_age, view.heard_for] {
        let ms = time.map(|time| u32::try_from(time.as_millis()).unwrap_or(NEVER).min(NEVER - 1));
        out.put_u32(ms.unwrap_or(NEVER));
    }
    out.put_u8(view.kernel_answers.map_or(0, |answers| if answers { 1 } else { 2 }));
}

/// Most bytes of what is said of the views that are not there.
const OTHERS_BYTES: usize = 13;

fn put_others(out: &mut Vec<u8>, others: Option<OtherViews>) {
    out.put_u8(u8::from(others.is_some()));
    if let Some(others) = others {
        out.put_u32(u32::try_from(others.heard_within.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX));
        out.put_u64(others.all);
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
        HEARTBEAT => Message::Heartbeat(Box::new(get_beat(from, (boot_id, incarnation, seq, sent_at))?)),
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
        probe: given(PROBE).map(|()| get_probe(from)).transpose()?,
        hole: given(HOLE).map(|()| get_hole(from)).transpose()?,
        drops: given(DROPS).map(|()| get_drops(from)).transpose()?,
        large: get_list(from, MAX_LARGE, get_large)?,
        flows: get_list(from, MAX_FLOWS, get_flow)?,
        stalls: get_list(from, MAX_STALLS, get_stall)?,
        stories: get_list(from, MAX_STORIES, story::get)?,
        views: get_list(from, MAX_VIEWS, get_view)?,
        others: get_others(from)?,
    })
}

fn get_probe(from: &mut &[u8]) -> Result<SizeProbe, WireError> {
    Ok(SizeProbe { id: from.try_get_u32()?, bytes: from.try_get_u16()? })
}

fn get_hole(from: &mut &[u8]) -> Result<HoleReport, WireError> {
    let reason = reason_of(from.try_get_u8()?)?;
    let passes = Some(from.try_get_u16()?).filter(|passes| *passes > 0);
    Ok(HoleReport { reason, passes })
}

fn put_drops(out: &mut Vec<u8>, drops: &KernelDrops) {
    drops.counts().into_iter().for_each(|count| out.put_u64(count));
    for way in [Way::In, Way::Out] {
        let reason = drops.reason(way).and_then(named).unwrap_or_default();
        out.put_u8(u8::try_from(reason.len()).unwrap_or_default());
        out.put_slice(reason.as_bytes());
    }
}

fn get_drops(from: &mut &[u8]) -> Result<KernelDrops, WireError> {
    let (received, sent, refused) = (from.try_get_u64()?, from.try_get_u64()?, from.try_get_u64()?);
    let (received_for, sent_for) = (get_reason(from)?, get_reason(from)?);
    Ok(KernelDrops { received, received_for, sent, sent_for, refused })
}

fn get_reason(from: &mut &[u8]) -> Result<Option<String>, WireError> {
    let length = usize::from(from.try_get_u8()?);
    if length == 0 {
        return Ok(None);
    }
    let mut bytes = [0; MAX_REASON];
    let name = bytes.get_mut(..length).ok_or(WireError::Range)?;
    from.try_copy_to_slice(name)?;
    let reason = std::str::from_utf8(name).ok().and_then(named).ok_or(WireError::Range)?;
    Ok(Some(reason.to_owned()))
}

fn get_large(from: &mut &[u8]) -> Result<LargeHeard, WireError> {
    let size = match from.try_get_u8()? {
        LARGE_MTU => Size::Mtu,
        LARGE_FRAGMENTED => Size::Fragmented,
        _ => return Err(WireError::Range),
    };
    Ok(LargeHeard { size, seq: from.try_get_u64()?, count: from.try_get_u64()? })
}

fn get_flow(from: &mut &[u8]) -> Result<FlowReport, WireError> {
    let size = match from.try_get_u8()? {
        HEARTBEAT => Size::Small,
        LARGE_MTU => Size::Mtu,
        LARGE_FRAGMENTED => Size::Fragmented,
        _ => return Err(WireError::Range),
    };
    let (duplicates, reordered) = (from.try_get_u64()?, from.try_get_u64()?);
    let variation = Some(from.try_get_u64()?).filter(|ns| *ns != NOT_KNOWN).map(Duration::from_nanos);
    Ok(FlowReport { size, duplicates, reordered, variation })
}

fn reason_code(reason: HoleReason) -> u8 {
    match reason {
        HoleReason::DfDropped => 1,
        HoleReason::FragmentsLost => 2,
        HoleReason::FragNeededLost => 3,
    }
}

fn reason_of(code: u8) -> Result<HoleReason, WireError> {
    match code {
        1 => Ok(HoleReason::DfDropped),
        2 => Ok(HoleReason::FragmentsLost),
        3 => Ok(HoleReason::FragNeededLost),
        _ => Err(WireError::Range),
    }
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

fn get_stall(from: &mut &[u8]) -> Result<StallReport, WireError> {
    let (start, end) = (Nanos(from.try_get_u64()?), Nanos(from.try_get_u64()?));
    let class = class_of(from.try_get_u8()?);
    let state = state_of(from.try_get_u8()?)?;
    let cpu = Some(from.try_get_u16()?).filter(|cpu| *cpu != NO_CPU).map(u32::from);
    let flags = from.try_get_u8()?;
    let clock = match flags & (STOPPED | RAN_ON) {
        0 => None,
        STOPPED => Some(ClockState::Stopped),
        RAN_ON => Some(ClockState::RanOn),
        _ => return Err(WireError::Range),
    };
    if start > end || flags & !(OPEN | DEAF | STOPPED | RAN_ON) != 0 {
        return Err(WireError::Range);
    }
    let (open, deaf) = (flags & OPEN != 0, flags & DEAF != 0);
    Ok(StallReport { from: start, to: end, class, state, cpu, clock, open, deaf })
}

fn get_view(from: &mut &[u8]) -> Result<PeerView, WireError> {
    let peer = from.try_get_u64()?;
    let mut time = || -> Result<Option<Duration>, WireError> {
        let ms = from.try_get_u32()?;
        Ok((ms != NEVER).then(|| Duration::from_millis(ms.into())))
    };
    let (heard_age, heard_for) = (time()?, time()?);
    let kernel_answers = match from.try_get_u8()? {
        0 => None,
        1 => Some(true),
        2 => Some(false),
        _ => return Err(WireError::Range),
    };
    Ok(PeerView { peer, heard_age, kernel_answers, heard_for })
}

fn get_others(from: &mut &[u8]) -> Result<Option<OtherViews>, WireError> {
    match from.try_get_u8()? {
        0 => Ok(None),
        1 => {
            let heard_within = Duration::from_millis(from.try_get_u32()?.into());
            Ok(Some(OtherViews { heard_within, all: from.try_get_u64()? }))
        }
        _ => Err(WireError::Range),
    }
}

/// A class on the wire is its place in [`Class::ALL`]: new ones go to the end.
fn class_code(class: Class) -> u8 {
    let place = Class::ALL.iter().position(|(known, ..)| *known == class);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
}

/// A class that this version does not know is `unknown`, so that newer agents can be told apart from broken ones.
fn class_of(code: u8) -> Class {
    Class::ALL.get(usize::from(code)).map_or(Class::Unknown, |(class, ..)| *class)
}

fn state_code(state: Option<AgentState>) -> u8 {
    match state {
        None => 0,
        Some(AgentState::Stopped) => 1,
        Some(AgentState::Throttled) => 2,
        Some(AgentState::NotRunning) => 3,
    }
}

fn state_of(code: u8) -> Result<Option<AgentState>, WireError> {
    match code {
        0 => Ok(None),
        1 => Ok(Some(AgentState::Stopped)),
        2 => Ok(Some(AgentState::Throttled)),
        3 => Ok(Some(AgentState::NotRunning)),
        _ => Err(WireError::Range),
    }
}

#[cfg(test)]
mod tests;
