//! A rule's target as the relay sees it: the addresses that the control side last found, and what
//! it showed when it was last dialled.
//!
//! The dialling itself is in `dial.rs`.

use std::{fmt, net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::{
    answer::{Answer, LastAnswer},
    circuit::Circuit,
    suspicion::Suspicion,
};

/// The target of a rule; all ports of the rule share it.
#[derive(Debug)]
pub struct Target {
    name: Box<str>,
    addresses: ArcSwap<Addresses>,
    circuit: Circuit,
    answer: LastAnswer,
    answer_changed: Notify,
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
            answer: LastAnswer::default(),
            answer_changed: Notify::new(),
            suspicion: Arc::default(),
        })
    }

    /// The addresses as the control side last knew them.
    #[must_use]
    pub fn addresses(&self) -> Arc<Addresses> {
        self.addresses.load_full()
    }

    /// Replaces the addresses. What other addresses showed does not count any more.
    pub fn set_addresses(&self, addresses: Addresses) {
        let before = self.addresses.swap(Arc::new(addresses));
        if before != self.addresses.load_full() {
            self.showed(Answer::Unknown);
        }
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

    /// What the target showed last.
    #[must_use]
    pub fn answer(&self) -> Answer {
        self.answer.get()
    }

    /// Waits until the target shows another answer than before. Used by the one background task
    /// that watches the target.
    pub async fn answer_changed(&self) {
        self.answer_changed.notified().await;
    }

    /// Notes that the target accepted or refused a connection.
    pub(super) fn answered(&self, answer: Answer) {
        self.circuit.answered();
        self.showed(answer);
    }

    /// Notes that the target did not answer a client. One may have had bad luck, so only the one
    /// that opens the circuit is news.
    pub(super) fn was_silent(&self, answer: Answer) {
        if self.circuit.silent() {
            self.showed(answer);
        }
    }

    /// Notes that the target did not answer a check.
    pub(super) fn failed_check(&self, answer: Answer) {
        self.circuit.open();
        self.showed(answer);
    }

    /// Notes what the target showed. Wakes the task that watches it if that is news.
    pub(super) fn showed(&self, answer: Answer) {
        if self.answer.set(answer) {
            self.answer_changed.notify_one();
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}
