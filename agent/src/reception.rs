//! What the kernel says of a packet that a socket received: when it came in, and how many before it found no room.

use lacuna_core::time::WallNanos;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, RecvMsg};

/// See the module's documentation. What the kernel did not say is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reception {
    /// When the kernel received it (`SO_TIMESTAMPNS`).
    pub(crate) at: Option<WallNanos>,
    /// Packets so far that the buffer had no room for (`SO_RXQ_OVFL`); wraps.
    pub(crate) overflow: Option<u32>,
}

impl Reception {
    /// Of that message.
    ///
    /// # Errors
    /// Where its control data was cut.
    pub(crate) fn of<S>(message: &RecvMsg<'_, '_, S>) -> Result<Self, Errno> {
        let mut reception = Self::default();
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::ScmTimestampns(time) => reception.at = wall(time.tv_sec(), time.tv_nsec()),
                ControlMessageOwned::RxqOvfl(count) => reception.overflow = Some(count),
                _ => {}
            }
        }
        Ok(reception)
    }
}

fn wall(seconds: i64, nanoseconds: i64) -> Option<WallNanos> {
    let seconds = u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)?;
    Some(WallNanos(seconds.checked_add(u64::try_from(nanoseconds).ok()?)?))
}
