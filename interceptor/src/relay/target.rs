//! A rule's target as the relay sees it: the addresses that the control side last found, and
//! whether it answers.
//!
//! The dialling itself is in `dial.rs`.

use std::{fmt, net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::{circuit::Circuit, suspicion::Suspicion};

/// The target of a rule; all ports of the rule share it.
#[derive(Debug)]
pub struct Target {
    name: Box<str>,
    addresses: ArcSwap<Addresses>,
    circuit: Circuit,
    tripped: Notify,
    suspicion: Arc<Suspicion>,
}

/// What is known of a target's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// At least one address, in the order in which they are tried.
    Known(Vec<SocketAddr>),
    /// The name has no address at present.
    Unresolved,
    /// The name has only addresses that the policy refuses.
    Denied,
}

// === impl Target ===

impl Target {
    /// A target with these addresses, and a closed circuit. The access log calls it `name`.
    #[must_use]
    pub fn new(name: impl Into<Box<str>>, addresses: Addresses) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            addresses: ArcSwap::from_pointee(addresses),
            circuit: Circuit::default(),
            tripped: Notify::new(),
            suspicion: Arc::default(),
        })
    }

    /// The addresses as the control side last knew them.
    #[must_use]
    pub fn addresses(&self) -> Arc<Addresses> {
        self.addresses.load_full()
    }

    /// Replaces the addresses.
    pub fn set_addresses(&self, addresses: Addresses) {
        self.addresses.store(Arc::new(addresses));
    }

    /// Whether the circuit is open: the target was silent several times in a row, and clients go to
    /// the app at once.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.circuit.is_open()
    }

    /// Whether its connections may come back to the port that they left.
    #[must_use]
    pub fn suspicion(&self) -> &Arc<Suspicion> {
        &self.suspicion
    }

    /// Waits for the circuit to open. Used by the one background task that then dials the target
    /// until it answers.
    pub async fn tripped(&self) {
        self.tripped.notified().await;
    }

    /// Notes that the target answered, if only by a refusal.
    pub(super) fn answered(&self) {
        self.circuit.answered();
    }

    /// Notes that the target did not answer.
    pub(super) fn was_silent(&self) {
        if self.circuit.silent() {
            self.tripped.notify_one();
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}
