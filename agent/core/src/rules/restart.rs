//! `restart`: a host came back with a new boot.
//!
//! Opens and confirms: the boot id in its heartbeats changed. Rules out: the same boot id after the gap. A silence in which no
//! machine could boot tells that this host itself, or its clock, stood still: then it cannot say when it was.

use super::{Case, Context, Opinion, holds, host, time};

pub(super) fn judge(context: &Context<'_>, case: Case<'_>) -> Opinion {
    let Case::Gap(gap) = case else { return Opinion::NotConcerned };
    if gap.new_boot.is_some() && gap.heard_again {
        let length = gap.length(context.now);
        if gap.own_clock_stood || length < context.settings.gap {
            return Opinion::CannotTell(format!(
                "{} was booted anew while this host, or its clock, stood still",
                gap.peer
            ));
        }
        let length = time(length);
        return holds(0.99, host(&gap.peer), format!("{} was booted anew; it was silent for {length}", gap.peer));
    }
    if gap.heard_again || !gap.silent {
        return Opinion::RuledOut(format!("{} has the same boot id as before", gap.peer));
    }
    Opinion::CannotTell(format!("the boot id of {} is not known before it is heard again", gap.peer))
}
