//! Where the connections to a redirected port go.
//!
//! A port may have several routes, one for each rule. They are asked in order, and the first that
//! takes a connection or a request has it; what none takes is the application's.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use interceptor_rule::ProxyProtocol;
use tokio::time::Instant;

use super::{filter::Filter, stats::PortStats, target::Target};

/// What one rule does with one port of a workload.
#[derive(Debug)]
pub struct Route {
    /// Which connections or requests it takes.
    pub filter: Filter,
    /// Where to; shared by all ports of one rule.
    pub target: Arc<Target>,
    /// Whether the target is told the caller's address first.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// What became of the port's connections.
    pub stats: Arc<PortStats>,
    /// When the rule's `ttl` is over, if it has one.
    expires_at: Option<Instant>,
    /// The rule is gone; connections that were on their way when it went belong to the application.
    withdrawn: AtomicBool,
}

// === impl Route ===

impl Route {
    /// A route whose port is not yet taken.
    #[must_use]
    pub fn new(
        filter: Filter,
        target: Arc<Target>,
        proxy_protocol: Option<ProxyProtocol>,
        stats: Arc<PortStats>,
        expires_at: Option<Instant>,
    ) -> Self {
        Self {
            filter,
            target,
            proxy_protocol,
            stats,
            expires_at,
            withdrawn: AtomicBool::new(false),
        }
    }

    /// Whether the rule is gone, or its time is over, though nobody may have come to say so.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_withdrawn() || self.expires_at.is_some_and(|end| Instant::now() >= end)
    }

    /// From now on connections that still arrive go to the application.
    pub fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Relaxed);
    }

    /// Whether the rule is gone.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Relaxed)
    }
}
