//! One thread for each CPU that sleeps there by its timer, so that a CPU whose timer died, or that does not run, shows.
//!
//! A sentinel parks with a timeout, which arms a timer of its CPU, and stamps when that wakes it. Unparked from another
//! CPU it wakes as well, by an inter-processor interrupt, and stamps that it was poked: an answer without the timer. It
//! costs ten wake-ups a second for each CPU, and touches nothing but its own stamps while all is well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lacuna_core::time::Nanos;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::own_cpu;
use super::refuge::SENTINEL;
use crate::clock;

/// How long a sentinel sleeps.
const PERIOD: Duration = Duration::from_millis(100);
/// A sentinel that ran later than this tells so itself; a shorter lateness is in the histograms of the kernel's probes.
const LATE: Duration = Duration::from_millis(50);
/// The thread needs no more than its stamps.
const STACK_BYTES: usize = 64 * 1024;
/// Before the others, as the driver is, or a busy host would look stalled.
const NICE: i32 = -20;

/// A sentinel that ran late: due at `from`, woken by its timer at `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Late {
    pub(super) cpu: u32,
    pub(super) from: Nanos,
    pub(super) to: Nanos,
}

/// What a sentinel writes and others read; all times are of the boot clock, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    /// When its timer is due that has not woken it yet.
    due: AtomicU64,
    /// When it last ran, whatever woke it.
    ran: AtomicU64,
    /// How often it was poked.
    poked: AtomicU32,
    /// Up to which poke it answered.
    answered: AtomicU32,
    /// It runs on another CPU than its own, which is offline then, or forbidden.
    displaced: AtomicBool,
    /// Reports that found no room.
    refused: AtomicU32,
    ending: AtomicBool,
}

/// A sentinel as another CPU sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) due: Nanos,
    pub(super) ran: Nanos,
    /// A poke was sent since it was due, and whether it ran when it was.
    pub(super) poke: Option<bool>,
    pub(super) displaced: bool,
}

/// The handle of a sentinel's thread, which ends with it.
#[derive(Debug)]
pub(super) struct Sentinel {
    pub(super) cpu: u32,
    stamps: Arc<Stamps>,
    thread: Option<JoinHandle<()>>,
    /// The pokes before the present stall.
    pokes_before: u32,
}

