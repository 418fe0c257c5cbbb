//! Incidents that a heartbeat tells of, in the compact form.

use std::time::Duration;

use super::fields::{self, Unreadable};
use crate::evidence::{Scope, Story, StoryKind};
use crate::trace::TraceId;

/// A [`Story`], field by field: the name of its trace as a number, and what it leaves out as JSON.
pub(super) type Tale = (u128, Duration, Option<Duration>, bool, StoryKind, Scope, u64, Option<u64>);

pub(super) fn tale(story: &Story) -> Tale {
    let Story { trace, age, over, settled, kind, scope, host, peer } = *story;
    (trace.number(), age, over, settled, kind, scope, host, peer)
}

/// Reads a list of them.
pub(super) fn read(bytes: &mut &[u8], stories: &mut Vec<Story>) -> Result<(), Unreadable> {
    for _ in 0..fields::number(bytes)? {
        let trace = TraceId::new(fields::take(bytes)?).ok_or_else(|| Unreadable("a trace has no name".into()))?;
        stories.push(Story {
            trace,
            age: fields::duration(bytes)?,
            over: fields::optional(bytes, fields::duration)?,
            settled: fields::flag(bytes)?,
            kind: fields::take(bytes)?,
            scope: fields::take(bytes)?,
            host: fields::number(bytes)?,
            peer: fields::optional(bytes, fields::number)?,
        });
    }
    Ok(())
}
