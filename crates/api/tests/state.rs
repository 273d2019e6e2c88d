//! The state document, byte for byte as version 0.1.0 wrote it. Keys and words never change.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use interceptor_api::{
    Decision, FellBack, Outcome, Passed, Reason, Refused, Remaining, Side, State, StateReport,
    Word,
    state::{
        CallerAddressState, CallerAddressStatus, ConnectionCounts, ConnectionLimit, OutcomeCount,
        PipeCount, RuleStatus, WorkloadState, WorkloadStatus,
    },
};

/// A document in which every key is present.
const FILLED: &str = include_str!("recorded/filled.json");
/// The same without workloads and without an error.
const BARE: &str = include_str!("recorded/bare.json");

fn caller_address(state: CallerAddressState, reason: &str, remedy: &str) -> CallerAddressStatus {
    CallerAddressStatus {
        state: state.into(),
        reason: reason.to_owned(),
        remedy: remedy.to_owned(),
        shown: 3,
        not_shown: 4,
    }
}

fn active_rule() -> RuleStatus {
    RuleStatus {
        annotation: "debug.redirect".to_owned(),
        rule: Some("8080,8443 -> 10.20.0.7:3000 when request.path == \"/x\"".to_owned()),
        ports: vec![8080, 8443],
        target: Some("10.20.0.7:3000".to_owned()),
        state: State::Active.into(),
        reason: Reason::Intercepting.into(),
        message: "requests reach it".to_owned(),
        connections: ConnectionCounts {
            active: 1,
            redirected: 2,
            fell_back: 3,
            passed: 4,
            refused: 5,
        },
        outcomes: vec![
            OutcomeCount::new(Outcome::Redirected, 2),
            OutcomeCount::new(Outcome::FellBack(FellBack::TargetTimeout), 3),
            OutcomeCount::new(Outcome::Passed(Passed::DaemonHung), 4),
            OutcomeCount::new(Outcome::Refused(Refused::Exhausted), 5),
        ],
        decisions: Decision::ALL.map(|decision| (decision.into(), 7)).into(),
        piped: vec![
            PipeCount { side: Side::Client.into(), reason: "http_0_9".to_owned(), count: 8 },
            PipeCount { side: Side::Server.into(), reason: "tunnel".to_owned(), count: 9 },
        ],
        silent: [(Side::Server.into(), 6)].into(),
        bytes_to_target: 10,
        bytes_from_target: 11,
    }
}

fn invalid_rule() -> RuleStatus {
    RuleStatus {
        annotation: "debug.redirect/bob".to_owned(),
        rule: None,
        ports: Vec::new(),
        target: None,
        state: State::Refused.into(),
        reason: Reason::RuleInvalid.into(),
        message: "column 6: expected `->`".to_owned(),
        connections: ConnectionCounts::default(),
        outcomes: Vec::new(),
        decisions: BTreeMap::new(),
        piped: Vec::new(),
        silent: BTreeMap::new(),
        bytes_to_target: 0,
        bytes_from_target: 0,
    }
}

fn filled() -> StateReport {
    StateReport {
        version: "0.1.0".to_owned(),
        pid: 4711,
        source_error: Some("w.yaml:1:1: wrong".to_owned()),
        connections: ConnectionLimit { open: 12, limit: 13 },
        draining: [(Remaining::Tunnel.into(), 3)].into(),
        heartbeat_age_seconds: 0.25,
        caller_address: caller_address(CallerAddressState::Lost, "no cgroup", "mount it"),
        workloads: vec![
            WorkloadStatus {
                name: "shop/web-0".to_owned(),
                netns: "pod 10.244.1.2".to_owned(),
                state: WorkloadState::Armed.into(),
                message: String::new(),
                relay_address: 14,
                unrouted: 15,
                caller_address: Some(caller_address(CallerAddressState::Kept, "", "")),
                rules: vec![active_rule(), invalid_rule()],
            },
            WorkloadStatus {
                name: "shop/web-1".to_owned(),
                netns: "pod".to_owned(),
                state: WorkloadState::Pending.into(),
                message: "no namespace".to_owned(),
                relay_address: 0,
                unrouted: 0,
                caller_address: None,
                rules: Vec::new(),
            },
        ],
    }
}

fn bare() -> StateReport {
    StateReport { source_error: None, draining: BTreeMap::new(), workloads: Vec::new(), ..filled() }
}

#[test]
fn the_document_is_written_as_recorded() {
    for (report, recorded) in [(filled(), FILLED), (bare(), BARE)] {
        let written = serde_json::to_string_pretty(&report).expect("can be written");
        assert_eq!(written, recorded.trim_end());
    }
}

#[test]
fn the_recorded_document_is_read() {
    for (report, recorded) in [(filled(), FILLED), (bare(), BARE)] {
        assert_eq!(serde_json::from_str::<StateReport>(recorded).expect("can be read"), report);
    }
}

#[test]
fn a_document_of_a_newer_daemon_is_read() {
    let newer = FILLED
        .replace("\"Intercepting\"", "\"Mirroring\"")
        .replace("\"fell_back\": 7", "\"fell_back\": 7, \"queued\": 1")
        .replace("\"pid\": 4711", "\"pid\": 4711, \"uptime\": 3");
    let report: StateReport = serde_json::from_str(&newer).expect("can be read");
    let rule = &report.workloads[0].rules[0];
    assert_eq!(rule.reason, Word::Unknown("Mirroring".to_owned()));
    assert_eq!(rule.decisions.len(), Decision::ALL.len() + 1);
}
