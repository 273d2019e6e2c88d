//! The JSON document of `/state` and `interceptor status --output json`.
//!
//! Its keys are stable. New keys may appear in any version, so readers ignore keys that they do not
//! know; words that may grow in number are [`Word`]s.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Decision, Outcome, OutcomeKind, Reason, Remaining, Side, State,
    vocabulary::{Word, words},
};

words! {
    /// Whether a program is attached to a workload's network namespace, or why none is.
    pub enum WorkloadState {
        /// A program is attached.
        Armed = "armed",
        /// No rule is in force, so no program is attached.
        Idle = "idle",
        /// Attaching waits for something.
        Pending = "pending",
        /// Attaching is not possible until a user changes something.
        Refused = "refused",
    }
}

words! {
    /// Whether apps see the addresses of clients whose connections the relay passes on to them.
    pub enum CallerAddressState {
        /// They do.
        Kept = "kept",
        /// They see an address of the relay's instead.
        Lost = "lost",
    }
}

/// The daemon as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateReport {
    /// The daemon's version.
    pub version: String,
    /// The daemon's process id.
    pub pid: u32,
    /// Why the current workloads file is not in force; absent while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_error: Option<String>,
    /// Connections of all workloads.
    pub connections: ConnectionLimit,
    /// Connections that are still open while the daemon ends, by reason; empty while it serves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub draining: BTreeMap<Word<Remaining>, u64>,
    /// Age of the oldest worker heartbeat, in seconds.
    pub heartbeat_age_seconds: f64,
    /// Whether apps see clients' addresses, on the node as a whole.
    pub caller_address: CallerAddressStatus,
    /// Every workload, sorted by name.
    pub workloads: Vec<WorkloadStatus>,
}

/// Whether apps see clients' addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerAddressStatus {
    /// Whether they do.
    pub state: Word<CallerAddressState>,
    /// Why they do not; empty while they do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How to change that; empty while there is nothing to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// Connections open at present whose client the app sees.
    pub shown: u64,
    /// Connections so far whose client the app did not see.
    pub not_shown: u64,
}

/// The number of open connections, and its maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionLimit {
    /// Connections open at present.
    pub open: usize,
    /// Maximum number of open connections; further ones stay with the app.
    pub limit: usize,
}

/// One workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadStatus {
    /// Its name: `namespace/pod` in Kubernetes.
    pub name: String,
    /// Where the daemon looks for its network namespace.
    pub netns: String,
    /// Whether a program is attached to its network namespace.
    pub state: Word<WorkloadState>,
    /// Why none is attached; empty otherwise.
    pub message: String,
    /// Connections from clients straight to the relay's own listeners, which the relay closed.
    pub relay_address: u64,
    /// Connections to a port that was given back before the relay accepted them; the app served
    /// them.
    pub unrouted: u64,
    /// Whether its app sees clients' addresses; absent while no program is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller_address: Option<CallerAddressStatus>,
    /// Its rules.
    pub rules: Vec<RuleStatus>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleStatus {
    /// The key of its annotation.
    pub annotation: String,
    /// Its canonical form; absent while its text is invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The ports that it takes, or will take.
    pub ports: Vec<u16>,
    /// The target; absent while its text is invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Its state.
    pub state: Word<State>,
    /// The reason of its state, as one word.
    pub reason: Word<Reason>,
    /// The reason of its state, as a sentence.
    pub message: String,
    /// Connections to its ports, by kind of outcome.
    pub connections: ConnectionCounts,
    /// Connections to its ports, by outcome; those that did not occur are left out.
    pub outcomes: Vec<OutcomeCount>,
    /// Connections and requests that it was asked about, by decision. Empty for a rule that takes
    /// everything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub decisions: BTreeMap<Word<Decision>, u64>,
    /// Connections that became a plain pipe, by reason; reasons that did not occur are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub piped: Vec<PipeCount>,
    /// Connections to the target that ended because a side was silent, by side; sides that never
    /// were are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub silent: BTreeMap<Word<Side>, u64>,
    /// Bytes from clients to the target.
    pub bytes_to_target: u64,
    /// Bytes from the target to clients.
    pub bytes_from_target: u64,
}

/// Connections by kind of outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionCounts {
    /// Open at present, to the target or to the app.
    pub active: u64,
    /// Reached the target.
    pub redirected: u64,
    /// Meant for the target, served by the app.
    pub fell_back: u64,
    /// Left with the app.
    pub passed: u64,
    /// Reached neither.
    pub refused: u64,
}

/// Connections with one outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeCount {
    /// The label `outcome` of `interceptor_connections_total`.
    pub outcome: Word<OutcomeKind>,
    /// The label `reason` of `interceptor_connections_total`; empty for redirected connections.
    pub reason: String,
    /// The number of connections.
    pub count: u64,
}

/// Connections that became a plain pipe, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipeCount {
    /// The label `side` of `interceptor_piped_connections_total`.
    pub side: Word<Side>,
    /// The label `reason` of `interceptor_piped_connections_total`.
    pub reason: String,
    /// The number of connections.
    pub count: u64,
}

// === impl ConnectionCounts ===

impl ConnectionCounts {
    /// Adds connections with this outcome.
    pub fn add(&mut self, outcome: Outcome, count: u64) {
        let total = match outcome.kind() {
            OutcomeKind::Redirected => &mut self.redirected,
            OutcomeKind::FellBack => &mut self.fell_back,
            OutcomeKind::Passed => &mut self.passed,
            OutcomeKind::Refused => &mut self.refused,
        };
        *total += count;
    }
}

// === impl OutcomeCount ===

impl OutcomeCount {
    /// `count` connections with this outcome.
    #[must_use]
    pub fn new(outcome: Outcome, count: u64) -> Self {
        Self { outcome: outcome.kind().into(), reason: outcome.reason().to_owned(), count }
    }
}
