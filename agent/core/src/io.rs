//! Tasks that wait for storage and do not go on: from the looks at them to a lasting state.

use std::time::Duration;

use crate::evidence::IoStuck;
use crate::time::Nanos;

/// Since when storage does not answer.
#[derive(Clone, Debug, Default)]
pub struct IoTrack {
    since: Option<Nanos>,
}

/// The facts of one wait for storage, as the rules see them.
#[derive(Clone, Debug, PartialEq)]
pub struct IoWait {
    /// Begin.
    pub since: Nanos,
    /// End, or the last look.
    pub last: Nanos,
    /// True once it is over.
    pub over: bool,
    /// The newest look.
    pub stuck: IoStuck,
}

impl IoTrack {
    /// Takes a look at tasks that have not run since `from`; answers with the wait if it lasts for at least `threshold`.
    pub fn on_look(&mut self, from: Nanos, to: Nanos, stuck: &IoStuck, threshold: Duration) -> Option<IoWait> {
        let since = *self.since.get_or_insert(from);
        if stuck.over {
            self.since = None;
        }
        let wait = IoWait { since, last: to, over: stuck.over, stuck: stuck.clone() };
        (to.since(since) >= threshold).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLD: Duration = Duration::from_secs(2);

    fn look(track: &mut IoTrack, from_ms: u64, to_ms: u64, over: bool) -> Option<(u64, u64, bool)> {
        let at = |ms| Nanos(ms * 1_000_000);
        let found = track.on_look(at(from_ms), at(to_ms), &IoStuck { over, ..IoStuck::default() }, THRESHOLD)?;
        Some((found.since.0 / 1_000_000, found.last.0 / 1_000_000, found.over))
    }

    #[test]
    fn a_wait_is_told_once_it_is_long_and_when_it_is_over() {
        let mut track = IoTrack::default();
        assert_eq!(look(&mut track, 1000, 2900, false), None);
        assert_eq!(look(&mut track, 1000, 3100, false), Some((1000, 3100, false)));
        assert_eq!(look(&mut track, 1200, 4000, true), Some((1000, 4000, true)), "the first of the tasks counts");
        assert_eq!(look(&mut track, 9000, 9500, true), None, "a short one is nothing");
        assert_eq!(look(&mut track, 20_000, 21_000, false), None, "and forgotten");
    }
}
