//! What becomes of connections to redirected ports: the labels `outcome` and `reason` of
//! `interceptor_connections_total`, which `/state` has as well.

use crate::vocabulary::words;

words! {
    /// The label `outcome`.
    pub enum OutcomeKind {
        /// The connection reached the target.
        Redirected = "redirected",
        /// The connection was meant for the target; the app served it.
        FellBack = "fell_back",
        /// The connection was not meant for the target; the app served it.
        Passed = "passed",
        /// The connection reached neither the target nor the app.
        Refused = "refused",
    }
}

words! {
    /// Why the app served a connection that was meant for the target.
    pub enum FellBack {
        /// No socket listens at the target (RST).
        TargetRefused = "target_refused",
        /// The target accepted the connection, and closed it within a second and before its first
        /// byte.
        TargetClosed = "target_closed",
        /// The target had its maximum of HTTP/2 streams for the connect time-out.
        TargetFull = "target_full",
        /// The target did not answer within the connect time-out.
        TargetTimeout = "target_timeout",
        /// There is no route to the target, or a router reported so (ICMP).
        TargetUnreachable = "target_unreachable",
        /// Recent connections failed, so the target was not tried.
        CircuitOpen = "circuit_open",
        /// The target's name has no address at present.
        Unresolved = "unresolved",
        /// The policy refuses every address of the target's name.
        TargetDenied = "target_denied",
        /// The daemon ran out of file descriptors, ports or memory.
        Exhausted = "exhausted",
        /// Any other error at connecting.
        ConnectFailed = "connect_failed",
    }
}

words! {
    /// Why the app served a connection that was not meant for the target.
    pub enum Passed {
        /// The rule was removed while the connection was on its way.
        RuleRemoved = "rule_removed",
        /// A connection of the relay's own came back to the port where it started.
        Loop = "loop",
        /// The kubelet checked the health of the app.
        HealthCheck = "health_check",
        /// The rule did not match, or an earlier rule took the connection.
        NotMatched = "not_matched",
        /// The rule's `ttl` has expired. Counted in the kernel.
        Expired = "expired",
        /// No worker's heartbeat is fresh. Counted in the kernel.
        DaemonHung = "daemon_hung",
        /// No worker has a listener for the address family. Counted in the kernel.
        NoListener = "no_listener",
        /// The kernel refused the listener. Counted in the kernel.
        AssignFailed = "assign_failed",
        /// The daemon has reached its maximum number of connections. Counted in the kernel.
        AtLimit = "at_limit",
        /// The rule has its maximum number of connections. Counted in the kernel, too.
        RuleAtLimit = "rule_at_limit",
        /// The port was given back before the connection was accepted. Belongs to no rule.
        Unrouted = "unrouted",
    }
}

words! {
    /// Why a connection reached neither the target nor the app.
    pub enum Refused {
        /// The app refused it.
        AppRefused = "app_refused",
        /// The daemon ran out of file descriptors, ports or memory on the way to the app.
        Exhausted = "exhausted",
        /// Any other error at connecting to the app.
        AppFailed = "app_failed",
        /// The client reset it while the relay looked whether the target leads back.
        ClientGone = "client_gone",
        /// The client connected to the relay's own listener. Belongs to no rule.
        RelayAddress = "relay_address",
    }
}

/// What became of a connection to a redirected port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It reached the target.
    Redirected,
    /// It was meant for the target; the app served it.
    FellBack(FellBack),
    /// It was not meant for the target, or no longer; the app served it.
    Passed(Passed),
    /// It reached neither the target nor the app.
    Refused(Refused),
}

/// Who counts an [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CountedBy {
    /// The relay, for each rule of the port.
    Relay,
    /// The kernel program, for each port.
    Kernel,
    /// The relay, for each workload: the connection belongs to no rule, and the labels `annotation`
    /// and `port` are empty.
    Workload,
}

// === impl Outcome ===

impl Outcome {
    /// The number of outcomes.
    pub const COUNT: usize = 1 + FellBack::ALL.len() + Passed::ALL.len() + Refused::ALL.len();

    /// Every outcome, by kind.
    pub const ALL: [Self; Self::COUNT] = {
        let mut all = [Self::Redirected; Self::COUNT];
        let mut next = 1;
        let mut n = 0;
        while n < FellBack::ALL.len() {
            all[next] = Self::FellBack(FellBack::ALL[n]);
            (n, next) = (n + 1, next + 1);
        }
        n = 0;
        while n < Passed::ALL.len() {
            all[next] = Self::Passed(Passed::ALL[n]);
            (n, next) = (n + 1, next + 1);
        }
        n = 0;
        while n < Refused::ALL.len() {
            all[next] = Self::Refused(Refused::ALL[n]);
            (n, next) = (n + 1, next + 1);
        }
        all
    };

    /// The place in [`ALL`](Self::ALL), for arrays of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Redirected => 0,
            Self::FellBack(reason) => 1 + reason as usize,
            Self::Passed(reason) => 1 + FellBack::ALL.len() + reason as usize,
            Self::Refused(reason) => 1 + FellBack::ALL.len() + Passed::ALL.len() + reason as usize,
        }
    }

    /// The value of the label `outcome`, as a type.
    #[must_use]
    pub const fn kind(self) -> OutcomeKind {
        match self {
            Self::Redirected => OutcomeKind::Redirected,
            Self::FellBack(_) => OutcomeKind::FellBack,
            Self::Passed(_) => OutcomeKind::Passed,
            Self::Refused(_) => OutcomeKind::Refused,
        }
    }

    /// The value of the label `outcome`.
    #[must_use]
    pub const fn outcome(self) -> &'static str {
        self.kind().as_str()
    }

    /// The value of the label `reason`; empty for [`Redirected`](Self::Redirected), which needs no
    /// explanation.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Redirected => "",
            Self::FellBack(reason) => reason.as_str(),
            Self::Passed(reason) => reason.as_str(),
            Self::Refused(reason) => reason.as_str(),
        }
    }

    /// Who counts it.
    #[must_use]
    pub const fn counted_by(self) -> CountedBy {
        match self {
            Self::Passed(
                Passed::Expired
                | Passed::DaemonHung
                | Passed::NoListener
                | Passed::AssignFailed
                | Passed::AtLimit,
            ) => CountedBy::Kernel,
            Self::Passed(Passed::Unrouted) | Self::Refused(Refused::RelayAddress) => {
                CountedBy::Workload
            }
            Self::Redirected | Self::FellBack(_) | Self::Passed(_) | Self::Refused(_) => {
                CountedBy::Relay
            }
        }
    }

    /// The outcome with these labels, if there is one.
    #[must_use]
    pub fn from_labels(outcome: &str, reason: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| (known.outcome(), known.reason()) == (outcome, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_place_and_labels() {
        for (n, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), n, "{outcome:?}");
            let found = Outcome::from_labels(outcome.outcome(), outcome.reason());
            assert_eq!(found, Some(outcome));
        }
    }
}
