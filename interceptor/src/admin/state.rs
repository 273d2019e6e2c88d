//! Gathers the document behind `/state` and `interceptor status`.
//!
//! [`interceptor_api::state`] has its types. The counters are those that `/metrics` reads.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use interceptor_api::{
    Decision, Outcome, Passed, Side, State, StateReport, Word,
    outcome::CountedBy,
    state::{
        CallerAddressState, CallerAddressStatus, ConnectionCounts, ConnectionLimit, OutcomeCount,
        PipeCount, RuleStatus, WorkloadState, WorkloadStatus,
    },
};
use interceptor_common::{port::Port, steal::Verdict};

use crate::{
    control::registry::{Registry, RuleEntry, WorkloadEntry},
    datapath::{
        Callers,
        caller::{CallerError, Count},
    },
    relay::{
        direction::Direction,
        stats::{Piped, PortStats},
        worker::Shared,
        workload::Workload,
    },
};

/// Gathers the document.
#[must_use]
pub fn report(registry: &Registry, shared: &Shared, callers: &Callers) -> StateReport {
    StateReport {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        source_error: registry.source_error(),
        connections: ConnectionLimit { open: shared.open(), limit: shared.limit() },
        draining: shared
            .farewell()
            .counts()
            .into_iter()
            .map(|(why, count)| (why.into(), count))
            .collect(),
        heartbeat_age_seconds: shared.heartbeat_age().as_secs_f64(),
        caller_address: caller_address(callers.state(), callers.count()),
        workloads: registry.workloads().iter().map(|entry| workload(entry)).collect(),
    }
}

fn caller_address(state: Result<(), &CallerError>, count: &Count) -> CallerAddressStatus {
    let (state, reason, remedy) = match state {
        Ok(()) => (CallerAddressState::Kept, String::new(), ""),
        Err(error) => (CallerAddressState::Lost, error.reason(), error.remedy()),
    };
    CallerAddressStatus {
        state: state.into(),
        reason,
        remedy: remedy.into(),
        shown: count.shown(),
        not_shown: count.not_shown(),
    }
}

fn workload(entry: &WorkloadEntry) -> WorkloadStatus {
    let (state, message) = match (&entry.failure, &entry.armed) {
        (Some(failure), _) => {
            let state = match failure.state {
                State::Refused => WorkloadState::Refused,
                State::Ended => WorkloadState::Idle,
                State::Pending | State::Active | State::Expired => WorkloadState::Pending,
            };
            (state, failure.message.clone())
        }
        (None, Some(_)) => (WorkloadState::Armed, String::new()),
        (None, None) => (WorkloadState::Idle, "no rule is in force".into()),
    };
    let counter = |of: fn(&Workload) -> &AtomicU64| {
        entry.armed.as_ref().map_or(0, |armed| of(&armed.workload).load(Ordering::Relaxed))
    };
    WorkloadStatus {
        name: entry.name.to_string(),
        netns: entry.netns.clone(),
        state: state.into(),
        message,
        relay_address: counter(|workload| &workload.strays),
        unrouted: counter(|workload| &workload.unrouted),
        caller_address: entry.armed.as_ref().map(|armed| {
            let callers = &armed.workload.callers;
            caller_address(callers.state(), callers.count())
        }),
        rules: entry.rules.iter().map(|rule| rule_status(entry, rule)).collect(),
    }
}

