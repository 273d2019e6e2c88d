//! A rule in force: its target, its standing, and the background tasks that keep both current.

use std::{net::SocketAddr, num::NonZeroU16, sync::Arc};

use interceptor_api::{Reason, Standing};
use interceptor_common::port::Port;
use interceptor_rule::{HostName, Rule, Target};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::{
    config::{
        annotation::AnnotationKey,
        policy::{Dial, Refusal},
    },
    control::{
        context::{Context, Waker},
        facts::{
            canary::{self, Proof},
            listener, loop_probe,
            resolve::{self, Resolution},
            room, target as target_watch,
        },
        plan::Planned,
        sentence,
        task::OwnedTask,
    },
    relay::{
        answer::Answer,
        capacity::Full,
        filter::Filter,
        route::{Route, Withdrawn},
        stats::PortStats,
        target::{self, Addresses},
        workload::{Routes, Workload},
    },
};

/// A rule in force.
pub(super) struct ActiveRule {
    pub(super) key: AnnotationKey,
    pub(super) rule: Rule,
    pub(super) ports: Vec<Port>,
    pub(super) expires_at: Option<Instant>,
    pub(super) target: Arc<target::Target>,
    /// Its ports that the workload does not declare.
    undeclared: Vec<Port>,
    /// Where its target is dialled from.
    dial: Dial,
    /// Whether the kernel has taken its ports.
    pub(super) taken: bool,
    facts: SharedFacts,
    tasks: Vec<OwnedTask>,
}

/// A rule that the plan admits, but that can't be put in force.
#[derive(Clone, Debug)]
pub struct RefusedRule {
    /// Its annotation.
    pub key: AnnotationKey,
    /// The rule.
    pub rule: Rule,
    /// The reason.
    pub standing: Standing,
}

/// What the registry publishes of a rule in force.
pub struct RuleReport {
    /// Its state and reason.
    pub standing: Standing,
    /// Its ports that are not declared, and that nothing listens on.
    pub unheard: Vec<Port>,
    /// Its ports with their counters.
    pub ports: Vec<(Port, Arc<PortStats>)>,
}

/// A target is a redirected port of its own workload: its connections would be stolen again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is a redirected port of this workload: connections would loop")]
pub(super) struct LoopError(pub(super) SocketAddr);

