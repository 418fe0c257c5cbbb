//! `timer-lockup`: a CPU's timer interrupts stopped while the CPU still ran (APIC style).
//!
//! Opens: the sentinel of a CPU is overdue. Confirms: that CPU took no timer interrupt since, and yet it took others,
//! switched tasks, or ran the sentinel when another CPU woke it. Rules out: timer interrupts that went on; a CPU that
//! did nothing at all.

use super::{Case, Context, Opinion, by_account, cpu_of, holds, of_cpu, time};
use crate::cpu::CpuCase;
use crate::incident::Class;

pub(super) fn judge(context: &Context<'_>, case: Case<'_>) -> Opinion {
    match case {
        Case::Cpu(case) => cpu(context, case),
        Case::Gap(gap) => by_account(context, gap, Class::TimerLockup, "took no timer interrupts while it still ran"),
        _ => Opinion::NotConcerned,
    }
}

fn cpu(context: &Context<'_>, case: &CpuCase) -> Opinion {
    let place = of_cpu(context.me(), case.cpu);
    match (case.timer_dead(), case.alive()) {
        (Some(false), _) => Opinion::RuledOut(format!("{place} went on taking timer interrupts")),
        (_, Some(false)) => Opinion::RuledOut(format!("{place} took no other interrupt either: it did not run")),
        (None, Some(true)) if !case.answered() => {
            Opinion::CannotTell(format!("whether {place} took timer interrupts was not measured"))
        }
        (_, None) => {
            Opinion::CannotTell(format!("whether {place} did anything meanwhile was not seen, or at one look only"))
        }
        (dead, Some(true)) => {
            let length = time(case.length(context.now));
            let how = if case.answered() { "ran what another CPU woke" } else { "took other interrupts" };
            let summary = format!("{place} took no timer interrupt for {length} while it still {how}");
            // Where timer interrupts were not counted, the sentinel's own timer is the proof: it did not wake it.
            let confidence = if dead.is_none() || !case.answered() { 0.85 } else { 0.97 };
            holds(confidence, cpu_of(context.me(), case.cpu), summary)
        }
    }
}
