//! How far a peer's wall clock is from this one's.

use std::collections::VecDeque;
use std::time::Duration;

use lacuna_core::time::WallNanos;

/// Exchanges that are compared.
const WINDOW: usize = 16;

/// The offset by the exchange with the shortest round trip of the last ones: the less time on the way, the less it
/// can be off (the clock filter of RFC 5905, section 10).
#[derive(Clone, Debug, Default)]
pub(super) struct OffsetFilter {
    window: VecDeque<(Duration, f64)>,
}

impl OffsetFilter {
    /// Takes an exchange: the peer's wall clock when it sent, this host's when it received, and the round trip.
    pub(super) fn add(&mut self, sent: WallNanos, received: WallNanos, round_trip: Duration) {
        let difference = (i128::from(sent.0) - i128::from(received.0)) as f64 / 1e9;
        if self.window.len() == WINDOW {
            self.window.pop_front();
        }
        self.window.push_back((round_trip, difference + round_trip.as_secs_f64() / 2.0));
    }

    /// The peer's clock minus this one's, in seconds.
    pub(super) fn seconds(&self) -> Option<f64> {
        self.window.iter().min_by_key(|(round_trip, _)| *round_trip).map(|(_, offset)| *offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_exchange_counts() {
        let mut filter = OffsetFilter::default();
        assert_eq!(filter.seconds(), None);
        filter.add(WallNanos(2_000_000_000), WallNanos(1_000_000_000), Duration::from_millis(2));
        filter.add(WallNanos(2_000_000_000), WallNanos(1_500_000_000), Duration::from_secs(1));
        assert_eq!(filter.seconds(), Some(1.001));
    }
}
