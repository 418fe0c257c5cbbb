//! In which lane a piece of evidence belongs, what sort it is, and what it says in a few words.

use lacuna_core::evidence::{Fact, Way};
use lacuna_core::incident::Cited;

use crate::export::words;

/// What a piece of evidence is of. In the order of how much it tells of who stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Sort {
    /// The lane stood still.
    Stall,
    /// The lane did not hear, or answer, another one.
    Gap,
    /// Something took longer than it should.
    Delay,
    /// The lane's kernel dropped packets.
    Drop,
    /// The lane sent packets again.
    Resent,
    /// Anything else that was seen, also that all is well.
    Word,
}

impl Sort {
    /// Every sort with the class of its style and its name in the legend.
    pub(in super::super) const ALL: [(Self, &'static str, &'static str); 6] = [
        (Self::Stall, "stall", "stood still"),
        (Self::Gap, "gap", "gap"),
        (Self::Delay, "delay", "delay"),
        (Self::Drop, "drop", "dropped packets"),
        (Self::Resent, "resent", "sent again"),
        (Self::Word, "word", "other evidence"),
    ];

    /// The class of its style.
    pub(in super::super) fn style(self) -> &'static str {
        Self::ALL.iter().find(|(sort, ..)| *sort == self).map_or("word", |(_, style, _)| style)
    }

    /// Whether the lane stopped.
    pub(in super::super) fn stops(self) -> bool {
        matches!(self, Self::Stall | Self::Gap)
    }
}

/// A piece of evidence and its lane.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Placed {
    /// The lane's host.
    pub(in super::super) host: String,
    /// The lane's CPU.
    pub(in super::super) cpu: Option<u32>,
    /// What sort it is.
    pub(in super::super) sort: Sort,
    /// The public name of its kind.
    pub(in super::super) kind: String,
    /// What it says, in a few words.
    pub(in super::super) label: String,
}

/// Where a piece belongs that `observer` cites.
#[must_use]
pub(in super::super) fn place(cited: &Cited, observer: &str) -> Placed {
    let about = cited.host.as_str();
    let kind = words::kind(&cited.fact);
    let found = of_gap(about, observer, &cited.fact)
        .or_else(|| of_machine(about, observer, &cited.fact))
        .or_else(|| of_packets(about, observer, &cited.fact));
    let (host, cpu, sort, label) = found.unwrap_or_else(|| (about.to_owned(), None, Sort::Word, kind.clone()));
    Placed { host, cpu, sort, kind, label }
}

type Found = Option<(String, Option<u32>, Sort, String)>;

/// What somebody did not hear, or heard all the while.
fn of_gap(about: &str, observer: &str, fact: &Fact) -> Found {
    let (host, sort, label) = match fact {
        Fact::Silence { .. } => (observer, Sort::Gap, format!("heard nothing of {about}")),
        Fact::Unheard { sent, heard } => {
            let sort = if heard < sent { Sort::Gap } else { Sort::Word };
            (about, sort, format!("heard {heard} of {sent} heartbeats of {observer}"))
        }
        Fact::View { witness, hears: true, .. } => (witness.as_str(), Sort::Word, format!("hears {about}")),
        Fact::View { witness, .. } => (witness.as_str(), Sort::Gap, format!("does not hear {about}")),
        Fact::Echo { sent, answered } => {
            let sort = if *answered == 0 && *sent > 0 { Sort::Gap } else { Sort::Word };
            (about, sort, format!("its kernel answered {answered} of {sent} echo requests"))
        }
        Fact::Sizes { bytes, sent, heard, .. } => {
            let sort = if heard < sent { Sort::Gap } else { Sort::Word };
            (about, sort, format!("heard {heard} of {sent} heartbeats of {bytes} bytes"))
        }
        Fact::Hole(_) => (observer, Sort::Gap, format!("large packets of {about} do not arrive")),
        Fact::Loss { rate, .. } => {
            (observer, Sort::Gap, format!("{:.1} % of {about}'s heartbeats lost", rate.rate * 100.0))
        }
        Fact::Lost { .. } => (observer, Sort::Gap, format!("packets lost with {about}")),
        Fact::Carrier { interface, up: false } => (about, Sort::Gap, format!("{interface} lost its carrier")),
        Fact::VipClaim(claim) => {
            let owner = claim.owner.as_deref().unwrap_or(about);
            (owner, Sort::Word, format!("{} claims {}", claim.link, claim.vip))
        }
        _ => return None,
    };
    Some((host.to_owned(), None, sort, label))
}

