//! `cpu-lockup`: a CPU ran kernel code with interrupts or preemption off; `detail.stack` names it.
//!
//! Confirms, with interrupts off: the CPU took no interrupt at all, and the one that ended it landed just after
//! interrupts were enabled, in code that is not passed all the time; or it was all the while inside the handler of a device
//! or of a cross-call. With preemption off: the timer ticked, next to none of the time went to programs, and no task was
//! switched. Rules out: an end in user mode, in the idle loop or in the middle of kernel code (that CPU was not run), steal,
//! a user task.

use super::{Case, Context, Opinion, by_account, cpu_of, holds_with, of_cpu, percent, time};
use crate::cpu::CpuCase;
use crate::evidence::{Landed, Place};
use crate::incident::{Class, Detail};

/// A figure explains a stall where it covers this part of it.
const MOST: f64 = 0.5;
/// In user mode for this part of its time a CPU runs a program; the rest are interrupts.
pub(super) const USER_TASK: f64 = 0.2;
/// Up to this part a tick may have been counted to the program that was there before.
const KERNEL_ONLY: f64 = 0.05;
/// The handler is enough of a name; below it only the stack tells.
const MAX_STACK: usize = 16;

pub(super) fn judge(context: &Context<'_>, case: Case<'_>) -> Opinion {
    match case {
        Case::Cpu(case) => cpu(context, case),
        // A guest with one CPU: a stall of the CPU is one of the host.
        Case::Own(stall) if stall.cpus.len() == 1 && stall.all_timers_dead() == Some(true) => {
            cpu(context, &stall.cpus[0])
        }
        Case::Gap(gap) => by_account(context, gap, Class::CpuLockup, "ran kernel code that let nothing else run"),
        _ => Opinion::NotConcerned,
    }
}

fn cpu(context: &Context<'_>, case: &CpuCase) -> Opinion {
    let place = of_cpu(context.me(), case.cpu);
    if let Some(share) = case.share(|look| look.stolen_ns, context.now).filter(|share| *share >= MOST) {
        return Opinion::RuledOut(format!("the hypervisor ran something else for {} of the time", percent(share)));
    }
    match (case.timer_dead(), case.alive()) {
        (Some(false), _) => preemption_off(context, case, &place),
        (_, Some(true)) => Opinion::RuledOut(format!("{place} still took interrupts and switched tasks")),
        _ => interrupts_off(context, case, &place),
    }
}

fn interrupts_off(context: &Context<'_>, case: &CpuCase, place: &str) -> Opinion {
    if let Some(handler) = case.frequent_handler() {
        return Opinion::CannotTell(in_handler(handler, place));
    }
    if let Some(handler) = case.handler() {
        let how = format!("was in the interrupt handler {handler}");
        return locked(context, case, &how, 0.95, Some(handler.to_owned()));
    }
    let Some(landed) = case.landed() else {
        let what = if case.to.is_some() { "what ended it was not seen" } else { "it still lasts" };
        return Opinion::CannotTell(format!("{place} did nothing at all: interrupts may be off; {what}"));
    };
    match (landed.kept_masked(), landed.place) {
        (Some(true), _) => locked(context, case, "had its interrupts off", 0.9, None),
        (_, Place::User) => Opinion::RuledOut(format!("{place} went on in user mode, which cannot mask interrupts")),
        (_, Place::Idle) => {
            Opinion::RuledOut(format!("{place} went on in the idle loop, which waits with interrupts on"))
        }
        (Some(false), _) => {
            Opinion::RuledOut(format!("{place} went on in kernel code that had interrupts on all along"))
        }
        (None, _) => Opinion::CannotTell(either(landed, place)),
    }
}

/// Why a handler that is run often may mean both that it took so long and that the CPU was not run.
pub(super) fn in_handler(handler: &str, place: &str) -> String {
    format!(
        "{place} was in the handler {handler}, which runs for a moment each time: it stayed there, or was not run since"
    )
}

/// Why a landing in kernel code may mean both that interrupts were off and that the CPU was not run.
pub(super) fn either(landed: &Landed, place: &str) -> String {
    match landed.stack.first().filter(|_| landed.just_enabled == Some(true)) {
        Some(function) => format!(
            "{place} went on in {function}, which has interrupts off for a moment each time: it stayed there, or was not \
             run since"
        ),
        None => format!("whether {place} had just enabled interrupts could not be read"),
    }
}

fn preemption_off(context: &Context<'_>, case: &CpuCase, place: &str) -> Opinion {
    let Some(user) = case.user_part(context.now) else {
        return Opinion::CannotTell(format!("how {place} spent its time is not known yet"));
    };
    if user >= USER_TASK {
        return Opinion::RuledOut(format!("{place} was in user mode for {} of its time", percent(user)));
    }
    if user > KERNEL_ONLY {
        return Opinion::CannotTell(format!("{place} was in user mode for {} of its time", percent(user)));
    }
    if let Some(running) = case.running().filter(|_| case.runs_real_time()) {
        let comm = &running.comm;
        return Opinion::CannotTell(format!("{place} ran {comm}, which is real-time: others wait for it in any case"));
    }
    locked(context, case, "ran kernel code that did not reschedule", 0.85, None)
}

fn locked(context: &Context<'_>, case: &CpuCase, how: &str, confidence: f64, handler: Option<String>) -> Opinion {
    let place = of_cpu(context.me(), case.cpu);
    let stack: Vec<String> = case.stack().iter().take(MAX_STACK).cloned().collect();
    let culprit = stack.first().map(|function| format!(", in {function}")).unwrap_or_default();
    let held_up: Vec<String> = case.held_up.iter().map(|cpu| format!("CPU {cpu}")).collect();
    let others = if held_up.is_empty() { String::new() } else { format!("; {} waited for it", held_up.join(", ")) };
    let summary = format!("{place} {how} for {}{culprit}{others}", time(case.length(context.now)));
    holds_with(confidence, cpu_of(context.me(), case.cpu), summary, Detail { stack, handler, ..Detail::default() })
}
