//! Every number of a run, and the statistics that the report is made of.

use serde::Serialize;

use super::cases::Case;
use crate::histogram::median;

/// What was measured.
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
    /// CPU of the relay process: per GiB moved in one and in eight streams, per connection, per request.
    CpuPerGib1,
    CpuPerGib8,
    CpuUsPerConn,
    CpuUsPerRequest,
    /// The same of everybody: client, relay, server.
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

    /// The values of `case` beside those of `base` in the same round: what drifts with the machine's other work
    /// drifts in both.
    fn pairs(&self, case: Case, base: Case, metric: Metric) -> Vec<(f64, f64)> {
        let of = |wanted: Case| self.0.iter().filter(move |s| s.case == wanted && s.metric == metric);
        of(case)
            .filter_map(|s| Some((s.value, of(base).find(|other| other.round == s.round)?.value)))
            .collect()
    }

    /// `case / base`, one for each round.
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

    /// How far the median ratio of two equal cases may lie from 1 on this machine: two and a half standard errors
    /// of a median over so many rounds, estimated from the A/A pair.
    pub(crate) fn noise(&self, metric: Metric) -> Option<f64> {
        let ratios = self.ratios(Case::DirectAgain, Case::Direct, metric);
        let distance = median(&ratios.iter().map(|ratio| (ratio - 1.0).abs()).collect::<Vec<_>>())?;
        Some(2.5 * MEDIAN_ERROR * DEVIATION * distance / (ratios.len() as f64).sqrt())
    }
}

/// Standard deviation in units of the median distance from the middle, of a normal distribution.
const DEVIATION: f64 = 1.4826;
/// Standard error of a median in units of that of a mean, of a normal distribution.
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
        // The machine is twice as slow in round 1; the ratio does not see it.
        let samples = samples(&[
            (0, Case::Direct, 10.0),
            (0, Case::Interceptor, 8.0),
            (1, Case::Interceptor, 4.0),
            (1, Case::Direct, 5.0),
            (2, Case::Direct, 10.0),
        ]);
        assert_eq!(samples.ratios(Case::Interceptor, Case::Direct, Metric::Bulk1Gbit), [0.8, 0.8]);
        assert_eq!(samples.ratio(Case::Interceptor, Case::Direct, Metric::Bulk1Gbit), Some(0.8));
        assert_eq!(samples.difference(Case::Interceptor, Case::Direct, Metric::Bulk1Gbit), Some(-1.5));
        assert_eq!(samples.median(Case::Direct, Metric::Bulk1Gbit), Some(10.0));
        assert_eq!(samples.ratio(Case::Interceptor, Case::Direct, Metric::RrP50Us), None);
    }

    #[test]
    fn a_base_of_zero_gives_no_ratio() {
        let samples = samples(&[(0, Case::Direct, 0.0), (0, Case::Interceptor, 1.0)]);
        assert!(samples.ratios(Case::Interceptor, Case::Direct, Metric::Bulk1Gbit).is_empty());
    }

    #[test]
    fn an_outlier_does_not_blow_up_the_noise() {
        let samples = samples(&[
            (0, Case::Direct, 10.0),
            (0, Case::DirectAgain, 11.0),
            (1, Case::Direct, 10.0),
            (1, Case::DirectAgain, 9.5),
            (2, Case::Direct, 10.0),
            (2, Case::DirectAgain, 30.0),
        ]);
        let noise = samples.noise(Metric::Bulk1Gbit).expect("three pairs");
        // The distances are 0.1, 0.05 and 2.
        assert!((noise - 2.5 * 1.2533 * 1.4826 * 0.1 / 3f64.sqrt()).abs() < 1e-9, "{noise}");
    }
}
