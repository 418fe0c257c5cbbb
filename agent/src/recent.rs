//! The last minutes of a length, as the longest one of every few seconds: what a sparkline shows.

use std::collections::VecDeque;
use std::time::Duration;

use lacuna_core::time::{Nanos, nanos};
use serde::{Deserialize, Serialize};

/// Length of a slot.
pub const SLOT: Duration = Duration::from_secs(5);
/// Slots that are kept: five minutes.
pub const SLOTS: usize = 60;

/// The longest length of each slot, oldest first; the last slot is the one that goes on. Without holes: a slot in which nothing
/// could be measured ends what is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Slots", into = "Slots")]
pub struct Recent {
    /// The number of the last slot since boot.
    newest: u64,
    longest: VecDeque<Duration>,
}

/// The same as a document.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Slots {
    /// Length of a slot, in seconds.
    slot_seconds: f64,
    /// The longest length that ended, or went on, in each slot, in seconds, oldest first.
    longest_seconds: Vec<f64>,
}

impl Recent {
    /// Takes what went on, or ended, at `at`, after `length`.
    pub fn note(&mut self, at: Nanos, length: Duration) {
        let slot = at.0 / nanos(SLOT);
        if self.longest.is_empty() {
            self.begin(slot);
        }
        while self.newest < slot {
            match length.checked_sub(at.since(end_of(self.newest))) {
                // It went on already as that slot ended.
                Some(so_far) => self.raise(self.newest, so_far),
                None if self.newest + 1 == slot => (),
                None => {
                    self.begin(slot);
                    break;
                }
            }
            self.add();
        }
        self.raise(slot, length);
    }

    /// Forgets what was, and begins with that slot.
    fn begin(&mut self, slot: u64) {
        self.newest = slot;
        self.longest = VecDeque::from([Duration::ZERO]);
    }

    fn add(&mut self) {
        self.newest += 1;
        self.longest.push_back(Duration::ZERO);
        if self.longest.len() > SLOTS {
            self.longest.pop_front();
        }
    }

    /// What came in late belongs to the slot in which it ended, while that is kept.
    fn raise(&mut self, slot: u64, length: Duration) {
        let back = usize::try_from(self.newest.saturating_sub(slot)).unwrap_or(usize::MAX);
        let place = self.longest.len().checked_sub(back.saturating_add(1));
        if let Some(longest) = place.and_then(|place| self.longest.get_mut(place)) {
            *longest = (*longest).max(length);
        }
    }

    /// Forgets all: what follows is not the same any more.
    pub fn clear(&mut self) {
        self.longest.clear();
    }

    /// Whether nothing was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.longest.is_empty()
    }

    /// The longest of each slot, oldest first.
    pub fn longest(&self) -> impl ExactSizeIterator<Item = Duration> {
        self.longest.iter().copied()
    }
}

fn end_of(slot: u64) -> Nanos {
    Nanos(slot.saturating_add(1).saturating_mul(nanos(SLOT)))
}

impl From<Recent> for Slots {
    fn from(recent: Recent) -> Self {
        let micros = |length: Duration| u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        let seconds = |length| crate::export::json::micros(micros(length));
        Self { slot_seconds: SLOT.as_secs_f64(), longest_seconds: recent.longest().map(seconds).collect() }
    }
}

impl From<Slots> for Recent {
    /// Of what an agent answers: no more than there may be, and only what is a length.
    fn from(slots: Slots) -> Self {
        let beyond = slots.longest_seconds.len().saturating_sub(SLOTS);
        let newest = slots.longest_seconds.into_iter().skip(beyond);
        Self { newest: 0, longest: newest.filter_map(|length| Duration::try_from_secs_f64(length).ok()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Nanos {
        Nanos(ms * 1_000_000)
    }

    fn ms(recent: &Recent) -> Vec<u128> {
        recent.longest().map(|length| length.as_millis()).collect()
    }

    fn noted(lengths: &[(u64, u64)]) -> Recent {
        let mut recent = Recent::default();
        for (ended, length) in lengths {
            recent.note(at(*ended), Duration::from_millis(*length));
        }
        recent
    }

    #[test]
    fn each_slot_has_its_longest() {
        assert_eq!(ms(&noted(&[(100, 100), (400, 300), (500, 100), (5_100, 110), (9_900, 90)])), [300, 110]);
    }

    #[test]
    fn what_lasts_for_several_slots_grows_from_slot_to_slot() {
        // Nothing from 4 s on until 17 s.
        assert_eq!(ms(&noted(&[(4_000, 100), (17_000, 13_000)])), [1_000, 6_000, 11_000, 13_000]);
    }

    #[test]
    fn what_came_in_late_belongs_where_it_ended() {
        assert_eq!(ms(&noted(&[(100, 100), (5_100, 100), (4_000, 900)])), [900, 100]);
        assert_eq!(ms(&noted(&[(50_000, 100), (100, 900)])), [100], "older than all that is kept");
    }

    #[test]
    fn a_time_without_a_measurement_ends_what_is_known() {
        assert_eq!(ms(&noted(&[(100, 100), (30_000, 100)])), [100]);
    }

    #[test]
    fn no_more_slots_are_kept_than_there_may_be() {
        let lengths: Vec<_> = (0..100).map(|slot| (slot * 5_000 + 10, 6_000 + slot)).collect();
        let recent = noted(&lengths);
        assert_eq!(recent.longest().len(), SLOTS);
        assert_eq!(*ms(&recent).last().unwrap(), 6_099);
        assert_eq!(ms(&recent)[0], 6_040);
    }

    #[test]
    fn a_document_is_read_back_and_a_hostile_one_is_bounded() {
        let recent = noted(&[(100, 100), (5_400, 310)]);
        let text = serde_json::to_string(&recent).unwrap();
        assert_eq!(text, r#"{"slot_seconds":5.0,"longest_seconds":[0.1,0.31]}"#);
        assert_eq!(ms(&serde_json::from_str(&text).unwrap()), [100, 310]);
        let endless = format!(r#"{{"slot_seconds":5,"longest_seconds":[-1,1e300{}]}}"#, ",0.2".repeat(1000));
        let read: Recent = serde_json::from_str(&endless).unwrap();
        assert_eq!(ms(&read), [200; SLOTS]);
    }
}
