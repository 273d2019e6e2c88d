//! A namespace with our program in it: from a plan to routes, ports and proofs.
//!
//! The order of every change keeps one promise: a connection that the kernel steers to us finds a route that serves
//! it. So a port is taken last and released first, and listeners outlive the program by [`LINGER`], for connections
//! whose handshake was under way.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::SocketAddr,
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use interceptor_rule::{Rule, Target};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::{
    claims::Claim,
    context::Context,
    draining::Draining,
    plan::{Plan, Planned},
    rule::{ActiveRule, loop_message},
    status::{Reason, Standing},
};
use crate::{
    config::{annotation::AnnotationKey, workloads::WorkloadSpec},
    datapath::{DatapathError, Steal, steal::heartbeat},
    netns::{Netns, NetnsError, NetnsId},
    relay::{
        listen::open_listeners,
        route::Route,
        stats::PortStats,
        worker::Listeners,
        workload::{Routes, Workload, WorkloadId},
    },
};

/// How long a namespace keeps its listeners, and a removed port its route, after the kernel stopped steering: time
/// for handshakes that were under way (two retransmissions of a SYN-ACK on a slow path).
const LINGER: Duration = Duration::from_secs(3);

/// How long the workers may take to answer: they are asked between two beats.
const WORKERS_PATIENCE: Duration = Duration::from_secs(2);

/// One arming of one workload.
pub struct Attachment {
    /// What the workers see.
    pub workload: Arc<Workload>,
    /// No other workload has these ports of the namespace.
    claims: HashMap<NonZeroU16, Claim>,
    /// The kernel side; `metrics` reads its counters while the reconciler changes its ports.
    pub steal: Arc<Mutex<Steal>>,
    /// Rules in force.
    rules: Vec<ActiveRule>,
    /// The counters of each annotation's rules for a port: those that follow one another go on counting.
    stats: HashMap<(AnnotationKey, NonZeroU16), Arc<PortStats>>,
}

/// Why a namespace could not be armed.
#[derive(Debug, thiserror::Error)]
pub enum ArmError {
    /// The namespace can't be used.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The kernel side could not be set up.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// No listener could be opened inside.
    #[error("listen inside the namespace: {0}")]
    Listen(#[source] io::Error),
    /// Whether a target is the workload itself could not be found out.
    #[error("look at the addresses of the namespace: {0}")]
    Addresses(#[source] io::Error),
    /// A port belongs to another workload.
    #[error(
        "port {port} of this network namespace has rules of workload {owner}; write all rules for it there"
    )]
    Claimed {
        /// The port.
        port: NonZeroU16,
        /// The other workload.
        owner: Arc<str>,
    },
    /// The workers did not take the listeners over in time.
    #[error("the workers do not respond")]
    Workers,
}

/// A rule that was refused when it was to be put in force, and why.
pub type Refused = (AnnotationKey, Rule, Standing);

/// What the registry publishes of a rule in force.
pub struct RuleReport {
    /// Where it stands and why.
    pub condition: Standing,
    /// Its target is silent: callers reach the application.
    pub fell_back: bool,
    /// Its ports with their counters.
    pub ports: Vec<(NonZeroU16, Arc<PortStats>)>,
}

// === impl Attachment ===