/// What a host or a CPU did, or did not do.
fn of_machine(about: &str, observer: &str, fact: &Fact) -> Found {
    let (host, cpu, sort, label) = match fact {
        Fact::Account(report) => {
            (about, report.cpu, Sort::Stall, format!("{}, by its own account", report.class.name()))
        }
        Fact::CpuStall(stall) => {
            (about, Some(stall.cpu), Sort::Stall, if stall.over { "stood still" } else { "stands still" }.to_owned())
        }
        Fact::TimerLate { cpu } => (about, Some(*cpu), Sort::Stall, "timer late".to_owned()),
        Fact::AgentLate(_) => (about, None, Sort::Stall, "agent late".to_owned()),
        // The fact is about the one whose clock went on.
        Fact::ClockStood { .. } => (observer, None, Sort::Stall, format!("its clock stood still beside {about}'s")),
        Fact::IoStuck(_) => (about, None, Sort::Stall, "tasks waited for storage".to_owned()),
        Fact::RunqueueDelay { cpu, comm, .. } => {
            (about, Some(*cpu), Sort::Delay, format!("{} waited for the CPU", comm.escape_debug()))
        }
        Fact::SoftirqDelay { cpu, softirq } => (about, Some(*cpu), Sort::Delay, format!("softirq {softirq} late")),
        Fact::Steal { cpu, stolen_ns } => {
            (about, Some(*cpu), Sort::Delay, format!("the hypervisor took {}", words::nanos(*stolen_ns)))
        }
        Fact::CpuLoad(load) => (about, None, Sort::Delay, format!("CPUs {:.0} % busy", load.busy * 100.0)),
        Fact::KernelMessage(message) => (about, message.cpu, Sort::Word, format!("kernel log: {}", message.about)),
        Fact::RcuStall { .. } => (about, None, Sort::Word, "kernel log: RCU stall".to_owned()),
        Fact::TaskHung { comm, .. } => (about, None, Sort::Word, format!("kernel: {} hung", comm.escape_debug())),
        Fact::NewBoot { .. } => (about, None, Sort::Word, "back with a new boot".to_owned()),
        Fact::NewIncarnation => (about, None, Sort::Word, "its agent was started anew".to_owned()),
        _ => return None,
    };
    Some((host.to_owned(), cpu, sort, label))
}

/// What became of packets.
fn of_packets(about: &str, observer: &str, fact: &Fact) -> Found {
    let (host, sort, label) = match fact {
        Fact::Drops { reason, count } => (about, Sort::Drop, format!("{count} packets dropped: {reason}")),
        Fact::HeartbeatDrops { direction, reason, count } => {
            let way = if *direction == Way::In { "from" } else { "to" };
            (observer, Sort::Drop, format!("{count} heartbeats {way} {about} dropped: {reason}"))
        }
        Fact::PeerDrops(_) => (about, Sort::Drop, "its kernel dropped heartbeats".to_owned()),
        Fact::SendRefused { count, .. } => {
            (observer, Sort::Drop, format!("its kernel refused to send {count} heartbeats to {about}"))
        }
        Fact::Refused { reason, count } => {
            (observer, Sort::Drop, format!("{count} packets of {about} refused: {}", reason.escape_debug()))
        }
        Fact::SocketOverflow { count } | Fact::ReceiveOverflow { count } | Fact::SoftnetDrops { count } => {
            (about, Sort::Drop, format!("{count} packets found no room"))
        }
        Fact::Fragments { count, .. } => (about, Sort::Drop, format!("{count} fragmented datagrams lost")),
        Fact::InterfaceErrors { interface, what, count } => {
            (about, Sort::Drop, format!("{interface}: {count} {}", what.name()))
        }
        Fact::TransmitTimeout { interface, .. } => (about, Sort::Delay, format!("{interface} did not transmit")),
        Fact::Retransmits { count, .. } => {
            (observer, Sort::Resent, format!("{count} TCP segments sent again to {about}"))
        }
        Fact::RetransmitSizes { smallest, largest, .. } => {
            (observer, Sort::Resent, format!("sent again: {smallest} to {largest} bytes"))
        }
        Fact::ArpReply { count, .. } => (about, Sort::Word, format!("answered {count} ARP requests")),
        Fact::FragNeeded { count, .. } => (about, Sort::Word, format!("ICMP said {count} times: too big")),
        _ => return None,
    };
    Some((host.to_owned(), None, sort, label))
}
