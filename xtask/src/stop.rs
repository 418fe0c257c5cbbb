//! Ctrl-C and SIGTERM as a flag that everything that waits looks at, so that what was made is removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

/// The longest time that a wait does not look at the flag.
const LOOK: Duration = Duration::from_millis(20);

/// Raised by the first SIGINT or SIGTERM; the second one ends the process at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    flag: Arc<AtomicBool>,
    /// Another flag that counts as this one.
    outer: Option<Arc<AtomicBool>>,
}

impl Stop {
    /// The flag, raised by signals from now on.
    pub(crate) fn on_signals() -> Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop.flag))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop.flag)))
                .context("cannot wait for signals")?;
        }
        Ok(stop)
    }

    /// A flag of its own that is raised together with this one, but not the other way round.
    pub(crate) fn child(&self) -> Self {
        Self { flag: Arc::default(), outer: Some(Arc::clone(&self.flag)) }
    }

    /// Raises the flag.
    pub(crate) fn raise(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Whether it is raised.
    pub(crate) fn raised(&self) -> bool {
        let outer = self.outer.as_ref();
        let flags = outer.into_iter().chain([&self.flag]);
        flags.into_iter().any(|flag| flag.load(Ordering::Relaxed))
    }

    /// An error once it is raised.
    pub(crate) fn check(&self) -> Result<()> {
        if self.raised() {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Sleeps, and fails as soon as the flag is raised.
    pub(crate) fn sleep_until(&self, end: Instant) -> Result<()> {
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    /// Waits until `done` says so, at most `patience`; false where it never did.
    pub(crate) fn wait_for(&self, patience: Duration, mut done: impl FnMut() -> bool) -> Result<bool> {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if done() {
                return Ok(true);
            }
            self.sleep_until(Instant::now() + LOOK)?;
        }
        Ok(done())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_flag_ends_a_long_sleep() {
        let stop = Stop::default();
        let other = stop.clone();
        let started = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(move || other.raise());
            let end = started + Duration::from_secs(60);
            assert!(stop.sleep_until(end).is_err());
        });
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_wait_ends_with_its_patience() {
        let stop = Stop::default();
        assert!(!stop.wait_for(Duration::from_millis(30), || false).unwrap());
        assert!(stop.wait_for(Duration::from_secs(60), || true).unwrap());
    }
}
