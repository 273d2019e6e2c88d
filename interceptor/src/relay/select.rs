//! Which rule of a port takes a connection or a request: the first one that matches. The app gets
//! the rest.

use std::sync::Arc;

use interceptor_condition::{Facts, Needs};
use tokio::time::Instant;

use super::{filter::Judgement, observe::ResponseClock, route::Route, stats::Decision};

/// What the rules of a port decided about a connection.
#[derive(Clone, Debug)]
pub enum Choice {
    /// The target of this rule gets it.
    Target(Arc<Route>),
    /// The app gets it.
    App,
    /// Undecided until more is known.
    Later,
}

/// What the rules of a port decided about one request.
#[derive(Debug, Default)]
pub struct Decided {
    /// The rule whose target serves it; none if the app does.
    pub target: Option<Arc<Route>>,
    /// Measures how long the response takes, for the rule that was asked first.
    pub clock: ResponseClock,
}

/// Asks `routes` in their order, and counts the decision of each except the chosen one, whose
/// target may still fail.
///
/// `known` limits what `facts` can contain. With [`Needs::Request`] there is always a decision.
#[must_use]
pub fn select(routes: &[Arc<Route>], facts: &Facts<'_>, known: Needs) -> Choice {
    let live = routes.iter().filter(|route| !route.is_over());
    if known < Needs::Request && !is_decided(live.clone(), facts, known) {
        return Choice::Later;
    }
    let mut chosen: Option<&Arc<Route>> = None;
    for route in live {
        let decision = match (route.filter.judge(facts, known), chosen) {
            (Judgement::Yes, None) if route.filter.takes_next() => {
                chosen = Some(route);
                continue;
            }
            (Judgement::Yes, None) => Decision::OutsideShare,
            (Judgement::Yes, Some(_)) => Decision::EarlierRule,
            (Judgement::No, _) => Decision::NoMatch,
            // An earlier rule takes it, so this one is not asked to the end.
            (Judgement::Later, _) if known < Needs::Request => continue,
            (Judgement::Error | Judgement::Later, _) => Decision::Error,
        };
        route.stats.decide(decision);
    }
    chosen.map_or(Choice::App, |route| Choice::Target(Arc::clone(route)))
}

/// Asks `routes` about a request, of which everything is known. The time that takes is charged to
/// the rule that is asked first; a rule whose `ttl` is over is not asked.
#[must_use]
pub fn decide(routes: &[Arc<Route>], facts: &Facts<'_>) -> Decided {
    let started = Instant::now();
    let target = match select(routes, facts, Needs::Request) {
        Choice::Target(route) => Some(route),
        Choice::App | Choice::Later => None,
    };
    let first = routes.iter().find(|route| !route.is_over()).cloned();
    if let Some(first) = &first {
        first.stats.decision_seconds.observe(started.elapsed().as_secs_f64());
    }
    Decided { target, clock: ResponseClock::new(first) }
}

/// Whether more facts would change nothing. Takes nothing of a rule's share: [`select`] does that
/// once it is decided.
fn is_decided<'a>(
    routes: impl Iterator<Item = &'a Arc<Route>>,
    facts: &Facts<'_>,
    known: Needs,
) -> bool {
    for route in routes {
        match route.filter.judge(facts, known) {
            Judgement::Yes if !route.filter.has_share() => return true,
            Judgement::Later => return false,
            Judgement::Yes | Judgement::No | Judgement::Error => {}
        }
    }
    true
}

#[cfg(test)]
mod tests;
