//! Writes metrics whose values are read at the moment of the scrape.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// Writes one metric after the other.
pub(super) struct Writer<'a>(DescriptorEncoder<'a>);

/// A metric with labels, to which samples are added.
pub(super) struct Family<'a>(MetricEncoder<'a>);

// === impl Writer ===

impl<'a> Writer<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// Writes a counter without labels. The exposition adds `_total` to its name.
    pub(super) fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(count).encode(metric)
    }

    /// Writes a gauge without labels. The exposition adds the unit to its name.
    pub(super) fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: f64,
    ) -> fmt::Result {
        let metric = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(metric)
    }

    /// Begins a counter with labels.
    pub(super) fn counters<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
    ) -> Result<Family<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Counter).map(Family)
    }

    /// Begins a gauge with labels.
    pub(super) fn gauges<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
    ) -> Result<Family<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge).map(Family)
    }

    /// Begins a histogram with labels, of times in seconds.
    pub(super) fn histograms<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
    ) -> Result<Family<'s>, fmt::Error> {
        let unit = Some(&Unit::Seconds);
        self.0.encode_descriptor(name, help, unit, MetricType::Histogram).map(Family)
    }
}

// === impl Family ===

impl Family<'_> {
    /// Adds a sample of a counter.
    pub(super) fn count(&mut self, labels: &[(&str, &str)], count: u64) -> fmt::Result {
        self.sample(labels, &ConstCounter::new(count))
    }

    /// Adds a sample of a gauge.
    pub(super) fn set<V>(&mut self, labels: &[(&str, &str)], value: V) -> fmt::Result
    where
        V: EncodeGaugeValue,
        ConstGauge<V>: EncodeMetric,
    {
        self.sample(labels, &ConstGauge::new(value))
    }

    /// Adds a sample.
    pub(super) fn sample(
        &mut self,
        labels: &[(&str, &str)],
        metric: &impl EncodeMetric,
    ) -> fmt::Result {
        metric.encode(self.0.encode_family(&labels)?)
    }
}
