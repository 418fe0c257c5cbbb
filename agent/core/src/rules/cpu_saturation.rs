//! `cpu-saturation`: more work than CPUs, for long.
//!
//! Opens: all CPUs busy, more runnable tasks than CPUs and tasks that wait, for longer than the threshold. It also
//! explains a stall of the agent that was runnable all the time on a machine without an idle CPU.

use super::{
    Case, Context, Opinion, account_of_the_agent, holds, holds_with, host, percent, sent_all_along, time,
    told_otherwise,
};
use crate::gap::Gap;
use crate::incident::{Class, Detail};
use crate::load::Saturation;
use crate::own::OwnStall;

/// The wait for a CPU must explain at least this part of a stall.
const MOST: f64 = 0.5;
/// Below this part of the CPUs' time there was a CPU to run on.
const BUSY: f64 = 0.9;

pub(super) fn judge(context: &Context<'_>, case: Case<'_>) -> Opinion {
    match case {
        Case::Load(load) => saturated(context, load),
        Case::Own(stall) => starved(context, stall),
        Case::Gap(gap) => peer(context, gap),
        Case::Cpu(case) => Opinion::RuledOut(format!("CPU {} did not go from task to task", case.cpu)),
        Case::Io(_) => Opinion::RuledOut("a task that waits for storage wants no CPU".into()),
        Case::Vip(_) | Case::Loss(_) | Case::Hole(_) => Opinion::NotConcerned,
    }
}

fn saturated(context: &Context<'_>, found: &Saturation) -> Opinion {
    let load = &found.load;
    let waited = load.pressure.map(|share| format!(", tasks waited {} of the time", percent(share)));
    let summary = format!(
        "{} had more work than its {} CPUs for {}: {} runnable tasks, {} busy{}",
        context.me(),
        load.cpus,
        time(found.last.since(found.since)),
        load.runnable,
        percent(load.busy),
        waited.unwrap_or_default()
    );
    // Where the hypervisor takes a part of the CPUs, the work might fit on what was promised.
    let confidence = if load.steal >= 0.25 { 0.6 } else { 0.9 };
    let detail = Detail {
        runnable_per_cpu: Some(f64::from(load.runnable) / f64::from(load.cpus.max(1))),
        steal_seconds: (load.steal > 0.0).then(|| load.steal * found.last.since(found.since).as_secs_f64()),
        ..Detail::default()
    };
    holds_with(confidence, host(context.me()), summary, detail)
}

fn starved(context: &Context<'_>, stall: &OwnStall) -> Opinion {
    let (Some(waited), Some(busy)) = (stall.share(stall.agent.waited_ns), stall.agent.busy) else {
        return Opinion::CannotTell("the wait for a CPU or the load was not measured".into());
    };
    if waited < MOST {
        return Opinion::RuledOut(format!("the agent waited for a CPU only {} of the time", percent(waited)));
    }
    if stall.all_timers_dead() == Some(true) {
        return Opinion::RuledOut("no CPU took a timer interrupt: none ran anything".into());
    }
    if busy < BUSY {
        return Opinion::RuledOut(format!("the CPUs were idle {} of the time", percent(1.0 - busy)));
    }
    let summary = format!("{} was so busy that its agent waited {} for a CPU", context.me(), time(stall.length()));
    holds(0.8, host(context.me()), summary)
}

fn peer(context: &Context<'_>, gap: &Gap) -> Opinion {
    if let Some(stall) = account_of_the_agent(context, gap, Class::CpuSaturation) {
        let length = time(stall.to.since(stall.from));
        let summary = format!("{} was too busy to send for {length}, by its own account", gap.peer);
        return holds(0.9, host(&gap.peer), summary);
    }
    told_otherwise(gap, Class::CpuSaturation)
        .or_else(|| sent_all_along(gap))
        .unwrap_or_else(|| Opinion::CannotTell(format!("{} has not told its load", gap.peer)))
}
