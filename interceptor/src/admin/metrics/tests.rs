//! The metrics of a filled registry, byte for byte as recorded.
//!
//! Left out: help texts, buckets, the daemon's version, and the age of the heartbeat.

use interceptor_api::{Reason, Standing};
use prometheus_client::encoding::text::encode;

use super::*;
use crate::{admin::fixture, relay::worker::Workers};

const RECORDED: &str = include_str!("recorded.txt");

#[test]
fn names_types_and_labels_are_written_as_recorded() {
    let (published, _open) = fixture::registry();
    let workers = Workers::start(1, 1).expect("threads");
    let metrics = registry(
        Arc::new(published),
        Arc::clone(workers.shared()),
        Arc::new(Callers::disabled()),
        Histogram::new([1.0]),
        Some(Cluster::new(&Arc::default())),
    );
    let mut text = String::new();
    encode(&mut text, &metrics).expect("can be written");
    let varies = ["# HELP ", "interceptor_build_info{", "interceptor_heartbeat_age_seconds "];
    let lines = text.lines().filter(|line| {
        !line.contains("_bucket{") && !varies.iter().any(|start| line.starts_with(start))
    });
    assert_eq!(lines.collect::<Vec<_>>(), RECORDED.lines().collect::<Vec<_>>());
}

/// Renders a registry with one workload.
fn rendered(uid: Option<&str>, rules: Vec<RuleEntry>) -> String {
    let published = Registry::default();
    published.publish(WorkloadEntry {
        name: "shop/web".into(),
        uid: uid.map(Into::into),
        netns: String::new(),
        armed: None,
        failure: None,
        is_contested: false,
        rules,
    });
    let workers = Workers::start(1, 1).expect("threads");
    let metrics = registry(
        Arc::new(published),
        Arc::clone(workers.shared()),
        Arc::new(Callers::disabled()),
        Histogram::new([1.0]),
        None,
    );
    let mut text = String::new();
    encode(&mut text, &metrics).expect("can be written");
    text
}

fn away(annotation: &str, fell_back: bool) -> RuleEntry {
    let standing = if fell_back {
        Standing::fell_back(Reason::TargetRefuses, "a:1 refuses connections")
    } else {
        Standing::active("port 8080 → a:1")
    };
    RuleEntry::bare(annotation, "8080 -> a:1", standing)
}

#[test]
fn targets_that_are_away_are_counted_once_for_each_annotation() {
    let rules = vec![
        away("debug.redirect", true),
        away("debug.redirect", false),
        away("debug.redirect", true),
        away("debug.redirect/bob", false),
        RuleEntry::bare("debug.redirect/eve", "", Standing::refused(Reason::RuleInvalid, "no")),
    ];
    let text = rendered(Some("u-1"), rules);
    let lines: Vec<_> =
        text.lines().filter(|line| line.starts_with("interceptor_targets_away{")).collect();
    let labels = "workload=\"shop/web\",namespace=\"shop\",pod=\"web\"";
    let expected = [("debug.redirect", 2), ("debug.redirect/bob", 0)].map(|(annotation, count)| {
        format!("interceptor_targets_away{{{labels},annotation=\"{annotation}\"}} {count}")
    });
    assert_eq!(lines, expected);
}

/// The name of a stand-alone workload may look like that of a pod.
#[test]
fn only_pods_have_the_labels_of_pods() {
    let text = rendered(None, vec![away("debug.redirect", false)]);
    assert!(text.contains("interceptor_targets_away{workload=\"shop/web\",annotation="), "{text}");
}
