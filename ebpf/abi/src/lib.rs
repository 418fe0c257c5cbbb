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

/// Most remote addresses (by kind) that fragments are counted for; the least recently used one makes room.
pub const FRAGMENT_KEYS: usize = 2048;

/// Most reasons that drops are counted for; the kernel knows about 130.
pub const DROP_REASONS: usize = 512;

/// Most peers whose heartbeats are told from other packets; as many as the agent's configuration can have, twice.
pub const HEARTBEAT_PEERS: usize = 2048;

/// Most peers, by way and reason, that dropped heartbeats are counted for.
pub const HEARTBEAT_DROPS: usize = 4096;

/// The longest IP packet of a small heartbeat: 1216 bytes of payload, after the headers of IPv6 (40) and UDP (8). A large one is
/// as long as the MTU, which is 1280 at least (RFC 8200) where IPv6 is to work, and in practice with IPv4 as well.
pub const SMALL_HEARTBEAT: u32 = 1216 + 40 + 8;

/// Most timers that were armed with an expiry in the past and are remembered until they expire.
pub const OVERDUE_TIMERS: usize = 1024;

/// Most tasks that wait for a CPU at once, where they are not kept in task storage; those beyond it are counted.
pub const WAITING_TASKS: usize = 4096;

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
/// [`Event::kind`]: the softirq whose number is `pid` was raised at `from` and began at `to`.
pub const EVENT_SOFTIRQ_DELAY: u32 = 3;
/// [`Event::kind`]: RCU waited too long for a CPU or a task; `comm` holds its message, such as `SelfDetected`.
pub const EVENT_RCU_STALL: u32 = 4;
/// [`Event::kind`]: the kernel's detector of hung tasks names the task.
pub const EVENT_TASK_HUNG: u32 = 5;

/// [`Event::kind`]: a network device did not transmit for too long; `comm` is its name, `pid` the number of its queue.
pub const EVENT_TRANSMIT_TIMEOUT: u32 = 6;

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
    /// The thread that waited, or the number of the softirq or the queue; 0 where none is concerned.
    pub pid: u32,
    /// Always 0.
    pub reserved: u32,
    /// Its name, the message of RCU, or the name of the network device, padded with NUL.
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
/// Anything else.
pub const CAUSE_OTHER: u32 = 3;
/// A tail loss probe (RFC 8985): sent to find out whether anything was lost.
pub const CAUSE_PROBE: u32 = 4;

/// How often it was, and how large.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RetransmitCount {
    /// Carried out.
    pub sent: u64,
    /// Attempts that this host's own stack could not carry out.
    pub failed: u64,
    /// The window (`SIZE_WINDOW`) that the sizes are of.
    pub window: u64,
    /// The smallest segment with data that was sent again in that window, in bytes of payload.
    pub smallest: u64,
    /// The largest one; 0 where there was none.
    pub largest: u64,
}

/// A [`RetransmitCount`] as the words that a map read gives, in the order of its fields.
pub const RETRANSMIT_WORDS: usize = 5;

/// Whose packets were fragmented, put together or too big.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FragmentKey {
    /// The remote address; IPv4 as an IPv4-mapped IPv6 address.
    pub remote: [u8; 16],
    /// `FRAGMENT_*`.
    pub kind: u32,
}

/// A datagram to the remote was to be fragmented by this host; one of IPv6 that is passed on is refused at that.
pub const FRAGMENT_OUT: u32 = 0;
/// A fragment from the remote came in.
pub const FRAGMENT_IN: u32 = 1;
/// A datagram from the remote was given up, since not all of its fragments came in time.
pub const FRAGMENT_EXPIRED: u32 = 2;
/// This host told the remote that its packet was too big for the way on.
pub const FRAGMENT_NEEDED_OUT: u32 = 3;
/// This host was told that its packet to the remote was too big for the way.
pub const FRAGMENT_NEEDED_IN: u32 = 4;
/// How many kinds there are, rounded up to a power of two.
pub const FRAGMENT_KINDS: usize = 8;

/// How often it was.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FragmentCount {
    /// Datagrams, fragments or messages.
    pub count: u64,
    /// The MTU that the last message named; 0 where it named none, or it is about something else.
    pub mtu: u64,
}

/// A [`FragmentCount`] as the words that a map read gives, in the order of its fields.
pub const FRAGMENT_WORDS: usize = 2;

/// Where the heartbeats of a peer come from and go to.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HeartbeatPeer {
    /// The peer's address; IPv4 as an IPv4-mapped IPv6 address.
    pub address: [u8; 16],
    /// The peer's port.
    pub port: u32,
}

/// Whose heartbeats the kernel dropped, which way they went, and why.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HeartbeatDropKey {
    /// The peer.
    pub peer: HeartbeatPeer,
    /// `WAY_*`.
    pub way: u32,
    /// The kernel's number of the reason.
    pub reason: u32,
}

/// It came from the peer.
pub const WAY_IN: u32 = 0;
/// It was to go to the peer.
pub const WAY_OUT: u32 = 1;

/// When a CPU last expired timers; `CLOCK_MONOTONIC`, 0 where it has not yet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TimerClock {
    /// The `now` of the latest batch of expired timers.
    pub batch: u64,
    /// The `now` of the batch before that.
    pub batch_before: u64,
}

