//! `agent-stall`: only Lacuna itself was stopped, starved or not running.
//!
//! Of a peer. Confirms: its own account once it is back; its kernel's word that nobody listens on the port; a new
//! agent on the same boot. While it is silent an answering kernel alone is not enough (a filter may drop just the
//! heartbeats, a CPU may stand still that the agent is on): it takes another host that does not hear it either, and time.
//! A kernel that says only after a while that nobody listens may be that of a machine that boots.
//! An agent whose packets are refused sends; or somebody forges them, so that nothing can be told.
//! Of this host. Confirms: a SIGCONT, a throttled cgroup; or that the thread neither waited for a CPU nor lost it
//! to the hypervisor while the kernel's timers were on time. Rules out: steal, late timers, waiting for a CPU.

use std::time::Duration;

use super::path_drop::refused;
use super::{
    Case, Context, Opinion, account_of_the_agent, holds_with, host, percent, sent_all_along, time, told_otherwise,
};
use crate::cpu::CpuCase;
use crate::gap::{Gap, NO_ROOM};
use crate::incident::{AgentState, Class, Detail};
use crate::own::OwnStall;
use crate::peer::Kernel;

/// A cause counts when it explains at least this part of the stall.
const MOST: f64 = 0.5;

/// The kernel must have answered for so long while the agent did not: CPUs and hypervisors stall for seconds.
const SILENT_FOR: Duration = Duration::from_secs(10);

pub(super) fn judge(context: &Context<'_>, case: Case<'_>) -> Opinion {
    match case {
        Case::Gap(gap) if gap.heard_again => after(context, gap),
        Case::Gap(gap) => during(context, gap),
        Case::Own(stall) => own(context, stall),
        Case::Cpu(case) => one_cpu(context, case),
        _ => Opinion::NotConcerned,
    }
}

fn after(context: &Context<'_>, gap: &Gap) -> Opinion {
    let peer = &gap.peer;
    if gap.new_boot.is_some() {
        return Opinion::RuledOut(format!("{peer} was booted anew as a whole"));
    }
    if gap.rewound {
        return Opinion::CannotTell(format!(
            "the numbers of {peer} went back: a snapshot of it may have been restored"
        ));
    }
    if gap.new_incarnation {
        if may_have_said_goodbye(gap) {
            return Opinion::CannotTell(unheard_goodbye(peer));
        }
        if gap.kernel_was_silent && !gap.port_unreachable || gap.may_have_booted {
            return Opinion::CannotTell(format!(
                "the agent of {peer} was started anew, and its kernel was silent too: a goodbye may have been lost"
            ));
        }
        let summary = format!("the agent of {peer} ended without a goodbye and was started anew; {peer} itself ran on");
        return stalled(0.95, gap, summary, Some(AgentState::NotRunning));
    }
    // One that is late as a cut ends did not cause what was lost before.
    let lost = gap.lost_more_than_unsent(context.settings.interval);
    if let Some(stall) = account_of_the_agent(context, gap, Class::AgentStall).filter(|_| !lost) {
        let how = stall.state.map_or("stood still", describe);
        let length = time(stall.to.since(stall.from));
        let summary = format!("the agent of {peer} {how} for {length}, by its own account; its kernel was well");
        return stalled(0.95, gap, summary, stall.state);
    }
    if let Some(opinion) = told_otherwise(gap, Class::AgentStall).or_else(|| sent_all_along(gap)) {
        return opinion;
    }
    if gap.direction().is_some() {
        return Opinion::RuledOut(format!("heartbeats that {peer} sent did not arrive"));
    }
    Opinion::CannotTell(format!("{peer} sent nothing for {} and does not say why", time(gap.unsent)))
}

/// Whether this host may not have heard the last words of the peer: what came while it stood still found no room, or what came of
/// others was lost as well.
fn may_have_said_goodbye(gap: &Gap) -> bool {
    gap.woke_before || gap.own_clock_stood || gap.own_stall >= NO_ROOM || gap.scope.others_missed_first
}

fn unheard_goodbye(peer: &str) -> String {
    format!("{peer} may have said goodbye while this host could not hear it")
}

