//! What was concluded beside what is true.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use lacuna_core::incident::{AgentState, Class, Incident, State, Subject};
use serde::Serialize;

use crate::calibration::Calibration;
use crate::clock::Time;
use crate::details;
use crate::fault::{Fault, Kind};
use crate::host::Said;
use crate::plan::{Mesh, Plan, name};
use crate::traces::Traces;

/// So long after its end a fault may still be said for the first time: what a peer cannot know before it is told.
const TELLS_WITHIN: Duration = Duration::from_secs(15);

/// What one observer concluded of one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Concluded {
    Right,
    /// That it cannot tell.
    Unknown,
    /// Another class, or the right one of somebody else.
    Wrong(Class),
    /// Nothing at all.
    Missed,
}

/// One fault as one observer, who should know of it, has it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Judged {
    pub(crate) seed: u64,
    /// What it was, in words.
    pub(crate) fault: String,
    pub(crate) class: Class,
    pub(crate) knowable: bool,
    pub(crate) observer: String,
    pub(crate) concluded: Concluded,
    /// From its begin to the first word of the right class, in seconds.
    pub(crate) detected: Option<f64>,
    /// How sure the last word was.
    pub(crate) confidence: Option<f64>,
    /// How much longer than the fault it was in the end, in seconds; absent where it was not right, or is open.
    pub(crate) longer: Option<f64>,
    /// How long the fault was, in seconds.
    pub(crate) length: f64,
    /// How many incidents it had, right ones and those that say that they cannot tell.
    pub(crate) incidents: usize,
}

/// Somebody was blamed for what did not happen.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Blame {
    pub(crate) seed: u64,
    pub(crate) observer: String,
    pub(crate) class: Class,
    pub(crate) summary: String,
    /// When it was first said, in seconds of true time.
    pub(crate) at: f64,
    pub(crate) confidence: f64,
    /// What befell its subject or the observer at that time.
    pub(crate) near: Vec<String>,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, observer, at, summary, .. } = self;
        let (class, sure) = (self.class.name(), self.confidence * 100.0);
        write!(f, "seed {seed:<6} {observer} at {at:.1} s: {class} ({sure:.0} % sure): {summary}")
    }
}

/// A fleet's life, judged.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Score {
    pub(crate) judged: Vec<Judged>,
    pub(crate) blames: Vec<Blame>,
    /// Incidents that name nobody, where nothing befell anybody concerned.
    pub(crate) needless: usize,
    /// Of each class, incidents that had it for a while and took it back, where there was no such fault.
    pub(crate) taken_back: BTreeMap<Class, usize>,
    pub(crate) host_seconds: f64,
    pub(crate) traces: Traces,
    #[serde(skip)]
    pub(crate) calibration: Calibration,
}

/// An incident in all that was said of it.
pub(crate) struct Story<'a> {
    first: Time,
    versions: Vec<&'a Said>,
}

impl Story<'_> {
    pub(crate) fn last(&self) -> Option<&Incident> {
        self.versions.last().map(|said| &said.incident)
    }
}

/// Compares what every host said with the faults of the plan.
pub(crate) fn score(seed: u64, plan: &Plan) -> Score {
    let hosts = &plan.world.hosts;
    let stories: Vec<Vec<Story<'_>>> = hosts.iter().map(|host| stories(&host.said)).collect();
    let mut score = Score { host_seconds: hosts.len() as f64 * plan.lasts.as_secs_f64(), ..Score::default() };
    for fault in &plan.faults {
        let Some(class) = fault.kind.class() else { continue };
        let knowable = fault.kind.is_knowable(hosts);
        for observer in observers(fault, &plan.faults, plan.mesh) {
            let judged = judged(fault, &plan.faults, observer, &stories[observer]);
            score.judged.push(Judged { seed, class, knowable, ..judged });
        }
    }
    score.traces.take(seed, &plan.faults, &stories);
    for (observer, stories) in stories.iter().enumerate() {
        for story in stories {
            let versions = story.versions.iter().map(|said| &said.incident);
            score.calibration.take(versions, |said| explained(&plan.faults, observer, story, said));
        }
        score.blames.extend(stories.iter().filter_map(|story| blame(seed, &plan.faults, observer, story)));
        for class in stories.iter().flat_map(|story| taken_back(&plan.faults, observer, story)) {
            *score.taken_back.entry(class).or_default() += 1;
        }
        score.needless += stories.iter().filter(|story| is_needless(&plan.faults, observer, story)).count();
    }
    score
}

fn stories(said: &[Said]) -> Vec<Story<'_>> {
    let mut stories: Vec<Story<'_>> = Vec::new();
    for one in said {
        let same = |story: &&mut Story<'_>| story.last().is_some_and(|last| last.id == one.incident.id);
        match stories.iter_mut().rev().find(same) {
            Some(story) => story.versions.push(one),
            None => stories.push(Story { first: one.at, versions: vec![one] }),
        }
    }
    stories
}