/// Why the relay does not dial an address behind a target's name.
#[derive(Debug, thiserror::Error)]
enum AddressError {
    /// The policy refuses it.
    #[error(transparent)]
    Policy(#[from] Refusal),
    /// Its connections would loop.
    #[error(transparent)]
    Loop(#[from] LoopError),
}

/// What background tasks have found out about a rule in force.
#[derive(Debug)]
struct Facts {
    resolution: Resolution,
    proof: Proof,
    /// What to report of the target.
    answer: Answer,
    /// The ports that are not declared and that nothing listens on. `None` before the first look.
    unheard: Option<Vec<Port>>,
    /// Connections to the target come back to the rule's ports.
    leads_back: bool,
    /// The maximum number of connections, if the rule has that many.
    full: Option<Full>,
}

/// The facts, shared with these tasks. Each change wakes the reconciler.
#[derive(Clone)]
struct SharedFacts {
    facts: Arc<Mutex<Facts>>,
    waker: Waker,
}

// === impl ActiveRule ===

impl ActiveRule {
    /// A rule without facts, tasks or ports. `waker` wakes the reconciler at each new fact.
    fn new(
        planned: &Planned,
        rule: &Rule,
        expires_at: Option<Instant>,
        dial: Dial,
        waker: Waker,
    ) -> Self {
        let (addresses, resolution) = match &rule.target {
            Target::Address(address) => (Addresses::Known(vec![*address]), Resolution::Usable),
            Target::Name { .. } => (Addresses::Unresolved, Resolution::FirstLookup),
            Target::Session(_) => unreachable!("the plan refuses what is not supported"),
        };
        Self {
            key: planned.key.clone(),
            rule: rule.clone(),
            ports: planned.ports.clone(),
            expires_at,
            target: target::Target::new(rule.target.to_string(), addresses),
            undeclared: planned.undeclared.clone(),
            dial,
            taken: false,
            facts: SharedFacts::new(resolution, waker),
            tasks: Vec::new(),
        }
    }

    /// Starts to look the target's name up, if it has one. No port is taken yet.
    pub(super) fn start(
        workload: &Arc<Workload>,
        planned: &Planned,
        rule: &Rule,
        expires_at: Option<Instant>,
        context: &Context,
    ) -> Self {
        let waker = context.waker(&workload.name);
        let mut active = Self::new(planned, rule, expires_at, workload.dial, waker);
        if let Target::Name { host, port } = &rule.target {
            active.tasks.push(active.resolve(host.clone(), *port, workload, context));
        }
        active.tasks.push(active.watch_for_loops(workload));
        active
    }

    /// Starts to prove that its ports, which have just been taken, are intercepted, and that its
    /// target answers.
    ///
    /// `steered` is the number of connections to them that the kernel has steered to the relay.
    pub(super) fn prove(
        &mut self,
        workload: &Arc<Workload>,
        steered: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.tasks.extend(self.watch_share(workload));
        let report = self.facts.reporter(|facts, unheard| facts.unheard = Some(unheard));
        let undeclared = self.undeclared.clone();
        let listener = listener::watch(Arc::clone(workload), undeclared, report);
        let report = self.facts.reporter(|facts, answer| facts.answer = answer);
        let answer = target_watch::watch(Arc::clone(workload), Arc::clone(&self.target), report);
        let report = self.facts.reporter(|facts, proof| facts.proof = proof);
        let (workload, target) = (Arc::clone(workload), Arc::clone(&self.target));
        let ports = self.ports.clone();
        let proof = async move {
            let failed = |proof| {
                if proof != Proof::Proven {
                    report(proof);
                }
            };
            canary::prove(Arc::clone(&workload), ports, failed).await;
            loop_probe::look_first(&workload, &target, steered).await;
            report(Proof::Proven);
        };
        self.tasks.extend([
            OwnedTask::spawn(listener),
            OwnedTask::spawn(answer),
            OwnedTask::spawn(proof),
        ]);
    }

    /// Records why its ports could not be taken.
    pub(super) fn failed(&self, why: String) {
        self.facts.lock().proof = Proof::Failed(why);
    }

    /// The entry for the registry, with the counters of the rule's `routes`.
    pub(super) fn report(&self, routes: &Routes) -> RuleReport {
        let stats = |port: Port| Some((port, Arc::clone(self.stats(routes, port)?)));
        RuleReport {
            standing: self.standing(),
            unheard: self.facts.lock().unheard.clone().unwrap_or_default(),
            ports: self.ports.iter().filter_map(|&port| stats(port)).collect(),
        }
    }

    /// The counters of one of its ports.
    fn stats<'a>(&self, routes: &'a Routes, port: Port) -> Option<&'a Arc<PortStats>> {
        let mut of_port = routes.get(&port)?.iter();
        let route = of_port.find(|route| Arc::ptr_eq(&route.target, &self.target))?;
        Some(&route.stats)
    }

    /// Starts the task that resolves the target's name and judges the addresses.
    fn resolve(
        &self,
        host: HostName,
        port: NonZeroU16,
        workload: &Arc<Workload>,
        context: &Context,
    ) -> OwnedTask {
        let workload = Arc::downgrade(workload);
        let own_ports = self.ports.clone();
        let policy = Arc::clone(&context.policy);
        let home = context.home;
        let judge = move |address: SocketAddr| -> Result<(), AddressError> {
            policy.judge_target(address.ip(), |ip| home.has_address(ip))?;
            let loops = workload.upgrade().is_some_and(|workload| {
                // At the first look-up, the rule's own ports are not redirected yet.
                let redirected = own_ports.iter().any(|port| Some(*port) == Port::tcp_of(&address))
                    || workload.is_redirected(address.port());
                redirected && workload.netns.has_address(address.ip()).unwrap_or(true)
            });
            if loops { Err(LoopError(address).into()) } else { Ok(()) }
        };
        let report = self.facts.reporter(|facts, resolution| facts.resolution = resolution);
        let target = Arc::clone(&self.target);
        OwnedTask::spawn(resolve::keep_resolved(host, port.get(), target, judge, report))
    }

    /// Starts the task that probes the target when connections to it seem to come back.
    fn watch_for_loops(&self, workload: &Arc<Workload>) -> OwnedTask {
        let report = self.facts.reporter(|facts, ()| facts.leads_back = true);
        let (workload, target) = (Arc::clone(workload), Arc::clone(&self.target));
        OwnedTask::spawn(loop_probe::keep_watching(workload, target, self.ports.clone(), report))
    }

    /// Starts the task that reports when the rule has its maximum number of connections, and when
    /// it may have more again.
    fn watch_share(&self, workload: &Arc<Workload>) -> Option<OwnedTask> {
        let share = Arc::clone(self.stats(&workload.routes.load(), *self.ports.first()?)?.share());
        let report = self.facts.reporter(|facts, full| facts.full = full);
        let capacity = Arc::clone(&workload.capacity);
        Some(OwnedTask::spawn(room::keep_watching(capacity, share, report)))
    }

