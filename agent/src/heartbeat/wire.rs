//! The heartbeat's form on the wire, version 2. All numbers are big-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | magic `LC` |
//! | 1 | version |
//! | 1 | flags: 1 goodbye, 2 `heard` is there, 4 `hypervisor` is there |
//! | 1 + n | the sender's name, UTF-8, 1 to 64 bytes |
//! | 16 | boot id |
//! | 8 × 5 | incarnation, number, boot clock, wall clock (nanoseconds), overflows |
//! | 8 × 4 | heard: incarnation, number, count, age (nanoseconds); only with flag 2 |
//! | 8 | hash of the label `hypervisor`; only with flag 4 |
//! | 1 + n × 21 | own stalls: from, to (boot clock, nanoseconds), class, state, CPU (2 bytes, `u16::MAX`: none), flags (1 goes on, 2 deaf, 4 the clock stopped, 8 it ran on) |
//! | 1 + n × 13 | views: hash of the name, age in milliseconds (`u32::MAX`: never heard), kernel (0 unknown, 1 answers, 2 silent) |
//!
//! Nothing may follow. A decoder refuses what it cannot read whole.

use std::time::Duration;

use bytes::{Buf, BufMut, TryGetError};
use lacuna_core::evidence::{Heard, Heartbeat, MAX_STALLS, MAX_VIEWS, PeerView, StallReport};
use lacuna_core::incident::{AgentState, Class, ClockState};
use lacuna_core::time::{Nanos, WallNanos, nanos};

/// First two bytes of every packet.
const MAGIC: u16 = 0x4c43;
/// The version that this module speaks.
pub const VERSION: u8 = 2;
/// Longest name of a host, in bytes.
pub const MAX_NAME: usize = 64;
/// Longest packet: stays below the smallest MTU that IPv6 allows (1280, RFC 8200) with its headers.
pub const MAX_PACKET: usize = 1200;

const GOODBYE: u8 = 1;
const HEARD: u8 = 2;
const HYPERVISOR: u8 = 4;
const OPEN: u8 = 1;
const DEAF: u8 = 2;
const STOPPED: u8 = 4;
const RAN_ON: u8 = 8;
const NO_CPU: u16 = u16::MAX;
const NEVER: u32 = u32::MAX;

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

/// Writes `beat` of the host `sender` into `out`, which is emptied first.
///
/// # Errors
/// [`WireError::Name`] where the name does not fit. Lists beyond their limits are cut.
pub fn encode(sender: &str, beat: &Heartbeat, out: &mut Vec<u8>) -> Result<(), WireError> {
    out.clear();
    out.put_u16(MAGIC);
    out.put_u8(VERSION);
    out.put_u8(
        flag(beat.goodbye, GOODBYE) | flag(beat.heard.is_some(), HEARD) | flag(beat.hypervisor.is_some(), HYPERVISOR),
    );
    let length = u8::try_from(sender.len()).ok().filter(|length| (1..=MAX_NAME).contains(&usize::from(*length)));
    out.put_u8(length.ok_or(WireError::Name)?);
    out.put_slice(sender.as_bytes());
    out.put_slice(&beat.boot_id);
    for number in [beat.incarnation, beat.seq, beat.sent_at.0, beat.sent_wall.0, beat.overflow] {
        out.put_u64(number);
    }
    if let Some(heard) = &beat.heard {
        for number in [heard.incarnation, heard.seq, heard.count, nanos(heard.age)] {
            out.put_u64(number);
        }
    }
    if let Some(hypervisor) = beat.hypervisor {
        out.put_u64(hypervisor);
    }
    put_list(out, &beat.stalls, MAX_STALLS, put_stall);
    put_list(out, &beat.views, MAX_VIEWS, put_view);
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

fn put_view(out: &mut Vec<u8>, view: &PeerView) {
    out.put_u64(view.peer);
    let age = view.heard_age.map(|age| u32::try_from(age.as_millis()).unwrap_or(NEVER).min(NEVER - 1));
    out.put_u32(age.unwrap_or(NEVER));
    out.put_u8(view.kernel_answers.map_or(0, |answers| if answers { 1 } else { 2 }));
}

/// Reads a packet: the sender's name and what it says.
///
/// # Errors
/// [`WireError`] says what is wrong with it; nothing of such a packet may be used.
pub fn decode(mut packet: &[u8]) -> Result<(String, Heartbeat), WireError> {
    let from = &mut packet;
    if from.len() > MAX_PACKET {
        return Err(WireError::Long);
    }
    if from.try_get_u16()? != MAGIC {
        return Err(WireError::Magic);
    }
    let version = from.try_get_u8()?;
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    let flags = from.try_get_u8()?;
    if flags & !(GOODBYE | HEARD | HYPERVISOR) != 0 {
        return Err(WireError::Range);
    }
    let name = get_name(from)?;
    let beat = get_beat(from, flags)?;
    if from.has_remaining() { Err(WireError::Long) } else { Ok((name, beat)) }
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

fn get_beat(from: &mut &[u8], flags: u8) -> Result<Heartbeat, WireError> {
    let mut boot_id = [0; 16];
    from.try_copy_to_slice(&mut boot_id)?;
    Ok(Heartbeat {
        boot_id,
        incarnation: from.try_get_u64()?,
        seq: from.try_get_u64()?,
        sent_at: Nanos(from.try_get_u64()?),
        sent_wall: WallNanos(from.try_get_u64()?),
        overflow: from.try_get_u64()?,
        goodbye: flags & GOODBYE != 0,
        heard: if flags & HEARD == 0 { None } else { Some(get_heard(from)?) },
        hypervisor: if flags & HYPERVISOR == 0 { None } else { Some(from.try_get_u64()?) },
        stalls: get_list(from, MAX_STALLS, get_stall)?,
        views: get_list(from, MAX_VIEWS, get_view)?,
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
    let age = from.try_get_u32()?;
    let kernel_answers = match from.try_get_u8()? {
        0 => None,
        1 => Some(true),
        2 => Some(false),
        _ => return Err(WireError::Range),
    };
    let heard_age = (age != NEVER).then(|| Duration::from_millis(age.into()));
    Ok(PeerView { peer, heard_age, kernel_answers })
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
