//! `hypervisor-stall`: several VMs of one `hypervisor` label stood still at once.
//!
//! Confirms: a `vm-pause` of a host, and the account of at least one other host of the same hypervisor that it stood
//! still at that time as well, or that its clock agrees with the one that stood. Rules out: neighbours that tell nothing of the
//! kind.

use super::{Case, Context, Finding, Opinion, by_account, vm_pause};
use crate::incident::{Class, Subject};

/// Two machines that stand still together are no coincidence: surer than each alone.
const SURER: f64 = 0.96;

pub(super) fn judge(context: &Context<'_>, case: Case<'_>) -> Opinion {
    match case {
        Case::Own(stall) if !stall.neighbours.is_empty() => {
            let alone = match vm_pause::judge(context, case) {
                Opinion::Holds(finding) => Opinion::Holds(finding),
                // A lock that one CPU held and the other waited for would not stop another machine.
                Opinion::CannotTell(_) if stall.all_timers_dead() == Some(true) => {
                    vm_pause::of_own_cpus(context, stall)
                }
                other => other,
            };
            several(alone, context.me(), &stall.neighbours)
        }
        Case::Gap(gap) if !gap.neighbours.is_empty() => {
            let alone = match vm_pause::judge(context, case) {
                Opinion::Holds(finding) => Opinion::Holds(finding),
                // The peer knows of its neighbours already, or cannot name alone what both of them tell of. A single CPU that
                // it cannot tell of is not the whole of it.
                _ if gap.told().is_some_and(|told| told.class == Class::Unknown && told.cpu.is_none()) => {
                    by_account(context, gap, Class::Unknown, "stood still")
                }
                _ => by_account(context, gap, Class::HypervisorStall, "as a whole stood still"),
            };
            several(alone, &gap.peer, &gap.neighbours)
        }
        // Whoever watches one of them only has its word for it.
        Case::Gap(gap) if gap.told().is_some_and(|told| told.class == Class::HypervisorStall) => {
            by_account(context, gap, Class::HypervisorStall, "as a whole stood still with others of its hypervisor")
        }
        _ => Opinion::NotConcerned,
    }
}

fn several(alone: Opinion, name: &str, neighbours: &[String]) -> Opinion {
    let Opinion::Holds(finding) = alone else {
        return Opinion::CannotTell("whether this host as a whole stood still is not known".into());
    };
    let mut hosts: Vec<String> = neighbours.iter().cloned().chain([name.to_owned()]).collect();
    hosts.sort();
    hosts.dedup();
    let summary = format!("{} stood still at once: their hypervisor did not run them", hosts.join(", "));
    let subject = Subject { host: Some(name.to_owned()), hosts, ..Subject::default() };
    Opinion::Holds(Box::new(Finding { confidence: SURER.max(finding.confidence), subject, summary, ..*finding }))
}
