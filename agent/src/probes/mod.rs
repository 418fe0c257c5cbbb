//! The probes in the kernel: load, attach, fall back, decode.

use lacuna_core::evidence::{Evidence, RetransmitCause};
use serde::Serialize;

/// What became of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeStatus {
    /// The family: `sched`, `timer`, `tcp` or `drops`.
    pub probe: String,
    /// The hook, such as `raw_tp/sched_switch`.
    pub hook: String,
    /// True where it is attached.
    pub attached: bool,
    /// Why not, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// A histogram of powers of two.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log2Histogram {
    /// `counts[i]` values lay in [2^i, 2^(i+1)) nanoseconds (the first also holds 0).
    pub counts: Vec<u64>,
    /// The sum of all values, in seconds.
    pub sum_seconds: f64,
}

/// What the kernel counts, read at the moment it is asked for. An absent answer means that it could not be measured.
pub trait ProbeMetrics: Send + Sync {
    /// How late timers expired, for each CPU.
    fn timer_lateness(&self) -> Option<Vec<(u32, Log2Histogram)>>;
    /// The time between two local timer interrupts, for each CPU.
    fn timer_gaps(&self) -> Option<Vec<(u32, Log2Histogram)>>;
    /// How long tasks were runnable before they ran, for each CPU.
    fn runqueue_delay(&self) -> Option<Vec<(u32, Log2Histogram)>>;
    /// TCP retransmits by remote address and cause: (address, cause, carried out, failed).
    fn retransmits(&self) -> Option<Vec<(std::net::IpAddr, RetransmitCause, u64, u64)>>;
    /// Drops by the kernel's name of the reason.
    fn drops(&self) -> Option<Vec<(String, u64)>>;
    /// Events that found the ring buffer full.
    fn events_lost(&self) -> Option<u64>;
}

/// Events that crossed a threshold since the last call, as evidence about `host`.
pub trait ProbeEvents: Send {
    /// Appends them to `into`, oldest first; never blocks, takes at most a bounded number.
    fn drain(&mut self, host: &str, into: &mut Vec<Evidence>);
}
