//! Which of the newest numbers of a sender were received.

/// As RFC 4303, 3.4.3, does it against replays: bit n stands for the highest number less n.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Received(u64);

impl Received {
    /// How many of the newest numbers it knows.
    pub(crate) const WINDOW: u64 = u64::BITS as u64;

    /// The highest number is now higher by `by`, and was received.
    pub(crate) fn advance(&mut self, by: u64) {
        let shift = u32::try_from(by).unwrap_or(u32::MAX);
        self.0 = self.0.checked_shl(shift).unwrap_or(0) | 1;
    }

    /// Whether the number that is `back` below the highest was missing until now; false also where it is too old to know.
    pub(crate) fn fill(&mut self, back: u64) -> bool {
        let bit = u32::try_from(back).ok().and_then(|shift| 1_u64.checked_shl(shift)).unwrap_or(0);
        let missing = bit != 0 && self.0 & bit == 0;
        self.0 |= bit;
        missing
    }
}
