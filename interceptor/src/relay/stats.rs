//! Counters of one redirected port, which both status and metrics read.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use interceptor_api::Side;
pub use interceptor_api::{Decision, FellBack, Outcome, Passed, Refused};
use interceptor_wire::Reason;
use prometheus_client::metrics::histogram::Histogram;

use super::{capacity::Share, direction::Direction};

/// Counters of one redirected port.
#[derive(Debug)]
pub struct PortStats {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    decisions: [AtomicU64; Decision::ALL.len()],
    /// Connections that became a plain pipe, by reason.
    piped: [AtomicU64; Piped::COUNT],
    /// Connections to the target that ended because a side was silent: the client, the target.
    silent: [AtomicU64; Side::ALL.len()],
    /// Connections open at present, whoever serves them.
    active: AtomicU64,
    /// The same over all ports of the annotation.
    share: Arc<Share>,
    /// Bytes from clients to the target.
    to_target: AtomicU64,
    /// Bytes from the target to clients.
    from_target: AtomicU64,
    /// Time to open a connection to the target, in seconds.
    pub connect_seconds: Histogram,
    /// Time from reading a request head to choosing its target, in seconds.
    pub decision_seconds: Histogram,
    /// Time from sending a request head to the first response head, for requests that the target
    /// served, in seconds.
    pub target_seconds: Histogram,
    /// The same for requests that this rule was asked about and the app served.
    pub app_seconds: Histogram,
}

/// Why a connection to a port with rules about requests became a plain pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Piped {
    /// The app sent bytes before the client did, or without a request.
    ServerSpoke,
    /// TLS, which hides requests.
    Tls,
    /// The response accepted an Upgrade or a CONNECT.
    Tunnel,
    /// The client's bytes can't be framed without doubt.
    Request(Reason),
    /// The response can't be framed without doubt.
    Response(Reason),
}

/// Counts a connection as active until dropped.
#[derive(Debug)]
pub struct Active(Arc<PortStats>);

// === impl Piped ===

impl Piped {
    /// The number of reasons.
    pub const COUNT: usize = 3 + 2 * Reason::ALL.len();

    /// Every reason; the order is that of the counters.
    pub fn all() -> impl Iterator<Item = Self> {
        let requests = Reason::ALL.into_iter().map(Self::Request);
        let responses = Reason::ALL.into_iter().map(Self::Response);
        [Self::ServerSpoke, Self::Tls, Self::Tunnel].into_iter().chain(requests).chain(responses)
    }

    /// The value of the label `side`: the peer whose bytes are not framed.
    #[must_use]
    pub const fn side(self) -> Side {
        match self {
            Self::Tls | Self::Request(_) => Side::Client,
            Self::ServerSpoke | Self::Tunnel | Self::Response(_) => Side::Server,
        }
    }

    /// The value of the label `reason`.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::ServerSpoke => "server_spoke",
            Self::Tls => "tls",
            Self::Tunnel => "tunnel",
            Self::Request(reason) | Self::Response(reason) => reason.label(),
        }
    }

    fn index(self) -> usize {
        match self {
            Self::ServerSpoke => 0,
            Self::Tls => 1,
            Self::Tunnel => 2,
            Self::Request(reason) => 3 + reason as usize,
            Self::Response(reason) => 3 + Reason::ALL.len() + reason as usize,
        }
    }
}

// === impl PortStats ===

impl Default for PortStats {
    fn default() -> Self {
        // From the cost of a condition to the pause at a breakpoint.
        let request_seconds = || {
            Histogram::new([
                0.000_001, 0.000_01, 0.000_1, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
            ])
        };
        Self {
            outcomes: Default::default(),
            decisions: Default::default(),
            piped: [const { AtomicU64::new(0) }; Piped::COUNT],
            silent: Default::default(),
            active: AtomicU64::new(0),
            share: Arc::default(),
            to_target: AtomicU64::new(0),
            from_target: AtomicU64::new(0),
            // From a target on the same node to beyond any sensible connect time-out.
            connect_seconds: Histogram::new([
                0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                0.25, 0.5, 1.0, 2.5,
            ]),
            decision_seconds: request_seconds(),
            target_seconds: request_seconds(),
            app_seconds: request_seconds(),
        }
    }
}

