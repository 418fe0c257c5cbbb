//! The one source of chance: a seed decides everything.

use std::time::Duration;

use lacuna_core::time::nanos;
use rand::{RngExt as _, SeedableRng as _};
use rand_xorshift::XorShiftRng;

/// A generator whose numbers are the same with every version of the crates and on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Chance(XorShiftRng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(XorShiftRng::seed_from_u64(seed))
    }

    /// A number below `end`, which is at least 1.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // Not `usize`: its numbers would differ with the width of the machine's words.
        self.0.random_range(0..end.max(1) as u64) as usize
    }

    /// One of the times from `least` to `most`.
    pub(crate) fn time(&mut self, least: Duration, most: Duration) -> Duration {
        Duration::from_nanos(self.0.random_range(nanos(least)..=nanos(most).max(nanos(least))))
    }

    /// One of the numbers from `least` up to `most`.
    pub(crate) fn number(&mut self, least: f64, most: f64) -> f64 {
        self.0.random_range(least..most)
    }

    /// True with that probability.
    pub(crate) fn hits(&mut self, probability: f64) -> bool {
        self.0.random_bool(probability.clamp(0.0, 1.0))
    }

    /// One of them; the first where there is none to choose from would be a mistake of the caller.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// All of them in another order.
    pub(crate) fn shuffled<T>(&mut self, mut of: Vec<T>) -> Vec<T> {
        for place in (1..of.len()).rev() {
            of.swap(place, self.below(place + 1));
        }
        of
    }
}
