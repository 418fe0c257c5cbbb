//! Whether the driver runs, for the sentinels to see: they wake it where its own timer does not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use lacuna_core::time::Nanos;

use super::refuge::Refuge;
use crate::driver::Command;

/// A driver that is later than this is looked after: the sentinels' own period and what a busy host delays.
const PATIENCE: Duration = Duration::from_millis(150);
/// It is not woken more often than this.
const AGAIN: Duration = Duration::from_millis(200);

/// What the driver stamps; times of the boot clock in nanoseconds.
#[derive(Debug, Default)]
pub struct Pulse {
    /// When it wants to run next; 0 before it began, and once it has ended.
    due: AtomicU64,
    /// The CPU that it went to sleep on.
    cpu: AtomicU32,
    /// It is in its turn and does not sleep.
    in_turn: AtomicBool,
    /// When somebody last looked after it.
    helped: AtomicU64,
}

impl Pulse {
    /// The driver goes to sleep on `cpu` until `due`.
    pub fn rest(&self, cpu: Option<u32>, due: Nanos) {
        self.cpu.store(cpu.unwrap_or(u32::MAX), Ordering::Relaxed);
        self.due.store(due.0, Ordering::Release);
        self.in_turn.store(false, Ordering::Release);
    }

    /// The driver runs.
    pub fn wake(&self) {
        self.in_turn.store(true, Ordering::Release);
    }

    /// The driver has ended: nobody wakes it any more.
    pub fn end(&self) {
        self.due.store(0, Ordering::Release);
    }

    /// The CPU that the driver went to sleep on last.
    #[must_use]
    pub fn cpu(&self) -> u32 {
        self.cpu.load(Ordering::Relaxed)
    }

    /// Whether the driver sleeps longer than it wanted to at `now`, on another CPU than `cpu`, and nobody else sees to it.
    fn needs_help(&self, cpu: u32, now: Nanos) -> bool {
        let due = self.due.load(Ordering::Acquire);
        let helped = self.helped.load(Ordering::Relaxed);
        let overdue = due != 0 && now.since(Nanos(due)) >= PATIENCE && !self.in_turn.load(Ordering::Acquire);
        let first = now.since(Nanos(helped)) >= AGAIN;
        overdue
            && first
            && self.cpu() != cpu
            && self.helped.compare_exchange(helped, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// What a sentinel does at each wake-up beside its stamps: where the driver does not wake, it moves the agent's threads
/// off the driver's CPU and wakes it.
pub(super) fn helper(
    pulse: Arc<Pulse>,
    refuge: Arc<Refuge>,
    commands: SyncSender<Command>,
) -> impl FnMut(u32, Nanos) + Send + Clone + 'static {
    move |cpu, now| {
        if pulse.needs_help(cpu, now) {
            refuge.avoid(&BTreeSet::from([pulse.cpu()]));
            // A full inbox wakes it as well.
            let _ = commands.try_send(Command::Wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Nanos = Nanos(10_000_000_000);

    #[test]
    fn only_a_driver_that_sleeps_too_long_elsewhere_is_helped_and_once() {
        let pulse = Pulse::default();
        assert!(!pulse.needs_help(0, NOW), "it has not begun");
        pulse.rest(Some(1), NOW.minus(Duration::from_millis(100)));
        assert!(!pulse.needs_help(0, NOW), "100 ms are not long");
        pulse.rest(Some(1), NOW.minus(Duration::from_millis(200)));
        assert!(!pulse.needs_help(1, NOW), "this CPU is its own");
        pulse.wake();
        assert!(!pulse.needs_help(0, NOW), "it runs, and cannot be moved");
        pulse.rest(Some(1), NOW.minus(Duration::from_millis(200)));
        assert!(pulse.needs_help(0, NOW));
        assert!(!pulse.needs_help(2, NOW), "somebody did already");
        pulse.end();
        assert!(!pulse.needs_help(0, NOW.plus(Duration::from_secs(1))));
    }
}
