//! A CPU that stands still, as the stories tell it to the engine of its host b.

use std::collections::BTreeSet;
use std::time::Duration;

use super::assert_length;
use super::fleet::Fleet;
use crate::evidence::{CpuStall, Evidence, Fact, Handler, Landed, Place, Poke};
use crate::incident::{Class, Incident, State};
use crate::time::Nanos;

pub(super) const TICK: Duration = Duration::from_millis(100);

/// A CPU of b that stands still from now on, and how it looks meanwhile and in the end.
pub(super) struct Stall {
    pub(super) cpu: u32,
    pub(super) from: Nanos,
    pub(super) look: CpuStall,
}

impl Stall {
    pub(super) fn begin(fleet: &mut Fleet, cpu: u32, look: CpuStall) -> Self {
        Self { cpu, from: fleet.clock("b"), look }
    }

    pub(super) fn look(&self, fleet: &mut Fleet) {
        let (from, to) = (self.from, fleet.clock("b").plus(TICK));
        // Figures that grow with time are given for a second.
        let grown = |part: Option<u64>| part.map(|part| (part as f64 * to.since(from).as_secs_f64()) as u64);
        let look = CpuStall {
            cpu: self.cpu,
            of_cpus: 2,
            user_ns: grown(self.look.user_ns),
            system_ns: grown(self.look.system_ns),
            timer_at: self.look.timer_at.map(|at| if at.0 == 0 { from.minus(TICK) } else { to }),
            ..self.look.clone()
        };
        fleet.host("b").engine.handle(Evidence::during("b", from, to, Fact::CpuStall(Box::new(look))));
    }

    pub(super) fn go_on(&self, fleet: &mut Fleet, seconds: f64) {
        Self::all_go_on(&[self], fleet, seconds);
    }

    pub(super) fn all_go_on(stalls: &[&Self], fleet: &mut Fleet, seconds: f64) {
        for _ in 0..(seconds * 10.0) as u32 {
            stalls.iter().for_each(|stall| stall.look(fleet));
            fleet.run(0.1);
        }
    }

    /// It goes on; where it landed is told once more when it has names.
    pub(super) fn end(self, fleet: &mut Fleet, landed: Option<Landed>) {
        let to = fleet.clock("b");
        self.end_at(fleet, to, landed, None);
    }

    /// The same, where the handler that it looked to be in was left just now, as the probe saw.
    pub(super) fn end_of_handler(self, fleet: &mut Fleet, landed: Option<Landed>) {
        let to = fleet.clock("b");
        let handler = self.look.handler.clone().map(|handler| Handler { until: Some(to), ..handler });
        self.end_at(fleet, to, landed, handler);
    }

    pub(super) fn end_at(self, fleet: &mut Fleet, to: Nanos, landed: Option<Landed>, handler: Option<Handler>) {
        let (cpu, deaf, timer_at) = (self.cpu, self.look.deaf, self.look.timer_at.map(|_| to));
        let over = CpuStall { cpu, of_cpus: 2, over: true, deaf, timer_at, handler, ..CpuStall::default() };
        let named = landed.is_some().then(|| CpuStall { landed, ..over.clone() });
        for stall in [Some(over), named].into_iter().flatten() {
            fleet.host("b").engine.handle(Evidence::during("b", self.from, to, Fact::CpuStall(Box::new(stall))));
        }
    }
}

/// No timer interrupt since.
pub(super) const DEAD: Option<Nanos> = Some(Nanos(0));
/// Timer interrupts all along.
pub(super) const TICKS: Option<Nanos> = Some(Nanos(1));

pub(super) fn nothing() -> CpuStall {
    let poke = Some(Poke::Unanswered);
    CpuStall { timer_at: DEAD, interrupts: Some(0), switches: Some(0), poke, ..CpuStall::default() }
}

pub(super) fn in_handler(name: &str, since: Nanos) -> Handler {
    Handler { name: name.to_owned(), since, until: None, per_second: Some(1) }
}

pub(super) fn landed(place: Place, just_enabled: Option<bool>) -> Option<Landed> {
    let stack = if place == Place::Kernel { vec!["spin_for_seconds+0x12".to_owned()] } else { Vec::new() };
    Some(Landed { place, just_enabled, passed: None, stack })
}

/// Just after interrupts were enabled, where so many ticks landed before.
pub(super) fn passed(ticks: u64) -> Option<Landed> {
    Some(Landed { passed: Some(ticks), ..landed(Place::Kernel, Some(true))? })
}

/// Just after interrupts were enabled, in code that every CPU passes all the time.
pub(super) fn landed_in(function: &str) -> Option<Landed> {
    let stack = vec![function.into(), "vfs_read+0x1".into()];
    Some(Landed { place: Place::Kernel, just_enabled: Some(true), passed: None, stack })
}

/// b and a alike say that of CPU 1 of b, and never another class but `unknown`.
pub(super) fn assert_all_say(fleet: &mut Fleet, class: Class, length_ms: u64) -> Incident {
    // A peer waits for more where a host does not know itself.
    fleet.run(if class == Class::Unknown { 10.0 } else { 4.0 });
    for name in ["a", "b"] {
        let incident = fleet.host(name).incident();
        assert_eq!((incident.verdict.class, incident.state), (class, State::Closed), "{name}: {incident:#?}");
        assert_eq!(incident.verdict.subject.host.as_deref(), Some("b"), "{name}");
        assert_eq!(incident.verdict.subject.cpu, Some(1), "{name}");
        assert_length(&incident, length_ms);
        assert!(
            fleet.host(name).classes().is_subset(&BTreeSet::from([class.name(), "unknown"])),
            "{name}: {}",
            fleet.host(name).history()
        );
    }
    fleet.host("b").incident()
}
