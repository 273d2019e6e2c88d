//! What the daemon counted, in a form that can be compared with what a client counted.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use testbed::Daemon;

/// The name of every counter of connections.
const CONNECTIONS: &str = "interceptor_connections_total";

/// What became of the connections to a workload: `redirected`, `fell_back/target_refused` and so on with their number,
/// without those that are zero. Status and metrics are both asked and must say the same.
pub fn outcomes(daemon: &Daemon, workload: &str) -> Result<BTreeMap<String, u64>> {
    let mut measured = BTreeMap::new();
    for sample in daemon.metrics()?.matching(CONNECTIONS, &[("workload", workload)]) {
        let label = |key| sample.labels.get(key).map_or("", String::as_str);
        // Those to the relay's own address belong to no rule, so the status of rules does not have them.
        if !label("annotation").is_empty() && sample.value > 0.0 {
            *measured.entry(key(label("outcome"), label("reason"))).or_default() +=
                sample.value as u64;
        }
    }
    let mut told = BTreeMap::new();
    let report = daemon.workload(workload)?;
    let rules = report["rules"].as_array().into_iter().flatten();
    for outcome in rules.flat_map(|rule| rule["outcomes"].as_array().into_iter().flatten()) {
        let word = |key: &str| outcome[key].as_str().unwrap_or_default();
        *told.entry(key(word("outcome"), word("reason"))).or_default() +=
            outcome["count"].as_u64().unwrap_or(0);
    }
    ensure!(measured == told, "metrics say {measured:?}, status says {told:?}");
    Ok(measured)
}

/// What [`outcomes`] should give.
pub fn counted<const N: usize>(expected: [(&str, u64); N]) -> BTreeMap<String, u64> {
    let some = expected.into_iter().filter(|(_, count)| *count > 0);
    some.map(|(outcome, count)| (outcome.to_owned(), count)).collect()
}

/// The sum over all reasons of an outcome.
pub fn sum(outcomes: &BTreeMap<String, u64>, outcome: &str) -> u64 {
    let same = outcomes.iter().filter(|(key, _)| key.split('/').next() == Some(outcome));
    same.map(|(_, count)| count).sum()
}

fn key(outcome: &str, reason: &str) -> String {
    if reason.is_empty() { outcome.to_owned() } else { format!("{outcome}/{reason}") }
}
