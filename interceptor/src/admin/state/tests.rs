//! The state document of a filled registry, byte for byte as version 0.1.0 wrote it.

use super::*;
use crate::{admin::fixture, relay::worker::Workers};

const RECORDED: &str = include_str!("recorded.json");

#[test]
fn the_document_is_written_as_recorded() {
    let (registry, _open) = fixture::registry();
    let workers = Workers::start(1, 1).expect("threads");
    let report = StateReport {
        version: "0.1.0".to_owned(),
        pid: 4711,
        heartbeat_age_seconds: 0.25,
        ..report(&registry, workers.shared(), &Callers::disabled())
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
    // The relay counts this one, too.
    reasons.retain(|outcome| *outcome != Outcome::Passed(Passed::RuleAtLimit));
    let counted = Outcome::ALL.into_iter().filter(|one| one.counted_by() == CountedBy::Kernel);
    assert_eq!(reasons, counted.collect::<Vec<_>>());
}
