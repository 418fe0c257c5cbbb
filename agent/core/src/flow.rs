//! How the packets of one size come in from a peer, beside those that are lost: twice, overtaken by later ones, and with how
//! much variation of their time on the way.
//!
//! The variation needs no clocks that agree: two packets that left a second apart by the sender's clock and came in 1.2 s
//! apart by this kernel's were not equally long on the way, however far apart the clocks are.

use std::time::Duration;

use crate::evidence::{FlowReport, Size};
use crate::time::Nanos;

/// The estimator of RFC 3550, 6.4.1, moves by a sixteenth of each difference, and holds sixteen times its value (A.8).
const GAIN: u64 = 16;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowTrack {
    /// Packets that came in again, over all starts of the peer's agent.
    pub duplicates: u64,
    /// Packets that were overtaken by later ones, over all starts of the peer's agent.
    pub reordered: u64,
    /// Both, at the present start of the peer's agent.
    before: (u64, u64),
    /// When the last packet left, by the peer's boot clock, and when it came in.
    last: Option<(Nanos, Nanos)>,
    /// The variation in nanoseconds, times [`GAIN`]; absent before the second packet.
    scaled_ns: Option<u64>,
}

impl FlowTrack {
    /// A packet that left at `sent`, by the peer's boot clock, came in at `at` for the first time.
    pub fn on_packet(&mut self, sent: Nanos, at: Nanos) {
        if let Some((sent_before, at_before)) = self.last.replace((sent, at)) {
            let apart = |now: Nanos, before: Nanos| i128::from(now.0) - i128::from(before.0);
            let difference = apart(at, at_before) - apart(sent, sent_before);
            let difference = u64::try_from(difference.unsigned_abs()).unwrap_or(u64::MAX);
            let scaled = self.scaled_ns.unwrap_or(0);
            let forgotten = scaled.saturating_add(GAIN / 2) / GAIN;
            self.scaled_ns = Some(scaled.saturating_sub(forgotten).saturating_add(difference));
        }
    }

    /// The peer's agent was started anew: its clock may be another one, and it is told of what came in since.
    pub fn begin_anew(&mut self) {
        (self.before, self.last, self.scaled_ns) = ((self.duplicates, self.reordered), None, None);
    }

    /// How much the time on the way varies from packet to packet (RFC 3550, 6.4.1); absent before the second one.
    #[must_use]
    pub fn variation(&self) -> Option<Duration> {
        self.scaled_ns.map(|scaled| Duration::from_nanos(scaled / GAIN))
    }

    /// What the peer is told of its packets of that size; absent where none came in twice.
    #[must_use]
    pub fn report(&self, size: Size) -> Option<FlowReport> {
        let (duplicates, reordered) = (self.duplicates - self.before.0, self.reordered - self.before.1);
        let report = FlowReport { size, duplicates, reordered, variation: self.variation() };
        (report.variation.is_some() || duplicates > 0 || reordered > 0).then_some(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Packets 100 ms apart that take `on_the_way(number)` milliseconds, by clocks that are an hour apart.
    fn after(packets: u64, on_the_way: impl Fn(u64) -> u64) -> Duration {
        let mut track = FlowTrack::default();
        for number in 0..packets {
            let sent = number * 100 * MS;
            track.on_packet(Nanos(sent), Nanos(sent + 3_600_000 * MS + on_the_way(number) * MS));
        }
        track.variation().unwrap()
    }

    #[test]
    fn a_time_on_the_way_that_does_not_vary_shows_none_however_long_it_is() {
        assert_eq!(after(100, |_| 50), Duration::ZERO);
    }

    #[test]
    fn the_estimate_comes_to_the_mean_difference() {
        let varied = after(200, |number| if number % 2 == 0 { 1 } else { 5 });
        assert!(varied.abs_diff(Duration::from_millis(4)) < Duration::from_micros(100), "{varied:?}");
    }

    #[test]
    fn a_single_late_packet_is_forgotten() {
        let after_one = |later: u64| after(50 + later, |number| if number == 49 { 161 } else { 1 });
        assert_eq!(after_one(0), Duration::from_millis(10), "a sixteenth of it");
        assert!(after_one(100) < Duration::from_micros(100));
    }

    #[test]
    fn hostile_times_do_no_harm() {
        let mut track = FlowTrack::default();
        for (sent, at) in [(0, u64::MAX), (u64::MAX, 0), (0, u64::MAX), (5, 5), (u64::MAX, u64::MAX)] {
            track.on_packet(Nanos(sent), Nanos(at));
        }
        assert!(track.variation().is_some());
    }

    #[test]
    fn the_peer_is_told_of_what_came_in_since_it_started() {
        let mut track = FlowTrack::default();
        assert_eq!(track.report(Size::Mtu), None);
        track.duplicates = 3;
        track.begin_anew();
        assert_eq!(track.report(Size::Mtu), None);
        (track.duplicates, track.reordered) = (5, 1);
        let expected = FlowReport { size: Size::Mtu, duplicates: 2, reordered: 1, variation: None };
        assert_eq!(track.report(Size::Mtu), Some(expected));
    }
}
