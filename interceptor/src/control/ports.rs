//! The ports of one attachment: the order in which they are taken and released.
//!
//! The order keeps one promise: a connection that the kernel steers to a worker finds a route that
//! serves it. So a port's routes are published before the program takes the port. They stay after
//! the program has released it, for connections whose handshake was under way.

use std::{collections::HashMap, sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use interceptor_common::port::Port;
use parking_lot::Mutex;

use super::{
    plan::{Plan, Planned, PortPlan},
    rule::ActiveRule,
};
use crate::{
    config::annotation::AnnotationKey,
    datapath::{DatapathError, PodPrograms, TakePorts},
    relay::{capacity::Share, route::Route, stats::PortStats, workload::Routes},
};

/// Takes and releases the ports of one namespace. Tests put a record of calls in place of
/// [`PodPrograms`].
pub(super) struct Ports<P = PodPrograms> {
    /// The workload's name, for logs.
    name: Arc<str>,
    /// Metrics read its counters while the reconciler changes its ports.
    programs: Arc<Mutex<P>>,
    /// The counters of each annotation for a port. A rule that replaces another goes on with them.
    stats: Stats,
}

/// The counters of each annotation for a port.
type Stats = HashMap<(AnnotationKey, Port), Arc<PortStats>>;

/// What [`Ports::apply`] did.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Ports that were released. Their routes are withdrawn, to be dropped after a grace time.
    pub(super) released: Vec<Port>,
    /// Rules whose ports have just been taken, by index.
    pub(super) taken: Vec<usize>,
    /// Rules with a port that could not be taken, by index, and the reason.
    pub(super) failed: Vec<(usize, DatapathError)>,
}

// === impl Ports ===

impl<P: TakePorts> Ports<P> {
    /// The ports of the workload `name`: none is taken yet.
    pub(super) fn new(name: &Arc<str>, programs: &Arc<Mutex<P>>) -> Self {
        Self { name: Arc::clone(name), programs: Arc::clone(programs), stats: HashMap::new() }
    }

    /// Brings `routes` and the program to the `plan`. `rules` are in force now. `removed` were in
    /// force before and no longer are.
    pub(super) fn apply(
        &mut self,
        routes: &ArcSwap<Routes>,
        plan: &Plan,
        rules: &mut [ActiveRule],
        removed: &[ActiveRule],
    ) -> Applied {
        let before = routes.load_full();
        let mut next = self.routes(&before, plan, rules);
        let withdrawn = withdrawn(&before, &next);
        let released: Vec<Port> = before
            .iter()
            .filter(|(port, of_port)| {
                !next.contains_key(port) && of_port.iter().any(|route| !route.is_withdrawn())
            })
            .map(|(port, _)| *port)
            .collect();
        for (port, of_port) in &*before {
            next.entry(*port).or_insert_with(|| Arc::clone(of_port));
        }
        routes.store(Arc::new(next));
        self.release(&released);
        withdrawn.iter().for_each(|route| route.withdraw());

        let ready = rules.iter().filter(|rule| rule.is_ready() && !rule.taken);
        let changed = ready.chain(removed).flat_map(|rule| rule.ports.iter().copied());
        let changed: Vec<_> = changed.collect();
        let (taken, failed) = self.take_ready(plan, rules);
        self.renew(&changed, plan, rules);
        Applied { released, taken, failed }
    }

    /// The routes for `rules`. A rule that stays in force keeps its route.
    fn routes(&mut self, before: &Routes, plan: &Plan, rules: &[ActiveRule]) -> Routes {
        let mut routes = Routes::default();
        let mut stats = Stats::new();
        for (port, PortPlan { rules: order, via: _ }) in &plan.ports {
            let old = before.get(port).map_or(&[][..], |routes| &**routes);
            let in_force = order.iter().filter_map(|&n| in_force(&plan.rules[n], rules));
            let ready = in_force.filter(|rule| rule.is_ready());
            let of_port: Vec<_> = ready
                .map(|rule| {
                    let id = (rule.key.clone(), *port);
                    let inherited = self.stats.get(&id).cloned();
                    let share = share_of(&rule.key, &stats, &self.stats);
                    let new = || Arc::new(PortStats::sharing(share));
                    let stats = stats.entry(id).or_insert_with(|| inherited.unwrap_or_else(new));
                    rule.route(old, stats)
                })
                .collect();
            if !of_port.is_empty() {
                routes.insert(*port, of_port.into());
            }
        }
        self.stats = stats;
        routes
    }

