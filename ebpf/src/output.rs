//! What leaves the kernel: histograms, counters, and the ring buffer for what crosses a threshold.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::btf_maps::{PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;
use lacuna_abi::{Event, Histogram, REFUSED_COUNTERS, REFUSED_EVENTS, RING_BYTES, bucket};

#[btf_map]
static EVENTS: RingBuf<Event, RING_BYTES> = RingBuf::new();

#[btf_map]
static REFUSED: PerCpuArray<u64, REFUSED_COUNTERS> = PerCpuArray::new();

/// Hands `event` over; where the ring buffer is full, it is counted.
#[inline(always)]
pub(crate) fn emit(event: &Event) {
    let Some(mut slot) = EVENTS.reserve(0) else {
        return refuse(REFUSED_EVENTS);
    };
    slot.write(*event);
    // The agent looks on its own tick; a wake-up from inside the scheduler would cost more than the probe.
    slot.submit(u64::from(BPF_RB_NO_WAKEUP));
}

/// Counts what found no room; `which` is a `REFUSED_*`.
#[inline(always)]
pub(crate) fn refuse(which: u32) {
    if let Some(count) = REFUSED.get_ptr_mut(which) {
        // SAFETY: the slot is this CPU's own; a probe that interrupts this one can at worst cost a count.
        unsafe { *count += 1 };
    }
}

/// Counts `value` in this CPU's histogram.
#[inline(always)]
pub(crate) fn count(histogram: &PerCpuArray<Histogram, 1>, value: u64) {
    let Some(histogram) = histogram.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the slot is this CPU's own, and `bucket` is below the number of buckets.
    unsafe {
        *(&raw mut (*histogram).counts).cast::<u64>().add(bucket(value)) += 1;
        (*histogram).sum += value;
    }
}
