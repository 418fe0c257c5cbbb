//! `vm-pause`: all vCPUs stood still at once; `detail.clock` is `stopped` or `ran-on`.
//!
//! Confirms, of this host: no CPU took a timer interrupt for the same time (the clock ran on); or its clock fell behind
//! those of its peers, which went on (the clock stopped, so nothing inside shows it). Of a peer: its own account. One that is
//! back with the next number, as if no time had passed, and whose clock stays behind by the length of the gap, may as well be
//! behind a way that takes longer by as much from then on. Rules out: a CPU that ticked, a clock that is not behind.

use std::time::Duration;

use super::cpu_lockup::in_handler;
use super::{Case, Context, Opinion, by_account, holds_with, host, time};
use crate::cpu::CpuCase;
use crate::evidence::{Landed, Place};
use crate::gap::Gap;
use crate::incident::{Class, ClockState, Detail};
use crate::own::{Behind, OwnStall};

/// A clock must have fallen behind by this part of the gap.
const MOST: f64 = 0.8;
/// What each CPU went on with is told by its sentinel in this time, or not at all.
const SENTINELS: Duration = Duration::from_secs(1);

pub(super) fn judge(context: &Context<'_>, case: Case<'_>) -> Opinion {
    match case {
        Case::Own(stall) => own(context, stall),
        Case::Gap(gap) => peer(context, gap),
        Case::Cpu(case) => Opinion::RuledOut(format!("only CPU {} stood still; others went on", case.cpu)),
        _ => Opinion::NotConcerned,
    }
}

fn own(context: &Context<'_>, stall: &OwnStall) -> Opinion {
    let (me, length) = (context.me(), time(stall.length()));
    if let Some(Behind { peers, .. }) = &stall.behind {
        let summary = format!(
            "{me} as a whole stood still for {length}, and its clock with it: the clocks of {} went on",
            peers.join(", ")
        );
        return paused(if peers.len() > 1 { 0.95 } else { 0.85 }, me, ClockState::Stopped, summary);
    }
    match stall.all_timers_dead() {
        None if stall.cpus.is_empty() => Opinion::RuledOut("not every CPU stood still".into()),
        None => Opinion::CannotTell("whether the CPUs took timer interrupts was not measured".into()),
        Some(false) => Opinion::RuledOut("at least one CPU went on taking timer interrupts".into()),
        Some(true) => all_stood(context, stall),
    }
}

fn all_stood(context: &Context<'_>, stall: &OwnStall) -> Opinion {
    let landings: Vec<_> = stall.cpus.iter().filter_map(CpuCase::landed).collect();
    let waits = stall.occurrences == 1 && context.now < stall.to.plus(SENTINELS);
    if stall.cpus.len() < stall.cpu_count() && waits || stall.cpus.iter().any(|cpu| cpu.awaits_names(context.now)) {
        return Opinion::CannotTell("what the CPUs went on with is not known yet".into());
    }
    if stall.cpu_count() == 1 && !had_interrupts_on(stall) {
        return Opinion::CannotTell("there is one CPU only, which may have had its interrupts off".into());
    }
    if let Some(handler) = only_cpu(stall).and_then(CpuCase::handler) {
        return Opinion::CannotTell(in_handler(handler, "the only CPU"));
    }
    if let Some(function) = may_have_waited(&landings, stall.cpu_count()) {
        return Opinion::CannotTell(format!(
            "a CPU went on in {function}, and may have had its interrupts off: it may have waited there for another one"
        ));
    }
    of_own_cpus(context, stall)
}

/// That none of this host's CPUs ran.
pub(super) fn of_own_cpus(context: &Context<'_>, stall: &OwnStall) -> Opinion {
    let (me, length) = (context.me(), time(stall.length()));
    let confidence = if had_interrupts_on(stall) { 0.93 } else { 0.8 };
    let summary = format!("{me} as a whole stood still for {length}: none of its {} CPUs ran", stall.cpu_count());
    paused(confidence, me, ClockState::RanOn, summary)
}

/// The CPU of a machine that has one.
fn only_cpu(stall: &OwnStall) -> Option<&CpuCase> {
    stall.cpus.first().filter(|_| stall.cpu_count() == 1)
}

/// Whether at least one CPU certainly had its interrupts on, so that the kernel did not hold it.
fn had_interrupts_on(stall: &OwnStall) -> bool {
    stall.cpus.iter().filter_map(CpuCase::landed).any(|landed| landed.kept_masked() == Some(false))
}

/// Where one of so many CPUs may have waited for a lock, with its interrupts off, that another one held which was not run: both
/// stand still then. One that idles, or runs a program, holds none; of one that left no landing nobody knows.
fn may_have_waited(landings: &[&Landed], cpus: usize) -> Option<String> {
    let may_wait = |landed: &&&Landed| landed.place == Place::Kernel && landed.kept_masked() != Some(false);
    let waiting = landings.iter().find(may_wait)?;
    let holds_none = landings.iter().filter(|landed| matches!(landed.place, Place::User | Place::Idle)).count();
    let function = waiting.stack.first().map_or("the kernel", String::as_str);
    (cpus > holds_none + 1).then(|| function.to_owned())
}

fn peer(context: &Context<'_>, gap: &Gap) -> Opinion {
    let peer = &gap.peer;
    if gap.told().is_some_and(|report| report.class == Class::VmPause) || !clock_may_have_stood(gap) {
        return by_account(context, gap, Class::VmPause, "as a whole stood still");
    }
    let Some(behind) = gap.peer_behind else {
        return Opinion::CannotTell(format!("a single packet of {peer} does not tell how its clock goes"));
    };
    if behind < gap.quiet.mul_f64(MOST) {
        return Opinion::RuledOut(format!("the clock of {peer} is not behind: what it sent came late"));
    }
    if gap.own_stall * 2 > behind {
        return Opinion::CannotTell(format!("{} stood still itself while {peer} was silent", context.me()));
    }
    // One whose clock stood sees that all others went on, and says so.
    Opinion::CannotTell(format!(
        "{peer} is back with the next number, its clock {} behind, and has not said that it stood still: all of it may be late",
        time(behind)
    ))
}

/// Nothing came in of it for a time in which it sent nothing either, by its own clock without any pause.
fn clock_may_have_stood(gap: &Gap) -> bool {
    let same_run = gap.new_boot.is_none() && !gap.new_incarnation && !gap.rewound;
    gap.heard_again && same_run && !gap.quiet.is_zero() && gap.unsent.is_zero() && gap.lost_from == 0 && gap.missed == 0
}

fn paused(confidence: f64, name: &str, clock: ClockState, summary: String) -> Opinion {
    holds_with(confidence, host(name), summary, Detail { clock: Some(clock), ..Detail::default() })
}