impl Attachment {
    /// Puts listeners and the program into `netns`, with no port taken yet.
    ///
    /// # Errors
    /// When a part of that is refused; nothing stays behind then.
    pub async fn arm(
        spec: &WorkloadSpec,
        netns: Netns,
        context: &Context,
    ) -> Result<Self, ArmError> {
        static NEXT_ID: AtomicU32 = AtomicU32::new(1);
        let started = Instant::now();
        let workers = &context.workers;
        let mut steal = Steal::load(&mut context.loader.lock())?;
        let mut listeners: Vec<Listeners> = Vec::new();
        let mut addresses = Vec::new();
        for worker in 0..workers.count() {
            let opened = netns.enter(open_listeners)?.map_err(ArmError::Listen)?;
            for (family, listener) in &opened {
                addresses.push(listener.local_addr().map_err(ArmError::Listen)?);
                steal.set_listener(*family, worker, listener)?;
            }
            listeners.push(opened.into_iter().map(|(_, listener)| listener).collect());
        }
        let callers = context.callers.enter(&netns).await;
        if let (Ok(()), Err(error)) = (context.callers.state(), callers.state()) {
            tracing::warn!(workload = %spec.name, reason = error.reason(), "the application won't see callers' addresses");
        }
        let workload = Arc::new(Workload {
            id: WorkloadId(NEXT_ID.fetch_add(1, Ordering::Relaxed)),
            name: Arc::from(spec.name.as_str()),
            bypass: steal.bypass(),
            callers,
            netns,
            sockets: Default::default(),
            source_ports: Default::default(),
            listeners: addresses,
            canaries: Default::default(),
            loop_guard: Arc::clone(&context.loop_guard),
            pressure: Arc::clone(workers.shared().pressure()),
            heartbeats: steal.heartbeats(),
            health_checks: spec.health_checks.clone(),
            home: context.home,
            dial: context.policy.dial,
            connect_timeout: context.policy.connect_timeout,
            strays: Default::default(),
            unrouted: Default::default(),
            cut: Default::default(),
            routes: ArcSwap::default(),
        });
        let beating = workers.serve(&workload, listeners);
        let attached = match tokio::time::timeout(WORKERS_PATIENCE, beating).await {
            Ok(()) => steal.attach(&workload.netns).map_err(ArmError::from),
            Err(_elapsed) => Err(ArmError::Workers),
        };
        if let Err(error) = attached {
            workers.cut(workload.id);
            return Err(error);
        }
        context.arm_seconds.observe(started.elapsed().as_secs_f64());
        let steal = Arc::new(Mutex::new(steal));
        Ok(Self {
            workload,
            claims: HashMap::new(),
            steal,
            rules: Vec::new(),
            stats: HashMap::new(),
        })
    }

    /// Which namespace this is.
    #[must_use]
    pub fn netns_id(&self) -> NetnsId {
        self.workload.netns.id()
    }

    /// Brings rules, routes and ports to what the plan says. Rules that did not change are not touched.
    ///
    /// `expires_at` tells when a rule with a `ttl` ends. Gives the rules that were refused here, with the reason, and what
    /// went wrong: it is worth trying again.
    pub fn apply(
        &mut self,
        plan: &Plan,
        context: &Context,
        expires_at: impl Fn(&Planned) -> Option<Instant>,
    ) -> (Vec<Refused>, Result<(), ArmError>) {
        let (mut refused, mut result) = (Vec::new(), Ok(()));
        let mut before = std::mem::take(&mut self.rules);
        for planned in &plan.rules {
            let (Some(rule), false) = (&planned.rule, planned.ports.is_empty()) else { continue };
            let expires_at = expires_at(planned);
            let same = |active: &ActiveRule| {
                active.key == planned.key
                    && active.rule == *rule
                    && active.ports == planned.ports
                    && active.expires_at == expires_at
            };
            // First, also for a rule that is in force: another may have taken the port that this one leads to.
            let is_loop = self.is_loop(rule, plan);
            if let Ok(Some(address)) = is_loop {
                let condition = Standing::refused(Reason::Loop, loop_message(address));
                refused.push((planned.key.clone(), rule.clone(), condition));
            } else if let Some(at) = before.iter().position(same) {
                self.rules.push(before.swap_remove(at));
            } else if let Err(error) = is_loop {
                result = Err(ArmError::Addresses(error));
            } else if let Err(error) = self.claim(&planned.ports, context) {
                result = Err(error);
            } else {
                self.rules.push(ActiveRule::start(
                    &self.workload,
                    planned,
                    rule,
                    expires_at,
                    context,
                ));
            }
        }
        let taken = self.take_and_release(&before, plan);
        let rules = &self.rules;
        self.claims.retain(|port, _| rules.iter().any(|rule| rule.ports.contains(port)));
        (refused, result.and(taken.map_err(ArmError::from)))
    }

