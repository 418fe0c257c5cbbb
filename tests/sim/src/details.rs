//! Whether what a verdict says beyond its class and subject is true: a direction, a clock, groups, a size. What it does not say is
//! not wrong; a cut path that is over has its direction.

use std::collections::BTreeSet;

use lacuna_core::evidence::HoleReason;
use lacuna_core::incident::{Direction, Incident, LastSeen, Reason, State};

use crate::fault::{Fault, Kind};
use crate::network::Filter;
use crate::plan::name;

/// Packets of a whole MTU in the simulated networks, in bytes.
const WHOLE: u16 = 1500;

/// As `observer` has it.
pub(crate) fn are_true(incident: &Incident, fault: &Fault, observer: usize) -> bool {
    let (detail, subject) = (&incident.verdict.detail, &incident.verdict.subject);
    match &fault.kind {
        Kind::Drop { from, both, .. } | Kind::Filter { from, both, .. } => {
            let told = detail.direction.is_some() || incident.state == State::Open;
            told && is_that_way(detail.direction, *from, *both, observer) && is_right_place(detail.last_seen, fault)
        }
        Kind::Loss { from, both, .. } => is_that_way(detail.direction, *from, *both, observer),
        Kind::Hole { from, both, largest, fragments, .. } => {
            is_that_way(detail.direction, *from, *both, observer)
                && is_unless_absent(detail.reason.as_ref(), &Reason::Hole(reason_of(*largest, *fragments)))
                && is_unless_absent(subject.mtu.as_ref(), &(*largest).min(WHOLE))
        }
        Kind::Partition { side } => {
            let side: BTreeSet<String> = side.iter().copied().map(name).collect();
            let on_one_side = |group: &Vec<String>| {
                let inside = group.iter().filter(|one| side.contains(*one)).count();
                inside == 0 || inside == group.len()
            };
            detail.groups.iter().all(on_one_side)
        }
        Kind::Pause { clock, .. } | Kind::Migrated { clock, .. } => is_unless_absent(detail.clock.as_ref(), clock),
        Kind::Agent { state, .. } => is_unless_absent(detail.state.as_ref(), state),
        Kind::SplitBrain { owner, other } => {
            let concerned = [name(*owner), name(*other)];
            // Whoever is no peer has a link-layer address only.
            let is_concerned = |host: &String| concerned.contains(host) || host.contains(':');
            subject.hosts.iter().chain(&subject.host).all(is_concerned)
        }
        _ => true,
    }
}

fn is_unless_absent<T: PartialEq>(said: Option<&T>, truth: &T) -> bool {
    said.is_none_or(|said| said == truth)
}

/// `from` is the end whose packets are lost, where it is one way only. Of both ways one may be noticed before the other.
fn is_that_way(said: Option<Direction>, from: usize, both: bool, observer: usize) -> bool {
    let truth = if observer == from { Direction::ToPeer } else { Direction::FromPeer };
    both || is_unless_absent(said.as_ref(), &truth)
}

fn reason_of(largest: u16, fragments_pass: bool) -> HoleReason {
    match (largest < WHOLE, fragments_pass) {
        (true, false) => HoleReason::DfDropped,
        (true, true) => HoleReason::FragNeededLost,
        (false, _) => HoleReason::FragmentsLost,
    }
}

/// Whether the place where packets were last seen is none where they were not.
fn is_right_place(said: Option<LastSeen>, fault: &Fault) -> bool {
    let dropped_on_arrival = matches!(fault.kind, Kind::Filter { filter: Filter::OnArrival, .. });
    match said {
        Some(LastSeen::Between) => !dropped_on_arrival,
        Some(LastSeen::ThisKernel | LastSeen::PeerKernel) => dropped_on_arrival,
        None => true,
    }
}