fn during(context: &Context<'_>, gap: &Gap) -> Opinion {
    let peer = &gap.peer;
    if !gap.silent {
        return Opinion::RuledOut(format!("{peer} sends its heartbeats on time"));
    }
    if gap.is_refused(context.settings.interval, context.now) {
        return Opinion::CannotTell(refused(gap));
    }
    if gap.port_unreachable && may_have_said_goodbye(gap) {
        return Opinion::CannotTell(unheard_goodbye(peer));
    }
    if gap.may_have_booted {
        return Opinion::CannotTell(format!(
            "the kernel of {peer} did not say at once that nobody listens on the port: it may have been booted anew"
        ));
    }
    if gap.port_unreachable && gap.kernel == Kernel::Silent {
        let summary = format!(
            "the agent of {peer} ended: its kernel said that nobody listens on the port; by now that is silent too"
        );
        return stalled(0.6, gap, summary, Some(AgentState::NotRunning));
    }
    if gap.port_unreachable {
        let summary = format!("the agent of {peer} is not running: its kernel says that nobody listens on the port");
        return stalled(0.95, gap, summary, Some(AgentState::NotRunning));
    }
    let others: Vec<_> = gap.witnesses.iter().filter(|witness| !witness.hears).map(|w| w.name.as_str()).collect();
    match gap.kernel {
        Kernel::Silent => Opinion::RuledOut(format!("the kernel of {peer} does not answer either")),
        Kernel::Answers if gap.kernel_answers_for < SILENT_FOR => Opinion::CannotTell(format!(
            "the kernel of {peer} answers and its agent does not; a CPU of it that stands still looks the same"
        )),
        Kernel::Answers if others.len() == gap.witnesses.len() && !others.is_empty() => {
            let summary = format!(
                "the agent of {peer} is silent to {} and {} for {}, while its kernel answers",
                context.me(),
                others.join(", "),
                time(gap.length(context.now))
            );
            stalled(0.6, gap, summary, None)
        }
        Kernel::Answers => Opinion::CannotTell(format!(
            "the kernel of {peer} answers and its agent does not; a filter that drops only heartbeats looks the same"
        )),
        Kernel::Unknown => Opinion::CannotTell(format!("it is not known whether the kernel of {peer} answers")),
    }
}

fn stalled(confidence: f64, gap: &Gap, summary: String, state: Option<AgentState>) -> Opinion {
    holds_with(confidence, host(&gap.peer), summary, Detail { state, ..Detail::default() })
}

fn describe(state: AgentState) -> &'static str {
    match state {
        AgentState::Stopped => "was stopped",
        AgentState::Throttled => "was throttled by its CPU quota",
        AgentState::NotRunning => "was not running",
    }
}

/// A quota is counted for each CPU: it may keep the agent's thread from one of them only.
fn one_cpu(context: &Context<'_>, case: &CpuCase) -> Opinion {
    let throttled = case.share(|look| look.throttled_ns, context.now).filter(|share| *share >= MOST);
    let Some(share) = throttled.filter(|_| case.timer_dead() == Some(false)) else {
        return Opinion::RuledOut(format!("the agent ran on other CPUs; its thread on CPU {} did not", case.cpu));
    };
    let me = context.me();
    let summary = format!(
        "the agent of {me} was throttled by its CPU quota on CPU {} ({} of the time)",
        case.cpu,
        percent(share)
    );
    holds_with(0.9, host(me), summary, Detail { state: Some(AgentState::Throttled), ..Detail::default() })
}

fn own(context: &Context<'_>, stall: &OwnStall) -> Opinion {
    if stall.behind.is_some() {
        return Opinion::RuledOut("the clock of the whole host stood still".into());
    }
    let length = time(stall.length());
    let of_me = |confidence, how: &str, state| {
        let summary = format!("the agent of {} {how} for {length}", context.me());
        holds_with(confidence, host(context.me()), summary, Detail { state, ..Detail::default() })
    };
    if let Some(share) = stall.share(stall.agent.throttled_ns).filter(|share| *share >= MOST) {
        let how = format!("was throttled by its CPU quota ({} of the time)", percent(share));
        return of_me(0.95, &how, Some(AgentState::Throttled));
    }
    if let Some(opinion) = not_the_agent(stall) {
        return opinion;
    }
    if stall.agent.continued {
        return of_me(0.95, "was stopped and then continued by a signal", Some(AgentState::Stopped));
    }
    match (stall.timers_late(), stall.share(stall.agent.waited_ns)) {
        (Some(_), Some(_)) => {
            let how = "did not run though no CPU was late and it did not wait for one: stopped, frozen or blocked";
            // For so short a while any thread may be held up.
            let stopped = stall.length() >= context.settings.gap;
            of_me(0.75, how, stopped.then_some(AgentState::Stopped))
        }
        _ => Opinion::CannotTell("late timers or the wait for a CPU were not measured".into()),
    }
}

/// What took the CPU away from everybody, not just from the agent.
fn not_the_agent(stall: &OwnStall) -> Option<Opinion> {
    let (_, stolen) = stall.agent.steal.unwrap_or_default();
    let causes = [
        (stall.share(Some(stolen)), "the hypervisor ran something else"),
        (stall.all_timers_dead().map(f64::from), "no CPU took a timer interrupt"),
        (stall.timers_late(), "timers were late as well"),
        (stall.share(stall.agent.waited_ns), "the agent was runnable and waited for a CPU"),
        (stall.share(Some(stall.agent.suspended_ns)), "the host was suspended"),
        (stall.share(stall.agent.ran_ns), "the agent ran, on a CPU that was slow or not run"),
        (stall.ran_or_waited(), "the agent ran, or was runnable and waited for a CPU"),
    ];
    let (share, cause) = causes.into_iter().find(|(share, _)| share.is_some_and(|share| share >= MOST))?;
    Some(Opinion::RuledOut(format!("{cause} for {} of the time", percent(share.unwrap_or_default()))))
}
