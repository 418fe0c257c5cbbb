//! Counters of the last moments, for rates.

use std::collections::VecDeque;
use std::time::Duration;

use lacuna_core::time::Nanos;

/// Samples that are kept; an agent is asked once a second.
const MOST: usize = 120;

/// Samples of at most so long a time.
#[derive(Debug)]
pub(super) struct Window<T> {
    span: Duration,
    samples: VecDeque<(Nanos, T)>,
}

impl<T> Window<T> {
    pub(super) fn new(span: Duration) -> Self {
        Self { span, samples: VecDeque::new() }
    }

    /// Takes a sample, and forgets those that are older than the span.
    pub(super) fn add(&mut self, at: Nanos, sample: T) {
        self.samples.push_back((at, sample));
        while self.samples.len() > MOST || self.samples.front().is_some_and(|(old, _)| at.since(*old) > self.span) {
            self.samples.pop_front();
        }
    }

    /// The newest sample.
    pub(super) fn newest(&self) -> Option<&T> {
        self.samples.back().map(|(_, sample)| sample)
    }

    /// The oldest and the newest sample with the time between; absent where there are no two.
    pub(super) fn ends(&self) -> Option<(&T, &T, Duration)> {
        let ((from, old), (to, new)) = (self.samples.front()?, self.samples.back()?);
        let took = to.since(*from);
        (!took.is_zero()).then_some((old, new, took))
    }

    /// Forgets all: what follows does not go on from there.
    pub(super) fn clear(&mut self) {
        self.samples.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Nanos {
        Nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn the_ends_are_as_far_apart_as_the_span() {
        let mut window = Window::new(Duration::from_secs(60));
        assert!(window.ends().is_none());
        window.add(seconds(0), 0);
        assert!(window.ends().is_none(), "one sample is no rate");
        for at in 1..=100 {
            window.add(seconds(at), at);
        }
        assert_eq!(window.ends(), Some((&40, &100, Duration::from_secs(60))));
        window.clear();
        assert!(window.ends().is_none() && window.newest().is_none());
    }

    #[test]
    fn samples_that_come_fast_are_bounded() {
        let mut window = Window::new(Duration::from_secs(60));
        for at in 0..1000 {
            window.add(Nanos(at), at);
        }
        assert_eq!(window.samples.len(), MOST);
        assert_eq!(window.newest(), Some(&999));
    }
}
