//! The goals, and their evaluation for a run.

use serde::Serialize;

use super::arming::Arming;
use super::cases::Case;
use super::idle::Held;
use super::samples::{Metric, Samples};

/// Minimum throughput of one stream, as a share of direct.
const BULK_SHARE: f64 = 0.75;
/// Maximum additional latency of a message compared with direct, at the median, in microseconds.
const RR_EXTRA_US: f64 = 10.0;
/// Minimum factor of new connections per second over the best iptables REDIRECT with haproxy.
const CONNS_FACTOR: f64 = 1.3;
/// Maximum time until a change of a rule is in force, at the 99th percentile, in milliseconds.
const ARMING_P99_MS: f64 = 150.0;
/// Maximum memory of a silent connection, in KiB.
const HELD_KIB: f64 = 20.0;

/// Maximum A/A noise with which "within the noise" has a meaning.
const TOO_NOISY: f64 = 0.2;

/// The result of a goal.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Verdict {
    Pass,
    Miss,
    /// The machine was too busy for a result.
    Noisy,
}

impl Verdict {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Miss => "MISS",
            Self::Noisy => "NOISY",
        }
    }
}

/// A goal with the measured value and the result.
#[derive(Debug, Serialize)]
pub(crate) struct Goal {
    pub(crate) goal: String,
    pub(crate) measured: String,
    pub(crate) verdict: Verdict,
}

impl Goal {
    fn new(goal: impl Into<String>, measured: String, met: bool) -> Self {
        Self {
            goal: goal.into(),
            measured,
            verdict: if met { Verdict::Pass } else { Verdict::Miss },
        }
    }
}

/// Evaluates all goals. A goal without numbers is left out.
pub(crate) fn judge(samples: &Samples, arming: Option<&Arming>, held: Option<&Held>) -> Vec<Goal> {
    let mut goals = bystander(samples);
    goals.extend(bulk(samples));
    goals.extend(latency(samples));
    goals.extend(connections(samples));
    goals.extend(failures(samples));
    if let Some(Arming { on, off, .. }) = arming {
        for (what, times) in [("armed", on), ("disarmed", off)] {
            goals.push(Goal::new(
                format!("{what} within {ARMING_P99_MS:.0} ms (p99)"),
                format!("p50 {:.1} ms, p99 {:.1} ms", times.p50_ms, times.p99_ms),
                times.p99_ms <= ARMING_P99_MS,
            ));
        }
    }
    if let Some(held) = held {
        let kib = held.bytes_per_connection / 1024.0;
        goals.push(Goal::new(
            format!("a silent connection costs at most {HELD_KIB:.0} KiB of the daemon's memory"),
            format!("{kib:.1} KiB with {} connections", held.connections),
            kib <= HELD_KIB,
        ));
    }
    goals
}

fn bystander(samples: &Samples) -> Vec<Goal> {
    let more_is_better = [
        (Metric::ConnsPerSecond, true, "new connections/s"),
        (Metric::RrPinnedP50Us, false, "64 B latency"),
        (Metric::Bulk1Gbit, true, "1 stream"),
        (Metric::Bulk8Gbit, true, "8 streams"),
    ];
    let judge = |(metric, more_is_better, what): (Metric, bool, &str)| {
        let ratio = samples.ratio(Case::Bystander, Case::BystanderBase, metric)?;
        let noise = samples.noise(Case::Bystander, Case::BystanderBase, metric)?;
        let worse = if more_is_better { 1.0 - ratio } else { ratio - 1.0 };
        let mut goal = Goal::new(
            format!("bystander, {what}: within the noise of bystander-base"),
            format!("ratio {ratio:.3}, noise {noise:.3}"),
            worse <= noise,
        );
        if goal.verdict == Verdict::Pass && noise > TOO_NOISY {
            goal.verdict = Verdict::Noisy;
        }
        Some(goal)
    };
    more_is_better.into_iter().filter_map(judge).collect()
}

fn bulk(samples: &Samples) -> Option<Goal> {
    let share = samples.ratio(Case::Interceptor, Case::Direct, Metric::Bulk1Gbit)?;
    Some(Goal::new(
        format!("relay, 1 stream: at least {BULK_SHARE:.2} of direct"),
        format!("{share:.2}"),
        share >= BULK_SHARE,
    ))
}

