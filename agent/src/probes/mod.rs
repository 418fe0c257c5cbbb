//! The probes in the kernel: load, attach, decode. What the kernel does not take says so, and the others go on.

mod activity;
mod cpus;
mod decode;
mod error;
mod events;
mod fragments;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod heartbeat_drops;
mod hooks;
mod irq_hooks;
mod kernel_types;
mod landing;
mod load;
mod metrics;
mod network_hooks;
mod offsets;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub use activity::{CpuActivity, Interrupt};
use aya::Ebpf;
pub use error::ProbeError;
pub use fragments::{FragmentCount, FragmentKind};
pub use heartbeat_drops::HeartbeatDrops;
use lacuna_core::evidence::{Evidence, RetransmitCause};
pub use landing::{LandingKind, RawLanding};
use serde::Serialize;

use self::events::KernelEvents;
use self::hooks::{OBJECTS, Object};
use self::load::Kernel;
use self::metrics::KernelMetrics;

/// What became of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeStatus {
    /// The family: `sched`, `timer`, `irq`, `softirq`, `watchdogs`, `tcp`, `drops`, `fragments` or `link`.
    pub probe: String,
    /// The hook, such as `raw_tp/sched_switch`.
    pub hook: String,
    /// True where it is attached.
    pub attached: bool,
    /// Why not, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// What tells the same, or most of it, where it is not attached; absent where nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
}

impl ProbeStatus {
    /// It is not attached, and nothing takes its place.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        !self.attached && self.instead.is_none()
    }
}

/// How large the TCP segments were that were sent again, in bytes of payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The smallest one with data.
    pub smallest: u64,
    /// The largest one.
    pub largest: u64,
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
    fn retransmits(&self) -> Option<Vec<(IpAddr, RetransmitCause, u64, u64)>>;
    /// Whether the running kernel tells failed retransmits apart (it hands over the error). Where it does not, the last
    /// figure of [`Self::retransmits`] is unknown, not 0.
    fn retransmit_failures_told(&self) -> bool {
        false
    }
    /// The sizes of what was sent again with data since the last call, by remote address and cause: each call begins a new
    /// window, so there is one caller.
    fn retransmit_sizes(&self) -> Option<BTreeMap<(IpAddr, RetransmitCause), Sizes>> {
        None
    }
    /// What is counted of fragments by remote address; of which kinds depends on the hooks that are attached.
    fn fragments(&self) -> Option<BTreeMap<(IpAddr, FragmentKind), FragmentCount>> {
        None
    }
    /// The same of all remotes; absent where IPv4 is not counted.
    fn fragment_total(&self, _kind: FragmentKind) -> Option<u64> {
        None
    }
    /// Whether [`Self::fragment_total`] counts IPv6 as well.
    fn counts_ipv6(&self, _kind: FragmentKind) -> bool {
        false
    }
    /// Drops by the kernel's name of the reason, in the agent's network namespace.
    fn drops(&self) -> Option<Vec<(String, u64)>>;
    /// Counts the small heartbeats that are dropped from and to these peers from now on, and no others; of these, for whom there
    /// is room.
    fn watch_heartbeats(&self, _peers: &[SocketAddr]) -> BTreeSet<SocketAddr> {
        BTreeSet::new()
    }
    /// What was dropped of them, since each is counted.
    fn heartbeat_drops(&self) -> Option<HeartbeatDrops> {
        None
    }
    /// Events that found the ring buffer full.
    fn events_lost(&self) -> Option<u64>;
    /// Counts that had no room in the bounded maps of the kernel.
    fn entries_refused(&self) -> Option<u64> {
        None
    }
    /// What every CPU did so far, for a look at one that is suspected; absent where it cannot be measured.
    fn activity(&self) -> Option<BTreeMap<u32, CpuActivity>> {
        None
    }
    /// What the interrupt landed in that ended this CPU's last silence of [`Options::landing_silence`] or longer, or what
    /// the last [`Self::sample`] found, whichever is later. An idle CPU is lawfully silent and lands in idle.
    fn landing(&self, _cpu: u32) -> Option<RawLanding> {
        None
    }
    /// How many ordinary ticks landed at that address of the kernel, just after interrupts were enabled there: 0 where such
    /// ticks are counted, and none did. Addresses that were not met for long are forgotten.
    fn passed(&self, _address: u64) -> Option<u64> {
        None
    }
    /// Asks for the stack of that CPU at its next timer interrupt; from then on it is in [`Self::landing`]. Where a long
    /// silence ends before, that is there instead, and the request is withdrawn.
    fn sample(&self, _cpu: u32) {}
}

