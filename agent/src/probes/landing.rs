//! What an interrupt landed in, as the probes write it down: addresses and bytes, not yet names.

use std::time::Duration;

use lacuna_abi::{CODE_BYTES, LANDING_CODE, LANDING_FRAMES, Landing};
use lacuna_core::time::Nanos;

use super::activity::Interrupt;
use super::decode::{long, word};

/// What an interrupt landed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawLanding {
    /// When the interrupt came.
    pub at: Nanos,
    /// How long its CPU had taken no interrupt before; zero where it was asked for.
    pub silence: Duration,
    /// Why it was written down.
    pub kind: LandingKind,
    /// The kernel's stack, innermost frame first: the way of the probe, that of the interrupt into the kernel, then what
    /// was interrupted, if that was kernel code.
    pub frames: Vec<u64>,
    /// The bytes of code before the address of each of the first frames; zeros where they could not be read.
    pub code: Vec<[u8; CODE_BYTES]>,
}

/// Why a landing was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LandingKind {
    /// The agent asked for it, and the timer's interrupt came.
    Sample,
    /// This interrupt ended a long silence.
    Ended(Interrupt),
}

/// A [`Landing`] as a map read gives it.
pub(super) type LandingBytes = [u8; size_of::<Landing>()];

impl RawLanding {
    /// From the map's bytes; absent where nothing was written yet, it is being written right now, or bytes are missing.
    ///
    /// `boot_ahead` is how far the boot clock is ahead of the clock of the probes, in nanoseconds.
    pub(super) fn decode(bytes: &[u8], boot_ahead: u64) -> Option<Self> {
        let field = |offset| long(bytes, offset);
        let finished = field(std::mem::offset_of!(Landing, finished))?;
        if finished == 0 || field(std::mem::offset_of!(Landing, started))? != finished {
            return None;
        }
        let interrupt = word(bytes, std::mem::offset_of!(Landing, interrupt))?;
        let interrupt = Interrupt::decode(interrupt, word(bytes, std::mem::offset_of!(Landing, irq))?)?;
        let silence = field(std::mem::offset_of!(Landing, silence))?;
        let frames = frames(bytes)?;
        let code = (0..frames.len().min(LANDING_CODE)).map(|frame| code(bytes, frame));
        Some(Self {
            at: Nanos(field(std::mem::offset_of!(Landing, at))?.saturating_add(boot_ahead)),
            silence: Duration::from_nanos(silence),
            kind: if silence == 0 { LandingKind::Sample } else { LandingKind::Ended(interrupt) },
            code: code.collect::<Option<_>>()?,
            frames,
        })
    }
}

/// The frames up to the first 0.
fn frames(bytes: &[u8]) -> Option<Vec<u64>> {
    let begin = std::mem::offset_of!(Landing, frames);
    let all: Option<Vec<u64>> =
        (0..LANDING_FRAMES).map(|frame| long(bytes, begin + frame * size_of::<u64>())).collect();
    Some(all?.into_iter().take_while(|frame| *frame != 0).collect())
}

fn code(bytes: &[u8], frame: usize) -> Option<[u8; CODE_BYTES]> {
    let begin = std::mem::offset_of!(Landing, code) + frame * CODE_BYTES;
    bytes.get(begin..)?.first_chunk().copied()
}

#[cfg(test)]
#[path = "landing_tests.rs"]
mod tests;
