//! From the bytes and words of the kernel's maps to values: bounds-checked, without casts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use lacuna_abi::{
    BUCKETS, CAUSE_FAST, CAUSE_OTHER, CAUSE_PROBE, CAUSE_SYN, CAUSE_TIMEOUT, COMM_LEN, EVENT_RCU_STALL,
    EVENT_RUNQUEUE_DELAY, EVENT_SOFTIRQ_DELAY, EVENT_TASK_HUNG, EVENT_TIMER_LATE, EVENT_TRANSMIT_TIMEOUT, Event,
    HISTOGRAM_WORDS, RETRANSMIT_WORDS, RetransmitKey,
};
use lacuna_core::evidence::{Evidence, Fact, RetransmitCause};
use lacuna_core::time::Nanos;

use super::{Log2Histogram, Sizes};

/// A [`RetransmitKey`] as a map read gives it.
pub(super) type KeyBytes = [u8; size_of::<RetransmitKey>()];

/// An event of the ring buffer as evidence about `host`; absent where it is none that this version knows.
///
/// `boot_minus_monotonic` is how far the boot clock is ahead of the clock of the probes, in nanoseconds.
pub(super) fn event(bytes: &[u8], host: &str, boot_minus_monotonic: u64) -> Option<Evidence> {
    let boot = |at: u64| Nanos(at.saturating_add(boot_minus_monotonic));
    let cpu = word(bytes, std::mem::offset_of!(Event, cpu))?;
    let pid = word(bytes, std::mem::offset_of!(Event, pid))?;
    let comm = name(bytes.get(std::mem::offset_of!(Event, comm)..)?.get(..COMM_LEN)?);
    let fact = match word(bytes, std::mem::offset_of!(Event, kind))? {
        EVENT_TIMER_LATE => Fact::TimerLate { cpu },
        EVENT_RUNQUEUE_DELAY => Fact::RunqueueDelay { cpu, pid, comm },
        EVENT_SOFTIRQ_DELAY => Fact::SoftirqDelay { cpu, softirq: softirq(pid) },
        EVENT_RCU_STALL => Fact::RcuStall { detail: comm },
        EVENT_TASK_HUNG => Fact::TaskHung { pid, comm },
        EVENT_TRANSMIT_TIMEOUT => Fact::TransmitTimeout { interface: comm, queue: pid },
        _ => return None,
    };
    let from = boot(long(bytes, std::mem::offset_of!(Event, from))?);
    let to = boot(long(bytes, std::mem::offset_of!(Event, to))?);
    Some(Evidence::during(host, from, to, fact))
}

pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*word))
}

pub(super) fn long(bytes: &[u8], at: usize) -> Option<u64> {
    let long = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_ne_bytes(*long))
}

/// The kernel's softirqs by number (`softirq_to_name`, `kernel/softirq.c`, unchanged since Linux 4.x).
const SOFTIRQS: [&str; 10] =
    ["HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"];

/// The kernel's name of a softirq; one that this version does not know keeps its number.
fn softirq(number: u32) -> String {
    let known = usize::try_from(number).ok().and_then(|number| SOFTIRQS.get(number));
    known.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

/// A task's name up to the NUL; bytes that are not UTF-8 are replaced.
fn name(comm: &[u8]) -> String {
    let end = comm.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&comm[..end.unwrap_or(comm.len())]).into_owned()
}

/// A histogram from the words of the map: the counts, then the sum in nanoseconds.
pub(super) fn histogram(words: &[u64; HISTOGRAM_WORDS]) -> Log2Histogram {
    let (counts, sum) = words.split_at(BUCKETS);
    Log2Histogram { counts: counts.to_vec(), sum_seconds: sum.iter().sum::<u64>() as f64 / 1e9 }
}

/// Address and cause; absent where the cause is none that this version knows.
pub(super) fn retransmit_key(bytes: &KeyBytes) -> Option<(IpAddr, RetransmitCause)> {
    let remote: [u8; 16] = *bytes.first_chunk()?;
    let cause = match word(bytes, std::mem::offset_of!(RetransmitKey, cause))? {
        CAUSE_SYN => RetransmitCause::Syn,
        CAUSE_TIMEOUT => RetransmitCause::Timeout,
        CAUSE_FAST => RetransmitCause::Fast,
        CAUSE_OTHER => RetransmitCause::Other,
        CAUSE_PROBE => RetransmitCause::LossProbe,
        _ => return None,
    };
    Some((Ipv6Addr::from(remote).to_canonical(), cause))
}

/// The sizes of segments that were sent again in `window`, over all CPUs; absent where there were none with data.
pub(super) fn sizes(counts: &[[u64; RETRANSMIT_WORDS]], window: u64) -> Option<Sizes> {
    let of_window = counts.iter().filter(|[_, _, when, _, largest]| *when == window && *largest > 0);
    let (smallest, largest) =
        of_window.fold((u64::MAX, 0), |sum, [_, _, _, smallest, largest]| (sum.0.min(*smallest), sum.1.max(*largest)));
    (largest > 0).then_some(Sizes { smallest, largest })
}

/// The names of drop reasons, from the running kernel: the numbers shift between versions.
#[derive(Clone, Debug, Default)]
pub(super) struct ReasonNames {
    /// `enum skb_drop_reason`.
    pub(super) core: BTreeMap<u32, String>,
    /// `enum skb_drop_reason_subsys`; absent before 6.4.
    pub(super) subsystems: BTreeMap<u32, String>,
}

/// Where the subsystem begins in the number of a reason (`SKB_DROP_REASON_SUBSYS_SHIFT`).
const SUBSYSTEM_SHIFT: u32 = 16;

impl ReasonNames {
    /// The kernel's own name, without what all of them begin with. A subsystem's reasons are known to its module only:
    /// they are its name and their number. A reason without a name is `UNKNOWN_` and its number.
    pub(super) fn name(&self, reason: u32) -> String {
        let (subsystem, number) = (reason >> SUBSYSTEM_SHIFT, reason & 0xffff);
        if subsystem == 0 {
            let name = self.core.get(&reason).map(|name| short(name).to_owned());
            return name.unwrap_or_else(|| format!("UNKNOWN_{reason}"));
        }
        match self.subsystems.get(&subsystem) {
            Some(name) => format!("{}_{number}", short(name)),
            None => format!("SUBSYS_{subsystem}_{number}"),
        }
    }
}

fn short(name: &str) -> &str {
    let name = name.strip_prefix("SKB_DROP_REASON_").unwrap_or(name);
    name.strip_prefix("SUBSYS_").unwrap_or(name)
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
