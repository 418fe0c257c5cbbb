//! One rule, one file: each verdict class is a small pure function from a case to an [`Opinion`].
//!
//! Every rule is asked about every case. The one that holds with the highest confidence gives the verdict, those
//! that are excluded say why, those that cannot tell say what they lack. Where none holds it is `unknown`.
//!
//! A number is written down with each rule, which ranks it: 0.95 where numbers prove it, 0.8 where one kind of evidence points
//! to it and nothing against it, 0.6 where the alternative is unlikely but not excluded. How sure the document says to be follows
//! from it in `confidence`.

use std::time::Duration;

use crate::completeness::Completeness;
use crate::cpu::CpuCase;
use crate::evidence::StallReport;
use crate::gap::Gap;
use crate::hole::Hole;
use crate::incident::{Class, Detail, RuledOut, Subject, Verdict};
use crate::io::IoWait;
use crate::load::Saturation;
use crate::loss::Loss;
use crate::own::OwnStall;
use crate::settings::Settings;
use crate::time::Nanos;
use crate::vip::VipCase;

mod agent_stall;
pub(crate) mod confidence;
mod cpu_lockup;
mod cpu_saturation;
mod host_down;
mod host_isolated;
mod hypervisor_stall;
mod io_stall;
mod mtu_blackhole;
mod packet_loss;
mod partition;
mod path_drop;
mod restart;
mod scheduler_stall;
mod split_brain;
#[cfg(test)]
mod tests;
mod timer_lockup;
mod unknown;
mod vcpu_stall;
mod vm_pause;