fn rule_status(entry: &WorkloadEntry, rule: &RuleEntry) -> RuleStatus {
    let outcomes = outcomes(entry, rule);
    let mut connections = ConnectionCounts {
        active: rule.ports.iter().map(|(_, stats)| stats.active()).sum(),
        ..ConnectionCounts::default()
    };
    outcomes.iter().for_each(|(outcome, count)| connections.add(*outcome, *count));
    let outcomes = outcomes.into_iter().filter(|(_, count)| *count > 0);
    let bytes = |direction| rule.ports.iter().map(|(_, stats)| stats.bytes(direction)).sum();
    RuleStatus {
        annotation: rule.annotation.clone(),
        rule: rule.text.clone(),
        ports: rule.declared.iter().map(|port| port.number()).collect(),
        target: rule.target.clone(),
        state: rule.condition.state.into(),
        reason: rule.condition.reason.into(),
        message: rule.condition.message.clone(),
        connections,
        outcomes: outcomes.map(|(outcome, count)| OutcomeCount::new(outcome, count)).collect(),
        decisions: decisions(rule),
        piped: piped(rule),
        silent: silent(rule),
        bytes_to_target: bytes(Direction::Up),
        bytes_from_target: bytes(Direction::Down),
    }
}

fn decisions(rule: &RuleEntry) -> BTreeMap<Word<Decision>, u64> {
    let count = |decision| rule.ports.iter().map(|(_, stats)| stats.decided(decision)).sum();
    let all = Decision::ALL.map(|decision| (Word::Known(decision), count(decision)));
    if rule.has_condition { all.into() } else { BTreeMap::new() }
}

fn piped(rule: &RuleEntry) -> Vec<PipeCount> {
    let count = |why| rule.ports.iter().map(|(_, stats)| stats.piped(why)).sum();
    let report = |why: Piped| PipeCount {
        side: why.side().into(),
        reason: why.reason().into(),
        count: count(why),
    };
    Piped::all().map(report).filter(|report| report.count > 0).collect()
}

fn silent(rule: &RuleEntry) -> BTreeMap<Word<Side>, u64> {
    let count = |side| rule.ports.iter().map(|(_, stats)| stats.silent(side)).sum();
    let sides = Side::ALL.map(|side| (side.into(), count(side)));
    sides.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// Every counter of a rule, summed over its ports.
fn outcomes(entry: &WorkloadEntry, rule: &RuleEntry) -> Vec<(Outcome, u64)> {
    let mut all: Vec<(Outcome, u64)> = Vec::new();
    for (port, stats) in &rule.ports {
        for (outcome, count) in port_outcomes(entry, *port, stats) {
            match all.iter_mut().find(|(other, _)| *other == outcome) {
                Some((_, total)) => *total += count,
                None => all.push((outcome, count)),
            }
        }
    }
    all
}

/// Every counter of one port: those of the relay, and those of the kernel program while it is
/// attached.
pub(super) fn port_outcomes(
    entry: &WorkloadEntry,
    port: Port,
    stats: &PortStats,
) -> Vec<(Outcome, u64)> {
    let relayed =
        Outcome::ALL.into_iter().filter(|outcome| outcome.counted_by() == CountedBy::Relay);
    let mut all: Vec<_> = relayed.map(|outcome| (outcome, stats.get(outcome))).collect();
    if let Some(armed) = &entry.armed {
        let verdicts = armed.programs.lock().counters(port).unwrap_or_default().into_iter();
        let left = verdicts.filter_map(|(verdict, count)| Some((left_to_app(verdict)?, count)));
        for (outcome, count) in left.map(|(reason, count)| (Outcome::Passed(reason), count)) {
            // Both may count a rule's maximum.
            match all.iter_mut().find(|(other, _)| *other == outcome) {
                Some((_, total)) => *total += count,
                None => all.push((outcome, count)),
            }
        }
    }
    all
}

/// Why the kernel program left a connection to the app; `None` for verdicts that did not.
fn left_to_app(verdict: Verdict) -> Option<Passed> {
    match verdict {
        Verdict::Steered | Verdict::Own => None,
        Verdict::Expired => Some(Passed::Expired),
        Verdict::Stale => Some(Passed::DaemonHung),
        Verdict::NoListener => Some(Passed::NoListener),
        Verdict::AssignFailed => Some(Passed::AssignFailed),
        Verdict::AtLimit => Some(Passed::AtLimit),
        Verdict::RuleAtLimit => Some(Passed::RuleAtLimit),
    }
}

#[cfg(test)]
mod tests;
