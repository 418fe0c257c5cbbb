//! Incidents that a heartbeat tells of, in the compact form.

use std::time::Duration;

use crate::evidence::{Scope, Story, StoryKind};
use crate::trace::TraceId;

/// A [`Story`], field by field: the name of its trace as a number, and what it leaves out as JSON.
pub(super) type Tale = (u128, Duration, Option<Duration>, bool, StoryKind, Scope, u64, Option<u64>);

pub(super) fn tale(story: &Story) -> Tale {
    let Story { trace, age, over, settled, kind, scope, host, peer } = *story;
    (trace.number(), age, over, settled, kind, scope, host, peer)
}

/// Absent where the trace has no name.
pub(super) fn story((trace, age, over, settled, kind, scope, host, peer): Tale) -> Option<Story> {
    Some(Story { trace: TraceId::new(trace)?, age, over, settled, kind, scope, host, peer })
}