/// No interrupt.
pub const INTERRUPT_NONE: u32 = 0;
/// The CPU's own timer.
pub const INTERRUPT_TIMER: u32 = 1;
/// Another CPU asks this one to look at its run queue.
pub const INTERRUPT_RESCHEDULE: u32 = 2;
/// Another CPU wants a function called here, on several CPUs at once.
pub const INTERRUPT_CALL_FUNCTION: u32 = 3;
/// Another CPU wants a function called here only.
pub const INTERRUPT_CALL_FUNCTION_SINGLE: u32 = 4;
/// Work that was put off from a context that could not do it.
pub const INTERRUPT_IRQ_WORK: u32 = 5;
/// A device; `CpuActivity::irq` is its number.
pub const INTERRUPT_DEVICE: u32 = 6;

/// What a CPU did since the probes were loaded, and what it is in right now. Times are of `CLOCK_MONOTONIC` in nanoseconds,
/// 0 where there was none yet.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CpuActivity {
    /// The latest local timer interrupt.
    pub timer_at: u64,
    /// The latest interrupt of any kind; where the CPU is in a handler, since when.
    pub interrupt_at: u64,
    /// Local timer interrupts.
    pub timers: u64,
    /// Interrupts by other CPUs and by this CPU itself.
    pub ipis: u64,
    /// Interrupts by devices; a shared line counts once for each handler.
    pub devices: u64,
    /// Softirqs that began.
    pub softirqs: u64,
    /// When the latest handler was entered, in jiffies (`bpf_jiffies64`).
    pub entered: u64,
    /// When the latest handler that took long was entered.
    pub long_since: u64,
    /// When it was left.
    pub long_until: u64,
    /// The `INTERRUPT_*` of it.
    pub long_handler: u32,
    /// The number of the interrupt where `long_handler` is a device's; 0 otherwise.
    pub long_irq: u32,
    /// The `INTERRUPT_*` whose handler the CPU is in.
    pub handler: u32,
    /// The number of the interrupt where `handler` is a device's; 0 otherwise.
    pub irq: u32,
}

/// Most frames of a [`Landing`].
pub const LANDING_FRAMES: usize = 32;
/// Frames of a [`Landing`] whose code is kept. The way of a device's interrupt into the kernel takes about ten.
pub const LANDING_CODE: usize = 16;
/// Bytes of code that are kept of a frame. x86 instructions have up to 15; decoded from any byte on, code soon falls into step.
pub const CODE_BYTES: usize = 32;

/// What an interrupt landed in: the first one after a long silence of its CPU, or one that was asked for.
///
/// The reader has a whole one where `finished` and `started` are equal and not 0: it copies from the front, the writer
/// changes `started` first and `finished` last.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Landing {
    /// The number of the landing that was written to its end.
    pub finished: u64,
    /// When the interrupt came, `CLOCK_MONOTONIC` in nanoseconds.
    pub at: u64,
    /// How long the CPU had taken no interrupt before, in nanoseconds; 0 for one that was asked for.
    pub silence: u64,
    /// `INTERRUPT_*`.
    pub interrupt: u32,
    /// The number of the interrupt where it is a device's; 0 otherwise.
    pub irq: u32,
    /// The kernel's stack, innermost frame first; 0 after the last one.
    pub frames: [u64; LANDING_FRAMES],
    /// The code before the address of each of the first frames; 0 where it cannot be read.
    pub code: [[u8; CODE_BYTES]; LANDING_CODE],
    /// The number of the landing that was begun last.
    pub started: u64,
}

/// Most addresses at which ticks just after interrupts were enabled are counted. A kernel has some thousand such places, of
/// which a machine passes a hundred all the time.
pub const PASSED_ADDRESSES: usize = 1024;

/// Most CPUs whose next timer interrupt can be asked for a stack.
pub const SAMPLED_CPUS: usize = 1024;

/// Kinds of softirq (`NR_SOFTIRQS`), rounded up to a power of two.
pub const SOFTIRQS: usize = 16;

/// Since when each kind of softirq has been waiting on a CPU, in jiffies (`bpf_jiffies64`); 0 where it is not.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Raised {
    /// By the number of the softirq.
    pub since: [u64; SOFTIRQS],
}

/// What a CPU switched to.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CpuSwitches {
    /// How often it switched tasks.
    pub count: u64,
    /// The latest switch, `CLOCK_MONOTONIC` in nanoseconds; 0 where there was none yet.
    pub at: u64,
    /// The thread that it switched to; 0 for the idle task.
    pub pid: u64,
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
    assert!(size_of::<RetransmitCount>() == 8 * RETRANSMIT_WORDS);
    assert!(size_of::<FragmentKey>() == 20 && align_of::<FragmentKey>() == 4);
    assert!(size_of::<FragmentCount>() == 8 * FRAGMENT_WORDS && FRAGMENT_KINDS.is_power_of_two());
    assert!(size_of::<HeartbeatPeer>() == 20 && align_of::<HeartbeatPeer>() == 4);
    assert!(size_of::<HeartbeatDropKey>() == 28 && align_of::<HeartbeatDropKey>() == 4);
    assert!(size_of::<TimerClock>() == 16);
    assert!(size_of::<CpuActivity>() == 9 * 8 + 4 * 4);
    assert!(size_of::<Landing>() == 3 * 8 + 2 * 4 + 8 * LANDING_FRAMES + CODE_BYTES * LANDING_CODE + 8);
    assert!(size_of::<Raised>() == 8 * SOFTIRQS && SOFTIRQS.is_power_of_two());
    assert!(size_of::<CpuSwitches>() == 24);
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
