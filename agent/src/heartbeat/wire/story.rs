//! Incidents that a host tells of, on the wire.
//!
//! | bytes | what |
//! |---|---|
//! | 16 | the trace, never 0 |
//! | 4 × 2 | how long ago it began and ended, in milliseconds; `u32::MAX`: it goes on |
//! | 1 | bits 0 to 2 the kind, 3 and 4 the scope, 5: a peer is there, 6: settled |
//! | 8 or 16 | hashes of the names: host, peer |

use std::time::Duration;

use bytes::{Buf, BufMut};
use lacuna_core::evidence::{Scope, Story, StoryKind};
use lacuna_core::trace::TraceId;

use super::WireError;

/// A kind on the wire is its place here: new ones go to the end.
const KINDS: [StoryKind; 6] =
    [StoryKind::Stall, StoryKind::Loss, StoryKind::Hole, StoryKind::Load, StoryKind::Storage, StoryKind::Address];
const SCOPES: [Scope; 4] = [Scope::Host, Scope::Path, Scope::PathOrHost, Scope::All];
const KIND_BITS: u8 = 0x07;
const SCOPE_SHIFT: u8 = 3;
const SCOPE_BITS: u8 = 0x03;
const PEER: u8 = 0x20;
const SETTLED: u8 = 0x40;
const GOES_ON: u32 = u32::MAX;

pub(super) fn put(out: &mut Vec<u8>, story: &Story) {
    out.put_u128(story.trace.number());
    let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(GOES_ON).min(GOES_ON - 1);
    out.put_u32(ms(story.age));
    out.put_u32(story.over.map_or(GOES_ON, |over| ms(over.min(story.age))));
    let peer = if story.peer.is_some() { PEER } else { 0 };
    let settled = if story.settled { SETTLED } else { 0 };
    out.put_u8(place(&KINDS, story.kind) | place(&SCOPES, story.scope) << SCOPE_SHIFT | peer | settled);
    out.put_u64(story.host);
    story.peer.into_iter().for_each(|peer| out.put_u64(peer));
}

pub(super) fn get(from: &mut &[u8]) -> Result<Story, WireError> {
    let trace = TraceId::new(from.try_get_u128()?).ok_or(WireError::Range)?;
    let (age, over) = (from.try_get_u32()?, Some(from.try_get_u32()?).filter(|over| *over != GOES_ON));
    let flags = from.try_get_u8()?;
    let unknown = flags & !(KIND_BITS | SCOPE_BITS << SCOPE_SHIFT | PEER | SETTLED) != 0;
    if unknown || age == GOES_ON || over.is_some_and(|over| over > age) {
        return Err(WireError::Range);
    }
    let ms = |ms: u32| Duration::from_millis(ms.into());
    Ok(Story {
        trace,
        age: ms(age),
        over: over.map(ms),
        settled: flags & SETTLED != 0,
        kind: *KINDS.get(usize::from(flags & KIND_BITS)).ok_or(WireError::Range)?,
        scope: *SCOPES.get(usize::from(flags >> SCOPE_SHIFT & SCOPE_BITS)).ok_or(WireError::Range)?,
        host: from.try_get_u64()?,
        peer: if flags & PEER != 0 { Some(from.try_get_u64()?) } else { None },
    })
}

fn place<T: PartialEq>(all: &[T], one: T) -> u8 {
    all.iter().position(|known| *known == one).and_then(|place| u8::try_from(place).ok()).unwrap_or_default()
}
