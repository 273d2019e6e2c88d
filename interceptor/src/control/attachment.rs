//! A namespace with our programs in it: from a plan to rules in force.
//!
//! [`Attachment::arm`] brings listeners and programs into a namespace. [`Attachment::apply`] starts
//! and ends rules there. [`Attachment::disarm`] leaves it. Listeners outlive the programs by
//! [`GRACE`](crate::drain::GRACE), for connections whose handshake was under way.

use std::{
    collections::HashMap,
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use interceptor_api::{Reason, Standing, State};
use interceptor_common::{port::Port, steal::Verdict};
use interceptor_rule::{Rule, Target};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    claims::{Claim, ClaimError, Wait},
    context::Context,
    draining::Draining,
    exec_checks::CheckWatch,
    facts::signed,
    plan::{Plan, Planned},
    ports::{Applied, Ports},
    registry::Armed,
    rule::{ActiveRule, LoopError, RefusedRule, RuleReport},
    task::OwnedTask,
};
use crate::{
    config::{annotation::AnnotationKey, workloads::WorkloadSpec},
    datapath::{DatapathError, PodPrograms, TakePorts as _, others},
    drain::after_grace,
    netns::{Netns, NetnsError, NetnsId},
    relay::{
        capacity::Full,
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
    /// The ports that it waits for: another daemon of the node has them.
    waits: HashMap<Port, Wait>,
    /// What runs in the kernel.
    programs: Arc<Mutex<PodPrograms>>,
    /// Takes and releases ports.
    ports: Ports,
    /// Rules in force.
    rules: Vec<ActiveRule>,
    /// Rules that were in force until their targets were found to lead back.
    loops: Vec<RefusedRule>,
    /// `sk_lookup` programs of other processes in the namespace.
    others: usize,
    /// Whether the pod's `exec` checks can be recognised.
    checks: CheckWatch,
    /// Looks for TCP MD5 keys that are set or removed while the workload is armed.
    _signed: OwnedTask,
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
    /// A port belongs to another workload, or to another daemon of the node.
    #[error("{0}")]
    Claimed(Arc<str>),
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
        let others = others(&workload.netns).unwrap_or(0);
        if others > 0 {
            tracing::warn!(
                workload = %workload.name,
                others,
                "other sk_lookup programs are attached to the pod's network"
            );
        }
        let programs = Arc::new(Mutex::new(programs));
        let ports = Ports::new(&workload.name, &programs);
        let waker = context.waker(&workload.name);
        let signed =
            signed::watch(Arc::clone(&workload), signed::ports(&workload), move || waker.wake());
        Ok(Self {
            workload,
            claims: HashMap::new(),
            waits: HashMap::new(),
            programs,
            ports,
            rules: Vec::new(),
            loops: Vec::new(),
            others,
            checks: CheckWatch::default(),
            _signed: OwnedTask::spawn(signed),
        })
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

    /// Claims the ports of the plan, so that no other workload and no other daemon takes them.
    /// Returns why the others can't be claimed.
    pub async fn claim(&mut self, plan: &Plan, context: &Context) -> HashMap<Port, Arc<str>> {
        let (netns, name) = (self.workload.netns.id(), &self.workload.name);
        self.waits.retain(|port, wait| plan.ports.contains_key(port) && wait.message().is_some());
        let mut unclaimed = HashMap::new();
        for &port in plan.ports.keys() {
            if self.claims.contains_key(&port) {
                continue;
            }
            if let Some(message) = self.waits.get(&port).and_then(Wait::message) {
                unclaimed.insert(port, Arc::clone(message));
                continue;
            }
            match context.claims.claim(netns, port, name).await {
                Ok(claim) => {
                    self.claims.insert(port, claim);
                }
                Err(ClaimError::Daemon(contest)) => {
                    unclaimed.insert(port, contest.to_string().into());
                    let waker = context.waker(name);
                    self.waits.insert(port, contest.wait(move || waker.wake()));
                }
                Err(error) => {
                    unclaimed.insert(port, error.to_string().into());
                }
            }
        }
        unclaimed
    }

    /// Whether another daemon redirects some of the plan's ports.
    #[must_use]
    pub fn is_contested(&self) -> bool {
        !self.waits.is_empty()
    }

    /// Brings rules, routes and ports to the plan. Unchanged rules are not touched. Rules with a
    /// port in `unclaimed` wait.
    ///
    /// `expires_at` returns when a rule with a `ttl` expires. Returns the rules that are refused
    /// here.
    ///
    /// # Errors
    /// The second value is the first failure. Another try may help. Everything else was done.
    pub fn apply(
        &mut self,
        plan: &Plan,
        unclaimed: &HashMap<Port, Arc<str>>,
        context: &Context,
        expires_at: impl Fn(&Planned) -> Option<Instant>,
    ) -> (Vec<RefusedRule>, Result<(), ArmError>) {
        let (mut refused, mut result) = (Vec::new(), Ok(()));
        let mut before = std::mem::take(&mut self.rules);
        self.loops.retain(|looping| plan.rules.iter().any(|planned| looping.is(planned)));
        self.loops.extend(before.iter().filter_map(|active| {
            let standing = active.loop_refusal()?;
            Some(RefusedRule { key: active.key.clone(), rule: active.rule.clone(), standing })
        }));
        let signed = signed::ports(&self.workload);
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
            if let Some(looping) = self.loops.iter().find(|looping| looping.is(planned)) {
                refused.push(looping.clone());
            } else if let Some(port) =
                planned.ports.iter().find(|port| signed.contains(&port.number()))
            {
                let standing = Standing::refused(Reason::TcpMd5, signed_message(*port));
                let (key, rule) = (planned.key.clone(), rule.clone());
                refused.push(RefusedRule { key, rule, standing });
            } else if let Ok(Some(address)) = is_loop {
                let standing = Standing::refused(Reason::Loop, LoopError(address).to_string());
                let (key, rule) = (planned.key.clone(), rule.clone());
                refused.push(RefusedRule { key, rule, standing });
            } else if let Some(at) = before.iter().position(same) {
                self.rules.push(before.swap_remove(at));
            } else if let Err(error) = is_loop {
                result = Err(ArmError::Addresses(error));
            } else if let Some(why) = planned.ports.iter().find_map(|port| unclaimed.get(port)) {
                let standing = Standing::pending(Reason::PortTaken, &**why);
                let (key, rule) = (planned.key.clone(), rule.clone());
                refused.push(RefusedRule { key, rule, standing });
                // Another workload of this daemon does not tell when it releases the port.
                result = Err(ArmError::Claimed(Arc::clone(why)));
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
        self.hold_back();
        let rules = &self.rules;
        self.claims.retain(|port, _| rules.iter().any(|rule| rule.ports.contains(port)));
        (refused, result.and(taken.map_err(ArmError::from)))
    }

    /// The report on the rule with this key and text. `None` if it is not in force.
    #[must_use]
    pub fn report(&self, key: &AnnotationKey, rule: &Rule) -> Option<RuleReport> {
        let active = self.rules.iter().find(|active| active.key == *key && active.rule == *rule)?;
        let mut report = active.report(&self.workload.routes.load());
        report.standing = self.checks.warn(rule, report.standing);
        if let Some(Full { max, has_others }) = active.full() {
            let why = if has_others { " while other rules have connections" } else { "" };
            let _ = write!(
                report.standing.message,
                "; it has {max} connections, its maximum{why}: further clients get the app until \
                 some end"
            );
        }
        if self.others > 0 && matches!(report.standing.state, State::Active | State::Pending) {
            let _ = write!(
                report.standing.message,
                "; other sk_lookup programs in this pod's network: {}",
                self.others
            );
        }
        Some(report)
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
        for n in taken {
            let rule = &mut self.rules[n];
            let steered = steered(&self.programs, &rule.ports);
            rule.prove(&self.workload, steered);
        }
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

    /// Leaves new connections to ports with the app whose rule has its maximum number.
    fn hold_back(&self) {
        let mut programs = self.programs.lock();
        for port in self.claims.keys() {
            let full =
                self.rules.iter().any(|rule| rule.ports.contains(port) && rule.full().is_some());
            if let Err(error) = programs.set_full(*port, full) {
                tracing::error!(
                    workload = %self.workload.name,
                    %port,
                    %error,
                    "can't limit the connections of a port"
                );
            }
        }
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

fn signed_message(port: Port) -> String {
    format!(
        "the app's listener on port {port} has TCP MD5 keys (RFC 2385), so it talks only to peers \
         that sign their packets, and the daemon can't sign; name other ports in the rule, or \
         remove the keys in the app"
    )
}

/// Counts the connections to `ports` that the kernel has steered to the relay so far.
fn steered(
    programs: &Arc<Mutex<PodPrograms>>,
    ports: &[Port],
) -> impl Fn() -> u64 + Send + Sync + use<> {
    let (programs, ports) = (Arc::clone(programs), ports.to_vec());
    move || {
        let programs = programs.lock();
        let counts = ports.iter().flat_map(|port| programs.counters(*port).unwrap_or_default());
        counts.filter(|(verdict, _)| *verdict == Verdict::Steered).map(|(_, count)| count).sum()
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
        app_keepalive: Default::default(),
        canaries: Default::default(),
        loop_guard: Arc::clone(&context.loop_guard),
        loop_watch: Default::default(),
        probe_turn: Arc::clone(&context.probe_turn),
        capacity: Arc::clone(context.workers.shared().capacity()),
        farewell: Arc::clone(context.workers.shared().farewell()),
        pressure: Arc::clone(context.workers.shared().pressure()),
        heartbeats: programs.heartbeats(),
        health_checks: spec.health_checks.clone(),
        checks: Default::default(),
        home: context.home,
        dial: context.policy.dial,
        connect_timeout: context.policy.connect_timeout,
        silence: context.policy.silence,
        strays: Default::default(),
        unrouted: Default::default(),
        gone: Default::default(),
        routes: ArcSwap::default(),
    }
}
