//! The numbers of a run and their statistics.

use serde::Serialize;

use super::cases::Case;
use crate::histogram::median;

/// A measured quantity.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    ConnsPerSecond,
    ConnsP50Us,
    ConnsP99Us,
    ConnsFailed,
    RrP50Us,
    RrP99Us,
    RrPinnedP50Us,
    RrPinnedP99Us,
    Bulk1Gbit,
    Bulk8Gbit,
    /// CPU time of the relay per GiB in one stream, in seconds.
    CpuPerGib1,
    /// CPU time of the relay per GiB in eight streams, in seconds.
    CpuPerGib8,
    /// CPU time of the relay per connection.
    CpuUsPerConn,
    /// CPU time of the relay per request.
    CpuUsPerRequest,
    /// CPU time of client, relay and server together, per GiB in one stream. The next three follow
    /// the same scheme.
    AllCpuPerGib1,
    AllCpuPerGib8,
    AllCpuUsPerConn,
    AllCpuUsPerRequest,
}

/// One number of one case in one round.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) round: usize,
    pub(crate) case: Case,
    pub(crate) metric: Metric,
    pub(crate) value: f64,
}

/// All numbers of a run.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Samples(Vec<Sample>);

impl Samples {
    pub(crate) fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// The values of one case, in the order of the rounds.
    fn values(&self, case: Case, metric: Metric) -> Vec<f64> {
        self.0.iter().filter(|s| s.case == case && s.metric == metric).map(|s| s.value).collect()
    }

    pub(crate) fn median(&self, case: Case, metric: Metric) -> Option<f64> {
        median(&self.values(case, metric))
    }

    pub(crate) fn sum(&self, case: Case, metric: Metric) -> f64 {
        self.values(case, metric).iter().sum()
    }

    /// The values of `case`, each with the value of `base` in the same round. Other work of the
    /// machine affects both.
    fn pairs(&self, case: Case, base: Case, metric: Metric) -> Vec<(f64, f64)> {
        let of =
            |wanted: Case| self.0.iter().filter(move |s| s.case == wanted && s.metric == metric);
        of(case)
            .filter_map(|s| Some((s.value, of(base).find(|other| other.round == s.round)?.value)))
            .collect()
    }

    /// The ratios `case / base` per round.
    pub(crate) fn ratios(&self, case: Case, base: Case, metric: Metric) -> Vec<f64> {
        let pairs = self.pairs(case, base, metric).into_iter();
        pairs.filter(|(_, base)| *base > 0.0).map(|(value, base)| value / base).collect()
    }

    pub(crate) fn ratio(&self, case: Case, base: Case, metric: Metric) -> Option<f64> {
        median(&self.ratios(case, base, metric))
    }

    /// The median of `case - base`, round by round.
    pub(crate) fn difference(&self, case: Case, base: Case, metric: Metric) -> Option<f64> {
        let pairs = self.pairs(case, base, metric).into_iter();
        median(&pairs.map(|(value, base)| value - base).collect::<Vec<_>>())
    }

    /// The noise of a ratio: the maximum distance from 1 that the median ratio of equal cases has.
    ///
    /// It is two and a half standard errors of a median over the number of rounds. The error is
    /// estimated from the A/A pair, or from the ratios in question if these vary more.
    pub(crate) fn noise(&self, case: Case, base: Case, metric: Metric) -> Option<f64> {
        let equal = self.ratios(Case::DirectAgain, Case::Direct, metric);
        let asked = self.ratios(case, base, metric);
        let noise = 2.5 * error_around(1.0, &equal)?.max(error_around(median(&asked)?, &asked)?);
        Some(noise.max(LEAST_NOISE))
    }
}

/// The standard error of the median of samples around `middle`.
fn error_around(middle: f64, samples: &[f64]) -> Option<f64> {
    let distance =
        median(&samples.iter().map(|sample| (sample - middle).abs()).collect::<Vec<_>>())?;
    Some(MEDIAN_ERROR * DEVIATION * distance / (samples.len() as f64).sqrt())
}

/// Minimum noise. A few rounds may agree by chance, but no machine is quieter than this.
const LEAST_NOISE: f64 = 0.03;
/// Ratio of the standard deviation to the median absolute deviation, for a normal distribution.
const DEVIATION: f64 = 1.4826;
/// Ratio of the standard error of a median to that of a mean, for a normal distribution.
const MEDIAN_ERROR: f64 = 1.2533;

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rows: &[(usize, Case, f64)]) -> Samples {
        let mut samples = Samples::default();
        for &(round, case, value) in rows {
            samples.push(Sample { round, case, metric: Metric::Bulk1Gbit, value });
        }
        samples
    }

    #[test]
    fn ratios_are_paired_by_round() {
        // The machine is half as fast in round 1. The ratio does not change.
        let samples = samples(&[
            (0, Case::Direct, 10.0),
            (0, Case::Interceptor, 8.0),
            (1, Case::Interceptor, 4.0),
            (1, Case::Direct, 5.0),
            (2, Case::Direct, 10.0),
        ]);
        assert_eq!(samples.ratios(Case::Interceptor, Case::Direct, Metric::Bulk1Gbit), [0.8, 0.8]);
        assert_eq!(samples.ratio(Case::Interceptor, Case::Direct, Metric::Bulk1Gbit), Some(0.8));
        assert_eq!(
            samples.difference(Case::Interceptor, Case::Direct, Metric::Bulk1Gbit),
            Some(-1.5)
        );
        assert_eq!(samples.median(Case::Direct, Metric::Bulk1Gbit), Some(10.0));
        assert_eq!(samples.ratio(Case::Interceptor, Case::Direct, Metric::RrP50Us), None);
    }

    #[test]
    fn a_base_of_zero_gives_no_ratio() {
        let samples = samples(&[(0, Case::Direct, 0.0), (0, Case::Interceptor, 1.0)]);
        assert!(samples.ratios(Case::Interceptor, Case::Direct, Metric::Bulk1Gbit).is_empty());
    }

    #[test]
    fn an_outlier_hardly_changes_the_noise() {
        let equal = [1.1, 0.95, 3.0, 1.05];
        // The distances from 1 are 0.1, 0.05, 2 and 0.05.
        let error = error_around(1.0, &equal).expect("samples");
        assert!((error - 1.2533 * 1.4826 * 0.075 / 2.0).abs() < 1e-9, "{error}");
    }

    #[test]
    fn the_noise_is_that_of_the_pair_that_varies_more() {
        let pair = |round, one, other, ratio| [(round, one, 10.0), (round, other, 10.0 * ratio)];
        let noise = |equal: [f64; 2], asked: [f64; 2]| {
            let mut rows = Vec::new();
            for round in 0..2 {
                rows.extend(pair(round, Case::Direct, Case::DirectAgain, equal[round]));
                rows.extend(pair(round, Case::BystanderBase, Case::Bystander, asked[round]));
            }
            samples(&rows)
                .noise(Case::Bystander, Case::BystanderBase, Metric::Bulk1Gbit)
                .expect("pairs")
        };
        assert!(noise([1.2, 0.8], [1.0, 1.0]) > 0.2);
        assert!(noise([1.0, 1.0], [1.5, 1.1]) > 0.2);
        assert_eq!(noise([1.0, 1.0], [0.5, 0.5]), LEAST_NOISE);
    }
}
