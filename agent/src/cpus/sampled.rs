//! Samples of the stacks of CPUs that stand still while their timers tick: one for each stall, since its names take long.

use std::collections::BTreeMap;

use lacuna_core::time::Nanos;

use super::names::Stall;

/// The latest sample of each CPU.
#[derive(Debug, Default)]
pub(super) struct Samples {
    all: BTreeMap<u32, Sample>,
    /// When the latest tick was of each CPU that names were looked for.
    taken: BTreeMap<u32, Nanos>,
}

#[derive(Debug)]
struct Sample {
    /// Of the stall that began then.
    due: Nanos,
    /// Innermost function first; absent while the names are looked for.
    stack: Option<Vec<String>>,
}

impl Samples {
    /// One was taken of that stall, at a tick at `at`, and its names are looked for.
    pub(super) fn take(&mut self, (cpu, due): Stall, at: Nanos) {
        self.all.insert(cpu, Sample { due, stack: None });
        self.taken.insert(cpu, at);
    }

    /// One of that stall comes from a later tick than this: it is later than the stall's begin, and than one before.
    pub(super) fn later_than(&self, (cpu, due): Stall) -> Nanos {
        self.taken.get(&cpu).map_or(due, |taken| due.max(*taken))
    }

    /// Its names were found. A tick in user mode has none, and is to be followed by another.
    pub(super) fn name(&mut self, stall: Stall, stack: Vec<String>) {
        match self.all.get_mut(&stall.0).filter(|sample| sample.due == stall.1) {
            Some(_) if stack.is_empty() => drop(self.all.remove(&stall.0)),
            Some(sample) => sample.stack = Some(stack),
            None => {}
        }
    }

    /// Whether one was taken of that stall.
    pub(super) fn has(&self, stall: Stall) -> bool {
        self.of(stall).is_some()
    }

    /// Whether one was taken of that stall whose names are still looked for.
    pub(super) fn awaits_names(&self, stall: Stall) -> bool {
        self.of(stall).is_some_and(|sample| sample.stack.is_none())
    }

    /// The stack of the one of that stall, as far as it is known.
    pub(super) fn stack(&self, stall: Stall) -> Vec<String> {
        self.of(stall).and_then(|sample| sample.stack.clone()).unwrap_or_default()
    }

    fn of(&self, (cpu, due): Stall) -> Option<&Sample> {
        self.all.get(&cpu).filter(|sample| sample.due == due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_of_one_stall_and_one_in_user_mode_leaves_room_for_another() {
        let (stall, next) = ((1, Nanos(5)), (1, Nanos(9)));
        let mut samples = Samples::default();
        assert!(!samples.has(stall) && !samples.awaits_names(stall));
        assert_eq!(samples.later_than(stall), Nanos(5));
        samples.take(stall, Nanos(6));
        assert!(samples.has(stall) && samples.awaits_names(stall) && samples.stack(stall).is_empty());
        samples.name(stall, Vec::new());
        assert!(!samples.has(stall), "it was in user mode");
        assert_eq!(samples.later_than(stall), Nanos(6), "and the same tick tells no more another time");
        assert_eq!(samples.later_than(next), Nanos(9));
        samples.take(stall, Nanos(7));
        samples.name(next, vec!["other+0x1".into()]);
        assert!(samples.awaits_names(stall), "those were of another stall");
        samples.name(stall, vec!["spin+0x1".into()]);
        assert_eq!(samples.stack(stall), ["spin+0x1"]);
        assert!(!samples.awaits_names(stall) && !samples.has(next));
    }
}
