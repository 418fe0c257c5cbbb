//! What was really the matter, by the steps of a scenario that were carried out.

use std::collections::BTreeSet;

use crate::lab::fault::pairs;
use crate::lab::scenario::Scenario;
use crate::lab::step::{Action, AgentSignal};

/// Who had a reason to miss whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Truth {
    /// Pairs that lost each other's packets, either way round.
    cut: BTreeSet<(String, String)>,
    /// Hosts that stood still.
    stalled: BTreeSet<String>,
}

impl Truth {
    /// The truth of a scenario.
    pub(super) fn of(scenario: &Scenario) -> Self {
        let mut truth = Self::default();
        for step in &scenario.steps {
            match &step.action {
                Action::Drop(rule) => truth.cut_between(&rule.from, &rule.to),
                Action::Split(groups) => {
                    pairs(groups).into_iter().for_each(|(one, other)| truth.cut_between(one, other));
                }
                Action::SignalAll(to) if to.signal == AgentSignal::Stop => drop(truth.stalled.insert(to.host.clone())),
                Action::Starve(starve) => drop(truth.stalled.insert(starve.host.clone())),
                _ => {}
            }
        }
        truth
    }

    fn cut_between(&mut self, one: &str, other: &str) {
        self.cut.insert((one.to_owned(), other.to_owned()));
        self.cut.insert((other.to_owned(), one.to_owned()));
    }

    /// Whether the network was at fault, and no host.
    pub(super) fn is_network(&self) -> bool {
        !self.cut.is_empty()
    }

    /// Whether that host stood still.
    pub(super) fn stood_still(&self, host: &str) -> bool {
        self.stalled.contains(host)
    }

    /// Whether `by` has a reason to miss `of`: that stood still, or the path between them was cut.
    pub(super) fn concerns(&self, by: &str, of: &str) -> bool {
        self.stood_still(of) || self.cut.contains(&(by.to_owned(), of.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "about = \"x\"\nlasts = \"9s\"\nhosts = [{ name = \"a\" }, { name = \"b\" }, { name = \"c\" }]\n";

    fn truth(step: &str) -> Truth {
        let text = format!("{HEAD}steps = [{{ at = \"1s\", {step} }}]\n");
        Truth::of(&Scenario::parse("test", &text).unwrap())
    }

    #[test]
    fn only_who_stood_still_or_was_cut_off_can_be_missed() {
        let cut = truth("drop = { from = \"a\", to = \"b\", both-ways = true }");
        assert!(cut.is_network() && cut.concerns("a", "b") && cut.concerns("b", "a"));
        assert!(!cut.concerns("a", "c") && !cut.concerns("c", "b"));
        let split = truth("split = [[\"a\", \"c\"], [\"b\"]]");
        assert!(
            split.is_network() && split.concerns("b", "c") && split.concerns("a", "b") && !split.concerns("a", "c")
        );
        let stopped = "signal-all = { host = \"b\", signal = \"SIGSTOP\" }";
        for step in [stopped, "starve = { host = \"b\", lasts = \"5s\" }"] {
            let stalled = truth(step);
            assert!(!stalled.is_network() && stalled.concerns("a", "b"), "{step}");
            assert!(!stalled.concerns("b", "a") && !stalled.concerns("a", "c"), "{step}");
        }
        assert_eq!(truth("signal-all = { host = \"b\", signal = \"SIGCONT\" }"), Truth::default());
    }
}
