//! A namespace with our programs in it: from a plan to rules in force.
//!
//! [`Attachment::arm`] brings listeners and programs into a namespace. [`Attachment::apply`] starts
//! and ends rules there. [`Attachment::disarm`] leaves it. Listeners outlive the programs by
//! [`GRACE`](crate::drain::GRACE), for connections whose handshake was under way.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use interceptor_api::{Reason, Standing};
use interceptor_common::port::Port;
use interceptor_rule::{Rule, Target};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    claims::{Claim, ClaimedError},
    context::Context,
    draining::Draining,
    exec_checks::CheckWatch,
    plan::{Plan, Planned},
    ports::{Applied, Ports},
    registry::Armed,
    rule::{ActiveRule, LoopError, RefusedRule, RuleReport},
};
use crate::{
    config::{annotation::AnnotationKey, workloads::WorkloadSpec},
    datapath::{DatapathError, PodPrograms, TakePorts as _},
    drain::after_grace,
    netns::{Netns, NetnsError, NetnsId},
    relay::{
        listen::open_listeners,
        worker::Listeners,
        workload::{Routes, Workload, WorkloadId},
    },
};

/// Maximum time for the workers to answer. They do so between two beats.
const WORKERS_PATIENCE: Duration = Duration::from_secs(2);

/// One arming of one workload.
pub struct Attachment {
    /// What the workers see.
    pub workload: Arc<Workload>,
    /// The ports of the namespace that this workload owns.
    claims: HashMap<Port, Claim>,
    /// What runs in the kernel.
    programs: Arc<Mutex<PodPrograms>>,
    /// Takes and releases ports.
    ports: Ports,
    /// Rules in force.
    rules: Vec<ActiveRule>,
    /// Whether the pod's `exec` checks can be recognised.
    checks: CheckWatch,
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
    /// The addresses of the namespace could not be read. A target may be one of them.
    #[error("look at the addresses of the namespace: {0}")]
    Addresses(#[source] io::Error),
    /// A port belongs to another workload.
    #[error(transparent)]
    Claimed(#[from] ClaimedError),
    /// The workers did not take the listeners over in time.
    #[error("the workers do not respond")]
    Workers,
}

/// The relay's listeners inside a namespace.
struct Opened {
    /// For each worker, one of every family.
    listeners: Vec<Listeners>,
    addresses: Vec<SocketAddr>,
}

// === impl Attachment ===

impl Attachment {
    /// Opens listeners in `netns` and attaches the programs to it. Takes no port yet.
    ///
    /// # Errors
    /// When a step fails. Nothing stays behind then.
    pub async fn arm(
        spec: &WorkloadSpec,
        netns: Netns,
        context: &Context,
    ) -> Result<Self, ArmError> {
        let started = Instant::now();
        let workers = &context.workers;
        let mut programs = PodPrograms::load(&mut context.loader.lock())?;
        let Opened { listeners, addresses } = open(&netns, workers.count(), &mut programs)?;
        let workload = Arc::new(workload(spec, netns, context, addresses, &programs).await);
        let beating = workers.serve(&workload, listeners);
        let attached = match tokio::time::timeout(WORKERS_PATIENCE, beating).await {
            Ok(()) => programs.attach(&workload.netns).map_err(ArmError::from),
            Err(_elapsed) => Err(ArmError::Workers),
        };
        if let Err(error) = attached {
            workers.cut(workload.id);
            return Err(error);
        }
        context.arm_seconds.observe(started.elapsed().as_secs_f64());
        let programs = Arc::new(Mutex::new(programs));
        let ports = Ports::new(&workload.name, &programs);
        let (claims, rules, checks) = (HashMap::new(), Vec::new(), CheckWatch::default());
        Ok(Self { workload, claims, programs, ports, rules, checks })
    }

    /// The entry for the registry.
    #[must_use]
    pub fn published(&self) -> Armed {
        Armed { workload: Arc::clone(&self.workload), programs: Arc::clone(&self.programs) }
    }

    /// Which namespace this is.
    #[must_use]
    pub fn netns_id(&self) -> NetnsId {
        self.workload.netns.id()
    }

    /// Prepares the recognition of the spec's `exec` checks. Call it before [`apply`](Self::apply),
    /// so that no rule takes their first connection.
    pub fn recognise_checks(&mut self, spec: &WorkloadSpec) {
        self.checks.update(&self.workload, spec);
    }

    /// Brings rules, routes and ports to the plan. Unchanged rules are not touched.
    ///
    /// `expires_at` returns when a rule with a `ttl` expires. Returns the rules that are refused
    /// here.
    ///
    /// # Errors
    /// The second value is the first failure. Another try may help. Everything else was done.
    pub fn apply(
        &mut self,
        plan: &Plan,
        context: &Context,
        expires_at: impl Fn(&Planned) -> Option<Instant>,
    ) -> (Vec<RefusedRule>, Result<(), ArmError>) {
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
            // First, and for rules in force as well: another rule may have taken the target's port.
            let is_loop = self.is_loop(rule, plan);
            if let Ok(Some(address)) = is_loop {
                let standing = Standing::refused(Reason::Loop, LoopError(address).to_string());
                let (key, rule) = (planned.key.clone(), rule.clone());
                refused.push(RefusedRule { key, rule, standing });
            } else if let Some(at) = before.iter().position(same) {
                self.rules.push(before.swap_remove(at));
            } else if let Err(error) = is_loop {
                result = Err(ArmError::Addresses(error));
            } else if let Err(error) = self.claim(&planned.ports, context) {
                result = Err(error.into());
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
        let taken = self.take_and_release(plan, &before);
        let rules = &self.rules;
        self.claims.retain(|port, _| rules.iter().any(|rule| rule.ports.contains(port)));
        (refused, result.and(taken.map_err(ArmError::from)))
    }

    /// The report on the rule with this key and text. `None` if it is not in force.
    #[must_use]
    pub fn report(&self, key: &AnnotationKey, rule: &Rule) -> Option<RuleReport> {
        let active = self.rules.iter().find(|active| active.key == *key && active.rule == *rule)?;
        let report = active.report(&self.workload.routes.load());
        Some(RuleReport { standing: self.checks.warn(rule, report.standing), ..report })
    }

    /// The first moment at which a rule's `ttl` expires.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.rules.iter().filter_map(|active| active.expires_at).min()
    }

    /// Stops stealing. Open connections go on. Listeners close after
    /// [`GRACE`](crate::drain::GRACE).
    pub fn disarm(mut self, context: &Context) -> Draining {
        let draining = Draining::new(&self.workload);
        self.rules.clear();
        self.programs.lock().detach();
        self.claims.clear();
        for route in self.workload.routes.load().values().flat_map(|routes| routes.iter()) {
            route.withdraw();
        }
        let workers = Arc::clone(&context.workers);
        after_grace(move || workers.retire(self.workload.id));
        draining
    }

    /// Leaves a namespace that is gone. Closes its connections, which have no peer any more and
    /// would keep it alive.
    pub fn cut(self, context: &Context) {
        self.programs.lock().detach();
        self.workload.gone.set();
        context.workers.cut(self.workload.id);
    }

    /// Claims these ports, so that no other workload takes them.
    fn claim(&mut self, ports: &[Port], context: &Context) -> Result<(), ClaimedError> {
        let (netns, name) = (self.workload.netns.id(), &self.workload.name);
        for &port in ports {
            if let Entry::Vacant(vacant) = self.claims.entry(port) {
                vacant.insert(context.claims.claim(netns, port, name)?);
            }
        }
        Ok(())
    }

    /// The target's address, if it is a redirected port of this workload. Connections to it would
    /// loop.
    fn is_loop(&self, rule: &Rule, plan: &Plan) -> io::Result<Option<SocketAddr>> {
        let Target::Address(address) = rule.target else { return Ok(None) };
        let mut redirected = plan.rules.iter().flat_map(|planned| &planned.ports);
        let loops = redirected.any(|port| Some(*port) == Port::tcp_of(&address))
            && self.workload.netns.has_address(address.ip())?;
        Ok(loops.then_some(address))
    }

    /// Takes the ports of rules that are ready and starts their proofs. Releases ports that only
    /// `removed` rules had.
    ///
    /// # Errors
    /// When the kernel does not take a port. The others are taken.
    fn take_and_release(
        &mut self,
        plan: &Plan,
        removed: &[ActiveRule],
    ) -> Result<(), DatapathError> {
        let Applied { released, taken, failed } =
            self.ports.apply(&self.workload.routes, plan, &mut self.rules, removed);
        released.into_iter().for_each(|port| self.forget_later(port));
        taken.into_iter().for_each(|n| self.rules[n].prove(&self.workload));
        let mut result = Ok(());
        for (n, error) in failed {
            let rule = &self.rules[n];
            tracing::error!(
                workload = %self.workload.name,
                rule = %rule.key,
                %error,
                "can't take ports"
            );
            rule.failed(error.to_string());
            result = result.and(Err(error));
        }
        result
    }

    /// Drops the withdrawn routes of a port, with their counters, after the grace time.
    fn forget_later(&self, port: Port) {
        let workload = Arc::clone(&self.workload);
        after_grace(move || {
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
}

/// Opens each worker's listeners inside `netns` and gives them to the programs.
fn open(netns: &Netns, workers: u32, programs: &mut PodPrograms) -> Result<Opened, ArmError> {
    let mut opened = Opened { listeners: Vec::new(), addresses: Vec::new() };
    for worker in 0..workers {
        let listeners = netns.enter(open_listeners)?.map_err(ArmError::Listen)?;
        for (family, listener) in &listeners {
            opened.addresses.push(listener.local_addr().map_err(ArmError::Listen)?);
            programs.set_listener(*family, worker, listener)?;
        }
        opened.listeners.push(listeners.into_iter().map(|(_, listener)| listener).collect());
    }
    Ok(opened)
}

/// Makes the workers' side of the workload.
async fn workload(
    spec: &WorkloadSpec,
    netns: Netns,
    context: &Context,
    listeners: Vec<SocketAddr>,
    programs: &PodPrograms,
) -> Workload {
    static NEXT_ID: AtomicU32 = AtomicU32::new(1);
    let callers = context.callers.enter(&netns).await;
    if let (Ok(()), Err(error)) = (context.callers.state(), callers.state()) {
        tracing::warn!(
            workload = %spec.name,
            reason = error.reason(),
            "the app won't see client addresses"
        );
    }
    Workload {
        id: WorkloadId(NEXT_ID.fetch_add(1, Ordering::Relaxed)),
        name: Arc::from(spec.name.as_str()),
        bypass: programs.bypass(),
        callers,
        netns,
        sockets: Default::default(),
        source_ports: Default::default(),
        listeners,
        canaries: Default::default(),
        loop_guard: Arc::clone(&context.loop_guard),
        pressure: Arc::clone(context.workers.shared().pressure()),
        heartbeats: programs.heartbeats(),
        health_checks: spec.health_checks.clone(),
        checks: Default::default(),
        home: context.home,
        dial: context.policy.dial,
        connect_timeout: context.policy.connect_timeout,
        strays: Default::default(),
        unrouted: Default::default(),
        gone: Default::default(),
        routes: ArcSwap::default(),
    }
}
