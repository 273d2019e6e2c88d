//! The document behind `/state` and `interceptor status`: stable, and the only source of both.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use interceptor_common::port::Port;
use serde::{Deserialize, Serialize};

use crate::{
    control::registry::{Registry, RuleEntry, WorkloadEntry},
    datapath::{
        Callers,
        caller::{CallerError, Count},
    },
    relay::{
        direction::Direction,
        stats::{Decision, Outcome, Piped},
        worker::Shared,
        workload::Workload,
    },
};

/// The daemon as a whole.
#[derive(Debug, Serialize, Deserialize)]
pub struct StateReport {
    /// Of the daemon.
    pub version: String,
    /// Of the daemon.
    pub pid: u32,
    /// Why the workloads file as it stands is not in force; absent when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_error: Option<String>,
    /// Connections of all workloads.
    pub connections: ConnectionRoom,
    /// Seconds since the slowest worker went round its loop.
    pub heartbeat_age_seconds: f64,
    /// What applications see of those whose connections are passed on to them.
    pub caller_address: CallerAddressReport,
    /// By name.
    pub workloads: Vec<WorkloadReport>,
}

/// Whether applications see callers' addresses.
#[derive(Debug, Serialize, Deserialize)]
pub struct CallerAddressReport {
    /// `kept` or `lost`.
    pub state: String,
    /// Why it is lost.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// Connections at present whose caller the application sees.
    pub shown: u64,
    /// Connections so far whose caller it did not see.
    pub not_shown: u64,
}

/// How many connections there are and may be.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConnectionRoom {
    /// Open at present.
    pub open: usize,
    /// At most; further ones go to the application.
    pub limit: usize,
}

/// One workload.
#[derive(Debug, Serialize, Deserialize)]
pub struct WorkloadReport {
    /// Its name.
    pub name: String,
    /// Where its namespace is looked for.
    pub netns: String,
    /// `armed`, `idle` (nothing to do) or `pending`.
    pub state: String,
    /// Why it is not armed.
    pub message: String,
    /// Connections that were made straight to the relay's own listeners, and closed.
    pub relay_address: u64,
    /// Connections to a port that had been given back before they were accepted; the application served them.
    pub unrouted: u64,
    /// What its application sees of callers; absent when it is not armed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_address: Option<CallerAddressReport>,
    /// Its rules.
    pub rules: Vec<RuleReport>,
}

/// One rule.
#[derive(Debug, Serialize, Deserialize)]
pub struct RuleReport {
    /// The annotation it stands in.
    pub annotation: String,
    /// Its canonical form; absent when it can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The ports that it takes, or is to take.
    pub ports: Vec<u16>,
    /// Where to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// `active`, `pending`, `refused` or `expired`.
    pub state: String,
    /// Why, in one CamelCase word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// What became of the connections to its ports.
    pub connections: ConnectionReport,
    /// The same in detail: outcome and reason with their count, without those that are zero.
    pub outcomes: Vec<OutcomeReport>,
    /// What the rule made of connections and requests that it was asked about, as in `interceptor_decisions_total`.
    /// Empty for a rule that takes all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub decisions: BTreeMap<String, u64>,
    /// Connections that were not looked into (any more), without reasons that did not occur.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub piped: Vec<PipeReport>,
    /// Bytes from callers to the target.
    pub bytes_to_target: u64,
    /// Bytes from the target to callers.
    pub bytes_from_target: u64,
}

/// Connections by outcome.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ConnectionReport {
    /// Open at present, whoever serves them.
    pub active: u64,
    /// Reached the target.
    pub redirected: u64,
    /// Meant for the target, served by the application.
    pub fell_back: u64,
    /// Left with the application.
    pub passed: u64,
    /// Served by nobody.
    pub refused: u64,
}

