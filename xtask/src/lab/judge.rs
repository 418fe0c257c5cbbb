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
/// What a guest may also say of a virtual CPU that this machine did not run; a lock-up or a stopped agent it is not.
const NOT_RUN: [Class; 3] = [Class::VcpuStall, Class::VmPause, Class::Unknown];
/// By how much an incident's steal may be more than the machine's: the kernel counts in ticks of 10 ms for each CPU.
const STEAL_SLACK: f64 = 0.1;
/// The part of a stall that must have been stolen so that steal accounts for it.
const STOLEN: f64 = 0.5;
/// CPUs that are busy for that part of the time have more than enough to do.
const SATURATED: f64 = 0.85;
/// How far a peer's account of a stall may be from its own, in nanoseconds.
const ACCOUNT_SLACK: u64 = 1_000_000_000;

/// How long after a step a guest catches up, in nanoseconds of the wall clock.
const AFTER: u64 = 1_000_000_000;
/// A guest that waits for so many seconds of those is late by more than what is allowed.
const SQUEEZED: f64 = 0.25;

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
    for expect in &scenario.expect {
        let histories = seen.get(&expect.host).map(|seen| &seen.incidents);
        let histories = histories.into_iter().flatten();
        let open = histories.filter(|(id, _)| !taken.contains(&(expect.host.clone(), (*id).clone())));
        let found = best(scenario, expect, truth, open.map(|(_, history)| history))?;
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
        if faults.late.is_empty() && faults.wrong.is_empty() {
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

/// Why an incident that nobody expected is true on this machine; none where it is not.
fn excuse(host: &str, history: &History, truth: &Truth, seen: &BTreeMap<String, Seen>) -> Result<Option<String>> {
    let line = format!("{host}: {}", told(history));
    let class = history.last.verdict.class;
    if history.versions.iter().all(|version| NOT_RUN.contains(&version.class))
        && let Some(figure) = not_run(host, history, truth)?
    {
        return Ok(Some(format!("{line} ({figure})")));
    }
    let blames = history.versions.iter().any(|version| BLAME.contains(&version.class));
    if blames || !MACHINE.contains(&class) {
        return Ok(None);
    }
    if truth.loaded {
        return Ok(Some(format!("{line} (the CPUs are kept busy)")));
    }
    if let Some(figure) = accounted(history, truth)? {
        return Ok(Some(format!("{line} ({figure})")));
    }
    for (other, account) in all(seen) {
        if other != host
            && same_stall(history, account)?
            && let Some(figure) = accounted(account, truth)?
        {
            return Ok(Some(format!("{line} ({other}: {figure})")));
        }
    }
    Ok(None)
}

/// The guest that this machine held longest, beside the steps.
fn held(scenario: &Scenario, truth: &Truth) -> Option<String> {
    let (seconds, name) = waited_most(scenario, truth, Waits::held)?;
    Some(format!("this machine did not run {name} for {seconds:.2} s, beside the steps"))
}

/// The guest that waited longest for this machine in the second after a step, where it had to catch up.
fn squeezed(scenario: &Scenario, truth: &Truth) -> Option<String> {
    let after_steps = |waits: &Waits| {
        let ends = truth.moments.values().map(|moment| moment.after.wall);
        let waited = ends.filter_map(|end| waits.longest(end, end.saturating_add(AFTER)));
        waited.filter(|waited| *waited >= SQUEEZED).max_by(f64::total_cmp)
    };
    let (seconds, name) = waited_most(scenario, truth, after_steps)?;
    Some(format!("this machine let {name} wait for {seconds:.2} s in the second after a step"))
}

/// The guest that waited for most seconds, by one way to count them. One that is throttled waits by a step.
fn waited_most<'a>(
    scenario: &Scenario,
    truth: &'a Truth,
    seconds: impl Fn(&Waits) -> Option<f64>,
) -> Option<(f64, &'a String)> {
    if scenario.throttles() {
        return None;
    }
    let waited = truth.waits.iter().filter_map(|(name, waits)| Some((seconds(waits)?, name)));
    waited.max_by(|(one, _), (other, _)| one.total_cmp(other))
}

/// Whether anything was ever said that neither the steps nor a guest that is not run account for.
fn blames_another(scenario: &Scenario, seen: &BTreeMap<String, Seen>) -> bool {
    let expected = |expect: &Expect| [expect.meanwhile.clone(), vec![expect.class]].concat();
    let mut allowed: Vec<Class> = scenario.expect.iter().flat_map(expected).collect();
    allowed.extend(NOT_RUN);
    let mut versions = all(seen).flat_map(|(_, history)| &history.versions);
    versions.any(|version| !allowed.contains(&version.class))
}

/// For how long this machine did not run a virtual CPU of a guest that an incident is about, where that accounts for it: of
/// a silence that nobody can name either end may be the cause.
fn not_run(host: &str, history: &History, truth: &Truth) -> Result<Option<String>> {
    let (from, to) = (truth.wall(host, &history.last.started_at)?, history.last.duration_ms.saturating_mul(1_000_000));
    let subject = &history.last.verdict.subject;
    let ends = if history.last.verdict.class == Class::Unknown { &["host", "peer"][..] } else { &["host"] };
    for about in ends.iter().filter_map(|end| subject.get(*end)).map(plain) {
        let waited = truth.waits.get(&about).and_then(|waits| waits.longest(from, from.saturating_add(to)));
        if let Some(waited) = waited.filter(|waited| *waited >= seconds(0, to) * STOLEN) {
            return Ok(Some(format!("a virtual CPU of {about} waited {waited:.2} s for this machine")));
        }
    }
    Ok(None)
}

/// The machine's own figure that accounts for the incident, where it does.
fn accounted(history: &History, truth: &Truth) -> Result<Option<String>> {
    let (from, to) = span(history)?;
    let length = seconds(from, to);
    if history.last.verdict.class == Class::CpuSaturation {
        let busy = truth.machine.busy(from, to).filter(|busy| *busy >= SATURATED);
        return Ok(busy.map(|busy| format!("the machine's CPUs were {:.0} % busy", busy * 100.0)));
    }
    let steal = history.last.verdict.detail.get("steal_seconds").and_then(Value::as_f64);
    let (Some(steal), Some(machine)) = (steal, truth.machine.steal(from, to)) else {
        return Ok(None);
    };
    let accounts = steal >= length * STOLEN && steal <= machine + STEAL_SLACK;
    Ok(accounts.then(|| format!("steal {steal:.2} s of the machine's {machine:.2} s")))
}

/// Begin and end by the wall clock.
fn span(history: &History) -> Result<(u64, u64)> {
    let from = wall(&history.last.started_at)?;
    let length = history.last.duration_ms.saturating_mul(1_000_000);
    Ok((from, from.saturating_add(length)))
}

/// Whether two hosts speak of one stall.
fn same_stall(one: &History, other: &History) -> Result<bool> {
    let ((from, to), (begin, end)) = (span(one)?, span(other)?);
    let (one, other) = (&one.last.verdict, &other.last.verdict);
    Ok(one.class == other.class
        && one.subject.get("host") == other.subject.get("host")
        && from <= end.saturating_add(ACCOUNT_SLACK)
        && begin <= to.saturating_add(ACCOUNT_SLACK))
}

fn all(seen: &BTreeMap<String, Seen>) -> impl Iterator<Item = (&String, &History)> {
    seen.iter().flat_map(|(host, seen)| seen.incidents.values().map(move |history| (host, history)))
}

/// Whether the document has the members that are wanted.
fn about(members: &BTreeMap<String, Value>, wanted: &BTreeMap<String, String>) -> bool {
    let has = |key: &String, value: &String| members.get(key).is_some_and(|member| plain(member) == *value);
    wanted.iter().all(|(key, value)| has(key, value))
}

/// Whether each of these members is an interval with that value in it.
fn holds(members: &BTreeMap<String, Value>, wanted: &BTreeMap<String, f64>) -> bool {
    let has = |(key, value): (&String, &f64)| {
        let end = |name| members.get(key)?.get(name)?.as_f64();
        end("low").zip(end("high")).is_some_and(|(low, high)| (low..=high).contains(value))
    };
    wanted.iter().all(has)
}

/// Whether the document has another value for a member that is wanted; one that comes later, such as a size that is still
/// being found out, is none.
fn contradicts(members: &BTreeMap<String, Value>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().any(|(key, value)| members.get(key).is_some_and(|member| plain(member) != *value))
}

fn wanted(expect: &Expect) -> String {
    let members = expect.subject.iter().chain(&expect.detail);
    let members: Vec<_> = members.map(|(key, value)| format!("{key}={value}")).collect();
    format!("{} ({})", expect.class.name(), members.join(", "))
}

fn listed(members: &BTreeMap<String, Value>) -> String {
    let members = members.iter().map(|(key, value)| format!("{key}={}", plain(value)));
    members.collect::<Vec<_>>().join(", ")
}

/// A member without the quotes of JSON, and without digits that nobody reads.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(figure) if number.is_f64() => format!("{figure:.3}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// An incident in one line, with the classes that it had on the way.
pub(crate) fn told(history: &History) -> String {
    let Incident { state, verdict, duration_ms, .. } = &history.last;
    let mut members = verdict.subject.clone();
    members.extend(verdict.detail.clone());
    let mut ways: Vec<_> = history.versions.iter().map(|version| version.class.name()).collect();
    ways.dedup();
    format!(
        "{} ({}), {}, {:.2} s",
        ways.join(" → "),
        listed(&members),
        format!("{state:?}").to_lowercase(),
        seconds(0, duration_ms.saturating_mul(1_000_000)),
    )
}

#[cfg(test)]
mod tests;
