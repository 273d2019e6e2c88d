//! The daemon's connection counters, in a form that compares with a client's count.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use testbed::Daemon;

/// The metric with the number of connections by outcome.
const CONNECTIONS: &str = "interceptor_connections_total";

/// The number of a workload's connections by outcome and reason (`redirected`,
/// `fell_back/target_refused` and so on), without zeros.
///
/// # Errors
/// If status and metrics differ.
pub fn outcomes(daemon: &Daemon, workload: &str) -> Result<BTreeMap<String, u64>> {
    let mut measured = BTreeMap::new();
    for sample in daemon.metrics()?.matching(CONNECTIONS, &[("workload", workload)]) {
        let label = |key| sample.labels.get(key).map_or("", String::as_str);
        // Connections to the relay's own address belong to no rule, so the status of rules does not
        // count them.
        if !label("annotation").is_empty() && sample.value > 0.0 {
            *measured.entry(key(label("outcome"), label("reason"))).or_default() +=
                sample.value as u64;
        }
    }
    let mut reported = BTreeMap::new();
    let report = daemon.workload(workload)?;
    let rules = report["rules"].as_array().into_iter().flatten();
    for outcome in rules.flat_map(|rule| rule["outcomes"].as_array().into_iter().flatten()) {
        let word = |key: &str| outcome[key].as_str().unwrap_or_default();
        *reported.entry(key(word("outcome"), word("reason"))).or_default() +=
            outcome["count"].as_u64().unwrap_or(0);
    }
    ensure!(measured == reported, "metrics have {measured:?}, status has {reported:?}");
    Ok(measured)
}

/// The expected value of [`outcomes`].
pub fn counted<const N: usize>(expected: [(&str, u64); N]) -> BTreeMap<String, u64> {
    let some = expected.into_iter().filter(|(_, count)| *count > 0);
    some.map(|(outcome, count)| (outcome.to_owned(), count)).collect()
}

/// The sum of an outcome over all its reasons.
pub fn sum(outcomes: &BTreeMap<String, u64>, outcome: &str) -> u64 {
    let same = outcomes.iter().filter(|(key, _)| key.split('/').next() == Some(outcome));
    same.map(|(_, count)| count).sum()
}

fn key(outcome: &str, reason: &str) -> String {
    if reason.is_empty() { outcome.to_owned() } else { format!("{outcome}/{reason}") }
}
