//! `vcpu-stall`: the hypervisor did not run one or more of the vCPUs.
//!
//! Confirms: the steal time of that CPU covers most of the stall; or, where the hypervisor reports none, the CPU did
//! nothing at all and went on where interrupts were not masked: in user mode, in the idle loop, or in the middle of
//! kernel code. Rules out: other interrupts that it took, an end just after interrupts were enabled, steal that does not
//! cover it where there is any.

use super::cpu_lockup::{either, in_handler};
use super::{Case, Context, Opinion, by_account, cpu_of, holds_with, of_cpu, percent, time};
use crate::cpu::CpuCase;
use crate::evidence::Place;
use crate::incident::{Class, Detail};
use crate::own::OwnStall;

/// Steal must explain at least this part of a stall.
const MOST: f64 = 0.5;

pub(super) fn judge(context: &Context<'_>, case: Case<'_>) -> Opinion {
    match case {
        Case::Cpu(case) => cpu(context, case),
        Case::Own(stall) => own(context, stall),
        Case::Gap(gap) => by_account(context, gap, Class::VcpuStall, "was not run by the hypervisor"),
        _ => Opinion::NotConcerned,
    }
}

fn cpu(context: &Context<'_>, case: &CpuCase) -> Opinion {
    let place = of_cpu(context.me(), case.cpu);
    let stolen = case.share(|look| look.stolen_ns, context.now).unwrap_or_default();
    let length = case.length(context.now);
    if stolen >= MOST {
        let steal_seconds = Some(stolen * case.last_length(context.now).as_secs_f64());
        let summary =
            format!("the hypervisor did not run {place} for {}: steal covers {}", time(length), percent(stolen));
        let detail = Detail { steal_seconds, ..Detail::default() };
        return holds_with(0.95, cpu_of(context.me(), case.cpu), summary, detail);
    }
    match (case.timer_dead(), case.alive()) {
        (Some(false), _) => return Opinion::RuledOut(format!("{place} went on taking timer interrupts")),
        (_, Some(true)) => return Opinion::RuledOut(format!("{place} still took interrupts and switched tasks")),
        _ => {}
    }
    if let Some(handler) = case.frequent_handler() {
        return Opinion::CannotTell(in_handler(handler, &place));
    }
    if let Some(handler) = case.handler() {
        return Opinion::RuledOut(format!("{place} was in the interrupt handler {handler}"));
    }
    let Some(landed) = case.landed() else {
        let what = if case.to.is_some() { "what ended it was not seen" } else { "it still lasts" };
        return Opinion::CannotTell(format!("{place} did nothing at all, and no steal is reported; {what}"));
    };
    if let Some((handler, seen)) = case.last_seen_in() {
        let seen = time(seen);
        return Opinion::CannotTell(format!(
            "{place} was in the interrupt handler {handler} for at least {seen}; nobody looked at it after that"
        ));
    }
    let (confidence, went_on) = match (landed.kept_masked(), landed.place) {
        (Some(true), _) => return Opinion::RuledOut(format!("{place} had its interrupts off")),
        (_, Place::User) => (0.92, "in user mode, which cannot mask interrupts"),
        (_, Place::Idle) => (0.9, "in the idle loop, long after its timer was due"),
        (Some(false), _) => (0.8, "in kernel code that had interrupts on"),
        (None, _) => return Opinion::CannotTell(either(landed, &place)),
    };
    let summary =
        format!("the hypervisor did not run {place} for {} and reports no steal; it went on {went_on}", time(length));
    holds_with(confidence, cpu_of(context.me(), case.cpu), summary, Detail::default())
}

fn own(context: &Context<'_>, stall: &OwnStall) -> Opinion {
    if stall.behind.is_some() || stall.all_timers_dead() == Some(true) && stall.cpus.len() > 1 {
        return Opinion::RuledOut("every CPU stood still at once, not one of them".into());
    }
    let Some((cpu, stolen)) = stall.agent.steal else {
        return Opinion::CannotTell("the hypervisor's steal time was not readable".into());
    };
    let share = stall.share(Some(stolen)).unwrap_or_default();
    if share < MOST {
        return Opinion::RuledOut(format!("steal covers only {} of the stall on the agent's CPU", percent(share)));
    }
    let steal_seconds = Some(stolen as f64 / 1e9);
    let summary = format!(
        "the hypervisor did not run CPU {cpu} of {} for {:.2} s of a stall of {}",
        context.me(),
        stolen as f64 / 1e9,
        time(stall.length())
    );
    holds_with(0.85, cpu_of(context.me(), cpu), summary, Detail { steal_seconds, ..Detail::default() })
}
