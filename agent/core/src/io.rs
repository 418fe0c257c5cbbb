//! Tasks that wait for storage: from one reading a second to a lasting state.

use std::time::Duration;

use crate::evidence::IoLoad;
use crate::time::Nanos;

/// Some task waits for storage for at least this part of the time.
const BLOCKED: f64 = 0.9;
/// From this part of the CPUs' time on they are busy, and waiting for storage is not what holds the host up.
const BUSY: f64 = 0.9;

/// Since when storage does not answer.
#[derive(Clone, Debug, Default)]
pub struct IoTrack {
    wait: Option<IoWait>,
    before: Duration,
}

/// The facts of one wait for storage, as the rules see them.
#[derive(Clone, Debug, PartialEq)]
pub struct IoWait {
    /// Begin.
    pub since: Nanos,
    /// End of the last reading in which tasks waited.
    pub last: Nanos,
    /// True once it is over.
    pub over: bool,
    /// The newest reading in which tasks waited.
    pub load: IoLoad,
}

/// Whether tasks waited for storage all through a reading while there was a CPU for them.
fn blocked(load: &IoLoad, length: Duration) -> bool {
    let share = load.some_ns as f64 / length.as_nanos().max(1) as f64;
    share >= BLOCKED && load.busy.is_none_or(|busy| busy < BUSY)
}

impl IoTrack {
    /// Takes a reading; answers with the wait if one lasts for at least `threshold`, or has just ended.
    ///
    /// The pressure figures say for how long of a reading tasks waited, so begin and end are known more exactly than
    /// readings are apart: the wait lies at the end of the first reading and at the begin of the last.
    pub fn on_reading(&mut self, from: Nanos, to: Nanos, load: &IoLoad, threshold: Duration) -> Option<IoWait> {
        let waited = Duration::from_nanos(load.some_ns).min(to.since(from));
        if !blocked(load, to.since(from)) {
            let ended = self.wait.take();
            self.before = waited;
            return ended
                .map(|wait| IoWait { over: true, last: from.plus(waited), ..wait })
                .filter(|wait| long(wait, threshold));
        }
        let since = from.minus(std::mem::take(&mut self.before));
        let wait = self.wait.get_or_insert_with(|| IoWait { since, last: to, over: false, load: load.clone() });
        (wait.last, wait.load) = (to, load.clone());
        Some(wait.clone()).filter(|wait| long(wait, threshold))
    }
}

fn long(wait: &IoWait, threshold: Duration) -> bool {
    wait.last.since(wait.since) >= threshold
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn reading(track: &mut IoTrack, second: u64, waited_ms: u64, busy: f64) -> Option<IoWait> {
        let load = IoLoad { some_ns: waited_ms * 1_000_000, busy: Some(busy), ..IoLoad::default() };
        track.on_reading(Nanos(second * SECOND), Nanos((second + 1) * SECOND), &load, Duration::from_secs(2))
    }

    #[test]
    fn begin_and_end_are_told_within_a_reading() {
        let mut track = IoTrack::default();
        assert_eq!(reading(&mut track, 1, 400, 0.1), None);
        assert_eq!(reading(&mut track, 2, 1000, 0.1), None, "1.4 s are too short");
        let open = reading(&mut track, 3, 1000, 0.1).unwrap();
        assert_eq!((open.since, open.over), (Nanos(1_600_000_000), false));
        let over = reading(&mut track, 4, 300, 0.1).unwrap();
        assert_eq!((over.last, over.over), (Nanos(4_300_000_000), true));
        assert_eq!(reading(&mut track, 5, 0, 0.1), None);
    }

    #[test]
    fn busy_cpus_explain_a_wait() {
        let mut track = IoTrack::default();
        for second in 1..10 {
            assert_eq!(reading(&mut track, second, 1000, 0.97), None);
        }
    }
}
