//! `host-down`: a host is gone and nobody hears it.
//!
//! Opens: silence of the heartbeats and of the peer's kernel, which answered just before, and at least one other
//! host that does not hear it either. Without another host it may as well be the path: then `unknown`. So it is where the
//! gateway fell silent as well, or other hosts did at the same moment: then something between may be gone, for those beside this
//! host as for itself. It stays provisional, since a host that was cut off from everybody looks the same until it is back to
//! say so. Rules out: any sign of life, to anybody.

use std::time::Duration;

use super::{Case, Context, Opinion, holds, host, time};
use crate::gap::Gap;
use crate::peer::Kernel;

/// A shorter silence of everything is also what a machine looks like that is paused: for a snapshot, a live migration, or
/// by a hypervisor that is itself held up for seconds. Until then it is `unknown`, with the same evidence.
const DOWN_AFTER: Duration = Duration::from_secs(10);

pub(super) fn judge(context: &Context<'_>, case: Case<'_>) -> Opinion {
    let gap = match case {
        Case::Gap(gap) => gap,
        Case::Vip(_) => return Opinion::NotConcerned,
        _ => return Opinion::RuledOut("this host runs: it says so itself".into()),
    };
    if let Some(sign) = sign_of_life(gap) {
        return Opinion::RuledOut(sign);
    }
    let silent_to: Vec<_> = gap.witnesses.iter().map(|witness| witness.name.as_str()).collect();
    let length = gap.silence(context.now);
    match gap.kernel {
        Kernel::Unknown if gap.taken_over => Opinion::CannotTell(format!(
            "another link-layer address has the address of {}: what answers is not it",
            gap.peer
        )),
        Kernel::Unknown => Opinion::CannotTell(format!("{} did not answer echo requests before either", gap.peer)),
        _ if gap.answers_arp => Opinion::CannotTell(format!(
            "ARP requests for {} are answered: its kernel runs behind a filter, or a switch answers for it",
            gap.peer
        )),
        _ if silent_to.is_empty() => {
            Opinion::CannotTell(format!("no other host says whether it hears {}; the path may be cut", gap.peer))
        }
        _ if gap.scope.gateway_fell_together => Opinion::CannotTell(format!(
            "the gateway of {} fell silent as well: what is between may be gone, for {} as well",
            context.me(),
            silent_to.join(", ")
        )),
        _ if !gap.scope.fell_together.is_empty() => Opinion::CannotTell(format!(
            "{} fell silent at the same moment: hosts that are gone together look like hosts that are cut off together",
            gap.scope.fell_together.join(", ")
        )),
        _ if length < DOWN_AFTER => Opinion::CannotTell(format!("{} is silent for {} only", gap.peer, time(length))),
        _ => {
            let confidence = (0.75 + 0.1 * silent_to.len() as f64).min(0.9);
            let who = silent_to.join(", ");
            let summary = format!(
                "{} is gone for {}: neither {} nor {who} hears it, and its kernel does not answer",
                gap.peer,
                time(length),
                context.me()
            );
            holds(confidence, host(&gap.peer), summary)
        }
    }
}

fn sign_of_life(gap: &Gap) -> Option<String> {
    let peer = &gap.peer;
    if gap.heard_again && gap.new_boot.is_some() {
        return Some(format!("{peer} is back, with a new boot"));
    }
    if gap.heard_again || !gap.silent {
        return Some(format!("{peer} is heard, with the same boot id"));
    }
    if gap.port_unreachable && gap.kernel != Kernel::Silent {
        return Some(format!("the kernel of {peer} answered that nobody listens on its heartbeat port"));
    }
    if gap.kernel == Kernel::Answers {
        return Some(format!("the kernel of {peer} answers echo requests"));
    }
    let alive = gap.witnesses.iter().find(|witness| witness.hears || witness.kernel_answers == Some(true))?;
    let what = if alive.hears { "hears it" } else { "has answers from its kernel" };
    Some(format!("{} {what}", alive.name))
}