impl PortStats {
    /// Counters of a port whose connections count for `share`, too.
    #[must_use]
    pub fn sharing(share: Arc<Share>) -> Self {
        Self { share, ..Self::default() }
    }

    /// The connections over all ports of the annotation.
    #[must_use]
    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// Counts the outcome of a connection.
    pub fn count(&self, outcome: Outcome) {
        self.outcomes[outcome.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// Connections with this outcome so far.
    #[must_use]
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome.index()].load(Ordering::Relaxed)
    }

    /// Counts the decision about a connection or a request.
    pub fn decide(&self, decision: Decision) {
        self.decisions[decision as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Connections and requests with this decision so far.
    #[must_use]
    pub fn decided(&self, decision: Decision) -> u64 {
        self.decisions[decision as usize].load(Ordering::Relaxed)
    }

    /// Counts a connection that becomes a plain pipe.
    pub fn pipe(&self, why: Piped) {
        self.piped[why.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that became a plain pipe for this reason so far.
    #[must_use]
    pub fn piped(&self, why: Piped) -> u64 {
        self.piped[why.index()].load(Ordering::Relaxed)
    }

    /// Counts a connection to the target that ends because `side` is silent.
    pub fn silence(&self, side: Side) {
        self.silent[side as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Connections to the target so far that ended because `side` was silent.
    #[must_use]
    pub fn silent(&self, side: Side) -> u64 {
        self.silent[side as usize].load(Ordering::Relaxed)
    }

    /// Counts a connection as open until the guard is dropped.
    #[must_use]
    pub fn activate(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.share.opened();
        Active(Arc::clone(self))
    }

    /// Connections open at present.
    #[must_use]
    pub fn active(&self) -> u64 {
        self.active.load(Ordering::Relaxed)
    }

    /// Counts bytes between clients and the target.
    pub fn count_bytes(&self, direction: Direction, n: u64) {
        self.byte_counter(direction).fetch_add(n, Ordering::Relaxed);
    }

    /// Bytes between clients and the target so far.
    #[must_use]
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.byte_counter(direction).load(Ordering::Relaxed)
    }

    fn byte_counter(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Up => &self.to_target,
            Direction::Down => &self.from_target,
        }
    }
}

// === impl Active ===

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
        self.0.share.closed();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_outcome_has_a_counter_of_its_own() {
        let stats = PortStats::default();
        for outcome in Outcome::ALL {
            stats.count(outcome);
            assert_eq!(stats.get(outcome), 1, "{outcome:?}");
        }
    }

    #[test]
    fn every_reason_for_a_pipe_has_a_counter_and_a_name_of_its_own() {
        let stats = PortStats::default();
        let mut names = HashSet::new();
        assert_eq!(Piped::all().count(), Piped::COUNT);
        for (n, why) in Piped::all().enumerate() {
            assert_eq!(why.index(), n);
            assert!(names.insert((why.side(), why.reason())), "{why:?}");
            stats.pipe(why);
            assert_eq!(stats.piped(why), 1, "{why:?}");
        }
    }

    #[test]
    fn every_decision_has_a_counter_of_its_own() {
        for (n, decision) in Decision::ALL.into_iter().enumerate() {
            assert_eq!(decision as usize, n);
        }
    }

    #[test]
    fn each_side_has_a_counter_of_its_own() {
        let stats = PortStats::default();
        for (n, side) in Side::ALL.into_iter().enumerate() {
            assert_eq!(side as usize, n);
            stats.silence(side);
            assert_eq!(stats.silent(side), 1);
        }
    }

    #[test]
    fn a_connection_is_active_as_long_as_its_guard() {
        let stats = Arc::new(PortStats::default());
        let guard = stats.activate();
        assert_eq!(stats.active(), 1);
        drop(guard);
        assert_eq!(stats.active(), 0);
    }
}