/// Events that crossed a threshold since the last call, as evidence about `host`.
pub trait ProbeEvents: Send {
    /// Appends them to `into`, oldest first; never blocks, takes at most a bounded number.
    fn drain(&mut self, host: &str, into: &mut Vec<Evidence>);
}

/// What the probes are told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Inode number of the network namespace that `tcp`, `drops`, `fragments` and `link` keep to; 0 for that of this process.
    pub netns_inum: u32,
    /// A timer that is late by this or more is an event; a lesser lateness is only counted.
    pub timer_late: Duration,
    /// A task that waits for a CPU for this long or longer is an event; a shorter wait is only counted.
    pub runqueue_delay: Duration,
    /// A softirq that waits for this long or longer after it was raised is an event.
    pub softirq_delay: Duration,
    /// What ends a silence of this length or longer, in which a CPU took no interrupt, leaves a landing.
    pub landing_silence: Duration,
    /// Functions of the kernel are hooked by fentry where it can be had; otherwise by kprobes, as on kernels without it.
    pub fentry: bool,
}

impl Default for Options {
    /// Its own namespace; thresholds that a healthy host does not reach. The landing's is four times the longest period
    /// with which the agent itself wakes a CPU, so that a landing tells more than that the CPU was idle.
    fn default() -> Self {
        const LATE: Duration = Duration::from_millis(200);
        Self {
            netns_inum: 0,
            timer_late: LATE,
            runqueue_delay: LATE,
            softirq_delay: LATE,
            landing_silence: 2 * LATE,
            fentry: true,
        }
    }
}

/// The probes in the kernel. They are detached when this is dropped.
#[derive(Default)]
pub struct Probes {
    /// Every hook of every family, and what became of it.
    pub status: Vec<ProbeStatus>,
    /// What they count; absent where nothing is loaded.
    pub metrics: Option<Arc<dyn ProbeMetrics>>,
    /// What they report; absent where nothing is loaded.
    pub events: Option<Box<dyn ProbeEvents>>,
    objects: Vec<Ebpf>,
}

impl std::fmt::Debug for Probes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Probes")
            .field("status", &self.status)
            .field("objects", &self.objects.len())
            .finish_non_exhaustive()
    }
}

/// Attaches every probe that the running kernel takes. It never fails as a whole: what is refused says why in its status.
#[must_use]
pub fn attach(options: &Options) -> Probes {
    let probes = attach_all(options);
    crate::memory::give_back();
    probes
}

fn attach_all(options: &Options) -> Probes {
    let kernel = match Kernel::read(options) {
        Ok(kernel) => kernel,
        Err(error) => return Probes::refused(&error),
    };
    let mut probes = Probes::default();
    let mut metrics = KernelMetrics { reasons: kernel.reasons(), ..KernelMetrics::default() };
    let mut rings = Vec::new();
    for object in &OBJECTS {
        let mut loaded = match load::load(object, &kernel, options) {
            Ok(loaded) => loaded,
            Err(error) => {
                probes.refuse(object, &error);
                continue;
            }
        };
        loaded.take_maps(&mut metrics);
        if let Some((ring, refused)) = loaded.take_output() {
            rings.push(ring);
            metrics.refused.push(refused);
        }
        probes.status.append(&mut loaded.status);
        probes.objects.push(loaded.ebpf);
    }
    if !probes.objects.is_empty() {
        let events = KernelEvents::new(rings, metrics.refused.clone());
        probes.events = Some(Box::new(events));
        probes.metrics = Some(Arc::new(metrics));
    }
    probes
}

impl Probes {
    /// Whether every hook of the family is attached.
    #[must_use]
    pub fn has(&self, probe: &str) -> bool {
        let mut hooks = self.status.iter().filter(|status| status.probe == probe);
        hooks.clone().next().is_some() && hooks.all(|status| status.attached)
    }

    fn refused(error: &ProbeError) -> Self {
        let mut probes = Self::default();
        for object in &OBJECTS {
            probes.refuse(object, error);
        }
        probes
    }

    fn refuse(&mut self, object: &Object, error: &ProbeError) {
        let refused = |hook| load::status(hook, Some(error));
        self.status.extend(object.hooks.iter().map(refused));
    }
}

/// The rows of `lacuna_probe_attached{probe,hook}`: 1 where it is attached, 0 where it is not.
pub fn attached_rows(status: &[ProbeStatus]) -> impl Iterator<Item = (&str, &str, u8)> {
    status.iter().map(|status| (status.probe.as_str(), status.hook.as_str(), u8::from(status.attached)))
}
