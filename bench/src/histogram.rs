//! A histogram of nanoseconds with a bounded relative error, and order statistics of small samples.

use serde::{Deserialize, Serialize};

/// Each power of two is divided into 2^BITS buckets, so the relative error is at most 1/256.
const BITS: u32 = 8;
const PER_OCTAVE: usize = 1 << BITS;
const BUCKETS: usize = (64 - BITS as usize + 1) * PER_OCTAVE;

/// Counts of values by size. Recording a value costs one increment.
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

/// The percentiles of a latency that reports contain, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_ns: u64,
    pub(crate) p90_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) max_ns: u64,
}

impl Latency {
    pub(crate) fn p50_us(&self) -> f64 {
        self.p50_ns as f64 / 1e3
    }

    pub(crate) fn p99_us(&self) -> f64 {
        self.p99_ns as f64 / 1e3
    }
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }

    pub(crate) fn record(&mut self, value: u64) {
        self.counts[bucket_of(value)] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    pub(crate) fn len(&self) -> u64 {
        self.total
    }

    /// The smallest recorded value that `percent` of all values do not exceed, with the precision
    /// of a bucket.
    pub(crate) fn percentile(&self, percent: f64) -> u64 {
        let rank =
            ((self.total as f64 * percent / 100.0).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (bucket, &count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                // The histogram knows the largest value exactly.
                return middle_of(bucket).min(self.max);
            }
        }
        self.max
    }

    pub(crate) fn latency(&self) -> Latency {
        Latency {
            p50_ns: self.percentile(50.0),
            p90_ns: self.percentile(90.0),
            p99_ns: self.percentile(99.0),
            max_ns: self.max,
        }
    }
}

fn bucket_of(value: u64) -> usize {
    // Each value below 2^BITS has a bucket of its own. For others the top BITS+1 bits choose it.
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    shift as usize * PER_OCTAVE + (value >> shift) as usize
}

fn middle_of(bucket: usize) -> u64 {
    let shift = (bucket / PER_OCTAVE).saturating_sub(1);
    let low = (bucket - shift * PER_OCTAVE) as u64;
    (low << shift) + ((1u64 << shift) >> 1)
}

/// The smallest sample that `percent` of the samples do not exceed. `None` without samples.
pub(crate) fn percentile(samples: &[f64], percent: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

/// The median of the samples. `None` without samples.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_represent_their_values() {
        let mut last = 0;
        for value in (0..100_000).chain((17..64).map(|bit| 1u64 << bit)).chain([u64::MAX]) {
            let bucket = bucket_of(value);
            assert!(
                bucket >= last && bucket < BUCKETS,
                "{value} is in bucket {bucket} after {last}"
            );
            last = bucket;
            let off = middle_of(bucket).abs_diff(value) as f64;
            assert!(off <= value as f64 / 256.0, "{value} is reported as {}", middle_of(bucket));
        }
    }

    #[test]
    fn percentiles_of_a_uniform_distribution_are_right() {
        let mut histogram = Histogram::new();
        (1..=10_000).for_each(|value| histogram.record(value));
        let near = |got: u64, want: f64| (got as f64 - want).abs() <= want / 200.0;
        assert!(near(histogram.percentile(50.0), 5_000.0));
        assert!(near(histogram.percentile(90.0), 9_000.0));
        assert!(near(histogram.percentile(99.0), 9_900.0));
        assert_eq!(histogram.latency().max_ns, 10_000);
        assert_eq!(histogram.len(), 10_000);
    }

    #[test]
    fn an_outlier_does_not_move_the_median() {
        let mut histogram = Histogram::new();
        (0..99).for_each(|_| histogram.record(100));
        histogram.record(1_000_000);
        assert_eq!(histogram.percentile(99.0), 100);
        assert_eq!(histogram.percentile(100.0), 1_000_000);
    }

    #[test]
    fn an_empty_histogram_is_zero() {
        assert_eq!(Histogram::new().latency(), Latency::default());
    }

    #[test]
    fn order_statistics_of_small_samples_are_right() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(percentile(&[], 99.0), None);
        assert_eq!(percentile(&[5.0], 99.0), Some(5.0));
        let fifty: Vec<f64> = (1..=50).map(f64::from).collect();
        assert_eq!(percentile(&fifty, 50.0), Some(25.0));
        assert_eq!(percentile(&fifty, 99.0), Some(50.0));
    }
}
