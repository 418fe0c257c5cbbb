//! `scheduler-stall`: tasks were runnable and not run, on a CPU that took its interrupts.
//!
//! Confirms: the sentinel of a CPU did not run although that CPU's timer woke it, next to no task was switched, and the
//! time went to a user task; or, wherever it went, to a real-time one, which goes before all others in the kernel as well. Rules
//! out: a timer that gave no interrupt; kernel code that does not reschedule (that is `cpu-lockup`); a CPU that went from task to
//! task; the agent's own quota; an ordinary task on a host with more work than CPUs, of which no case is made.

use super::cpu_lockup::USER_TASK;
use super::{Case, Context, Opinion, by_account, cpu_of, holds_with, of_cpu, percent, time};
use crate::cpu::CpuCase;
use crate::incident::{Class, Detail};

/// A figure explains a stall where it covers this part of it.
const MOST: f64 = 0.5;

pub(super) fn judge(context: &Context<'_>, case: Case<'_>) -> Opinion {
    match case {
        Case::Cpu(case) => cpu(context, case),
        Case::Gap(gap) => by_account(context, gap, Class::SchedulerStall, "did not run the tasks that waited for it"),
        _ => Opinion::NotConcerned,
    }
}

fn cpu(context: &Context<'_>, case: &CpuCase) -> Opinion {
    let place = of_cpu(context.me(), case.cpu);
    match case.timer_dead() {
        Some(true) => return Opinion::RuledOut(format!("{place} took no timer interrupts")),
        None => return Opinion::CannotTell(format!("whether {place} took timer interrupts was not measured")),
        Some(false) => {}
    }
    if let Some(share) = case.share(|look| look.throttled_ns, context.now).filter(|share| *share >= MOST) {
        return Opinion::RuledOut(format!("the agent's own quota kept its thread for {} of the time", percent(share)));
    }
    let Some(user) = case.user_part(context.now) else {
        return Opinion::CannotTell(format!("how {place} spent its time is not known yet"));
    };
    let real_time = case.runs_real_time();
    if user < USER_TASK && !real_time {
        return Opinion::RuledOut(format!("{place} was in user mode for {} of its time only", percent(user)));
    }
    let running = case.running().map(|running| match &running.policy {
        Some(policy) => format!("{} ({policy})", running.comm),
        None => running.comm.clone(),
    });
    let who = running.as_deref().unwrap_or("another task");
    let length = time(case.length(context.now));
    let summary = format!("{place} ran {who} and nothing else for {length}, though it took its timer interrupts");
    let detail = Detail { running, waiting: case.waiting.clone(), ..Detail::default() };
    holds_with(if user < USER_TASK { 0.8 } else { 0.9 }, cpu_of(context.me(), case.cpu), summary, detail)
}
