//! How sure a verdict is, from 0 to 1: the part of such verdicts that are right in simulated fleets (`docs/confidence.md`).
//!
//! A rule's own number ranks it among the others. What is said follows from it, from whether the incident is still open, and
//! from what evidence was not there.

use crate::completeness::Completeness;
use crate::incident::Class;

/// Of the doubt in a rule's number so much is left where it was put to the test.
const DOUBT: f64 = 0.2;
/// A path that is cut looks for a while like one that is late, or like a machine that was moved: what is said of one that is
/// open is that much less sure.
const OPEN_PATH: f64 = 0.9;
/// What is left of it for each kind of evidence that was not there.
const WITHOUT: f64 = 0.98;
/// No verdict is surer than that: what no simulation has, the world may.
const SUREST: f64 = 0.99;

/// What is said of a verdict of that class, whose rule has that number.
pub(crate) fn confidence(class: Class, of_rule: f64, closed: bool, completeness: &Completeness) -> f64 {
    let tested = match (class, closed) {
        (Class::Unknown, _) => return 0.0,
        // Hosts with two cards, which answer for one address as two would, are in no simulation.
        (Class::SplitBrain, _) => of_rule,
        (Class::PathDrop, false) => of_rule * OPEN_PATH,
        _ => 1.0 - (1.0 - of_rule) * DOUBT,
    };
    let lacked = i32::try_from(completeness.lacked.len()).unwrap_or(i32::MAX);
    hundredths((tested * WITHOUT.powi(lacked)).min(SUREST))
}

/// More digits would say more than is known.
fn hundredths(part: f64) -> f64 {
    (part * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completeness::{Lack, Source};

    #[test]
    fn less_evidence_is_less_sure_and_nothing_is_certain() {
        let lack = |source| Lack { source, because: "x".into() };
        let without = |sources: &[Source]| {
            let lacked = sources.iter().copied().map(lack).collect();
            confidence(Class::VmPause, 0.93, true, &Completeness { lacked, ..Completeness::default() })
        };
        assert_eq!(without(&[]), 0.99);
        assert_eq!(without(&[Source::Landing]), 0.97);
        assert_eq!(without(&[Source::Landing, Source::Events]), 0.95);
        let whole = Completeness::default();
        assert_eq!(confidence(Class::Restart, 0.99, true, &whole), SUREST);
        assert_eq!(confidence(Class::PathDrop, 0.95, false, &whole), 0.86, "it may become another one");
        assert_eq!(confidence(Class::PathDrop, 0.95, true, &whole), 0.99);
        assert_eq!(confidence(Class::Unknown, 0.0, true, &whole), 0.0);
    }
}
