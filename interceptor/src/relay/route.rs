//! Where the connections to a redirected port go.
//!
//! A port may have several routes, one for each rule. They are asked in order, and the first that takes a connection
//! or a request has it; what none takes is the application's.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use interceptor_rule::ProxyProtocol;
use tokio::{sync::Notify, time::Instant};

use super::{circuit::Circuit, filter::Filter, stats::PortStats};

/// What one rule does with one port of a workload.
#[derive(Debug)]
pub struct Route {
    /// Which connections or requests it takes.
    pub filter: Filter,
    /// Where to; shared by all ports of one rule.
    pub destination: Arc<Destination>,
    /// Whether the target is told the caller's address first.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// What became of the port's connections.
    pub stats: Arc<PortStats>,
    /// When the rule's `ttl` is over, if it has one.
    expires_at: Option<Instant>,
    /// The rule is gone; connections that were on their way when it went belong to the application.
    withdrawn: AtomicBool,
}

/// The target of a rule, as the control side last knew it.
#[derive(Debug)]
pub struct Destination {
    addresses: ArcSwap<Addresses>,
    /// Whether the target answers.
    pub circuit: Circuit,
    /// Wakes whoever tries a silent target in the background.
    pub tripped: Notify,
}

/// What is known of a target's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// At least one address, in the order in which they are tried.
    Known(Vec<SocketAddr>),
    /// The name has none at present.
    Unresolved,
    /// The name has only addresses that the policy refuses.
    Denied,
}

// === impl Route ===

impl Route {
    /// A route whose port is not yet taken.
    #[must_use]
    pub fn new(
        filter: Filter,
        destination: Arc<Destination>,
        proxy_protocol: Option<ProxyProtocol>,
        stats: Arc<PortStats>,
        expires_at: Option<Instant>,
    ) -> Self {
        Self {
            filter,
            destination,
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

// === impl Destination ===

impl Destination {
    /// A destination about which this much is known.
    #[must_use]
    pub fn new(addresses: Addresses) -> Arc<Self> {
        Arc::new(Self {
            addresses: ArcSwap::from_pointee(addresses),
            circuit: Circuit::default(),
            tripped: Notify::new(),
        })
    }

    /// What is known at this moment.
    #[must_use]
    pub fn addresses(&self) -> Arc<Addresses> {
        self.addresses.load_full()
    }

    /// Replaces what is known.
    pub fn set_addresses(&self, addresses: Addresses) {
        self.addresses.store(Arc::new(addresses));
    }
}
