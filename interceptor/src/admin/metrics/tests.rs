//! The metrics of a filled registry, byte for byte as version 0.1.0 wrote them.
//!
//! Left out: help texts, buckets, the daemon's version, and the age of the heartbeat.

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
