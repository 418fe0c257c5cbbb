//! Whether the driver runs, for the sentinels to see: they wake it where its own timer does not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    /// It is in its turn and does not sleep.
    in_turn: AtomicBool,
    /// When somebody last looked after it.
    helped: AtomicU64,
}

impl Pulse {
    /// The driver goes to sleep until `due`. It cannot say where: it may be moved before it sleeps.
    pub fn rest(&self, due: Nanos) {
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

    /// Whether the driver sleeps longer than it wanted to at `now`, and nobody else sees to it.
    fn needs_help(&self, now: Nanos) -> bool {
        let due = self.due.load(Ordering::Acquire);
        let helped = self.helped.load(Ordering::Relaxed);
        let overdue = due != 0 && now.since(Nanos(due)) >= PATIENCE && !self.in_turn.load(Ordering::Acquire);
        let first = now.since(Nanos(helped)) >= AGAIN;
        overdue && first && self.helped.compare_exchange(helped, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// What a sentinel does at each wake-up beside its stamps: where the driver does not wake, it moves the agent's threads
/// off the CPU that the driver sleeps on, unless that is its own, which runs, and wakes it.
pub(super) fn helper(
    pulse: Arc<Pulse>,
    refuge: Arc<Refuge>,
    commands: SyncSender<Command>,
) -> impl FnMut(u32, Nanos) + Send + Clone + 'static {
    move |cpu, now| {
        if pulse.needs_help(now) {
            if let Some(dead) = refuge.driver_cpu().filter(|of_driver| *of_driver != cpu) {
                refuge.avoid(&BTreeSet::from([dead]));
            }
            // A full inbox wakes it as well.
            let _ = commands.try_send(Command::Wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::time::Instant;

    use nix::sched::sched_getaffinity;
    use nix::unistd::gettid;

    use super::super::DRIVER;
    use super::*;
    use crate::clock;
    use crate::host::HostFiles;

    const NOW: Nanos = Nanos(10_000_000_000);

    #[test]
    fn only_a_driver_that_sleeps_too_long_is_helped_and_once() {
        let pulse = Pulse::default();
        assert!(!pulse.needs_help(NOW), "it has not begun");
        pulse.rest(NOW.minus(Duration::from_millis(100)));
        assert!(!pulse.needs_help(NOW), "100 ms are not long");
        pulse.rest(NOW.minus(Duration::from_millis(200)));
        pulse.wake();
        assert!(!pulse.needs_help(NOW), "it runs, and cannot be moved");
        pulse.rest(NOW.minus(Duration::from_millis(200)));
        assert!(pulse.needs_help(NOW));
        assert!(!pulse.needs_help(NOW), "somebody did already");
        pulse.end();
        assert!(!pulse.needs_help(NOW.plus(Duration::from_secs(1))));
    }

    /// What a driver stamps before it sleeps may be wrong by the time that it sleeps: once it was moved in between, to a CPU
    /// that had just lost its timer, and the only sentinel that ran took that CPU for its own.
    #[test]
    fn a_driver_is_helped_off_the_cpu_that_it_really_sleeps_on() {
        let files = HostFiles::default();
        let refuge = Arc::new(Refuge::new(files.clone()));
        let (pulse, (sender, inbox)) = (Arc::new(Pulse::default()), sync_channel(1));
        let (tell, told) = sync_channel(1);
        let end = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&end);
        let driver = std::thread::Builder::new().name(DRIVER.into()).spawn(move || {
            tell.send(gettid()).unwrap();
            while !ends.load(Ordering::Acquire) {
                std::thread::park();
            }
        });
        let (driver, tid) = (driver.unwrap(), told.recv().unwrap());
        let of_driver = || files.own_threads().into_iter().find(|(own, _)| *own == tid.as_raw()).unwrap().1;
        let latest = Instant::now() + Duration::from_secs(20);
        let cpu = loop {
            let thread = of_driver();
            if thread.state == 'S' {
                break thread.cpu.unwrap();
            }
            assert!(Instant::now() < latest, "it does not sleep");
            std::thread::sleep(Duration::from_millis(1));
        };
        let may_run_there = || sched_getaffinity(tid).unwrap().is_set(usize::try_from(cpu).unwrap()).unwrap();

        let others = std::thread::available_parallelism().unwrap().get() > 1;
        pulse.rest(clock::boot().minus(Duration::from_secs(1)));
        let mut help = helper(Arc::clone(&pulse), Arc::clone(&refuge), sender);
        help(cpu, clock::boot());
        assert!(may_run_there() && matches!(inbox.try_recv(), Ok(Command::Wake)), "that CPU runs the sentinel");
        help(cpu + 1, clock::boot().plus(AGAIN));
        assert_eq!(may_run_there(), !others);
        assert!(matches!(inbox.try_recv(), Ok(Command::Wake)));

        refuge.avoid(&BTreeSet::new());
        end.store(true, Ordering::Release);
        driver.thread().unpark();
        driver.join().unwrap();
    }
}
