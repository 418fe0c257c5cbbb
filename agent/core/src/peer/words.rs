//! What a peer says that it heard of this host: two words of it tell what was lost between them.

use crate::evidence::Heard;

/// By how much the numbers went on between two reports, and how many were heard.
fn between(before: &Heard, now: &Heard) -> (u64, u64) {
    (now.seq.saturating_sub(before.seq), now.count.saturating_sub(before.count))
}

/// How many more were heard between two reports than there are numbers between them.
pub(super) fn late(before: &Heard, now: &Heard) -> u64 {
    let (numbers, heard) = between(before, now);
    heard.saturating_sub(numbers)
}

/// What was missing and what was heard between two reports. What came in late makes up for what was missing.
pub(super) fn step(before: &Heard, now: &Heard) -> (u64, u64) {
    let (numbers, heard) = between(before, now);
    (numbers.saturating_sub(heard), heard.min(numbers))
}

/// Numbers that the peer did not receive between two of its reports: the numbers went on by more than the count.
#[must_use]
pub fn lost_between(before: &Heard, after: &Heard) -> Option<u64> {
    if before.incarnation != after.incarnation {
        return None;
    }
    let numbers = after.seq.checked_sub(before.seq)?;
    Some(numbers.saturating_sub(after.count.checked_sub(before.count)?))
}