fn latency(samples: &Samples) -> Option<Goal> {
    let pinned = samples.difference(Case::Interceptor, Case::Direct, Metric::RrPinnedP50Us)?;
    let free = samples.difference(Case::Interceptor, Case::Direct, Metric::RrP50Us)?;
    Some(Goal::new(
        format!("relay, 64 B p50: direct + at most {RR_EXTRA_US:.0} us (pinned)"),
        format!("{pinned:+.1} us pinned ({free:+.1} us unpinned)"),
        pinned <= RR_EXTRA_US,
    ))
}

fn connections(samples: &Samples) -> Option<Goal> {
    // Compare with the peer's better number of threads.
    let peers = [Case::IptablesHaproxy1, Case::IptablesHaproxy2].into_iter();
    let (best, _) = peers
        .filter_map(|peer| Some((peer, samples.median(peer, Metric::ConnsPerSecond)?)))
        .max_by(|(_, one), (_, other)| one.total_cmp(other))?;
    let factor = samples.ratio(Case::Interceptor, best, Metric::ConnsPerSecond)?;
    Some(Goal::new(
        format!("relay, new connections/s: at least {CONNS_FACTOR} x the best iptables+haproxy"),
        format!("{factor:.2} x {}", best.name()),
        factor >= CONNS_FACTOR,
    ))
}

fn failures(samples: &Samples) -> Option<Goal> {
    samples.median(Case::Interceptor, Metric::ConnsFailed)?;
    let failed = samples.sum(Case::Interceptor, Metric::ConnsFailed);
    Some(Goal::new("relay: no connection fails", format!("{failed:.0} failed"), failed == 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steal::samples::Sample;

    fn push(samples: &mut Samples, case: Case, metric: Metric, values: &[f64]) {
        for (round, &value) in values.iter().enumerate() {
            samples.push(Sample { round, case, metric, value });
        }
    }

    #[test]
    fn a_goal_without_numbers_is_left_out() {
        assert!(judge(&Samples::default(), None, None).is_empty());
    }

    #[test]
    fn a_bystander_passes_when_it_is_faster_and_misses_beyond_the_noise() {
        let mut samples = Samples::default();
        push(&mut samples, Case::Direct, Metric::RrPinnedP50Us, &[10.0, 10.0, 10.0]);
        push(&mut samples, Case::DirectAgain, Metric::RrPinnedP50Us, &[10.5, 10.5, 10.5]);
        push(&mut samples, Case::BystanderBase, Metric::RrPinnedP50Us, &[10.0, 10.0, 10.0]);
        let mut better = Samples::default();
        std::mem::swap(&mut better, &mut samples);
        push(&mut better, Case::Bystander, Metric::RrPinnedP50Us, &[5.0, 5.0, 5.0]);
        assert_eq!(bystander(&better)[0].verdict, Verdict::Pass);

        push(&mut samples, Case::Direct, Metric::Bulk1Gbit, &[10.0; 4]);
        push(&mut samples, Case::DirectAgain, Metric::Bulk1Gbit, &[10.5; 4]);
        push(&mut samples, Case::BystanderBase, Metric::Bulk1Gbit, &[10.0; 4]);
        push(&mut samples, Case::Bystander, Metric::Bulk1Gbit, &[8.0; 4]);
        assert_eq!(bystander(&samples)[0].verdict, Verdict::Miss);
    }

    #[test]
    fn a_goal_met_only_by_large_noise_does_not_pass() {
        let mut samples = Samples::default();
        for (case, value) in [
            (Case::Direct, 10.0),
            (Case::DirectAgain, 5.0),
            (Case::BystanderBase, 10.0),
            (Case::Bystander, 7.0),
        ] {
            push(&mut samples, case, Metric::Bulk1Gbit, &[value]);
        }
        assert_eq!(bystander(&samples)[0].verdict, Verdict::Noisy);
    }

    #[test]
    fn the_peer_is_the_better_of_the_two_haproxies() {
        let mut samples = Samples::default();
        push(&mut samples, Case::IptablesHaproxy1, Metric::ConnsPerSecond, &[100.0]);
        push(&mut samples, Case::IptablesHaproxy2, Metric::ConnsPerSecond, &[120.0]);
        push(&mut samples, Case::Interceptor, Metric::ConnsPerSecond, &[140.0]);
        let goal = connections(&samples).expect("measured");
        assert_eq!(goal.verdict, Verdict::Miss);
        assert!(goal.measured.contains("iptables+haproxy-2t"), "{}", goal.measured);
    }
}
