//! A filled registry, for the tests of what the admin endpoint serves.

use std::{num::NonZeroU16, sync::Arc};

use interceptor_api::{Decision, FellBack, Outcome, Passed, Reason, Refused, Standing};
use interceptor_common::port::Port;

use crate::{
    control::registry::{Registry, RuleEntry, WorkloadEntry},
    relay::{
        direction::Direction,
        stats::{Active, Piped, PortStats},
    },
};

/// A workload with an active rule and an invalid one, and a workload that waits. The guard keeps
/// one connection open.
pub(super) fn registry() -> (Registry, Active) {
    let registry = Registry::default();
    let (first, second) = (stats(1), stats(2));
    let open = first.activate();
    let active = RuleEntry {
        target: Some("10.20.0.7:3000".to_owned()),
        declared: vec![port(8080), port(8443)],
        has_condition: true,
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
    registry.publish(workload("shop/web-0", "pod 10.244.1.2", vec![active, invalid]));
    let waiting = Standing::pending(Reason::NetnsNotFound, "no namespace");
    let rule = RuleEntry::bare("debug.redirect", "8080 -> 10.20.0.7:3000", waiting.clone());
    registry.publish(WorkloadEntry {
        failure: Some(waiting),
        ..workload("shop/web-1", "pod", vec![rule])
    });
    registry.set_source_error(Some("w.yaml:1:1: wrong".to_owned()));
    (registry, open)
}

fn port(number: u16) -> Port {
    Port::tcp(NonZeroU16::new(number).expect("not zero"))
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
    stats.count_bytes(Direction::Up, 100 * n);
    stats.count_bytes(Direction::Down, 1000 * n);
    stats
}

fn workload(name: &str, netns: &str, rules: Vec<RuleEntry>) -> WorkloadEntry {
    WorkloadEntry {
        name: name.into(),
        uid: Some("u-1".into()),
        netns: netns.to_owned(),
        armed: None,
        failure: None,
        is_contested: false,
        rules,
    }
}
