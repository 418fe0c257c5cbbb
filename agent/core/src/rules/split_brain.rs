//! `split-brain`: two hosts claim one virtual address.
//!
//! Opens: two hosts, or link-layer addresses that belong to no host that is known, answered the same request for the
//! address, and the next one again; or this host has it on an interface of its own while another answers. Closes when
//! request after request has one answer. Rules out: a failover, which has one answer to each request; two network cards of
//! one host that is known; a router that answers for everybody (proxy ARP), which is told no claim. Where both use one
//! link-layer address (VRRP's virtual one, RFC 5798), only a host that has the address itself can tell; the others say
//! nothing.

use super::{Case, Context, Opinion, holds_with, time};
use crate::incident::{Detail, Subject};
use crate::vip::{Claimant, VipCase};

pub(super) fn judge(_context: &Context<'_>, case: Case<'_>) -> Opinion {
    match case {
        Case::Vip(case) if case.parties.len() >= 2 => contested(case),
        Case::Vip(_) => Opinion::CannotTell("only one host was seen to answer".into()),
        _ => Opinion::NotConcerned,
    }
}

fn contested(case: &VipCase) -> Opinion {
    let mut hosts: Vec<String> = case.parties.iter().map(|party| party.who.to_string()).collect();
    hosts.sort();
    let links: Vec<String> = case.links().iter().map(ToString::to_string).collect();
    let (vip, length) = (case.vip, time(case.last.since(case.since)));
    let summary = format!("{} each claimed {vip} for {length}, from {}", hosts.join(" and "), links.join(", "));
    let subject = Subject { hosts, vip: Some(vip.to_string()), ..Subject::default() };
    holds_with(confidence(case), subject, summary, Detail { links, ..Detail::default() })
}

/// One host may have two cards; one that is known answers for its own address with both of them, too, and is told as one.
fn confidence(case: &VipCase) -> f64 {
    let named = case.parties.iter().filter(|party| matches!(party.who, Claimant::Host(_))).count();
    match named {
        0 => 0.7,
        1 => 0.85,
        _ => 0.95,
    }
}