impl Sentinel {
    /// Starts it on that CPU; `watch` is called at each wake-up, so that sentinels look after the driver as well.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub(super) fn start(
        cpu: u32,
        reports: SyncSender<Late>,
        mut watch: impl FnMut(u32, Nanos) + Send + 'static,
    ) -> std::io::Result<Self> {
        let stamps = Arc::new(Stamps::default());
        stamps.due.store(clock::boot().plus(PERIOD).0, Ordering::Relaxed);
        let own = Arc::clone(&stamps);
        let thread = thread::Builder::new().name(format!("{SENTINEL}{cpu}")).stack_size(STACK_BYTES);
        let thread = thread.spawn(move || {
            let pinned = pin(cpu);
            own.displaced.store(!pinned, Ordering::Relaxed);
            let mut answered = None;
            while pinned && !own.ending.load(Ordering::Relaxed) {
                answered = sleep(cpu, &own, answered, &reports);
                watch(cpu, clock::boot());
            }
        })?;
        Ok(Self { cpu, stamps, thread: Some(thread), pokes_before: 0 })
    }

    /// How it stands at the moment.
    pub(super) fn look(&self) -> Look {
        let load = |stamp: &AtomicU64| Nanos(stamp.load(Ordering::Acquire));
        let poked = self.stamps.poked.load(Ordering::Acquire);
        let answered = self.stamps.answered.load(Ordering::Acquire);
        Look {
            due: load(&self.stamps.due),
            ran: load(&self.stamps.ran),
            poke: (poked != self.pokes_before).then_some(answered != self.pokes_before),
            displaced: self.stamps.displaced.load(Ordering::Acquire),
        }
    }

    /// Wakes it from another CPU, at `now`: once, and again only after it had the time to be woken by its timer, or a
    /// timer that works would never be seen to.
    pub(super) fn poke_if_due(&self, look: &Look, now: Nanos) {
        let again = look.poke == Some(true) && look.ran.plus(PERIOD * 3) < now;
        if look.poke.is_none() || again {
            self.poke();
        }
    }

    /// Wakes it from another CPU.
    pub(super) fn poke(&self) {
        self.stamps.poked.fetch_add(1, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// A stall is over: later pokes belong to the next one.
    pub(super) fn forget_pokes(&mut self) {
        self.pokes_before = self.stamps.poked.load(Ordering::Relaxed);
        self.stamps.answered.store(self.pokes_before, Ordering::Relaxed);
    }

    /// Reports that found no room.
    pub(super) fn refused(&self) -> u32 {
        self.stamps.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Sentinel {
    /// One whose CPU does not run cannot be waited for: it ends when the CPU goes on.
    fn drop(&mut self) {
        self.stamps.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
        }
    }
}

/// Whether the calling thread may run on that CPU only from now on.
fn pin(cpu: u32) -> bool {
    let mut set = CpuSet::new();
    let pinned = usize::try_from(cpu).is_ok_and(|cpu| set.set(cpu).is_ok());
    if pinned && let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(cpu, "a sentinel keeps the usual priority: {error}");
    }
    pinned && sched_setaffinity(Pid::from_raw(0), &set).is_ok()
}

/// Sleeps once and stamps what woke it; hands back when that was, where it was a poke. `answered` is the same of the last
/// time.
fn sleep(cpu: u32, stamps: &Stamps, answered: Option<Nanos>, reports: &SyncSender<Late>) -> Option<Nanos> {
    let before = stamps.poked.load(Ordering::Acquire);
    let due = clock::boot().plus(PERIOD);
    thread::park_timeout(PERIOD);
    let (now, poked) = (clock::boot(), stamps.poked.load(Ordering::Acquire));
    let displaced = own_cpu() != Some(cpu);
    stamps.displaced.store(displaced, Ordering::Release);
    stamps.ran.store(now.0, Ordering::Release);
    if poked != before || now < due {
        // The timer that was due first still is: only a timer that wakes it proves that timers do.
        stamps.answered.store(poked, Ordering::Release);
        return Some(now);
    }
    let first_due = Nanos(stamps.due.load(Ordering::Relaxed));
    // Where this timer was on time, the poke had come together with the first one: the stall was over by then.
    let to = answered.filter(|_| now.since(due) < LATE).unwrap_or(now);
    let tells = to.since(first_due) >= LATE && !displaced;
    if tells && let Err(TrySendError::Full(_)) = reports.try_send(Late { cpu, from: first_due, to }) {
        stamps.refused.fetch_add(1, Ordering::Relaxed);
    }
    // After the report: whoever sees that it is on time again finds that.
    stamps.due.store(now.plus(PERIOD).0, Ordering::Release);
    None
}

/// By how much a sentinel that was due at `due` is late at `now`; absent where that is not worth a word.
pub(super) fn overdue(due: Nanos, now: Nanos) -> Option<Duration> {
    Some(now.since(due)).filter(|late| *late >= LATE)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    /// Many times, since a wrong order shows by chance.
    #[test]
    fn whoever_sees_that_a_sentinel_is_on_time_again_finds_its_report() {
        const LONG_AGO: u64 = 1;
        let cpu = own_cpu().unwrap();
        let stamps = Arc::new(Stamps::default());
        for _ in 0..20 {
            let (sender, reports) = sync_channel(1);
            stamps.due.store(LONG_AGO, Ordering::Release);
            let own = Arc::clone(&stamps);
            let sleeper = thread::spawn(move || {
                assert!(pin(cpu));
                sleep(cpu, &own, None, &sender)
            });
            while stamps.due.load(Ordering::Acquire) == LONG_AGO && !sleeper.is_finished() {
                std::hint::spin_loop();
            }
            let report = reports.try_recv().map(|late| late.from);
            sleeper.join().unwrap();
            assert_eq!(report, Ok(Nanos(LONG_AGO)));
        }
    }
}
