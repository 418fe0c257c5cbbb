//! `partition`: the hosts fell apart into two or more groups; `detail.groups` names them.
//!
//! Confirms: afterwards, each host says for how long it has heard each other one without a gap, and those that did fall
//! into groups, none of which is a single host beside all others. While it lasts nobody can tell a partition from several
//! hosts that are gone. Rules out: a host that heard both sides throughout.

use super::host_isolated::{Standing, standing};
use super::{Case, Context, Opinion, holds_with, path_drop, time};
use crate::gap::Gap;
use crate::incident::{Detail, Subject};

pub(super) fn judge(context: &Context<'_>, case: Case<'_>) -> Opinion {
    let Case::Gap(gap) = case else { return Opinion::NotConcerned };
    let standing = gap.scope.groups.as_ref().map(|groups| (standing(groups, context.me(), &gap.peer), groups));
    match standing {
        Some((Standing::Together, _)) => Opinion::RuledOut("others heard both ends throughout".into()),
        Some((Standing::Alone(alone), _)) => Opinion::RuledOut(format!("{alone} alone was cut off")),
        Some((Standing::Apart, groups)) => match path_drop::by_numbers(context, gap) {
            Opinion::Holds(_) => apart(context, gap, groups),
            other => other,
        },
        None if gap.scope.together.is_empty() => Opinion::NotConcerned,
        None => Opinion::CannotTell("whether those that are silent hear each other is known only afterwards".into()),
    }
}

fn apart(context: &Context<'_>, gap: &Gap, groups: &[Vec<String>]) -> Opinion {
    let words: Vec<String> = groups.iter().map(|group| group.join(", ")).collect();
    let summary = format!(
        "the hosts fell apart into {} groups for {}: {}",
        groups.len(),
        time(gap.length(context.now)),
        words.join(" | ")
    );
    let mut hosts: Vec<String> = groups.iter().flatten().cloned().collect();
    hosts.sort();
    let subject = Subject { hosts, ..Subject::default() };
    let detail = Detail { groups: groups.to_vec(), direction: gap.direction(), ..Detail::default() };
    holds_with(0.97, subject, summary, detail)
}