/// What is judged.
#[derive(Clone, Copy)]
pub enum Case<'a> {
    /// A gap between this host and a peer.
    Gap(&'a Gap),
    /// A stall of this host as a whole, or of its agent.
    Own(&'a OwnStall),
    /// A CPU of this host that stands still.
    Cpu(&'a CpuCase),
    /// Tasks of this host that wait for storage.
    Io(&'a IoWait),
    /// More work than CPUs on this host.
    Load(&'a Saturation),
    /// A virtual address that more than one host answers for.
    Vip(&'a VipCase),
    /// A steady loss between this host and a peer.
    Loss(&'a Loss),
    /// A black hole for large packets between this host and a peer.
    Hole(&'a Hole),
}

/// Where and when it is judged.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Thresholds and names.
    pub settings: &'a Settings,
    /// The time of the judgement.
    pub now: Nanos,
    /// Since when the engine has been told anything; absent where it has not.
    pub watched_since: Option<Nanos>,
    /// When events of the probes were lost last, and how many then.
    pub events_lost: Option<(Nanos, u64)>,
}

impl Context<'_> {
    fn me(&self) -> &str {
        &self.settings.host
    }
}

/// What a rule says of a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Opinion {
    /// It is this class.
    Holds(Box<Finding>),
    /// It is not, and why.
    RuledOut(String),
    /// The evidence does not say, and what is missing.
    CannotTell(String),
    /// The class does not apply to such a case.
    NotConcerned,
}

/// A class that holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// From 0 to 1.
    pub confidence: f64,
    /// Whom it is about.
    pub subject: Subject,
    /// One sentence.
    pub summary: String,
    /// What the class says beyond its name.
    pub detail: Detail,
}

/// What all rules together say.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// It may change while the incident is open.
    pub provisional: bool,
    /// What it was not.
    pub ruled_out: Vec<RuledOut>,
    /// What was missing.
    pub missing: Vec<String>,
    /// Others whose word was used.
    pub witnesses: Vec<String>,
    /// What evidence there was.
    pub completeness: Completeness,
}

type Rule = fn(&Context<'_>, Case<'_>) -> Opinion;

/// Every rule; the order decides between equals.
const RULES: [(Class, Rule); 17] = [
    (Class::Restart, restart::judge),
    (Class::AgentStall, agent_stall::judge),
    (Class::TimerLockup, timer_lockup::judge),
    (Class::CpuLockup, cpu_lockup::judge),
    (Class::SchedulerStall, scheduler_stall::judge),
    (Class::VcpuStall, vcpu_stall::judge),
    (Class::HypervisorStall, hypervisor_stall::judge),
    (Class::VmPause, vm_pause::judge),
    (Class::IoStall, io_stall::judge),
    (Class::CpuSaturation, cpu_saturation::judge),
    (Class::HostDown, host_down::judge),
    (Class::HostIsolated, host_isolated::judge),
    (Class::Partition, partition::judge),
    (Class::MtuBlackhole, mtu_blackhole::judge),
    (Class::PacketLoss, packet_loss::judge),
    (Class::PathDrop, path_drop::judge),
    (Class::SplitBrain, split_brain::judge),
];

/// The classes that a verdict can have.
pub fn classes() -> impl Iterator<Item = Class> {
    RULES.iter().map(|(class, _)| *class).chain([Class::Unknown])
}

/// Whether that shows by itself that a host stood still as a whole.
pub(crate) fn is_paused(context: &Context<'_>, case: Case<'_>) -> bool {
    matches!(vm_pause::judge(context, case), Opinion::Holds(_))
}

/// Asks every rule and takes the surest.
#[must_use]
pub fn judge(context: &Context<'_>, case: Case<'_>) -> Judgement {
    let mut best: Option<(Class, Finding)> = None;
    let (mut ruled_out, mut missing) = (Vec::new(), Vec::new());
    for (class, rule) in RULES {
        match rule(context, case) {
            Opinion::Holds(finding) if best.as_ref().is_none_or(|(_, known)| finding.confidence > known.confidence) => {
                best = Some((class, *finding));
            }
            Opinion::RuledOut(because) => ruled_out.push(RuledOut { class, because }),
            Opinion::CannotTell(what) => missing.push(format!("{}: {what}", class.name())),
            Opinion::Holds(_) | Opinion::NotConcerned => {}
        }
    }
    let completeness = Completeness::of(context, case);
    let (class, finding) = best.unwrap_or_else(|| (Class::Unknown, unknown::finding(context, case)));
    let Finding { confidence, subject, summary, detail } = finding;
    Judgement {
        verdict: Verdict { class, subject, confidence, summary, detail },
        provisional: !matches!(case, Case::Io(_) | Case::Load(_) | Case::Vip(_)),
        ruled_out,
        missing,
        witnesses: witnesses(case),
        completeness,
    }
}

fn witnesses(case: Case<'_>) -> Vec<String> {
    match case {
        Case::Gap(gap) => gap.witnesses.iter().map(|witness| witness.name.clone()).collect(),
        Case::Own(stall) => stall.neighbours.clone(),
        Case::Cpu(_) | Case::Io(_) | Case::Load(_) | Case::Vip(_) | Case::Loss(_) | Case::Hole(_) => Vec::new(),
    }
}

fn holds(confidence: f64, subject: Subject, summary: String) -> Opinion {
    Opinion::Holds(Box::new(Finding { confidence, subject, summary, detail: Detail::default() }))
}

fn holds_with(confidence: f64, subject: Subject, summary: String, detail: Detail) -> Opinion {
    Opinion::Holds(Box::new(Finding { confidence, subject, summary, detail }))
}

fn host(name: &str) -> Subject {
    Subject { host: Some(name.to_owned()), ..Subject::default() }
}

/// The path between this host and a peer.
fn path_to(context: &Context<'_>, peer: &str) -> Subject {
    Subject { peer: Some(peer.to_owned()), ..host(context.me()) }
}

fn cpu_of(name: &str, cpu: u32) -> Subject {
    Subject { cpu: Some(cpu), ..host(name) }
}

/// A CPU in words.
fn of_cpu(name: &str, cpu: u32) -> String {
    format!("CPU {cpu} of {name}")
}

/// What a rule about kernels and hypervisors says of a peer: its own account holds, or rules out, or is missing.
fn by_account(context: &Context<'_>, gap: &Gap, class: Class, what: &str) -> Opinion {
    if let Some(report) = account(gap, class) {
        let place = report.cpu.map_or_else(|| gap.peer.clone(), |cpu| of_cpu(&gap.peer, cpu));
        let length = time(gap.told_length(context.now));
        let summary = format!("{place} {what} for {length}, by the account of {}", gap.peer);
        let subject = Subject { cpu: report.cpu, ..host(&gap.peer) };
        return holds_with(0.93, subject, summary, Detail { clock: report.clock, ..Detail::default() });
    }
    told_otherwise(gap, class)
        .or_else(|| sent_all_along(gap))
        .unwrap_or_else(|| Opinion::CannotTell(format!("{} has not said what it did", gap.peer)))
}

/// The peer's own account of the gap, where it is of that class.
fn account(gap: &Gap, class: Class) -> Option<StallReport> {
    gap.told().filter(|stall| stall.class == class)
}

/// The same of its agent alone. It counts where the gap is one without what this host itself missed: the heartbeat that was late
/// may have come in as that began, and every turn of an agent may be late for a moment.
fn account_of_the_agent(context: &Context<'_>, gap: &Gap, class: Class) -> Option<StallReport> {
    account(gap, class).filter(|_| gap.length(context.now) >= context.settings.gap)
}

/// What a peer's account of another class rules out.
fn told_otherwise(gap: &Gap, class: Class) -> Option<Opinion> {
    let told = gap.told().filter(|stall| stall.class != class && stall.class != Class::Unknown)?;
    Some(Opinion::RuledOut(format!("{} itself says {}", gap.peer, told.class.name())))
}

/// Why a peer that is heard, or sent all along, did not stall.
fn sent_all_along(gap: &Gap) -> Option<Opinion> {
    let heard = !gap.silent && gap.unsent.is_zero() && !gap.counted_anew();
    heard.then(|| Opinion::RuledOut(format!("{} sent its heartbeats on time all along", gap.peer)))
}

/// A duration for people: milliseconds below a second, else seconds with one digit.
fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 { format!("{} ms", duration.as_millis()) } else { format!("{seconds:.1} s") }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
