//! Records the outcome of one connection per rule of its port, so that each rule counts it exactly
//! once. Writes the connection's line of the access log when it is complete.
//!
//! Rules of one annotation count as one, and so does a rule that is edited while the connection is
//! open: they share their counters.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use interceptor_api::Remaining;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    addr::{ClientAddr, OrigDst},
    direction::Direction,
    farewell::{self, Farewell, Phase},
    observe::Traffic,
    route::Route,
    stats::{Active, Outcome, Passed, Piped},
};

/// The number of the next connection.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The record of one connection. A rule without an outcome at its end counts it as not matched.
#[derive(Debug)]
pub struct ConnRecord {
    id: u64,
    workload: Arc<str>,
    client: ClientAddr,
    original: OrigDst,
    opened: Instant,
    traffic: Traffic,
    farewell: Arc<Farewell>,
    outcomes: Mutex<Outcomes>,
}

/// The outcomes of one connection.
#[derive(Debug, Default)]
struct Outcomes {
    rules: Vec<Entry>,
    /// The outcome for all rules without one of their own.
    of_all: Option<Outcome>,
    /// Why the connection is a plain pipe.
    piped: Option<Piped>,
}

/// The record for one annotation.
#[derive(Debug)]
struct Entry {
    /// The rule of the annotation that the outcome belongs to, or its first rule.
    route: Arc<Route>,
    outcome: Option<Outcome>,
    _active: Active,
}

// === impl ConnRecord ===

impl ConnRecord {
    /// Opens the record for a connection to a port with these rules.
    #[must_use]
    pub fn open(
        workload: Arc<str>,
        client: ClientAddr,
        original: OrigDst,
        routes: &[Arc<Route>],
        farewell: &Arc<Farewell>,
    ) -> Self {
        let mut rules: Vec<Entry> = Vec::new();
        for route in routes {
            if !rules.iter().any(|entry| entry.counts_for(route)) {
                rules.push(Entry::new(route));
            }
        }
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            workload,
            client,
            original,
            opened: Instant::now(),
            traffic: Traffic::default(),
            farewell: Arc::clone(farewell),
            outcomes: Mutex::new(Outcomes { rules, of_all: None, piped: None }),
        }
    }

    /// The number of the connection in the logs, unique within a run of the daemon.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What passed on the connection so far.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Records the outcome of the connection for one rule. The first outcome counts.
    pub fn record_outcome(&self, route: &Arc<Route>, outcome: Outcome) {
        let rules = &mut self.outcomes.lock().rules;
        let known = rules.iter().position(|entry| entry.counts_for(route));
        let at = known.unwrap_or_else(|| {
            // The rule was added while the connection was open.
            rules.push(Entry::new(route));
            rules.len() - 1
        });
        rules[at].record_outcome(outcome, Some(route));
    }

    /// Records the outcome of the connection for all rules that have none.
    pub fn record_all(&self, outcome: Outcome) {
        let mut outcomes = self.outcomes.lock();
        outcomes.of_all.get_or_insert(outcome);
        outcomes.rules.iter_mut().for_each(|entry| entry.record_outcome(outcome, None));
    }

    /// Records that the connection is a plain pipe from here on.
    pub fn pipe(&self, why: Piped) {
        let mut outcomes = self.outcomes.lock();
        outcomes.piped = Some(why);
        outcomes.rules.iter().for_each(|entry| entry.route.stats.pipe(why));
    }

    /// How far the daemon's end is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.farewell.phase()
    }

    /// Notes why the connection is still open while the daemon ends.
    pub fn remains(&self, why: Remaining) {
        self.farewell.remains(
            self.id,
            farewell::Entry {
                workload: Arc::clone(&self.workload),
                client: self.client,
                original: self.original,
                why,
            },
        );
    }

    /// Notes that the connection is a pipe and still open while the daemon ends.
    pub fn remains_as_pipe(&self) {
        let piped = self.outcomes.lock().piped;
        self.remains(match piped {
            Some(Piped::Tunnel) => Remaining::Tunnel,
            Some(Piped::Tls) => Remaining::Tls,
            _ => Remaining::Other,
        });
    }

    /// The line of the access log.
    fn log(&self) {
        if !tracing::enabled!(target: "access", tracing::Level::DEBUG) {
            return;
        }
        let outcomes = self.outcomes.lock();
        let decisive = outcomes.rules.iter().min_by_key(|entry| entry.outcome.map(rank));
        let Some(outcome) = decisive.map_or(outcomes.of_all, |entry| entry.outcome) else { return };
        let rule = decisive.filter(|_| rank(outcome) < rank(Outcome::Passed(Passed::NotMatched)));
        tracing::debug!(
            target: "access",
            connection = self.id,
            workload = %self.workload,
            client = %self.client,
            destination = %self.original,
            port = self.original.port(),
            rule = rule.map(|entry| tracing::field::display(&entry.route.annotation)),
            target = rule.map(|entry| tracing::field::display(&entry.route.target)),
            outcome = outcome.outcome(),
            reason = outcome.reason(),
            bytes_from_client = self.traffic.bytes(Direction::Up),
            bytes_to_client = self.traffic.bytes(Direction::Down),
            requests = self.traffic.requests(),
            seconds = self.opened.elapsed().as_secs_f64(),
            "connection complete",
        );
    }
}

impl Drop for ConnRecord {
    fn drop(&mut self) {
        self.record_all(Outcome::Passed(Passed::NotMatched));
        self.log();
        if self.farewell.has_begun() {
            self.farewell.ended(self.id);
        }
    }
}

// === impl Entry ===

impl Entry {
    fn new(route: &Arc<Route>) -> Self {
        Self { route: Arc::clone(route), outcome: None, _active: route.stats.activate() }
    }

    fn counts_for(&self, route: &Route) -> bool {
        Arc::ptr_eq(&self.route.stats, &route.stats)
    }

    fn record_outcome(&mut self, outcome: Outcome, route: Option<&Arc<Route>>) {
        if self.outcome.is_some() {
            return;
        }
        self.outcome = Some(outcome);
        if let Some(route) = route {
            self.route = Arc::clone(route);
        }
        self.route.stats.count(outcome);
    }
}

/// Of the outcomes for several rules, the access log has the one with the lowest rank.
fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Redirected => 0,
        Outcome::FellBack(_) => 1,
        Outcome::Refused(_) => 2,
        Outcome::Passed(_) => 3,
    }
}

#[cfg(test)]
mod tests;
