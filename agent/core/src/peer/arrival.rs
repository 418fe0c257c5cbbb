//! What a heartbeat that came in changes of what is known of its sender.

use std::time::Duration;

use crate::evidence::Heartbeat;
use crate::received::Received;
use crate::time::Nanos;

/// A lower number this long after the highest is no packet that was overtaken (private networks deliver within
/// milliseconds): the peer counts anew. Below the shortest default gap, so that nobody is blamed in the meantime.
const OVERTAKEN: Duration = Duration::from_millis(250);

/// The last heartbeat that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastHeard {
    /// When this host's kernel received it.
    pub at: Nanos,
    /// Its number.
    pub seq: u64,
    /// When the peer sent it, on the peer's boot clock.
    pub sent_at: Nanos,
    /// The boot of the peer.
    pub boot_id: [u8; 16],
    /// The start of the peer's agent.
    pub incarnation: u64,
}

/// What a heartbeat changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// How long nothing had come in before; zero for the first of all.
    pub silence: Duration,
    /// Numbers that are missing between the one before and this one.
    pub missing: u64,
    /// The hole in the peer's send times, on the peer's clock: (last before, this one).
    pub send_hole: Option<(Nanos, Nanos)>,
    /// The peer was booted anew; holds the boot id before.
    pub new_boot: Option<[u8; 16]>,
    /// The peer's agent was started anew on the same boot.
    pub new_incarnation: bool,
    /// The peer's numbers went back although its agent was not started anew: a snapshot was restored.
    pub rewound: bool,
    /// The heartbeat is an old one that was overtaken.
    pub reordered: bool,
    /// The heartbeat was received before, or it is too old to know.
    pub duplicate: bool,
    /// How many of those that it missed before it has heard since, which others had overtaken.
    pub heard_late: u64,
    /// What the peer heard of this host since its last word: (missing, heard).
    pub heard_step: Option<(u64, u64)>,
}

impl Arrival {
    /// What `beat` changes that comes in at `at` after `last`, where those `numbers` came in before.
    pub(super) fn of(beat: &Heartbeat, at: Nanos, last: &LastHeard, numbers: &mut Received) -> Self {
        let mut arrival = Self { silence: at.since(last.at), ..Self::default() };
        if beat.boot_id != last.boot_id {
            arrival.new_boot = Some(last.boot_id);
        } else if started_after(beat, last) {
            arrival.new_incarnation = true;
        } else if (beat.incarnation, beat.seq) == (last.incarnation, last.seq) {
            arrival.duplicate = true;
        } else if (beat.incarnation, beat.seq) > (last.incarnation, last.seq) {
            arrival.missing = beat.seq - last.seq - 1;
            arrival.send_hole = Some((last.sent_at, beat.sent_at));
        } else if arrival.silence >= OVERTAKEN {
            arrival.rewound = true;
        } else {
            let fills = beat.incarnation == last.incarnation && numbers.fill(last.seq - beat.seq);
            (arrival.reordered, arrival.duplicate) = (fills, !fills);
        }
        arrival
    }

    /// The peer counts from the beginning: nothing that it counted before can be compared.
    #[must_use]
    pub fn counts_anew(&self) -> bool {
        self.new_boot.is_some() || self.new_incarnation || self.rewound
    }
}

/// Whether the agent that sent `beat` was started after the one that was heard last, on the same boot. An incarnation
/// is taken from the wall clock, which may have been set back; the boot clock of the sender was not.
fn started_after(beat: &Heartbeat, last: &LastHeard) -> bool {
    let set_back = beat.incarnation < last.incarnation && beat.sent_at > last.sent_at;
    beat.incarnation > last.incarnation || set_back
}
