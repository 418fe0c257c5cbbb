//! What this machine itself did to the guests, and what that accounts for: it is shared, and guests are not always run.

use std::collections::BTreeMap;

use anyhow::Result;
use lacuna_core::incident::Class;
use serde_json::Value;

use super::members::{plain, told};
use super::{BLAME, MACHINE, Truth, all};
use crate::lab::api::wall;
use crate::lab::clock::seconds;
use crate::lab::guest::threads::Waits;
use crate::lab::scenario::{Expect, Scenario};
use crate::lab::watch::{History, Seen};

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

/// Why an incident that nobody expected is true on this machine; none where it is not.
pub(super) fn excuse(
    host: &str,
    history: &History,
    truth: &Truth,
    seen: &BTreeMap<String, Seen>,
) -> Result<Option<String>> {
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
pub(super) fn held(scenario: &Scenario, truth: &Truth) -> Option<String> {
    let (seconds, name) = waited_most(scenario, truth, Waits::held)?;
    Some(format!("this machine did not run {name} for {seconds:.2} s, beside the steps"))
}

/// The guest that waited longest for this machine in the second after a step, where it had to catch up.
pub(super) fn squeezed(scenario: &Scenario, truth: &Truth) -> Option<String> {
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
pub(super) fn blames_another(scenario: &Scenario, seen: &BTreeMap<String, Seen>) -> bool {
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