    /// What can be told of the rule with this key and text, if it is in force.
    #[must_use]
    pub fn report(&self, key: &AnnotationKey, rule: &Rule) -> Option<RuleReport> {
        let active = self.rules.iter().find(|active| active.key == *key && active.rule == *rule)?;
        let routes = self.workload.routes.load();
        let stats = |port: NonZeroU16| {
            let of_port = routes.get(&port.get())?;
            let route = of_port
                .iter()
                .find(|route| Arc::ptr_eq(&route.destination, &active.destination))?;
            Some((port, Arc::clone(&route.stats)))
        };
        let ports = active.ports.iter().filter_map(|&port| stats(port)).collect();
        Some(RuleReport {
            condition: active.condition(),
            fell_back: active.has_fallen_back(),
            ports,
        })
    }

    /// The first moment at which a rule's `ttl` ends.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.rules.iter().filter_map(|active| active.expires_at).min()
    }

    /// Stops stealing. Connections that were stolen go on; listeners are closed when handshakes have had their time.
    pub fn disarm(mut self, context: &Context) -> Draining {
        let leaving = Draining::new(&self.workload);
        self.rules.clear();
        self.lock_steal().detach();
        self.claims.clear();
        for route in self.workload.routes.load().values().flat_map(|routes| routes.iter()) {
            route.withdraw();
        }
        let workers = Arc::clone(&context.workers);
        tokio::spawn(async move {
            sleep(LINGER).await;
            workers.retire(self.workload.id);
        });
        leaving
    }

    /// Lets go of a namespace that is gone: its connections have nobody left to talk to, and would keep it alive.
    pub fn cut(self, context: &Context) {
        self.lock_steal().detach();
        self.workload.set_cut();
        context.workers.cut(self.workload.id);
    }

    /// Makes sure that no other workload has these ports.
    fn claim(&mut self, ports: &[NonZeroU16], context: &Context) -> Result<(), ArmError> {
        let (netns, name) = (self.workload.netns.id(), &self.workload.name);
        for &port in ports {
            if let Entry::Vacant(vacant) = self.claims.entry(port) {
                let claim = context.claims.claim(netns, port, name);
                vacant.insert(claim.map_err(|owner| ArmError::Claimed { port, owner })?);
            }
        }
        Ok(())
    }

    /// The target, if it is a redirected port of this very workload: it would be stolen again.
    fn is_loop(&self, rule: &Rule, plan: &Plan) -> io::Result<Option<SocketAddr>> {
        let Target::Address(address) = rule.target else { return Ok(None) };
        let mut redirected = plan.rules.iter().flat_map(|planned| &planned.ports);
        let loops = redirected.any(|port| port.get() == address.port())
            && self.workload.netns.has_address(address.ip())?;
        Ok(loops.then_some(address))
    }

    /// Takes the ports of rules that are ready, and releases those of rules that are gone (`before`).
    ///
    /// # Errors
    /// When the kernel does not take a port; the others are taken.
    fn take_and_release(
        &mut self,
        before: &[ActiveRule],
        plan: &Plan,
    ) -> Result<(), DatapathError> {
        let known = self.workload.routes.load_full();
        let mut routes = Routes::default();
        let mut stats: HashMap<_, Arc<PortStats>> = HashMap::new();
        for (port, order) in &plan.ports {
            let old = known.get(&port.get()).map_or(&[][..], |routes| &**routes);
            let mut of_port = Vec::new();
            for rule in order
                .iter()
                .filter_map(|&n| self.active(&plan.rules[n]))
                .filter(|rule| rule.is_ready())
            {
                let id = (rule.key.clone(), *port);
                let inherited = self.stats.get(&id).cloned();
                let stats = stats.entry(id).or_insert_with(|| inherited.unwrap_or_default());
                of_port.push(rule.route(old, stats));
            }
            if !of_port.is_empty() {
                routes.insert(port.get(), of_port.into());
            }
        }
        self.stats = stats;
        let is_in_force = |port: u16, route: &Arc<Route>, routes: &Routes| {
            routes.get(&port).is_some_and(|now| now.iter().any(|other| Arc::ptr_eq(other, route)))
        };
        let gone: Vec<(u16, Arc<Route>)> = known
            .iter()
            .flat_map(|(port, of_port)| of_port.iter().map(|route| (*port, Arc::clone(route))))
            .filter(|(port, route)| !route.is_withdrawn() && !is_in_force(*port, route, &routes))
            .collect();
        let released: Vec<u16> =
            known.keys().filter(|port| !routes.contains_key(port)).copied().collect();
        for port in &released {
            routes.insert(*port, Arc::clone(&known[port]));
        }
        self.workload.routes.store(Arc::new(routes));

        for port in released {
            let live = gone.iter().any(|(other, _)| *other == port);
            if live
                && let Some(number) = NonZeroU16::new(port)
                && let Err(error) = self.lock_steal().release_port(number)
            {
                tracing::error!(workload = %self.workload.name, port, %error, "release a port; detaching from the workload");
                self.lock_steal().detach();
            }
            if live {
                self.forget_later(port);
            }
        }
        for (_, route) in gone {
            route.withdraw();
        }
        let ready: Vec<usize> =
            (0..self.rules.len()).filter(|&n| self.rules[n].is_ready()).collect();
        let changed: Vec<NonZeroU16> = ready
            .iter()
            .map(|&n| &self.rules[n])
            .filter(|rule| !rule.taken)
            .chain(before)
            .flat_map(|rule| rule.ports.iter().copied())
            .collect();
        let taken = ready.into_iter().map(|n| self.take(n)).collect::<Vec<_>>();
        self.renew(&changed);
        taken.into_iter().collect()
    }

    /// The rule in force behind a planned one.
    fn active(&self, planned: &Planned) -> Option<&ActiveRule> {
        self.rules
            .iter()
            .find(|active| active.key == planned.key && planned.rule.as_ref() == Some(&active.rule))
    }

    fn take(&mut self, n: usize) -> Result<(), DatapathError> {
        let active = &self.rules[n];
        if active.taken {
            return Ok(());
        }
        let taken = active.ports.iter().try_for_each(|&port| {
            let expires_at = self.expires_at(port);
            self.lock_steal().take_port(port, expires_at)
        });
        match taken {
            Ok(()) => self.rules[n].prove(&self.workload),
            Err(error) => {
                tracing::error!(workload = %self.workload.name, rule = %active.key, %error, "take ports");
                active.failed(error.to_string());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Tells the kernel anew until when these ports are taken, where they still are.
    fn renew(&self, ports: &[NonZeroU16]) {
        for &port in ports {
            if self.rules.iter().any(|rule| rule.taken && rule.ports.contains(&port))
                && let Err(error) = self.lock_steal().take_port(port, self.expires_at(port))
            {
                tracing::error!(workload = %self.workload.name, port, %error, "set the end of a port's time");
            }
        }
    }

    /// When the last rule of a port ends, in the kernel's time; nothing while one has no end.
    fn expires_at(&self, port: NonZeroU16) -> Option<u64> {
        let rules = self.rules.iter().filter(|rule| rule.ports.contains(&port) && rule.is_ready());
        let last = rules.map(|rule| rule.expires_at).reduce(|a, b| Some(a?.max(b?))).flatten()?;
        Some(heartbeat::now() + last.saturating_duration_since(Instant::now()).as_nanos() as u64)
    }

    /// Keeps the withdrawn routes of a port for connections that were on their way, then drops them with their counters.
    fn forget_later(&self, port: u16) {
        let workload = Arc::clone(&self.workload);
        tokio::spawn(async move {
            sleep(LINGER).await;
            workload.routes.rcu(|routes| {
                let mut routes = Routes::clone(routes);
                if routes.get(&port).is_some_and(|now| now.iter().all(|route| route.is_withdrawn()))
                {
                    routes.remove(&port);
                }
                routes
            });
        });
    }

    fn lock_steal(&self) -> parking_lot::MutexGuard<'_, Steal> {
        self.steal.lock()
    }
}