/// Who must know of it: those concerned, and whoever watches them; not who stood still or was cut off itself at that time.
fn observers(fault: &Fault, all: &[Fault], mesh: Mesh) -> Vec<usize> {
    let of = |hosts: &[usize]| -> Vec<usize> {
        let mut watching: Vec<usize> = hosts.iter().flat_map(|host| mesh.peers(*host)).collect();
        watching.sort_unstable();
        watching.dedup();
        watching
    };
    let concerned = fault.kind.hosts();
    let mut observers = match &fault.kind {
        Kind::Drop { .. }
        | Kind::Filter { .. }
        | Kind::Loss { .. }
        | Kind::Hole { .. }
        | Kind::Late { .. }
        | Kind::Saturation { .. } => concerned.clone(),
        Kind::Partition { .. } => (0..mesh.count).collect(),
        Kind::SplitBrain { .. } => (0..mesh.count).collect(),
        Kind::Agent { state: AgentState::NotRunning, .. }
        | Kind::Restart { .. }
        | Kind::Down { .. }
        | Kind::Decommissioned { .. } => of(&concerned),
        _ => of(&concerned).into_iter().chain(concerned.iter().copied()).collect(),
    };
    observers.sort_unstable();
    observers.dedup();
    let meanwhile = |other: &&Fault| {
        let (from, to) = other.concerns();
        from < fault.to.plus(TELLS_WITHIN) && to.plus(TELLS_WITHIN) > fault.from
    };
    let another = |other: &&Fault| !std::ptr::eq(*other, fault) && !fault.is_paired_with(other);
    let others = || all.iter().filter(another).filter(meanwhile);
    let runs = |host: &usize| !others().any(|other| other.kind.hosts().contains(host));
    observers.retain(runs);
    if let Kind::Down { host } | Kind::Decommissioned { host } = fault.kind {
        // It takes another host that watches both and runs.
        let watches = |one: &usize, observer: usize| mesh.peers(observer).contains(one);
        observers.retain(|observer| mesh.peers(host).iter().any(|one| runs(one) && watches(one, *observer)));
    }
    observers
}

fn judged(fault: &Fault, all: &[Fault], observer: usize, stories: &[Story<'_>]) -> Judged {
    let length = fault.to.since(fault.from).as_secs_f64();
    let about: Vec<&Story<'_>> = stories.iter().filter(|story| overlaps(story, fault)).collect();
    // What is right of another fault says nothing of this one.
    let of_another = |story: &Story<'_>| {
        let others = all.iter().filter(|other| !std::ptr::eq(*other, fault) && overlaps(story, other));
        story.last().is_some_and(|last| others.into_iter().any(|other| is_right(last, other, observer)))
    };
    let last_is = |story: &&&Story<'_>| story.last().is_some_and(|last| is_right(last, fault, observer));
    let right = about.iter().find(last_is);
    let touches = |story: &Story<'_>| {
        !of_another(story) && story.last().is_some_and(|last| concerns(&last.verdict.subject, fault))
    };
    let is_unknown = |story: &Story<'_>| story.last().is_some_and(|last| last.verdict.class == Class::Unknown);
    let incidents = about.iter().filter(|story| last_is(story) || touches(story) && is_unknown(story)).count();
    let concluded = match right {
        Some(_) => Concluded::Right,
        None => {
            let classes: Vec<Class> = about
                .iter()
                .filter(|story| touches(story))
                .filter_map(|story| Some(story.last()?.verdict.class))
                .collect();
            match classes.iter().find(|class| **class != Class::Unknown) {
                Some(class) => Concluded::Wrong(*class),
                None if classes.is_empty() => Concluded::Missed,
                None => Concluded::Unknown,
            }
        }
    };
    let first = right.and_then(|story| {
        story.versions.iter().find(|said| is_right(&said.incident, fault, observer)).map(|said| said.at)
    });
    Judged {
        seed: 0,
        fault: describe(fault),
        class: Class::Unknown,
        knowable: false,
        observer: name(observer),
        concluded,
        detected: first.map(|at| at.since(fault.from).as_secs_f64()),
        confidence: right.and_then(|story| story.last()).map(|last| last.verdict.confidence),
        longer: right
            .and_then(|story| story.last())
            .filter(|last| last.state == State::Closed)
            .map(|last| last.duration_ms as f64 / 1e3 - length),
        length,
        incidents,
    }
}

/// Whether it was told while the fault lasted or not long after; it may have begun as another one.
fn overlaps(story: &Story<'_>, fault: &Fault) -> bool {
    let until = story.versions.last().map(|said| said.at);
    story.first <= fault.to.plus(TELLS_WITHIN) && until.is_some_and(|until| until >= fault.from)
}

/// Whether the subject names somebody whom the fault is done to.
fn concerns(subject: &Subject, fault: &Fault) -> bool {
    let named = subject.host.iter().chain(&subject.peer).chain(&subject.hosts);
    let concerned: Vec<String> = fault.kind.hosts().into_iter().map(name).collect();
    named.into_iter().any(|one| concerned.contains(one))
}

/// Whether it is what is true of that fault in the end.
pub(crate) fn is_right_story(story: &Story<'_>, fault: &Fault, observer: usize) -> bool {
    overlaps(story, fault) && story.last().is_some_and(|last| is_right(last, fault, observer))
}