    /// Has the program release `ports`. Detaches the program if the kernel refuses: a port must not
    /// stay taken without a rule.
    fn release(&self, ports: &[Port]) {
        for &port in ports {
            let mut programs = self.programs.lock();
            if let Err(error) = programs.release(port) {
                tracing::error!(
                    workload = %self.name,
                    %port,
                    %error,
                    "can't release a port; detaching"
                );
                programs.detach();
            }
        }
    }

    /// Has the program take the ports of rules that are ready. Returns the rules whose ports were
    /// taken, and those with a port that was not, by index.
    fn take_ready(
        &self,
        plan: &Plan,
        rules: &mut [ActiveRule],
    ) -> (Vec<usize>, Vec<(usize, DatapathError)>) {
        let (mut taken, mut failed) = (Vec::new(), Vec::new());
        for n in 0..rules.len() {
            if rules[n].taken || !rules[n].is_ready() {
                continue;
            }
            match rules[n].ports.iter().try_for_each(|&port| self.take(port, plan, rules)) {
                Ok(()) => {
                    rules[n].taken = true;
                    taken.push(n);
                }
                Err(error) => failed.push((n, error)),
            }
        }
        (taken, failed)
    }

    /// Updates the expiry of these ports in the program, if a rule still has them.
    fn renew(&self, ports: &[Port], plan: &Plan, rules: &[ActiveRule]) {
        for &port in ports {
            if rules.iter().any(|rule| rule.taken && rule.ports.contains(&port))
                && let Err(error) = self.take(port, plan, rules)
            {
                tracing::error!(
                    workload = %self.name,
                    %port,
                    %error,
                    "can't set the end of a port's ttl"
                );
            }
        }
    }

    /// Takes one port as the plan says. Leaves a port alone that is not in the plan.
    fn take(&self, port: Port, plan: &Plan, rules: &[ActiveRule]) -> Result<(), DatapathError> {
        let Some(PortPlan { via, .. }) = plan.ports.get(&port) else { return Ok(()) };
        self.programs.lock().take(port, *via, expires_at(port, rules))
    }
}

/// What all ports of an annotation share: that of a port which has it already, or a new one.
fn share_of(key: &AnnotationKey, new: &Stats, old: &Stats) -> Arc<Share> {
    let known = new.iter().chain(old).find(|((other, _), _)| other == key);
    known.map_or_else(Arc::default, |(_, stats)| Arc::clone(stats.share()))
}

/// The rule in force behind a planned one.
fn in_force<'a>(planned: &Planned, rules: &'a [ActiveRule]) -> Option<&'a ActiveRule> {
    rules.iter().find(|rule| rule.key == planned.key && planned.rule.as_ref() == Some(&rule.rule))
}

/// Routes of `before` that are live and not in `next`.
fn withdrawn(before: &Routes, next: &Routes) -> Vec<Arc<Route>> {
    let goes_on = |port: &Port, route: &Arc<Route>| {
        next.get(port).is_some_and(|next| next.iter().any(|other| Arc::ptr_eq(other, route)))
    };
    let live = before
        .iter()
        .flat_map(|(port, of_port)| of_port.iter().map(move |route| (port, route)))
        .filter(|(_, route)| !route.is_withdrawn());
    live.filter(|(port, route)| !goes_on(port, route)).map(|(_, route)| Arc::clone(route)).collect()
}

/// When the last rule of a port expires. `None` while one of them has no `ttl`.
fn expires_at(port: Port, rules: &[ActiveRule]) -> Option<Instant> {
    let rules = rules.iter().filter(|rule| rule.ports.contains(&port) && rule.is_ready());
    let last = rules.map(|rule| rule.expires_at).reduce(|a, b| Some(a?.max(b?))).flatten()?;
    Some(last.into_std())
}

#[cfg(test)]
mod tests;
