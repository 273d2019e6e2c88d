//! The state of a rule or a workload, and its reason.

use std::fmt;

use serde::Serialize;

use crate::vocabulary::words;

words! {
    /// The state of a rule, or of a workload that is not attached.
    pub enum State {
        /// A probe connection proved that the ports are intercepted. The reason says whether the
        /// target answers.
        Active = "active",
        /// The rule takes effect when the obstacle that the reason names has passed.
        Pending = "pending",
        /// The rule takes effect only after a user changes what the reason names.
        Refused = "refused",
        /// The rule's `ttl` has expired.
        Expired = "expired",
        /// The pod has ended or is being deleted, and its rules with it.
        Ended = "ended",
    }
}

words! {
    /// Why a rule or a workload is in its state: one CamelCase word.
    pub enum Reason {
        /// A probe connection reached the relay, and the target answers.
        Intercepting = "Intercepting",
        /// The ports are intercepted, but the target refuses connections: clients get the app.
        TargetRefuses = "TargetRefuses",
        /// The ports are intercepted, but the target does not answer: clients get the app.
        TargetSilent = "TargetSilent",
        /// The ports are intercepted, but no connection to the target is possible: clients get the
        /// app.
        TargetUnreachable = "TargetUnreachable",
        /// Program and listeners are in place; a canary or the first connection to the target is
        /// under way.
        Proving = "Proving",
        /// The probe connection did not reach the relay.
        ProbeFailed = "ProbeFailed",
        /// The network namespace does not exist, or does not exist yet.
        NetnsNotFound = "NetnsNotFound",
        /// The path or the pod leads to the node's own network namespace.
        HostNetwork = "HostNetwork",
        /// The pod's runtime (gVisor, Kata) keeps its connections out of the node's kernel.
        NoNetns = "NoNetns",
        /// The pod has no address yet, has ended, or its reported address is in doubt.
        PodNotRunning = "PodNotRunning",
        /// The policy allows no rule of this kind, or none in this namespace.
        NotAllowed = "NotAllowed",
        /// The kernel refused an operation, or the daemon lacks a right for it.
        KernelRefused = "KernelRefused",
        /// The first lookup of the target's name is under way.
        Resolving = "Resolving",
        /// The target's name has no address.
        NameNotResolved = "NameNotResolved",
        /// The policy refuses the target's address.
        TargetDenied = "TargetDenied",
        /// The target is a redirected port of the same workload.
        Loop = "Loop",
        /// The app's listener on one of the ports has TCP MD5 keys.
        TcpMd5 = "TcpMd5",
        /// An older rule holds one of the ports.
        PortTaken = "PortTaken",
        /// The rule names no ports, and the workload declares none.
        NoPorts = "NoPorts",
        /// The text of the rule is invalid.
        RuleInvalid = "RuleInvalid",
        /// The rule asks for something that is not built yet.
        NotSupported = "NotSupported",
        /// The rule exceeds a limit of the policy or a built-in one.
        LimitExceeded = "LimitExceeded",
        /// The rule's `ttl` has expired.
        TtlExpired = "TtlExpired",
    }
}

/// A state with its reason, for machines and for people.
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
    /// A rule whose connections reach the target.
    pub fn active(message: impl Into<String>) -> Self {
        Self { state: State::Active, reason: Reason::Intercepting, message: message.into() }
    }

    /// A rule that intercepts connections which its target does not take: clients get the app.
    pub fn fell_back(reason: Reason, message: impl Into<String>) -> Self {
        Self { state: State::Active, reason, message: message.into() }
    }

    /// A rule or a workload that waits for something.
    pub fn pending(reason: Reason, message: impl Into<String>) -> Self {
        Self { state: State::Pending, reason, message: message.into() }
    }

    /// A rule or a workload that has no effect until a user changes something.
    pub fn refused(reason: Reason, message: impl Into<String>) -> Self {
        Self { state: State::Refused, reason, message: message.into() }
    }

    /// A rule whose `ttl` has expired.
    pub fn expired(message: impl Into<String>) -> Self {
        Self { state: State::Expired, reason: Reason::TtlExpired, message: message.into() }
    }

    /// A rule or a workload of a pod that has ended or is being deleted.
    pub fn ended(message: impl Into<String>) -> Self {
        Self { state: State::Ended, reason: Reason::PodNotRunning, message: message.into() }
    }

    /// Whether new connections reach the target, as far as the daemon knows: the status of the
    /// pod's condition.
    #[must_use]
    pub fn reaches_target(&self) -> bool {
        self.reason == Reason::Intercepting
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.state, self.reason, self.message)
    }
}
