//! What evidence a verdict had, and what it lacked: which of the things that are looked at in such a case were there.
//!
//! It follows from the case alone, not from the class that is said of it; how sure a verdict is follows from both, see
//! `rules::confidence`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cpu::CpuCase;
use crate::gap::Gap;
use crate::own::OwnStall;
use crate::peer::Kernel;
use crate::rules::{Case, Context};
use crate::time::Nanos;

/// What happened before it began must be known for so long: a cause comes before its effect.
const BEFORE: Duration = Duration::from_secs(2);

/// What was looked at for a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completeness {
    /// What was there.
    pub had: Vec<Source>,
    /// What was not, each with the reason.
    pub lacked: Vec<Lack>,
}

/// Evidence that was not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// Which.
    pub source: Source,
    /// Why not, in words.
    pub because: String,
}

/// A kind of evidence that a case is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The numbers and send times of the peer's heartbeats, which say what it sent meanwhile.
    Numbers,
    /// Whether the peer's kernel answers echo requests.
    Answers,
    /// What the other hosts hear of the peer.
    Witnesses,
    /// What the peer itself says of its stall.
    Account,
    /// What another CPU, or the sentinels, saw of a CPU that stood still.
    Sentinels,
    /// The timer interrupts of the CPUs.
    Timers,
    /// The other interrupts and the task switches of a CPU.
    Interrupts,
    /// What the interrupt landed in that ended the stall.
    Landing,
    /// The time that the hypervisor took.
    Steal,
    /// How busy the CPUs are, how many tasks want one, and for how long they wait.
    Load,
    /// The tasks that wait for storage.
    Tasks,
    /// Who answers for a virtual address.
    Claims,
    /// Everything that the probes had to tell.
    Events,
    /// The time before it began.
    Past,
}

impl Source {
    /// In words, for a list.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Numbers => "numbers and send times of heartbeats",
            Self::Answers => "answers of its kernel",
            Self::Witnesses => "what other hosts heard",
            Self::Account => "its own account",
            Self::Sentinels => "sentinels and looks from other CPUs",
            Self::Timers => "timer interrupts",
            Self::Interrupts => "other interrupts and task switches",
            Self::Landing => "what it went on with",
            Self::Steal => "steal time",
            Self::Load => "load of the CPUs",
            Self::Tasks => "tasks that wait for storage",
            Self::Claims => "who answers for the address",
            Self::Events => "every event of the probes",
            Self::Past => "what came before",
        }
    }
}

impl Completeness {
    /// What there is of `case`.
    #[must_use]
    pub fn of(context: &Context<'_>, case: Case<'_>) -> Self {
        let mut looked_at = Self::default();
        match case {
            Case::Gap(gap) => looked_at.look_at_gap(gap),
            Case::Own(stall) => looked_at.look_at_own(stall),
            Case::Cpu(case) => looked_at.look_at_cpu(context, case),
            // What is told of them is what makes the case.
            Case::Loss(_) | Case::Hole(_) => looked_at.had.push(Source::Numbers),
            Case::Load(_) => looked_at.had.push(Source::Load),
            Case::Io(_) => looked_at.had.push(Source::Tasks),
            Case::Vip(_) => looked_at.had.push(Source::Claims),
        }
        looked_at.look_back(context, begin(case));
        looked_at
    }

    fn take(&mut self, source: Source, is_there: bool, because: impl FnOnce() -> String) {
        if is_there {
            self.had.push(source);
        } else {
            self.lacked.push(Lack { source, because: because() });
        }
    }

    fn look_at_gap(&mut self, gap: &Gap) {
        let peer = &gap.peer;
        let back = gap.heard_again || !gap.silent;
        self.take(Source::Numbers, back, || format!("{peer} was not heard since"));
        if !back {
            let answers = gap.kernel != Kernel::Unknown;
            self.take(Source::Answers, answers, || format!("{peer} did not answer echo requests before either"));
        }
        if gap.new_boot.is_some() {
            return;
        }
        if !back || gap.lost_from > 0 || gap.lost_to.is_some_and(|lost| lost > 0) {
            let told = !gap.witnesses.is_empty() || gap.scope.groups.is_some() || gap.heard_by_others;
            self.take(Source::Witnesses, told, || format!("no other host said whether it heard {peer}"));
        }
        if back && !gap.unsent.is_zero() && !gap.new_incarnation {
            self.take(Source::Account, gap.told().is_some(), || format!("{peer} has not said what it did"));
        }
    }

    fn look_at_own(&mut self, stall: &OwnStall) {
        if stall.behind.is_some() {
            return;
        }
        let sentinels = stall.agent.cpus_watched > 0;
        self.take(Source::Sentinels, sentinels, || "no CPU has a sentinel".into());
        self.take(Source::Timers, stall.agent.timers_watched, || {
            "timers are not watched: the probe is not attached".into()
        });
        self.take(Source::Steal, stall.agent.steal.is_some(), || "the hypervisor's steal time was not readable".into());
        if stall.all_timers_dead() == Some(true) {
            let landed = stall.cpus.iter().any(|cpu| cpu.landed().is_some());
            self.take(Source::Landing, landed, || "what the CPUs went on with was not seen".into());
        }
    }

    fn look_at_cpu(&mut self, context: &Context<'_>, case: &CpuCase) {
        let cpu = case.cpu;
        let looked = case.during.is_some();
        self.take(Source::Sentinels, looked, || format!("nobody could look at CPU {cpu} while it stood still"));
        let known = || [case.during.as_ref(), case.after.as_ref()].into_iter().flatten();
        let timers = known().any(|look| look.timer_at.is_some());
        self.take(Source::Timers, timers, || not_counted("timer interrupts", cpu));
        let interrupts = case.during.as_ref().is_some_and(|look| look.interrupts.is_some());
        self.take(Source::Interrupts, interrupts, || match looked {
            true => not_counted("other interrupts", cpu),
            false => format!("nobody counted the other interrupts of CPU {cpu} while it stood still"),
        });
        let steal = known().any(|look| look.stolen_ns.is_some());
        self.take(Source::Steal, steal, || format!("the steal time of CPU {cpu} was not readable"));
        if case.timer_dead() != Some(false) && case.alive() != Some(true) && case.handler().is_none() {
            let lasts = if case.to.is_none() || case.awaits_names(context.now) { "not known yet" } else { "not seen" };
            let landed = case.landed().is_some();
            self.take(Source::Landing, landed, || format!("what CPU {cpu} went on with is {lasts}"));
        }
    }

    /// What came before it, and whether all of it was told.
    fn look_back(&mut self, context: &Context<'_>, begin: Nanos) {
        if context.watched_since.is_some_and(|since| since.plus(BEFORE) > begin) {
            let because = "it began before, or just after, what is known begins".to_owned();
            self.lacked.push(Lack { source: Source::Past, because });
        }
        if let Some((_, count)) = context.events_lost.filter(|(at, _)| *at >= begin) {
            let because = format!("{count} events of the probes were lost since: the ring buffer was full");
            self.lacked.push(Lack { source: Source::Events, because });
        }
    }
}

fn not_counted(what: &str, cpu: u32) -> String {
    format!("{what} of CPU {cpu} are not counted: the probe is not attached")
}

/// When the case began.
fn begin(case: Case<'_>) -> Nanos {
    match case {
        Case::Gap(gap) => gap.since,
        Case::Own(stall) => stall.since,
        Case::Cpu(case) => case.from,
        Case::Io(wait) => wait.since,
        Case::Load(load) => load.since,
        Case::Vip(case) => case.since,
        Case::Loss(loss) => loss.since,
        Case::Hole(hole) => hole.since,
    }
}
