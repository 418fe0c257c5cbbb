//! What an agent said against what really happened. Pure: what was seen goes in, a judgement comes out.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use lacuna_core::incident::{Class, State};
use serde_json::Value;

use super::api::{Incident, wall};
use super::clock::{Moment, seconds};
use super::guest::threads::Waits;
use super::machine::Machine;
use super::scenario::{Expect, Scenario};
use super::watch::{History, Seen};
use excuse::{blames_another, excuse, held, squeezed};
use members::{about, contradicts, holds, listed, plain, wanted};

mod excuse;
mod members;

pub(crate) use members::told;

/// Classes that say "the network" or "the host": wrong wherever they are not expected, provisional ones too.
const BLAME: [Class; 8] = [
    Class::PathDrop,
    Class::PacketLoss,
    Class::HostIsolated,
    Class::Partition,
    Class::MtuBlackhole,
    Class::SplitBrain,
    Class::HostDown,
    Class::Restart,
];
/// Classes that are the machine's own doing: true where its CPUs are busy or stolen.
pub(super) const MACHINE: [Class; 4] = [Class::CpuSaturation, Class::VcpuStall, Class::VmPause, Class::SchedulerStall];

/// What really happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    /// When each named step took effect.
    pub(crate) moments: BTreeMap<String, Moment>,
    /// What the machine itself did meanwhile.
    pub(crate) machine: Machine,
    /// How long the virtual CPUs of each guest waited for this machine.
    pub(crate) waits: BTreeMap<String, Waits>,
    /// By how many nanoseconds the wall clock of each guest was ahead of this machine's when its agent began.
    pub(crate) clocks_ahead: BTreeMap<String, i64>,
    /// Whether the CPUs were kept busy on purpose.
    pub(crate) loaded: bool,
}

/// The judgement over a scenario.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Judgement {
    /// Expectations that were reached, a line each.
    pub(crate) reached: Vec<String>,
    /// Expectations that were not.
    pub(crate) missing: Vec<String>,
    /// What must not have been said.
    pub(crate) wrong: Vec<String>,
    /// Further incidents that are true on this machine, with the figure.
    pub(crate) excused: Vec<String>,
    /// What this machine did to a guest beside the steps, where that was enough to be a stall of its own, and nothing
    /// was said that it does not account for.
    pub(crate) disturbed: Option<String>,
}

impl Truth {
    /// A time that an agent tells, by this machine's wall clock.
    fn wall(&self, host: &str, time: &str) -> Result<u64> {
        let ahead = self.clocks_ahead.get(host).copied().unwrap_or_default();
        Ok(wall(time)?.saturating_add_signed(ahead.saturating_neg()))
    }
}

impl Judgement {
    /// Whether all is as it must be.
    pub(crate) fn passed(&self) -> bool {
        self.missing.is_empty() && self.wrong.is_empty()
    }
}

/// Judges what every host's agent said.
pub(crate) fn judge(scenario: &Scenario, truth: &Truth, seen: &BTreeMap<String, Seen>) -> Result<Judgement> {
    let mut judgement = Judgement::default();
    let mut taken = BTreeSet::new();
    let mut groups: BTreeMap<(&String, &String), bool> = BTreeMap::new();
    let mut traces = Traces::default();
    for expect in scenario.expect.iter().filter(|expect| !expect.any_number) {
        let histories = seen.get(&expect.host).map(|seen| &seen.incidents);
        let histories = histories.into_iter().flatten();
        let open = histories.filter(|(id, _)| !taken.contains(&(expect.host.clone(), (*id).clone())));
        let found = best(scenario, expect, truth, open.map(|(_, history)| history))?;
        // Of several that would do, one that does not is none: it may be of something else.
        let found = found.filter(|(_, faults)| expect.one_of.is_none() || faults.is_none());
        if let Some(group) = &expect.one_of {
            *groups.entry((&expect.host, group)).or_default() |= found.is_some();
        }
        match found {
            Some((history, faults)) => {
                taken.insert((expect.host.clone(), history.last.id.clone()));
                traces.note(expect, history);
                judgement.note(expect, history, faults);
            }
            None if expect.optional || expect.one_of.is_some() => {}
            None => judgement.missing.push(format!("{}: no {}", expect.host, wanted(expect))),
        }
    }
    judgement.missing.extend(traces.apart());
    for ((host, group), _) in groups.into_iter().filter(|(_, reached)| !reached) {
        judgement.missing.push(format!("{host}: none of `{group}`"));
    }
    for (host, history) in all(seen) {
        if !taken.contains(&(host.clone(), history.last.id.clone())) {
            if is_one_of_any_number(scenario, truth, host, history)? {
                judgement.reached.push(format!("{host}: {}", told(history)));
                continue;
            }
            match excuse(host, history, truth, seen)? {
                Some(excuse) => judgement.excused.push(excuse),
                None => judgement.wrong.push(format!("{host}: {}", told(history))),
            }
        }
    }
    for (host, seen) in seen {
        judgement.note_contract(host, seen);
    }
    // What was said at all is judged by fractions of a second, for which less matters than for whether it was said.
    let squeezed = || if judgement.missing.is_empty() { squeezed(scenario, truth) } else { None };
    let disturbed = held(scenario, truth).or_else(squeezed);
    judgement.disturbed = disturbed.filter(|_| !blames_another(scenario, seen));
    Ok(judgement)
}

