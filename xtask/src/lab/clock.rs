//! When something really happened: both clocks, read together before and after it.

use anyhow::Result;
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// Both clocks, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Stamp {
    /// Boot clock, for lengths.
    pub(crate) boot: u64,
    /// Wall clock, to compare with what the documents say.
    pub(crate) wall: u64,
}

impl Stamp {
    /// Now.
    pub(crate) fn now() -> Result<Self> {
        Ok(Self { boot: read(ClockId::CLOCK_BOOTTIME)?, wall: read(ClockId::CLOCK_REALTIME)? })
    }
}

/// A change took effect somewhere between two stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Moment {
    /// Not before this.
    pub(crate) before: Stamp,
    /// Not after this.
    pub(crate) after: Stamp,
}

impl Moment {
    /// The moment of `change`.
    pub(crate) fn of<T>(change: impl FnOnce() -> Result<T>) -> Result<(Self, T)> {
        let before = Stamp::now()?;
        let value = change()?;
        let after = Stamp::now()?;
        Ok((Self { before, after }, value))
    }

    /// The middle, on the boot clock.
    pub(crate) fn middle(self) -> u64 {
        self.before.boot.midpoint(self.after.boot)
    }

    /// The middle, on the wall clock.
    pub(crate) fn middle_wall(self) -> u64 {
        self.before.wall.midpoint(self.after.wall)
    }
}

/// Signed seconds from one reading in nanoseconds to another (minutes keep their microseconds in an `f64`).
pub(crate) fn seconds(from: u64, to: u64) -> f64 {
    if to >= from { (to - from) as f64 / 1e9 } else { -((from - to) as f64 / 1e9) }
}

fn read(clock: ClockId) -> Result<u64> {
    let time = clock_gettime(clock)?;
    let whole = u64::try_from(time.tv_sec())?;
    Ok(whole * 1_000_000_000 + u64::try_from(time.tv_nsec())?)
}
