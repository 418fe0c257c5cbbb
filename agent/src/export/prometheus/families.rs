//! Writes a metric with all its samples; one without samples is left out, name and all.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::{CounterWithExemplar, Exemplar};

use super::histogram::Buckets;

/// The labels of a sample.
pub(super) type Labels = Vec<(&'static str, String)>;

/// Labels from names and values.
pub(super) fn labels<const N: usize>(pairs: [(&'static str, &str); N]) -> Labels {
    pairs.map(|(name, value)| (name, value.to_owned())).into()
}

/// The encoder, told metric by metric.
pub(super) struct Families<'a>(DescriptorEncoder<'a>);

impl<'a> Families<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    pub(super) fn info(&mut self, name: &str, help: &str, labels: &Labels) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(labels)
    }

    /// The encoder adds `_total` to the name.
    pub(super) fn counters<V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Counter, samples, |to, value| {
            to.encode_counter(value, None::<&Exemplar<NoLabelSet, u64>>)
        })
    }

    /// A counter without labels; the exemplar stands for its last increase.
    pub(super) fn counted(&mut self, name: &str, help: &str, count: u64, exemplar: Option<Labels>) -> fmt::Result {
        let counter: CounterWithExemplar<Labels> = CounterWithExemplar::default();
        if let Some(before) = count.checked_sub(1) {
            counter.inc_by(before, None, None);
            counter.inc_by(1, exemplar, None);
        }
        counter.encode(self.0.encode_descriptor(name, help, None, MetricType::Counter)?)
    }

    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, samples, |to, value| to.encode_gauge(value))
    }

    pub(super) fn histograms(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, Buckets)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Histogram, samples, |to, value| {
            to.encode_histogram::<NoLabelSet>(value.sum, value.count(), &value.counts, None)
        })
    }

    fn family<V>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = (Labels, V)>,
        write: impl Fn(&mut MetricEncoder<'_>, &V) -> fmt::Result,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in samples {
            if labels.is_empty() {
                write(&mut family, &value)?;
            } else {
                write(&mut family.encode_family(&labels)?, &value)?;
            }
        }
        Ok(())
    }
}
