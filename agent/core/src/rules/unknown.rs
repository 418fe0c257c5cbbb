//! `unknown`: a stall that the evidence cannot tell. It says what can be known, and never guesses.

use super::{Case, Context, Finding, cpu_of, host, of_cpu, path_drop, path_to, time};
use crate::gap::Gap;
use crate::hole::Hole;
use crate::incident::{Detail, Subject};
use crate::loss::Loss;
use crate::peer::Kernel;

/// A cause counts when it explains at least this part of the stall.
const MOST: f64 = 0.5;

pub(super) fn finding(context: &Context<'_>, case: Case<'_>) -> Finding {
    let (subject, summary) = match case {
        Case::Gap(gap) => match gap.told().and_then(|report| report.cpu) {
            Some(cpu) => (cpu_of(&gap.peer, cpu), of_account(context, gap, cpu)),
            None if gap.scope.together.is_empty() => (path_to(context, &gap.peer), of_gap(context, gap)),
            None => together(context, gap),
        },
        Case::Own(stall) => {
            let (me, length) = (context.me(), time(stall.length()));
            let summary = if stall.ran_or_waited().is_some_and(|share| share >= MOST) {
                format!(
                    "the agent of {me} was {length} late while it ran or waited for a CPU: that was slow, busy or not run"
                )
            } else {
                format!("the agent of {me} did not run for {length}, and nothing that was measured accounts for it")
            };
            (host(me), summary)
        }
        Case::Cpu(case) => {
            let length = time(case.length(context.now));
            let what = match case.alive() {
                Some(false) => "did nothing at all",
                _ => "did not run what was due",
            };
            (cpu_of(context.me(), case.cpu), format!("{} {what} for {length}", of_cpu(context.me(), case.cpu)))
        }
        Case::Load(_) => (host(context.me()), format!("{} was busy", context.me())),
        Case::Loss(Loss { peer, .. }) | Case::Hole(Hole { peer, .. }) => {
            (path_to(context, peer), format!("packets between {} and {peer} are lost", context.me()))
        }
        Case::Io(_) => (host(context.me()), format!("tasks of {} waited for storage", context.me())),
        Case::Vip(case) => {
            let vip = Subject { vip: Some(case.vip.to_string()), ..Subject::default() };
            (vip, format!("who owns {} cannot be told", case.vip))
        }
    };
    Finding { confidence: 0.0, subject, summary, detail: Detail::default() }
}

/// Several fell silent at once.
fn together(context: &Context<'_>, gap: &Gap) -> (Subject, String) {
    let mut hosts: Vec<String> = gap.scope.together.iter().chain([&gap.peer]).cloned().collect();
    hosts.sort();
    let others = gap.scope.together.join(", ");
    (
        Subject { hosts, ..path_to(context, &gap.peer) },
        format!("{}; so is {others}, since the same moment", of_gap(context, gap)),
    )
}

/// The peer knows that a CPU of it stands still, and not why.
fn of_account(context: &Context<'_>, gap: &Gap, cpu: u32) -> String {
    let length = time(gap.told_length(context.now));
    format!(
        "{} stands still for {length} by the account of {}, which cannot tell why",
        of_cpu(&gap.peer, cpu),
        gap.peer
    )
}

fn of_gap(context: &Context<'_>, gap: &Gap) -> String {
    let (me, peer, length) = (context.me(), &gap.peer, time(gap.length(context.now)));
    if gap.rewound {
        return format!(
            "{peer} was not heard by {me} for {length}, then its numbers went back: a snapshot of it may have been restored"
        );
    }
    if gap.is_refused(context.settings.interval, context.now) {
        return format!("{me} has taken nothing of {peer} for {length}: {}", path_drop::refused(gap));
    }
    if gap.unheard && gap.is_refused_by_peer(context.settings.interval, context.now) {
        return format!("{peer} has taken nothing of {me} for {length}: {}", path_drop::refused_by_peer(context, gap));
    }
    if !gap.silent && gap.direction().is_some() {
        return format!(
            "heartbeats between {me} and {peer} were lost for {length}; what is behind it is not known yet"
        );
    }
    if !gap.silent && gap.heard_again {
        return if gap.missed > 0 {
            format!(
                "{me} did not hear {peer} for {length}, and stood still itself while {} heartbeats came",
                gap.missed
            )
        } else if gap.unsent.is_zero() && !gap.quiet.is_zero() {
            format!(
                "nothing of {peer} reached {me} for {length}, and nothing of it is missing: it stood still together \
                 with its clock, or all of it was late"
            )
        } else if gap.unsent.is_zero() && (gap.new_incarnation || gap.lost_to.is_none()) {
            format!("{me} and {peer} missed each other for {length}; the numbers do not say what was lost")
        } else if gap.unsent.is_zero() {
            format!("heartbeats of {peer} reached {me} late by up to {length}; none was lost")
        } else {
            format!("{peer} sent nothing for {} and has not said why; {}", time(gap.unsent), gap.arrived())
        };
    }
    match gap.kernel {
        Kernel::Answers => format!("{peer} is silent to {me} for {length}: its kernel answers, its agent does not"),
        Kernel::Silent => format!("{peer} is silent to {me} for {length}, and its kernel does not answer either"),
        Kernel::Unknown => format!("{peer} is silent to {me} for {length}"),
    }
}