/// One counter.
#[derive(Debug, Serialize, Deserialize)]
pub struct OutcomeReport {
    /// As in `interceptor_connections_total`.
    pub outcome: String,
    /// As in `interceptor_connections_total`.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// Connections that became a plain pipe, for one reason.
#[derive(Debug, Serialize, Deserialize)]
pub struct PipeReport {
    /// Whose bytes were the reason, as in `interceptor_piped_connections_total`.
    pub side: String,
    /// As in `interceptor_piped_connections_total`.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// Gathers the document.
#[must_use]
pub fn report(registry: &Registry, shared: &Shared, callers: &Callers) -> StateReport {
    StateReport {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        source_error: registry.source_error(),
        connections: ConnectionRoom { open: shared.open(), limit: shared.limit() },
        heartbeat_age_seconds: shared.heartbeat_age().as_secs_f64(),
        caller_address: caller_address(callers.state(), callers.count()),
        workloads: registry.workloads().iter().map(|entry| workload(entry)).collect(),
    }
}

fn caller_address(state: Result<(), &CallerError>, count: &Count) -> CallerAddressReport {
    let (state, reason, remedy) = match state {
        Ok(()) => ("kept", String::new(), ""),
        Err(error) => ("lost", error.reason(), error.remedy()),
    };
    CallerAddressReport {
        state: state.into(),
        reason,
        remedy: remedy.into(),
        shown: count.shown(),
        not_shown: count.lost(),
    }
}

fn workload(entry: &WorkloadEntry) -> WorkloadReport {
    let (state, message) = match (&entry.failure, &entry.armed) {
        (Some(failure), _) => (failure.state.to_string(), failure.message.clone()),
        (None, Some(_)) => ("armed".into(), String::new()),
        (None, None) => ("idle".into(), "no rule is in force".into()),
    };
    let counter = |of: fn(&Workload) -> &AtomicU64| {
        entry.armed.as_ref().map_or(0, |armed| of(&armed.workload).load(Ordering::Relaxed))
    };
    WorkloadReport {
        name: entry.name.to_string(),
        netns: entry.netns.clone(),
        state,
        message,
        relay_address: counter(|workload| &workload.strays),
        unrouted: counter(|workload| &workload.unrouted),
        caller_address: entry.armed.as_ref().map(|armed| {
            let callers = &armed.workload.callers;
            caller_address(callers.state(), callers.count())
        }),
        rules: entry.rules.iter().map(|rule| rule_report(entry, rule)).collect(),
    }
}

fn rule_report(entry: &WorkloadEntry, rule: &RuleEntry) -> RuleReport {
    let mut connections = ConnectionReport::default();
    let mut outcomes = Vec::new();
    for (outcome, reason, count) in outcomes_of(entry, rule) {
        let total = match outcome {
            "redirected" => &mut connections.redirected,
            "fell_back" => &mut connections.fell_back,
            "passed" => &mut connections.passed,
            _ => &mut connections.refused,
        };
        *total += count;
        if count > 0 {
            outcomes.push(OutcomeReport { outcome: outcome.into(), reason: reason.into(), count });
        }
    }
    connections.active = rule.ports.iter().map(|(_, stats)| stats.active()).sum();
    let [bytes_to_target, bytes_from_target] = Direction::ALL
        .map(|direction| rule.ports.iter().map(|(_, stats)| stats.bytes(direction)).sum());
    RuleReport {
        annotation: rule.annotation.clone(),
        rule: rule.text.clone(),
        ports: rule.declared.iter().map(|port| port.number()).collect(),
        target: rule.target.clone(),
        state: rule.condition.state.to_string(),
        reason: rule.condition.reason.to_string(),
        message: rule.condition.message.clone(),
        connections,
        outcomes,
        decisions: decisions(rule),
        piped: piped(rule),
        bytes_to_target,
        bytes_from_target,
    }
}

fn decisions(rule: &RuleEntry) -> BTreeMap<String, u64> {
    let count = |decision| rule.ports.iter().map(|(_, stats)| stats.decided(decision)).sum();
    let all = Decision::ALL.map(|decision| (decision.as_str().to_owned(), count(decision)));
    if rule.is_choosy { all.into() } else { BTreeMap::new() }
}

fn piped(rule: &RuleEntry) -> Vec<PipeReport> {
    let count = |why| rule.ports.iter().map(|(_, stats)| stats.piped(why)).sum();
    let report = |why: Piped| PipeReport {
        side: why.side().into(),
        reason: why.reason().into(),
        count: count(why),
    };
    Piped::all().map(report).filter(|report| report.count > 0).collect()
}

/// Every counter of a rule, those of the kernel program included, summed over its ports.
fn outcomes_of(entry: &WorkloadEntry, rule: &RuleEntry) -> Vec<(&'static str, &'static str, u64)> {
    let mut all: Vec<(&'static str, &'static str, u64)> = Vec::new();
    for (port, stats) in &rule.ports {
        for (outcome, reason, count) in port_outcomes(entry, *port, stats) {
            match all.iter_mut().find(|(o, r, _)| (*o, *r) == (outcome, reason)) {
                Some((.., total)) => *total += count,
                None => all.push((outcome, reason, count)),
            }
        }
    }
    all
}

/// Every counter of one port: what the relay did, and what the kernel program left to the application.
pub fn port_outcomes(
    entry: &WorkloadEntry,
    port: Port,
    stats: &crate::relay::stats::PortStats,
) -> Vec<(&'static str, &'static str, u64)> {
    let relayed =
        Outcome::ALL.map(|outcome| (outcome.outcome(), outcome.reason(), stats.get(outcome)));
    let mut all = relayed.to_vec();
    if let Some(armed) = &entry.armed {
        // A panic elsewhere leaves the maps readable.
        let verdicts = armed.programs.lock().counters(port).unwrap_or_default();
        let passed = verdicts.into_iter().filter(|(verdict, _)| verdict.is_passed());
        all.extend(passed.map(|(verdict, count)| ("passed", verdict.as_str(), count)));
    }
    all
}
