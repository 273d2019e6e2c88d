//! The words that status gives for the state of rules and workloads. Stable: people and scripts match on them.

use std::fmt;

use serde::Serialize;

/// Where a rule or a workload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A probe connection proved that the ports are intercepted.
    Active,
    /// It will be, when what the reason names is over.
    Pending,
    /// It will not be, until somebody changes what the reason names.
    Refused,
    /// Its time is over.
    Expired,
}

/// Why something is in its state: one CamelCase word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Reason {
    /// Proven to intercept.
    Intercepting,
    /// Program and listeners are in place; the proof is under way.
    Proving,
    /// A probe connection did not arrive at the relay.
    ProbeFailed,
    /// There is no such namespace (yet).
    NetnsNotFound,
    /// The path leads to the node's own namespace.
    HostNetwork,
    /// The pod's runtime keeps its network to itself (gVisor, Kata): nothing here sees its connections.
    NoNetns,
    /// The pod has no address yet, or has ended.
    PodNotRunning,
    /// The policy allows no such rule in this namespace, or nowhere.
    NotAllowed,
    /// The kernel or a missing right stands in the way.
    KernelRefused,
    /// The target's name is being looked up for the first time.
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
    /// The text of the rule can't be read.
    RuleInvalid,
    /// The rule asks for something that is not built yet.
    NotSupported,
    /// The policy or a limit refuses the rule.
    LimitExceeded,
    /// The rule's `ttl` is over.
    TtlExpired,
}

// === impl Reason ===

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The variants' names are the words.
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

/// A state with its reason, for machines and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Where it stands.
    pub state: State,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, in a sentence.
    pub message: String,
}

// === impl Standing ===

impl Standing {
    /// A rule that takes connections.
    pub fn active(message: impl Into<String>) -> Self {
        Self { state: State::Active, reason: Reason::Intercepting, message: message.into() }
    }

    /// Something that waits.
    pub fn pending(reason: Reason, message: impl Into<String>) -> Self {
        Self { state: State::Pending, reason, message: message.into() }
    }

    /// Something that will not happen as it is written.
    pub fn refused(reason: Reason, message: impl Into<String>) -> Self {
        Self { state: State::Refused, reason, message: message.into() }
    }

    /// A rule whose time is over.
    pub fn expired(message: impl Into<String>) -> Self {
        Self { state: State::Expired, reason: Reason::TtlExpired, message: message.into() }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.state, self.reason, self.message)
    }
}
