//! What became of the connections to one redirected port: the one source of both status and metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::histogram::Histogram;

/// How a connection that the kernel steered to the relay ended up where it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Reached the target.
    Redirected,
    /// Meant for the target, served by the application.
    FellBack(FellBack),
    /// Not meant for the target (any more), served by the application.
    Passed(Passed),
    /// Served by nobody.
    Refused(Refused),
}

/// Why the target did not get its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FellBack {
    /// Nobody listens there (RST).
    TargetRefused,
    /// No answer within the connect time-out.
    TargetTimeout,
    /// No route, or a router said so (ICMP).
    TargetUnreachable,
    /// Recent connections failed; the target was not asked.
    CircuitOpen,
    /// The name has no address at present.
    Unresolved,
    /// The name's addresses are outside of the policy.
    TargetDenied,
    /// No file descriptors, ports or memory on our side.
    Exhausted,
    /// Anything else that connecting can say.
    ConnectFailed,
}

/// Why a connection went to the application without the target being meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Passed {
    /// The rule was taken away while the connection was on its way.
    RuleRemoved,
    /// One of the relay's own connections came back to where it started.
    Loop,
    /// The kubelet asks whether the application is well.
    HealthCheck,
}

/// Why nobody serves a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refused {
    /// The application refused it.
    AppRefused,
    /// The application could not be asked: no file descriptors, ports or memory on our side.
    Exhausted,
    /// Anything else that connecting to the application can say.
    AppFailed,
}

/// Counters of one redirected port.
#[derive(Debug)]
pub struct PortStats {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    /// Connections open at present, whoever serves them.
    active: AtomicU64,
    /// Bytes from callers to the target.
    to_target: AtomicU64,
    /// Bytes from the target to callers.
    from_target: AtomicU64,
    /// From the caller's connection being accepted to the target's being open, in seconds.
    pub connect_seconds: Histogram,
}

/// Counts a connection as active until dropped.
#[derive(Debug)]
pub struct Active<'a>(&'a PortStats);

// === impl Outcome ===

impl Outcome {
    /// Every outcome; the order is that of the counters.
    pub const ALL: [Self; 15] = [
        Self::Redirected,
        Self::FellBack(FellBack::TargetRefused),
        Self::FellBack(FellBack::TargetTimeout),
        Self::FellBack(FellBack::TargetUnreachable),
        Self::FellBack(FellBack::CircuitOpen),
        Self::FellBack(FellBack::Unresolved),
        Self::FellBack(FellBack::TargetDenied),
        Self::FellBack(FellBack::Exhausted),
        Self::FellBack(FellBack::ConnectFailed),
        Self::Passed(Passed::RuleRemoved),
        Self::Passed(Passed::Loop),
        Self::Passed(Passed::HealthCheck),
        Self::Refused(Refused::AppRefused),
        Self::Refused(Refused::Exhausted),
        Self::Refused(Refused::AppFailed),
    ];

    /// The value of the label `outcome`.
    #[must_use]
    pub const fn outcome(self) -> &'static str {
        match self {
            Self::Redirected => "redirected",
            Self::FellBack(_) => "fell_back",
            Self::Passed(_) => "passed",
            Self::Refused(_) => "refused",
        }
    }

    /// The value of the label `reason`; empty where there is nothing to explain.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Redirected => "",
            Self::FellBack(reason) => match reason {
                FellBack::TargetRefused => "target_refused",
                FellBack::TargetTimeout => "target_timeout",
                FellBack::TargetUnreachable => "target_unreachable",
                FellBack::CircuitOpen => "circuit_open",
                FellBack::Unresolved => "unresolved",
                FellBack::TargetDenied => "target_denied",
                FellBack::Exhausted => "exhausted",
                FellBack::ConnectFailed => "connect_failed",
            },
            Self::Passed(Passed::RuleRemoved) => "rule_removed",
            Self::Passed(Passed::Loop) => "loop",
            Self::Passed(Passed::HealthCheck) => "health_check",
            Self::Refused(reason) => match reason {
                Refused::AppRefused => "app_refused",
                Refused::Exhausted => "exhausted",
                Refused::AppFailed => "app_failed",
            },
        }
    }

    fn index(self) -> usize {
        Self::ALL.iter().position(|&other| other == self).expect("every outcome is in ALL, see the test")
    }
}

// === impl PortStats ===

impl Default for PortStats {
    fn default() -> Self {
        Self {
            outcomes: Default::default(),
            active: AtomicU64::new(0),
            to_target: AtomicU64::new(0),
            from_target: AtomicU64::new(0),
            // From the same node to past any sensible connect time-out.
            connect_seconds: Histogram::new([
                0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                0.5, 1.0, 2.5,
            ]),
        }
    }
}

impl PortStats {
    /// Counts a connection once, when it is known who serves it.
    pub fn count(&self, outcome: Outcome) {
        self.outcomes[outcome.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// Connections with this outcome so far.
    #[must_use]
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome.index()].load(Ordering::Relaxed)
    }

    /// Notes a connection as open until the guard is dropped.
    pub fn activate(&self) -> Active<'_> {
        self.active.fetch_add(1, Ordering::Relaxed);
        Active(self)
    }

    /// Connections open at present.
    #[must_use]
    pub fn active(&self) -> u64 {
        self.active.load(Ordering::Relaxed)
    }

    /// The counters of bytes, to the target and from it.
    #[must_use]
    pub fn bytes(&self) -> [&AtomicU64; 2] {
        [&self.to_target, &self.from_target]
    }
}

// === impl Active ===

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_outcome_has_a_counter_and_a_name_of_its_own() {
        let stats = PortStats::default();
        let mut names = HashSet::new();
        for (n, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), n);
            assert!(names.insert((outcome.outcome(), outcome.reason())), "{outcome:?}");
            stats.count(outcome);
            assert_eq!(stats.get(outcome), 1, "{outcome:?}");
        }
    }

    #[test]
    fn a_connection_is_active_as_long_as_its_guard() {
        let stats = PortStats::default();
        let guard = stats.activate();
        assert_eq!(stats.active(), 1);
        drop(guard);
        assert_eq!(stats.active(), 0);
    }
}