/// Whether it is what is true, as far as that observer can say it.
fn is_right(incident: &Incident, fault: &Fault, observer: usize) -> bool {
    let (verdict, subject) = (&incident.verdict, &incident.verdict.subject);
    let is = |one: &Option<String>, place: usize| one.as_deref() == Some(name(place).as_str());
    let of_host = |host: usize| is(&subject.host, host);
    Some(verdict.class) == fault.kind.class()
        && details::are_true(incident, fault, observer)
        && match &fault.kind {
            Kind::Drop { from, to, .. }
            | Kind::Filter { from, to, .. }
            | Kind::Loss { from, to, .. }
            | Kind::Hole { from, to, .. }
            | Kind::Late { from, to, .. } => {
                let other = if observer == *from { *to } else { *from };
                of_host(observer) && is(&subject.peer, other)
            }
            Kind::Cpu { host, cpu, .. } => of_host(*host) && subject.cpu == Some(*cpu),
            Kind::Pause { hosts, .. } => hosts.iter().any(|host| of_host(*host)),
            Kind::Partition { .. } => true,
            Kind::SplitBrain { .. } => subject.vip.is_some(),
            Kind::Failover { .. }
            | Kind::WallStep { .. }
            | Kind::Upgrade { .. }
            | Kind::Leaves { .. }
            | Kind::Slower { .. }
            | Kind::Stutter(_) => false,
            Kind::Isolated { host }
            | Kind::Agent { host, .. }
            | Kind::Restart { host }
            | Kind::Down { host }
            | Kind::Decommissioned { host }
            | Kind::Restored { host, .. }
            | Kind::Migrated { host, .. }
            | Kind::Io { host }
            | Kind::Saturation { host } => of_host(*host),
        }
}

/// A last word that names a class for which there is no fault.
fn blame(seed: u64, faults: &[Fault], observer: usize, story: &Story<'_>) -> Option<Blame> {
    let last = story.last().filter(|last| last.verdict.class != Class::Unknown)?;
    let near = |fault: &&Fault| concerns(&last.verdict.subject, fault) || fault.kind.hosts().contains(&observer);
    let during = || faults.iter().filter(|fault| overlaps(story, fault));
    (!explained(faults, observer, story, last)).then(|| Blame {
        seed,
        observer: name(observer),
        class: last.verdict.class,
        summary: last.verdict.summary.clone(),
        at: story.first.seconds(),
        confidence: last.verdict.confidence,
        near: during().filter(near).map(describe).collect(),
    })
}

/// The classes that were said before the last word, and are true of no fault: whoever is paged acts on the first.
fn taken_back(faults: &[Fault], observer: usize, story: &Story<'_>) -> BTreeSet<Class> {
    let last = story.last().map(|last| last.verdict.class);
    let before = story.versions.iter().map(|said| &said.incident);
    let named = before.filter(|said| said.verdict.class != Class::Unknown && Some(said.verdict.class) != last);
    named.filter(|said| !explained(faults, observer, story, said)).map(|said| said.verdict.class).collect()
}

/// Whether what was said at some time of a story is true of a fault.
fn explained(faults: &[Fault], observer: usize, story: &Story<'_>, said: &Incident) -> bool {
    // Who is booted anew was down before, and an agent that ended meanwhile knows no more than that.
    let was_down = |fault: &Fault| match fault.kind {
        Kind::Restart { host } => {
            said.verdict.class == Class::HostDown && said.verdict.subject.host == Some(name(host))
        }
        _ => false,
    };
    // One of those that are too short may be longer where a turn was late besides.
    let is_long = |fault: &Fault| match &fault.kind {
        Kind::Stutter(kind) => is_right(said, &Fault::once((**kind).clone(), fault.from, fault.to), observer),
        _ => false,
    };
    let explains = |fault: &&Fault| is_right(said, fault, observer) || was_down(fault) || is_long(fault);
    faults.iter().filter(|fault| overlaps(story, fault)).any(|fault| explains(&fault))
}

/// Whether it says that it cannot tell what nothing is behind.
fn is_needless(faults: &[Fault], observer: usize, story: &Story<'_>) -> bool {
    let Some(last) = story.last().filter(|last| last.verdict.class == Class::Unknown) else { return false };
    let near = |fault: &Fault| concerns(&last.verdict.subject, fault) || fault.kind.hosts().contains(&observer);
    !faults.iter().any(|fault| overlaps(story, fault) && near(fault))
}

/// A fault in words.
pub(crate) fn describe(fault: &Fault) -> String {
    let times = match (&fault.kind, fault.phases.last()) {
        (Kind::Migrated { .. }, Some((_, known))) => format!(", known everywhere at {:.3} s", known.seconds()),
        (Kind::Restart { .. }, Some((up, _))) if fault.phases.len() > 1 => {
            format!(", its kernel up at {:.3} s", up.seconds())
        }
        _ if fault.phases.len() > 1 => format!(", {} times", fault.phases.len()),
        _ => String::new(),
    };
    format!("{:?} from {:.3} s to {:.3} s{times}", fault.kind, fault.from.seconds(), fault.to.seconds())
}
