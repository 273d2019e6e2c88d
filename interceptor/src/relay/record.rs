//! What each rule of a port has had of one connection, so that it is counted once for each. Rules
//! of one annotation count as one, and so does a rule that is edited while the connection is open.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    addr::{ClientAddr, OrigDst},
    observe::Traffic,
    route::Route,
    stats::{Active, Outcome, Passed, Piped, PortStats},
};

/// The record of one connection. A rule that has had nothing of it by its end counts it as not
/// matched.
#[derive(Debug)]
pub struct ConnRecord {
    client: ClientAddr,
    original: OrigDst,
    workload: Arc<str>,
    traffic: Traffic,
    rules: Mutex<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    stats: Arc<PortStats>,
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
    ) -> Self {
        let mut rules: Vec<Entry> = Vec::new();
        for route in routes {
            if !rules.iter().any(|entry| Arc::ptr_eq(&entry.stats, &route.stats)) {
                rules.push(Entry::new(route));
            }
        }
        let rules = Mutex::new(rules);
        Self { client, original, workload, traffic: Traffic::default(), rules }
    }

    /// What passed on the connection so far.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Notes what a rule has had of it. The first outcome of each rule counts.
    pub fn record_outcome(&self, route: &Arc<Route>, outcome: Outcome) {
        let mut rules = self.lock();
        let known = rules.iter().position(|entry| Arc::ptr_eq(&entry.stats, &route.stats));
        let at = known.unwrap_or_else(|| {
            // It came while the connection was open.
            rules.push(Entry::new(route));
            rules.len() - 1
        });
        if rules[at].record_outcome(outcome) {
            self.log(outcome);
        }
    }

    /// Notes what became of the connection for all rules that have had nothing of it.
    pub fn record_all(&self, outcome: Outcome) {
        let mut settled = false;
        for entry in self.lock().iter_mut() {
            settled |= entry.record_outcome(outcome);
        }
        if settled {
            self.log(outcome);
        }
    }

    /// Notes that from here on nobody looks at what is sent.
    pub fn pipe(&self, why: Piped) {
        self.lock().iter().for_each(|entry| entry.stats.pipe(why));
    }

    fn log(&self, outcome: Outcome) {
        tracing::debug!(
            target: "access",
            workload = %self.workload,
            peer = %self.client,
            original = %self.original,
            outcome = outcome.outcome(),
            reason = outcome.reason(),
        );
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Vec<Entry>> {
        self.rules.lock()
    }
}

impl Drop for ConnRecord {
    fn drop(&mut self) {
        self.record_all(Outcome::Passed(Passed::NotMatched));
    }
}

// === impl Entry ===

impl Entry {
    fn new(route: &Arc<Route>) -> Self {
        Self { stats: Arc::clone(&route.stats), outcome: None, _active: route.stats.activate() }
    }

    /// Whether this is its first outcome.
    fn record_outcome(&mut self, outcome: Outcome) -> bool {
        if self.outcome.is_some() {
            return false;
        }
        self.outcome = Some(outcome);
        self.stats.count(outcome);
        true
    }
}
