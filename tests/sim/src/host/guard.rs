//! Which packets of a peer count, as the agent's own guard against replays has it (`agent/src/heartbeat/replay.rs`).

use lacuna_core::received::Received;

/// Which start of which boot.
pub(super) type Start = ([u8; 16], u64);

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Counts,
    Duplicate,
    Replay,
}

/// What is known of one peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    present: Option<Start>,
    /// The highest number and those below it that came in: of small packets, of the MTU, fragmented.
    windows: [(u64, Received); 3],
    /// The highest number of this host's that the peer repeated, in packets of each kind.
    echoed: [u64; 3],
}

impl Guard {
    /// A packet of that kind with that number, which repeats a number of this host's.
    pub(super) fn take(&mut self, start: Start, kind: usize, seq: u64, echo: Option<u64>) -> Admission {
        let proven = echo.is_some_and(|echo| echo > self.echoed[kind]);
        if self.present != Some(start) {
            (self.present, self.windows) = (Some(start), Default::default());
        }
        let (highest, received) = &mut self.windows[kind];
        let mut admission = Admission::Counts;
        if seq > *highest {
            received.advance(seq - *highest);
            *highest = seq;
        } else if !received.fill(*highest - seq) {
            admission = match *highest - seq {
                // Its numbers went back, and it knows what was just sent: a snapshot of it was restored.
                _ if proven => {
                    *received = Received::default();
                    received.advance(seq);
                    *highest = seq;
                    Admission::Counts
                }
                back if back < Received::WINDOW => Admission::Duplicate,
                _ => Admission::Replay,
            };
        }
        if admission == Admission::Counts {
            self.echoed[kind] = self.echoed[kind].max(echo.unwrap_or(0));
        }
        admission
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_went_back_count_once_the_peer_knows_what_was_just_sent() {
        let (mut guard, start) = (Guard::default(), ([1; 16], 1));
        assert_eq!(guard.take(start, 0, 1000, Some(50)), Admission::Counts);
        assert_eq!(guard.take(start, 0, 1000, Some(50)), Admission::Duplicate);
        assert_eq!(guard.take(start, 0, 7, Some(50)), Admission::Replay);
        assert_eq!(guard.take(start, 0, 8, Some(51)), Admission::Counts);
        assert_eq!(guard.take(start, 1, 8, None), Admission::Counts, "sizes count by themselves");
        assert_eq!(guard.take(([1; 16], 2), 0, 1, None), Admission::Counts, "and so does each start");
    }
}