    /// The rule's maximum number of connections, if it has that many.
    pub(super) fn full(&self) -> Option<Full> {
        self.facts.lock().full
    }

    /// Why the rule is refused, if its target leads back to its own ports.
    pub(super) fn loop_refusal(&self) -> Option<Standing> {
        let message = || sentence::leads_back(&self.rule.target, &self.ports);
        self.facts.lock().leads_back.then(|| Standing::refused(Reason::Loop, message()))
    }

    /// The rule's route for a port: the one among `old` if the port has one already.
    pub(super) fn route(&self, old: &[Arc<Route>], stats: &Arc<PortStats>) -> Arc<Route> {
        let mut old = old.iter().filter(|route| Arc::ptr_eq(&route.target, &self.target));
        old.next().cloned().unwrap_or_else(|| {
            Arc::new(Route {
                annotation: self.key.clone(),
                filter: Filter::of(&self.rule),
                target: Arc::clone(&self.target),
                proxy_protocol: self.rule.proxy_protocol,
                stats: Arc::clone(stats),
                expires_at: self.expires_at,
                withdrawn: Withdrawn::default(),
            })
        })
    }

    /// Whether its ports may be taken. Until the target has an address, clients reach the app at
    /// once.
    pub(super) fn is_ready(&self) -> bool {
        self.taken || self.facts.lock().resolution == Resolution::Usable
    }

    /// Its state and reason.
    fn standing(&self) -> Standing {
        let facts = self.facts.lock();
        let target = &self.rule.target;
        match (&facts.resolution, &facts.proof) {
            (Resolution::FirstLookup, _) => {
                Standing::pending(Reason::Resolving, format!("looking up {target}"))
            }
            (Resolution::NoAddress(why), _) => {
                Standing::pending(Reason::NameNotResolved, why.clone())
            }
            (Resolution::Denied(why), _) => Standing::refused(Reason::TargetDenied, why.clone()),
            (Resolution::Usable, Proof::UnderWay) => Standing::pending(
                Reason::Proving,
                "waiting for a test connection to arrive at the relay",
            ),
            (Resolution::Usable, Proof::Failed(why)) => {
                Standing::pending(Reason::ProbeFailed, why.clone())
            }
            (Resolution::Usable, Proof::Proven) => self.proven(&facts),
        }
    }

    /// Its state and reason once its ports are proven to be intercepted.
    fn proven(&self, facts: &Facts) -> Standing {
        let target = &self.rule.target;
        if facts.answer == Answer::Unknown {
            let message = format!("waiting for the first answer of {target}");
            return Standing::pending(Reason::Proving, message);
        }
        if facts.unheard.is_none() {
            return Standing::pending(Reason::Proving, "looking for the app's listeners");
        }
        match sentence::fallback(facts.answer, target, self.dial, &self.ports) {
            Some((reason, message)) => Standing::fell_back(reason, message),
            None => Standing::active(sentence::takes(&self.rule, &self.ports)),
        }
    }
}

#[cfg(test)]
impl ActiveRule {
    /// A rule in force without tasks, for tests.
    pub(super) fn idle(planned: &Planned, expires_at: Option<Instant>) -> Self {
        let (wakes, _) = tokio::sync::mpsc::unbounded_channel();
        let rule = planned.rule.as_ref().expect("a rule that could be read");
        Self::new(planned, rule, expires_at, Dial::Pod, Waker::new(&Arc::from("web"), &wakes))
    }

    /// Gives its target's name an address.
    pub(super) fn resolve_now(&self) {
        self.facts.lock().resolution = Resolution::Usable;
    }
}

// === impl RefusedRule ===

impl RefusedRule {
    /// Whether this is the planned rule.
    pub(super) fn is(&self, planned: &Planned) -> bool {
        self.key == planned.key && planned.rule.as_ref() == Some(&self.rule)
    }
}

// === impl SharedFacts ===

impl SharedFacts {
    fn new(resolution: Resolution, waker: Waker) -> Self {
        let facts = Facts {
            resolution,
            proof: Proof::UnderWay,
            answer: Answer::Unknown,
            unheard: None,
            leads_back: false,
            full: None,
        };
        Self { facts: Arc::new(Mutex::new(facts)), waker }
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock()
    }

    /// Returns a function that records a fact and wakes the reconciler.
    fn reporter<T, F>(&self, note: F) -> impl Fn(T) + use<T, F>
    where
        F: Fn(&mut Facts, T),
    {
        let this = self.clone();
        move |fact| {
            note(&mut this.lock(), fact);
            this.waker.wake();
        }
    }
}
