//! What the probes and the agent share: the event of the ring buffer, the layouts of map keys and values.
//!
//! Everything is `repr(C)` without implicit padding, asserted at compile time, in the byte order of the machine.
//! The agent never casts bytes to these types; it reads them field by field at the offsets given here.
#![no_std]

/// Buckets of a [`Histogram`]: one for each power of two that a `u64` has.
pub const BUCKETS: usize = 64;

/// Bytes of a task's name, with the NUL at the end (`TASK_COMM_LEN`).
pub const COMM_LEN: usize = 16;

/// Most remote addresses (by cause) that retransmits are counted for; the least recently used one makes room.
pub const RETRANSMIT_KEYS: usize = 4096;

/// Most reasons that drops are counted for; the kernel knows about 130.
pub const DROP_REASONS: usize = 512;

/// Most timers that were armed with an expiry in the past and are remembered until they expire.
pub const OVERDUE_TIMERS: usize = 1024;

/// Bytes of each ring buffer: about 4,600 events.
pub const RING_BYTES: usize = 256 * 1024;

/// A histogram of powers of two; see [`bucket`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Histogram {
    /// How many values each bucket got.
    pub counts: [u64; BUCKETS],
    /// The sum of all values.
    pub sum: u64,
}

/// A [`Histogram`] as the words that a map read gives: the counts, then the sum.
pub const HISTOGRAM_WORDS: usize = BUCKETS + 1;

/// The bucket of `value`: the number of its highest bit that is set, 0 for 0.
///
/// Written as five comparisons, since BPF has no instruction that counts leading zeros.
#[inline(always)]
#[must_use]
pub const fn bucket(value: u64) -> usize {
    let mut rest = value;
    let mut log = 0;
    let mut half = 32;
    while half > 0 {
        if rest >> half != 0 {
            rest >>= half;
            log += half;
        }
        half /= 2;
    }
    // The mask changes nothing; it shows the verifier that the index is in range.
    log as usize & (BUCKETS - 1)
}

/// [`Event::kind`]: a timer was due at `from` and expired at `to`.
pub const EVENT_TIMER_LATE: u32 = 1;
/// [`Event::kind`]: the task was runnable from `from` on and ran at `to`.
pub const EVENT_RUNQUEUE_DELAY: u32 = 2;

/// What comes through the ring buffer when a threshold is crossed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Event {
    /// `EVENT_*`.
    pub kind: u32,
    /// The CPU it happened on.
    pub cpu: u32,
    /// Begin on `CLOCK_MONOTONIC`, in nanoseconds.
    pub from: u64,
    /// End on `CLOCK_MONOTONIC`, in nanoseconds.
    pub to: u64,
    /// The thread that waited; 0 where none is concerned.
    pub pid: u32,
    /// Always 0.
    pub reserved: u32,
    /// Its name, padded with NUL.
    pub comm: [u8; COMM_LEN],
}

/// Who a segment was sent to again, and why.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RetransmitKey {
    /// The remote address; IPv4 as an IPv4-mapped IPv6 address.
    pub remote: [u8; 16],
    /// `CAUSE_*`.
    pub cause: u32,
}

/// A SYN or SYN-ACK was not answered.
pub const CAUSE_SYN: u32 = 0;
/// The retransmission timer ran out.
pub const CAUSE_TIMEOUT: u32 = 1;
/// Duplicate acknowledgements or RACK showed the loss.
pub const CAUSE_FAST: u32 = 2;
/// Anything else, such as a tail loss probe.
pub const CAUSE_OTHER: u32 = 3;

/// How often it was.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RetransmitCount {
    /// Carried out.
    pub sent: u64,
    /// Attempts that this host's own stack could not carry out.
    pub failed: u64,
}

/// When a CPU last expired timers or took its timer interrupt; `CLOCK_MONOTONIC`, 0 where it has not yet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TimerClock {
    /// The `now` of the latest batch of expired timers.
    pub batch: u64,
    /// The `now` of the batch before that.
    pub batch_before: u64,
    /// The latest local timer interrupt.
    pub interrupt: u64,
}

/// Index into the counters of what had no room: events that found the ring buffer full.
pub const REFUSED_EVENTS: u32 = 0;
/// Index into the counters of what had no room: map entries that could not be made.
pub const REFUSED_ENTRIES: u32 = 1;
/// How many such counters there are.
pub const REFUSED_COUNTERS: usize = 2;

const _: () = {
    assert!(size_of::<Histogram>() == 8 * HISTOGRAM_WORDS);
    assert!(size_of::<Event>() == 4 + 4 + 8 + 8 + 4 + 4 + COMM_LEN);
    assert!(size_of::<RetransmitKey>() == 20 && align_of::<RetransmitKey>() == 4);
    assert!(size_of::<RetransmitCount>() == 16);
    assert!(size_of::<TimerClock>() == 24);
    assert!(RING_BYTES.is_power_of_two() && RING_BYTES.is_multiple_of(4096));
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_the_highest_bit() {
        assert_eq!(bucket(0), 0);
        for bit in 0..BUCKETS {
            let low = 1_u64 << bit;
            assert_eq!(bucket(low), bit);
            assert_eq!(bucket(low | (low - 1)), bit, "the last value of bucket {bit}");
        }
    }
}
