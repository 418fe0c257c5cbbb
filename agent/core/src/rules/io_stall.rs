//! `io-stall`: tasks blocked on storage while network and CPUs are fine.
//!
//! Confirms: a task is blocked on storage and has not run at all for seconds; a disk that is merely slow or busy lets each
//! task go on in between. How busy the CPUs are does not matter: such a task wants none. Of a peer: its own account.

use super::{Case, Context, Opinion, by_account, holds_with, host, time};
use crate::incident::{Class, Detail};
use crate::io::IoWait;

pub(super) fn judge(context: &Context<'_>, case: Case<'_>) -> Opinion {
    match case {
        Case::Io(wait) => waits(context, wait),
        // Storage keeps nobody from sending: only the peer itself can tell.
        Case::Gap(gap) if gap.told().is_some_and(|report| report.class == Class::IoStall) => {
            by_account(context, gap, Class::IoStall, "had tasks that waited for storage")
        }
        _ => Opinion::NotConcerned,
    }
}

fn waits(context: &Context<'_>, wait: &IoWait) -> Opinion {
    let stuck = &wait.stuck;
    let blocked = stuck.blocked.map(|count| format!(", {count} of them at the last look")).unwrap_or_default();
    let who = if stuck.tasks.is_empty() { String::new() } else { format!(": {}", stuck.tasks.join(", ")) };
    let length = time(wait.last.since(wait.since));
    let summary = format!("tasks of {} waited for storage for {length}{blocked}{who}", context.me());
    let detail = Detail { waiting: stuck.tasks.clone(), ..Detail::default() };
    holds_with(0.85, host(context.me()), summary, detail)
}
