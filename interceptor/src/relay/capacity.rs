//! How many connections the daemon carries, and how many of them a rule may have.
//!
//! One rule must not take the whole limit: a loop, a flood or a leak behind it would leave all
//! other rules of the node without effect. So a rule has at most half of what the others leave, and
//! at most nine tenths while no other rule has connections. Its further clients get the app.
//!
//! Rules of one annotation count as one. A connection to a port with rules of several annotations
//! counts for each of them, whoever serves it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use crate::drain::OpenConnections;

/// The open connections of the daemon and their maximum.
#[derive(Debug, Default)]
pub struct Capacity {
    open: OpenConnections,
    limit: AtomicUsize,
    /// Open connections that are counted for a rule. The others have just been accepted.
    carried: AtomicUsize,
}

/// A connection that is counted for a rule. Dropping this ends it.
#[derive(Debug)]
pub struct Carried(Arc<Capacity>);

/// The open connections of the rules of one annotation.
#[derive(Debug, Default)]
pub struct Share {
    open: AtomicUsize,
    /// Whether the rule has reached its maximum, until enough of its connections have ended.
    is_full: AtomicBool,
    /// The maximum when it was reached last.
    max: AtomicUsize,
    /// Whether other rules had connections then.
    has_others: AtomicBool,
    filled: Notify,
}

/// A rule has its maximum number of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// The maximum.
    pub max: usize,
    /// Whether it is that small because other rules have connections.
    pub has_others: bool,
}

/// Maximum number of connections of a rule, of `limit` on the node. Other rules have `others`.
#[must_use]
pub fn max_for_rule(limit: usize, others: usize) -> usize {
    let max = if others == 0 {
        limit / 10 * 9 + limit % 10 * 9 / 10
    } else {
        limit.saturating_sub(others) / 2
    };
    max.max(1)
}

// === impl Capacity ===

impl Capacity {
    /// No open connections, and at most `limit`.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit: AtomicUsize::new(limit), ..Self::default() }
    }

    /// The open connections of all rules.
    #[must_use]
    pub fn open(&self) -> &OpenConnections {
        &self.open
    }

    /// Maximum number of open connections of all rules.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets the maximum.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Counts a connection that is counted for a rule already. It ends before that count does: so
    /// no rule takes its own connections for those of others.
    #[must_use]
    pub fn carry(self: &Arc<Self>) -> Carried {
        self.carried.fetch_add(1, Ordering::Relaxed);
        Carried(Arc::clone(self))
    }

    /// The connections of all rules but the one with `open` of them.
    fn others(&self, open: usize) -> usize {
        self.carried.load(Ordering::Relaxed).saturating_sub(open)
    }

    /// Whether a rule has more connections than its maximum. Its newest one, which is counted
    /// already, belongs to the app then.
    #[must_use]
    pub fn is_exceeded_by(&self, share: &Share) -> bool {
        let open = share.open();
        let others = self.others(open);
        let max = max_for_rule(self.limit(), others);
        if open <= max {
            return false;
        }
        share.fill(Full { max, has_others: others > 0 });
        true
    }

    /// Whether a rule that has reached its maximum may have connections again: a quarter of them
    /// has ended.
    #[must_use]
    pub fn has_room_for(&self, share: &Share) -> bool {
        let open = share.open();
        let max = max_for_rule(self.limit(), self.others(open));
        open <= max - max.div_ceil(4)
    }
}

// === impl Carried ===

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.carried.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Share ===

impl Share {
    /// The number of open connections.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts one more.
    pub fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one less.
    pub fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// The maximum, if the rule has reached it.
    #[must_use]
    pub fn full(&self) -> Option<Full> {
        self.is_full.load(Ordering::Acquire).then(|| Full {
            max: self.max.load(Ordering::Relaxed),
            has_others: self.has_others.load(Ordering::Relaxed),
        })
    }

    /// Waits until the rule has reached its maximum.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// The rule may have connections again.
    pub fn reopen(&self) {
        self.is_full.store(false, Ordering::Relaxed);
    }

    fn fill(&self, Full { max, has_others }: Full) {
        if !self.is_full.load(Ordering::Relaxed) {
            self.max.store(max, Ordering::Relaxed);
            self.has_others.store(has_others, Ordering::Relaxed);
            self.is_full.store(true, Ordering::Release);
            self.filled.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::alone(1000, 0, 900)]
    #[case::beside_one(1000, 1, 499)]
    #[case::beside_many(1000, 600, 200)]
    #[case::rounded_down(15, 0, 13)]
    #[case::at_least_one(10, 10, 1)]
    #[case::without_a_limit(usize::MAX, 0, usize::MAX / 10 * 9 + 4)]
    fn a_rule_has_a_part_of_what_others_leave(
        #[case] limit: usize,
        #[case] others: usize,
        #[case] max: usize,
    ) {
        assert_eq!(max_for_rule(limit, others), max);
    }

    /// Counts `n` connections of a rule.
    fn open(capacity: &Arc<Capacity>, share: &Share, n: usize) -> Vec<Carried> {
        (0..n)
            .map(|_| {
                share.opened();
                capacity.carry()
            })
            .collect()
    }

    #[test]
    fn a_rule_is_full_until_a_quarter_of_its_connections_has_ended() {
        let capacity = Arc::new(Capacity::new(100));
        let (greedy, modest) = (Share::default(), Share::default());
        let _modest = open(&capacity, &modest, 20);
        let mut carried = open(&capacity, &greedy, 40);
        assert!(!capacity.is_exceeded_by(&greedy));
        carried.extend(open(&capacity, &greedy, 1));
        assert!(capacity.is_exceeded_by(&greedy));
        assert_eq!(greedy.full(), Some(Full { max: 40, has_others: true }));
        assert!(!capacity.is_exceeded_by(&modest));

        for left in (30..41).rev() {
            assert!(!capacity.has_room_for(&greedy), "{}", left + 1);
            carried.pop();
            greedy.closed();
        }
        assert!(capacity.has_room_for(&greedy));
        greedy.reopen();
        assert_eq!(greedy.full(), None);
    }
}
