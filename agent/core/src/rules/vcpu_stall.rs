//! `vcpu-stall`: the hypervisor did not run one or more of the vCPUs.
//!
//! Confirms: the steal time of one CPU covers most of the stall. Rules out: steal that does not. A hypervisor that
//! reports no steal leaves this open.

use super::{Case, Context, Opinion, account, holds, holds_with, host, percent, sent_all_along, time, told_otherwise};
use crate::gap::Gap;
use crate::incident::{Class, Detail, Subject};
use crate::own::OwnStall;

/// Steal must explain at least this part of a stall.
const MOST: f64 = 0.5;

pub(super) fn judge(context: &Context<'_>, case: Case<'_>) -> Opinion {
    match case {
        Case::Own(stall) => own(context, stall),
        Case::Gap(gap) => peer(gap),
        Case::Load(_) => Opinion::NotConcerned,
    }
}

fn own(context: &Context<'_>, stall: &OwnStall) -> Opinion {
    let Some((cpu, stolen)) = stall.agent.steal else {
        return Opinion::CannotTell("the hypervisor's steal time was not readable".into());
    };
    let share = stall.share(Some(stolen)).unwrap_or_default();
    if share < MOST {
        return Opinion::RuledOut(format!("steal covers only {} of the stall on the agent's CPU", percent(share)));
    }
    let subject = Subject { cpu: Some(cpu), ..host(context.me()) };
    let steal_seconds = Some(stolen as f64 / 1e9);
    let summary = format!(
        "the hypervisor did not run CPU {cpu} of {} for {:.2} s of a stall of {}",
        context.me(),
        stolen as f64 / 1e9,
        time(stall.length())
    );
    holds_with(0.85, subject, summary, Detail { steal_seconds, ..Detail::default() })
}

fn peer(gap: &Gap) -> Opinion {
    if let Some(stall) = account(gap, Class::VcpuStall) {
        let length = time(stall.to.since(stall.from));
        let summary = format!("the hypervisor did not run {} for {length}, by the account of {}", gap.peer, gap.peer);
        return holds(0.9, host(&gap.peer), summary);
    }
    told_otherwise(gap, Class::VcpuStall)
        .or_else(|| sent_all_along(gap))
        .unwrap_or_else(|| Opinion::CannotTell(format!("{} has not told its steal time", gap.peer)))
}
