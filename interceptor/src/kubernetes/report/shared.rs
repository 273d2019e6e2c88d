//! What the tasks of all pods have in common: the API server, limits, and the source of states.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use kube::Client;
use tokio::sync::Semaphore;

use super::api::EventCounts;
use crate::{control::registry::Registry, kubernetes::store::Store};

/// Maximum number of requests of each kind under way at one time. Many pods may change at once, and
/// the API server must not get all requests at once.
const MAX_REQUESTS: usize = 8;

/// What every pod's task uses.
pub(super) struct Shared {
    pub(super) client: Client,
    /// The name of this node.
    pub(super) node: String,
    /// The pods of this node, as the watch shows them.
    pub(super) store: Arc<Store>,
    /// The states of their rules.
    pub(super) registry: Arc<Registry>,
    /// For requests that write conditions.
    pub(super) condition_permits: Semaphore,
    /// For requests that create Events. Conditions do not wait for Events.
    pub(super) event_permits: Semaphore,
    pub(super) events: Arc<EventCounts>,
    ending: AtomicBool,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(
        client: Client,
        node: String,
        store: Arc<Store>,
        registry: Arc<Registry>,
        events: Arc<EventCounts>,
    ) -> Self {
        Self {
            client,
            node,
            store,
            registry,
            condition_permits: Semaphore::new(MAX_REQUESTS),
            event_permits: Semaphore::new(MAX_REQUESTS),
            events,
            ending: AtomicBool::new(false),
        }
    }

    /// Notes that the daemon ends: no rule is in force from now on.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Whether the daemon ends.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }
}
