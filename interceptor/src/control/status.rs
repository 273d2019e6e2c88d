//! States and reasons of rules and workloads, as status and conditions show them.
//!
//! Stable: users and scripts match on these words.

use std::fmt;

use serde::Serialize;

/// The state of a rule or a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A canary connection has proved that the ports are intercepted.
    Active,
    /// It becomes active by itself when the cause in the reason ends.
    Pending,
    /// It stays refused until a user changes the cause in the reason.
    Refused,
    /// Its `ttl` has expired.
    Expired,
}

/// The reason for a state: one CamelCase word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Reason {
    /// The ports are proven to be intercepted.
    Intercepting,
    /// Program and listeners are in place, and the proof is under way.
    Proving,
    /// A canary connection did not arrive at the relay.
    ProbeFailed,
    /// The namespace does not exist, or does not exist yet.
    NetnsNotFound,
    /// The path leads to the node's own namespace.
    HostNetwork,
    /// The pod's runtime (gVisor, Kata) hides its connections from the node's kernel.
    NoNetns,
    /// The pod has no address yet, or has ended.
    PodNotRunning,
    /// The policy does not allow the rule, in this namespace or at all.
    NotAllowed,
    /// The kernel refused, or the daemon lacks a right.
    KernelRefused,
    /// The first look-up of the target's name is under way.
    Resolving,
    /// The target's name has no address.
    NameNotResolved,
    /// The policy refuses the target's address.
    TargetDenied,
    /// The target is a redirected port of the same workload.
    Loop,
    /// An older rule holds one of the ports.
    PortTaken,
    /// The rule names no ports, and the workload declares none.
    NoPorts,
    /// The text of the rule can't be parsed.
    RuleInvalid,
    /// The rule uses a feature that is not built yet.
    NotSupported,
    /// The policy or a limit refuses the rule.
    LimitExceeded,
    /// The rule's `ttl` has expired.
    TtlExpired,
}

// === impl Reason ===

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each variant has the name of its word.
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Refused => "refused",
            Self::Expired => "expired",
        })
    }
}

/// A state with its reason, for programs and for users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The state.
    pub state: State,
    /// The reason, as one word.
    pub reason: Reason,
    /// The reason, as a sentence.
    pub message: String,
}

// === impl Standing ===

impl Standing {
    /// The standing of a rule that takes connections.
    pub fn active(message: impl Into<String>) -> Self {
        Self { state: State::Active, reason: Reason::Intercepting, message: message.into() }
    }

    /// The standing of a rule or workload that waits.
    pub fn pending(reason: Reason, message: impl Into<String>) -> Self {
        Self { state: State::Pending, reason, message: message.into() }
    }

    /// The standing of a rule or workload that is refused.
    pub fn refused(reason: Reason, message: impl Into<String>) -> Self {
        Self { state: State::Refused, reason, message: message.into() }
    }

    /// The standing of a rule whose `ttl` has expired.
    pub fn expired(message: impl Into<String>) -> Self {
        Self { state: State::Expired, reason: Reason::TtlExpired, message: message.into() }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.state, self.reason, self.message)
    }
}
