//! Which connections and requests a rule takes: its share of those for which its condition is true.

use std::sync::atomic::{AtomicU64, Ordering};

use interceptor_condition::{Condition, Facts, Needs};
use interceptor_rule::{Percent, Rule};

/// The condition and the share of a rule.
#[derive(Debug)]
pub struct Filter {
    condition: Option<Condition>,
    share: Option<Share>,
}

/// The answer of a condition for a connection or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The condition is true, or the rule has none.
    Yes,
    /// The condition is false.
    No,
    /// The condition has no answer, and will not have one.
    Error,
    /// More must be known of the connection.
    Later,
}

/// An exact share: of any [`WINDOW`] calls in a row it takes its percentage, rounded to a whole
/// number and spread evenly over them.
#[derive(Debug)]
struct Share {
    parts_per_million: u64,
    /// The number of calls so far.
    asked: AtomicU64,
}

/// Each of this many calls in a row gets a place of its own, from 0 up to here.
const WINDOW: u64 = 10_000;
/// The step from one place to the next. It is near the golden ratio of [`WINDOW`], so that a few
/// calls in a row are spread evenly, too. It has no divisor in common with [`WINDOW`], so that all
/// places have their turn.
const STEP: u64 = 6_181;
/// Parts per million of one place.
const PLACE: u64 = 1_000_000 / WINDOW;

// === impl Filter ===

impl Filter {
    /// The filter of a rule that was accepted.
    ///
    /// # Panics
    /// When its condition does not compile: such a rule is refused where it is read.
    #[must_use]
    pub fn of(rule: &Rule) -> Self {
        let condition = rule.when.as_ref().map(|when| {
            Condition::compile(when.source())
                .expect("a condition is compiled when its rule is read")
        });
        Self { condition, share: rule.percent.map(Share::new) }
    }

    /// Takes everything.
    #[cfg(test)]
    pub fn all() -> Self {
        Self { condition: None, share: None }
    }

    /// Whether the rule takes everything: it has neither a condition nor a share.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        self.condition.is_none() && self.share.is_none()
    }

    /// The condition's answer for a connection or request. `known` limits what `facts` can contain.
    #[must_use]
    pub fn judge(&self, facts: &Facts<'_>, known: Needs) -> Judgement {
        let Some(condition) = &self.condition else { return Judgement::Yes };
        match condition.matches(facts) {
            Ok(true) => Judgement::Yes,
            Ok(false) => Judgement::No,
            Err(_) if condition.needs() > known => Judgement::Later,
            Err(_) => Judgement::Error,
        }
    }

    /// Whether the rule takes only a part of those that match.
    #[must_use]
    pub fn has_share(&self) -> bool {
        self.share.is_some()
    }

    /// Whether the next connection or request that matches belongs to the rule's share. Call this
    /// once for each.
    #[must_use]
    pub fn takes_next(&self) -> bool {
        self.share.as_ref().is_none_or(Share::takes_next)
    }
}

// === impl Share ===

impl Share {
    fn new(percent: Percent) -> Self {
        Self { parts_per_million: u64::from(percent.parts_per_million()), asked: AtomicU64::new(0) }
    }

    fn takes_next(&self) -> bool {
        let turn = self.asked.fetch_add(1, Ordering::Relaxed);
        let place = turn % WINDOW * STEP % WINDOW;
        // Shares finer than one place are made up over many windows.
        let within = turn / WINDOW * 61 % PLACE;
        place * PLACE + within < self.parts_per_million
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn filter(rule: &str) -> Filter {
        Filter::of(&interceptor_rule::parse(rule).expect("a valid rule")[0])
    }

    fn connection() -> Facts<'static> {
        Facts {
            source: ([192, 0, 2, 7], 40_000).into(),
            destination: ([192, 0, 2, 1], 80).into(),
            server_name: None,
            request: None,
        }
    }

    #[rstest]
    #[case("100", 10_000)]
    #[case("50", 5_000)]
    #[case("1", 100)]
    #[case("0.01", 1)]
    #[case("33.33", 3_333)]
    #[case("99.99", 9_999)]
    fn a_share_is_exact_over_any_window(#[case] percent: &str, #[case] expected: usize) {
        let filter = filter(&format!("80 -> a:1 percent {percent}"));
        let taken: Vec<bool> = (0..3 * WINDOW).map(|_| filter.takes_next()).collect();
        for start in (0..2 * WINDOW as usize).step_by(777) {
            let window = &taken[start..start + WINDOW as usize];
            assert_eq!(window.iter().filter(|&&taken| taken).count(), expected, "from {start}");
        }
    }

    #[test]
    fn a_share_is_spread_evenly() {
        let filter = filter("80 -> a:1 percent 10");
        let taken: Vec<usize> = (0..1000).filter(|_| filter.takes_next()).collect();
        assert_eq!(taken.len(), 100);
        for pair in taken.windows(2) {
            let gap = pair[1] - pair[0];
            assert!((5..=20).contains(&gap), "{gap} before {}", pair[1]);
        }
    }

    #[test]
    fn a_share_finer_than_a_place_is_exact_over_a_million() {
        let filter = filter("80 -> a:1 percent 0.0025");
        assert_eq!((0..1_000_000).filter(|_| filter.takes_next()).count(), 25);
    }

    #[rstest]
    #[case("source.port == 40000", Judgement::Yes)]
    #[case("source.port == 1", Judgement::No)]
    #[case("request.path == '/'", Judgement::Later)]
    #[case("connection.requested_server_name == 'a'", Judgement::Later)]
    #[case("source.port == 1 && request.path == '/'", Judgement::No)]
    fn what_is_known_decides_when(#[case] condition: &str, #[case] expected: Judgement) {
        let filter = filter(&format!("80 -> a:1 when {condition}"));
        assert_eq!(filter.judge(&connection(), Needs::Connection), expected);
    }

    #[test]
    fn a_condition_without_an_answer_is_an_error_once_all_is_known() {
        let filter = filter("80 -> a:1 when request.path == '/'");
        assert_eq!(filter.judge(&connection(), Needs::Request), Judgement::Error);
    }
}
