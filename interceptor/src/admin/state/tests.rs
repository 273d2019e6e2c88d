//! The state document of a filled registry, byte for byte as version 0.1.0 wrote it.

use std::sync::Arc;

use super::*;
use crate::{
    control::status::{Reason, Standing},
    relay::{
        stats::{FellBack, Refused},
        worker::Workers,
    },
};

const RECORDED: &str = include_str!("recorded.json");

fn port(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("not zero")
}

/// Counters after `n` connections of each of four outcomes.
fn stats(n: u64) -> Arc<PortStats> {
    let stats = Arc::new(PortStats::default());
    for _ in 0..n {
        stats.count(Outcome::Redirected);
        stats.count(Outcome::FellBack(FellBack::TargetTimeout));
        stats.count(Outcome::Passed(Passed::HealthCheck));
        stats.count(Outcome::Refused(Refused::Exhausted));
        stats.decide(Decision::Matched);
        stats.decide(Decision::NoMatch);
        stats.pipe(Piped::Tls);
        stats.pipe(Piped::Response(interceptor_wire::Reason::Chunk));
    }
    let [to_target, from_target] = stats.bytes();
    to_target.store(100 * n, Ordering::Relaxed);
    from_target.store(1000 * n, Ordering::Relaxed);
    stats
}

fn workload_entry(name: &str, netns: &str, rules: Vec<RuleEntry>) -> WorkloadEntry {
    WorkloadEntry {
        name: name.into(),
        uid: None,
        netns: netns.to_owned(),
        armed: None,
        failure: None,
        rules,
    }
}

#[test]
fn the_document_is_written_as_recorded() {
    let registry = Registry::default();
    let (first, second) = (stats(1), stats(2));
    let _open = first.activate();
    let active = RuleEntry {
        target: Some("10.20.0.7:3000".to_owned()),
        declared: vec![port(8080), port(8443)],
        is_choosy: true,
        ports: vec![(port(8080), first), (port(8443), second)],
        ..RuleEntry::bare(
            "debug.redirect",
            "8080,8443 -> 10.20.0.7:3000",
            Standing::active("requests reach it"),
        )
    };
    let invalid = RuleEntry {
        text: None,
        ..RuleEntry::bare(
            "debug.redirect/bob",
            "",
            Standing::refused(Reason::RuleInvalid, "column 6: expected `->`"),
        )
    };
    registry.publish(workload_entry("shop/web-0", "pod 10.244.1.2", vec![active, invalid]));
    let waiting = Standing::pending(Reason::NetnsNotFound, "no namespace");
    let rule = RuleEntry::bare("debug.redirect", "8080 -> 10.20.0.7:3000", waiting.clone());
    registry.publish(WorkloadEntry {
        failure: Some(waiting),
        ..workload_entry("shop/web-1", "pod", vec![rule])
    });
    registry.set_source_error(Some("w.yaml:1:1: wrong".to_owned()));

    let workers = Workers::start(1, 1).expect("threads");
    let report = StateReport {
        version: "0.1.0".to_owned(),
        pid: 4711,
        heartbeat_age_seconds: 0.25,
        ..report(&registry, workers.shared(), &Callers::nowhere())
    };
    let written = serde_json::to_string_pretty(&report).expect("can be written");
    assert_eq!(written, RECORDED.trim_end());
}

#[test]
fn every_verdict_that_leaves_a_connection_to_the_app_has_its_outcome() {
    let mut reasons = Vec::new();
    for verdict in Verdict::ALL {
        let reason = left_to_app(verdict);
        assert_eq!(reason.is_some(), verdict.is_passed(), "{verdict:?}");
        assert!(reason.is_none_or(|reason| reason.as_str() == verdict.as_str()), "{verdict:?}");
        reasons.extend(reason.map(Outcome::Passed));
    }
    let counted = Outcome::ALL.into_iter().filter(|one| one.counted_by() == CountedBy::Kernel);
    assert_eq!(reasons, counted.collect::<Vec<_>>());
}
