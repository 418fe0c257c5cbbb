//! Own stalls of a host, on the wire.

use bytes::{Buf, BufMut};
use lacuna_core::evidence::StallReport;
use lacuna_core::incident::{AgentState, Class, ClockState};
use lacuna_core::time::Nanos;

use super::{WireError, flag};

const OPEN: u8 = 1;
const DEAF: u8 = 2;
const STOPPED: u8 = 4;
const RAN_ON: u8 = 8;
pub(super) const NO_CPU: u16 = u16::MAX;

pub(super) fn put(out: &mut Vec<u8>, stall: &StallReport) {
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

pub(super) fn get(from: &mut &[u8]) -> Result<StallReport, WireError> {
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