/// Whether it is among those of which a scenario allows any number.
fn is_one_of_any_number(scenario: &Scenario, truth: &Truth, host: &str, history: &History) -> Result<bool> {
    for expect in scenario.expect.iter().filter(|expect| expect.any_number && expect.host == host) {
        let found = best(scenario, expect, truth, std::iter::once(history))?;
        if found.is_some_and(|(_, faults)| faults.is_none()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Who goes under which trace, by the step that it began with, its class and whom it is about: what one step does to somebody is one
/// trace for all who see it. What nobody can name they may see in different ways.
#[derive(Default)]
struct Traces<'a>(BTreeMap<(&'a str, Class, String), BTreeMap<String, Vec<&'a str>>>);

impl<'a> Traces<'a> {
    fn note(&mut self, expect: &'a Expect, history: &History) {
        let Some(from) = expect.from.as_ref().filter(|_| expect.class != Class::Unknown) else { return };
        let traces = self.0.entry((from, expect.class, about_whom(&history.last.verdict.subject))).or_default();
        traces.entry(history.last.trace_id.clone()).or_default().push(&expect.host);
    }

    /// A line for what is in several.
    fn apart(self) -> impl Iterator<Item = String> {
        let apart = self.0.into_iter().filter(|(_, traces)| traces.len() > 1);
        apart.map(|((from, class, whom), traces)| {
            format!("{} of {whom} since `{from}` is in several traces: {traces:?}", class.name())
        })
    }
}

/// In the same words whoever says so.
fn about_whom(subject: &BTreeMap<String, Value>) -> String {
    let whole = ["vip", "hosts"].iter().find_map(|key| subject.get(*key)).map(plain);
    whole.unwrap_or_else(|| {
        let mut ends: Vec<String> = ["host", "peer"].iter().filter_map(|key| subject.get(*key)).map(plain).collect();
        ends.sort();
        ends.join(" - ")
    })
}

impl Judgement {
    fn note(&mut self, expect: &Expect, history: &History, faults: Faults) {
        let line = format!("{}: {}", expect.host, told(history));
        if faults.is_none() {
            self.reached.push(line.clone());
        }
        let late = faults.late.into_iter();
        self.missing.extend(late.map(|fault| format!("{line}: {fault}")));
        let wrong = faults.wrong.into_iter();
        self.wrong.extend(wrong.map(|fault| format!("{line}: {fault}")));
    }

    fn note_contract(&mut self, host: &str, seen: &Seen) {
        for (complaint, count) in &seen.broken {
            self.wrong.push(format!("{host}: {complaint} ({count} times)"));
        }
        for history in seen.incidents.values() {
            if !history.listed && history.last.state == State::Open {
                let line = told(history);
                self.wrong.push(format!("{host}: vanished while it was open: {line}"));
            }
        }
        if seen.refused > 0 {
            let refused = seen.refused;
            self.wrong.push(format!("{host}: {refused} more incidents or versions of them"));
        }
    }
}

/// What is wrong with an incident that was expected: what may still come, and what cannot be mended any more.
#[derive(Clone, Debug, Default, PartialEq)]
struct Faults {
    late: Vec<String>,
    wrong: Vec<String>,
}

impl Faults {
    fn is_none(&self) -> bool {
        self.late.is_empty() && self.wrong.is_empty()
    }
}

/// Among the incidents about the expected subject, the one with the fewest faults.
fn best<'a>(
    scenario: &Scenario,
    expect: &Expect,
    truth: &Truth,
    histories: impl Iterator<Item = &'a History>,
) -> Result<Option<(&'a History, Faults)>> {
    let mut found: Option<(&History, Faults)> = None;
    for history in histories.filter(|history| about(&history.last.verdict.subject, &expect.subject)) {
        if history.last.verdict.class != expect.class {
            continue;
        }
        let faults = faults(scenario, expect, truth, history)?;
        let count = |faults: &Faults| faults.late.len() + faults.wrong.len();
        if found.as_ref().is_none_or(|(_, least)| count(&faults) < count(least)) {
            found = Some((history, faults));
        }
    }
    Ok(found)
}

fn faults(scenario: &Scenario, expect: &Expect, truth: &Truth, history: &History) -> Result<Faults> {
    let incident = &history.last;
    let mut faults = Faults::default();
    if incident.state != expect.state {
        faults.late.push(format!("must be {:?}", expect.state).to_lowercase());
    }
    if !holds(&incident.verdict.detail, &expect.holds) {
        faults.late.push(format!("must have intervals that hold {:?}", expect.holds));
    }
    if !about(&incident.verdict.detail, &expect.detail) {
        faults.late.push(format!("must have {:?}", expect.detail));
    }
    for kind in &expect.evidence {
        if !incident.evidence.iter().any(|evidence| evidence.kind == *kind) {
            faults.late.push(format!("cites no {kind}"));
        }
    }
    let document = history.document.to_string();
    for word in expect.mentions.iter().filter(|word| !document.contains(*word)) {
        faults.late.push(format!("does not mention {word}"));
    }
    if incident.state == State::Closed && incident.provisional {
        faults.wrong.push("closed and still provisional".into());
    }
    faults.wrong.extend(wrong_times(scenario, expect, truth, incident)?);
    if let Some(most) = expect.at_most.filter(|most| u128::from(incident.duration_ms) > most.as_millis()) {
        faults.wrong.push(format!("lasted {} ms, allowed are at most {most:?}", incident.duration_ms));
    }
    faults.wrong.extend(too_late(expect, truth, history));
    faults.wrong.extend(wrong_versions(expect, history));
    Ok(faults)
}

/// Begin, end and length, where the expectation names the steps that they must fit. A wall clock in a guest was set
/// before, and is no witness of an end once the guest was paused with its clocks.
fn wrong_times(scenario: &Scenario, expect: &Expect, truth: &Truth, incident: &Incident) -> Result<Vec<String>> {
    let moment = |name: &Option<String>| name.as_ref().and_then(|name| truth.moments.get(name));
    let (from, to) = (moment(&expect.from), moment(&expect.to));
    let mut checks = Vec::new();
    let mut length = 0.0;
    if let Some(from) = from {
        checks.push(("began", off_wall(truth.wall(&expect.host, &incident.started_at)?, from)));
    }
    if let (Some(to), Some(ended)) = (to, &incident.ended_at) {
        if !scenario.stops_clock(&expect.host) {
            checks.push(("ended", off_wall(truth.wall(&expect.host, ended)?, to)));
        }
        if let Some(from) = from {
            let shortest = seconds(from.after.boot, to.before.boot);
            let longest = seconds(from.before.boot, to.after.boot);
            length = shortest;
            checks.push(("lasted", off(seconds(0, incident.duration_ms.saturating_mul(1_000_000)), shortest, longest)));
        }
    }
    let allowed = expect.allowed(scenario.has_guests(), length);
    let beyond = checks.into_iter().filter(|(_, off)| off.abs() > allowed);
    Ok(beyond.map(|(what, off)| format!("{what} {off:+.3} s from the truth, allowed are ±{allowed} s")).collect())
}

/// Where it must have been said while it went on: whether it was.
fn too_late(expect: &Expect, truth: &Truth, history: &History) -> Option<String> {
    let within = expect.within?;
    let from = truth.moments.get(expect.from.as_ref()?)?;
    let to = expect.to.as_ref().and_then(|to| truth.moments.get(to));
    let said = history.versions.iter().find(|version| {
        version.class == expect.class && version.state == State::Open && about(&version.subject, &expect.subject)
    });
    let Some(said) = said else {
        return Some("was never seen while it went on".into());
    };
    let after = seconds(from.middle(), said.at.boot);
    if to.is_some_and(|to| said.at.boot > to.before.boot) {
        return Some(format!("was seen {after:.3} s after it began, and it was over by then"));
    }
    (after > within.as_secs_f64()).then(|| format!("was seen {after:.3} s after it began, allowed are {within:?}"))
}

/// How far `value` is outside of a range; 0 inside.
fn off(value: f64, low: f64, high: f64) -> f64 {
    value - value.clamp(low.min(high), high)
}

fn off_wall(value: u64, moment: &Moment) -> f64 {
    off(seconds(moment.before.wall, value), 0.0, seconds(moment.before.wall, moment.after.wall))
}

/// Verdicts on the way that must not have been said: a class that is neither the expected one, nor `unknown`,
/// nor allowed meanwhile; or another one that was not called provisional.
fn wrong_versions(expect: &Expect, history: &History) -> Vec<String> {
    let mut wrong = BTreeSet::new();
    for version in &history.versions {
        let class = version.class;
        let name = class.name();
        let on_the_way = class == Class::Unknown || expect.meanwhile.contains(&class);
        if class == expect.class {
            if expect.class != Class::Unknown && contradicts(&version.subject, &expect.subject) {
                wrong.insert(format!("was about {}", listed(&version.subject)));
            }
        } else if !on_the_way {
            wrong.insert(format!("was {name}"));
        } else if !version.provisional {
            wrong.insert(format!("was {name} and not called provisional"));
        }
    }
    wrong.into_iter().collect()
}

fn all(seen: &BTreeMap<String, Seen>) -> impl Iterator<Item = (&String, &History)> {
    seen.iter().flat_map(|(host, seen)| seen.incidents.values().map(move |history| (host, history)))
}

#[cfg(test)]
mod tests;
