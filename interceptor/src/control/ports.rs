//! The ports of one attachment: the order in which they are taken and released.
//!
//! The order keeps one promise: a connection that the kernel steers to a worker finds a route that serves it.
//! So the routes of a port are published before the program takes it. They stay after the program has released it, for
//! connections whose handshake was under way.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use interceptor_common::port::Port;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    plan::{Plan, Planned},
    rule::ActiveRule,
};
use crate::{
    config::annotation::AnnotationKey,
    datapath::{DatapathError, Steal, steal::heartbeat},
    relay::{route::Route, stats::PortStats, workload::Routes},
};

/// Takes and releases the ports of one namespace.
pub(super) struct Ports {
    /// The workload's name, for logs.
    name: Arc<str>,
    /// `metrics` reads its counters while the reconciler changes its ports.
    steal: Arc<Mutex<Steal>>,
    /// The counters of each annotation's rules for a port: a rule that replaces another one goes on counting.
    stats: HashMap<(AnnotationKey, Port), Arc<PortStats>>,
}

/// What [`Ports::apply`] did.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Ports that were released. Their routes are withdrawn and should be forgotten after a grace time.
    pub(super) released: Vec<Port>,
    /// Rules whose ports have just been taken, by index.
    pub(super) taken: Vec<usize>,
    /// Rules of which a port could not be taken, by index, and why.
    pub(super) failed: Vec<(usize, DatapathError)>,
}

// === impl Ports ===

impl Ports {
    /// The ports of the workload `name`: none is taken yet.
    pub(super) fn new(name: &Arc<str>, steal: &Arc<Mutex<Steal>>) -> Self {
        Self { name: Arc::clone(name), steal: Arc::clone(steal), stats: HashMap::new() }
    }

    /// Brings `routes` and the program to what `plan` says of `rules`, the rules in force. `removed` are those that were
    /// in force before and are not any more.
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
        let (taken, failed) = self.take_ready(rules);
        self.renew(&changed, rules);
        Applied { released, taken, failed }
    }

    /// The routes that `rules` are to have. A rule that goes on keeps its route.
    fn routes(&mut self, before: &Routes, plan: &Plan, rules: &[ActiveRule]) -> Routes {
        let mut routes = Routes::default();
        let mut stats: HashMap<_, Arc<PortStats>> = HashMap::new();
        for (port, order) in &plan.ports {
            let old = before.get(port).map_or(&[][..], |routes| &**routes);
            let in_force = order.iter().filter_map(|&n| in_force(&plan.rules[n], rules));
            let ready = in_force.filter(|rule| rule.is_ready());
            let of_port: Vec<_> = ready
                .map(|rule| {
                    let id = (rule.key.clone(), *port);
                    let inherited = self.stats.get(&id).cloned();
                    let stats = stats.entry(id).or_insert_with(|| inherited.unwrap_or_default());
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

    /// Has the program release `ports`. If the kernel refuses one, the program is detached: a port whose rule is gone
    /// must not stay taken.
    fn release(&self, ports: &[Port]) {
        for &port in ports {
            let mut steal = self.steal.lock();
            if let Err(error) = steal.release_port(port) {
                tracing::error!(workload = %self.name, %port, %error, "release a port; detaching from the workload");
                steal.detach();
            }
        }
    }

    /// Has the program take the ports of rules that are ready. Returns the rules whose ports were taken, and those of
    /// which one could not be.
    fn take_ready(&self, rules: &mut [ActiveRule]) -> (Vec<usize>, Vec<(usize, DatapathError)>) {
        let (mut taken, mut failed) = (Vec::new(), Vec::new());
        for n in 0..rules.len() {
            if rules[n].taken || !rules[n].is_ready() {
                continue;
            }
            match rules[n].ports.iter().try_for_each(|&port| self.take(port, rules)) {
                Ok(()) => {
                    rules[n].taken = true;
                    taken.push(n);
                }
                Err(error) => failed.push((n, error)),
            }
        }
        (taken, failed)
    }

    /// Tells the program anew when it is to release these ports by itself, where it still has them.
    fn renew(&self, ports: &[Port], rules: &[ActiveRule]) {
        for &port in ports {
            if rules.iter().any(|rule| rule.taken && rule.ports.contains(&port))
                && let Err(error) = self.take(port, rules)
            {
                tracing::error!(workload = %self.name, %port, %error, "set the end of a port's ttl");
            }
        }
    }

    fn take(&self, port: Port, rules: &[ActiveRule]) -> Result<(), DatapathError> {
        self.steal.lock().take_port(port, expires_at(port, rules))
    }
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

/// When the last rule of a port ends, in the kernel's time. `None` while one of them has no end.
fn expires_at(port: Port, rules: &[ActiveRule]) -> Option<u64> {
    let rules = rules.iter().filter(|rule| rule.ports.contains(&port) && rule.is_ready());
    let last = rules.map(|rule| rule.expires_at).reduce(|a, b| Some(a?.max(b?))).flatten()?;
    Some(heartbeat::now() + last.saturating_duration_since(Instant::now()).as_nanos() as u64)
}
