//! What one rule does with one redirected port.
//!
//! A port has one route for each rule. They are asked in order, and the first that matches takes
//! the connection or request. The app gets what no route takes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use interceptor_rule::{Local, ProxyProtocol};
use tokio::time::Instant;

use super::{filter::Filter, stats::PortStats, target::Target};
use crate::config::annotation::AnnotationKey;

/// What one rule does with one port of a workload.
#[derive(Debug)]
pub struct Route {
    /// The annotation that the rule is written in, for the access log.
    pub annotation: AnnotationKey,
    /// Which connections or requests the rule takes.
    pub filter: Filter,
    /// Where they go; shared by all ports of one rule.
    pub target: Arc<Target>,
    /// How the target learns the client's address before the first byte, if at all.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// What becomes of connections from inside the pod.
    pub local: Local,
    /// The counters of the port; shared by all rules of one annotation.
    pub stats: Arc<PortStats>,
    /// The end of the rule's `ttl`, if it has one.
    pub expires_at: Option<Instant>,
    /// Set by the control side when the rule is removed.
    pub withdrawn: Withdrawn,
}

/// Whether a rule has been removed.
#[derive(Debug, Default)]
pub struct Withdrawn(AtomicBool);

// === impl Route ===

impl Route {
    /// Whether the rule has been removed or its `ttl` has expired. The control side may not have
    /// noticed the latter yet.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_withdrawn() || self.expires_at.is_some_and(|end| Instant::now() >= end)
    }

    /// Removes the rule. Connections that the kernel has steered here already go to the app.
    pub fn withdraw(&self) {
        self.withdrawn.0.store(true, Ordering::Relaxed);
    }

    /// Whether the rule has been removed.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.0.load(Ordering::Relaxed)
    }
}
