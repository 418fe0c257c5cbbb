//! From the agent's and the kernel's histograms to the fixed buckets of the metrics.

use hdrhistogram::Histogram;

use crate::probes::Log2Histogram;

/// Upper bounds of what takes microseconds to a minute, in seconds.
pub(super) const LATENCY_BOUNDS: [f64; 18] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// Upper bounds of the lengths of incidents, in seconds.
pub(super) const INCIDENT_BOUNDS: [f64; 13] =
    [0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 14400.0];
/// The kernel's powers of two that are bounds of a bucket: every second one from 4 us to 69 s, which keeps a host
/// with 64 CPUs below 3,000 lines.
const LOG2_BOUNDS: [u32; 13] = [12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36];

/// Counts by upper bound in seconds, the last of which is infinite; not cumulative.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Buckets {
    pub(super) counts: Vec<(f64, u64)>,
    pub(super) sum: f64,
}

impl Buckets {
    fn empty(bounds: impl Iterator<Item = f64>) -> Self {
        Self { counts: bounds.chain([f64::INFINITY]).map(|le| (le, 0)).collect(), sum: 0.0 }
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    /// `unit` is what 1 stands for, in seconds. The sum is as exact as the histogram's own steps.
    #[expect(clippy::cast_precision_loss, reason = "values and counts stay far below 2^53")]
    pub(super) fn of_hdr(histogram: &Histogram<u64>, unit: f64, bounds: &[f64]) -> Self {
        let mut buckets = Self::empty(bounds.iter().copied());
        for step in histogram.iter_recorded() {
            let (value, count) = (step.value_iterated_to(), step.count_at_value());
            let least = histogram.lowest_equivalent(value) as f64 * unit;
            let at = bounds.partition_point(|bound| *bound < least);
            buckets.counts[at].1 += count;
            buckets.sum += histogram.median_equivalent(value) as f64 * unit * count as f64;
        }
        buckets
    }

    /// The kernel's counts: index `i` stands for [2^i, 2^(i+1)) nanoseconds.
    pub(super) fn of_log2(histogram: &Log2Histogram) -> Self {
        let bound = |power: u32| f64::from(power).exp2() / 1e9;
        let mut buckets = Self::empty(LOG2_BOUNDS.into_iter().map(bound));
        for (power, count) in (0_u32..).zip(&histogram.counts) {
            let at = LOG2_BOUNDS.partition_point(|bound| *bound <= power);
            buckets.counts[at].1 += count;
        }
        buckets.sum = histogram.sum_seconds;
        buckets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_counts_below_it() {
        let mut histogram = Histogram::new(3).unwrap();
        for us in [1, 100_000, 100_500, 90_000_000] {
            histogram.record(us).unwrap();
        }
        let buckets = Buckets::of_hdr(&histogram, 1e-6, &LATENCY_BOUNDS);
        let filled: Vec<_> = buckets.counts.iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(filled, [&(0.0001, 1), &(0.1, 1), &(0.25, 1), &(f64::INFINITY, 1)]);
        assert_eq!(buckets.count(), 4);
        assert!((buckets.sum - 90.2005).abs() < 0.1, "{}", buckets.sum);
    }

    #[test]
    fn a_power_of_two_lies_below_the_bound_that_it_ends_at() {
        let counts = |power: usize| {
            let mut counts = vec![0; 64];
            counts[power] = 1;
            let sum_seconds = 1.0;
            Buckets::of_log2(&Log2Histogram { counts, sum_seconds })
        };
        let bound = |buckets: Buckets| buckets.counts.iter().find(|(_, n)| *n == 1).unwrap().0;
        assert_eq!(bound(counts(0)), 4096.0 / 1e9);
        assert_eq!(bound(counts(11)), 4096.0 / 1e9, "[2048, 4096)");
        assert_eq!(bound(counts(12)), 16384.0 / 1e9, "[4096, 8192)");
        assert_eq!(bound(counts(35)), 68_719_476_736.0 / 1e9);
        assert_eq!(bound(counts(36)), f64::INFINITY);
    }
}
