//! A rule in force: where it leads to, and the background tasks that find out what can be told of it.

use std::{net::SocketAddr, num::NonZeroU16, sync::Arc};

use interceptor_common::port::Port;
use interceptor_rule::{HostName, Rule, Target};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::{
    config::{annotation::AnnotationKey, policy::Refusal},
    control::{
        context::{Context, Waker},
        facts::{
            canary::{self, Proof},
            half_open,
            resolve::{self, Resolution},
        },
        plan::Planned,
        status::{Reason, Standing},
        task::OwnedTask,
    },
    relay::{
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
    /// Whether routes and kernel know the ports.
    pub(super) taken: bool,
    facts: SharedFacts,
    tasks: Vec<OwnedTask>,
}

/// A rule that the plan admits and that could not be put in force as it is.
#[derive(Debug)]
pub struct RefusedRule {
    /// Its annotation.
    pub key: AnnotationKey,
    /// The rule.
    pub rule: Rule,
    /// Why.
    pub standing: Standing,
}

/// What the registry publishes of a rule in force.
pub struct RuleReport {
    /// Where it stands and why.
    pub standing: Standing,
    /// Its target is silent: clients reach the app.
    pub fell_back: bool,
    /// Its ports with their counters.
    pub ports: Vec<(Port, Arc<PortStats>)>,
}

/// A target is a redirected port of its own workload: its connections would be stolen again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is a redirected port of this workload: connections would loop")]
pub(super) struct LoopError(pub(super) SocketAddr);

/// Why an address behind a target's name is not used.
#[derive(Debug, thiserror::Error)]
enum AddressError {
    /// The policy refuses it.
    #[error(transparent)]
    Policy(#[from] Refusal),
    /// It leads back to the workload.
    #[error(transparent)]
    Loop(#[from] LoopError),
}

/// What is known of a rule in force.
#[derive(Debug)]
struct Facts {
    resolution: Resolution,
    proof: Proof,
    circuit_open: bool,
}

/// The same for those who find it out; each change wakes the reconciler.
#[derive(Clone)]
struct SharedFacts {
    facts: Arc<Mutex<Facts>>,
    waker: Waker,
}

// === impl ActiveRule ===

impl ActiveRule {
    /// A rule of which nothing is known and no port is taken. `waker` is used when something becomes known.
    fn new(planned: &Planned, rule: &Rule, expires_at: Option<Instant>, waker: Waker) -> Self {
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
            taken: false,
            facts: SharedFacts::new(resolution, waker),
            tasks: Vec::new(),
        }
    }

    /// Begins to find out what its target is; its ports are not taken yet.
    pub(super) fn start(
        workload: &Arc<Workload>,
        planned: &Planned,
        rule: &Rule,
        expires_at: Option<Instant>,
        context: &Context,
    ) -> Self {
        let mut active = Self::new(planned, rule, expires_at, context.waker(&workload.name));
        if let Target::Name { host, port } = &rule.target {
            active.tasks.push(active.resolve(host.clone(), *port, workload, context));
        }
        active.tasks.push(active.reopen(workload));
        active
    }

    /// Proves that its ports, which have just been taken, are intercepted.
    pub(super) fn prove(&mut self, workload: &Arc<Workload>) {
        let report = self.facts.reporter(|facts, proof| facts.proof = proof);
        let proof = canary::prove(Arc::clone(workload), self.ports.clone(), report);
        self.tasks.push(OwnedTask::spawn(proof));
    }

    /// Its ports could not be taken.
    pub(super) fn failed(&self, why: String) {
        self.facts.lock().proof = Proof::Failed(why);
    }

    /// What the registry publishes of this rule, with the counters of its `routes`.
    pub(super) fn report(&self, routes: &Routes) -> RuleReport {
        let stats = |port: Port| {
            let mut of_port = routes.get(&port)?.iter();
            let route = of_port.find(|route| Arc::ptr_eq(&route.target, &self.target))?;
            Some((port, Arc::clone(&route.stats)))
        };
        RuleReport {
            standing: self.standing(),
            fell_back: self.facts.lock().circuit_open,
            ports: self.ports.iter().filter_map(|&port| stats(port)).collect(),
        }
    }

    /// Keeps the addresses behind the target's name fresh, and judges them.
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
                // The rule's own ports are not redirected yet when its target is looked up for the first time.
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

    /// Tries the target while it is silent.
    fn reopen(&self, workload: &Arc<Workload>) -> OwnedTask {
        let name = Arc::clone(&workload.name);
        let (key, target) = (self.key.clone(), self.rule.target.to_string());
        let report = self.facts.reporter(move |facts, open| {
            if open {
                tracing::info!(workload = %name, rule = %key, target, "target is silent; callers go to the application");
            } else {
                tracing::info!(workload = %name, rule = %key, target, "target answers again");
            }
            facts.circuit_open = open;
        });
        let target = Arc::clone(&self.target);
        OwnedTask::spawn(half_open::keep_trying(Arc::clone(workload), target, report))
    }

    /// What this rule does with a port: as before if it did it before.
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

    /// Whether its ports may be taken: only a target that has had an address is worth a caller's time.
    pub(super) fn is_ready(&self) -> bool {
        self.taken || self.facts.lock().resolution == Resolution::Usable
    }

    /// Where it stands and why.
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
                "waiting for a probe connection to arrive at the relay",
            ),
            (Resolution::Usable, Proof::Failed(why)) => {
                Standing::pending(Reason::ProbeFailed, why.clone())
            }
            (Resolution::Usable, Proof::Proven) if facts.circuit_open => Standing::active(format!(
                "{target} is silent: callers go to the application until it answers"
            )),
            (Resolution::Usable, Proof::Proven) => {
                Standing::active(match (&self.rule.when, self.rule.percent) {
                    (None, None) => format!("new connections reach {target}"),
                    (None, Some(percent)) => {
                        format!("{percent} % of new connections reach {target}")
                    }
                    (Some(_), None) => format!("what the condition is true for reaches {target}"),
                    (Some(_), Some(percent)) => {
                        format!("{percent} % of what the condition is true for reach {target}")
                    }
                })
            }
        }
    }
}

#[cfg(test)]
impl ActiveRule {
    /// A rule in force without tasks.
    pub(super) fn idle(planned: &Planned, expires_at: Option<Instant>) -> Self {
        let (wakes, _) = tokio::sync::mpsc::unbounded_channel();
        let rule = planned.rule.as_ref().expect("a rule that could be read");
        Self::new(planned, rule, expires_at, Waker::new(&Arc::from("web"), &wakes))
    }

    /// Its target's name has an address from now on.
    pub(super) fn resolve_now(&self) {
        self.facts.lock().resolution = Resolution::Usable;
    }
}

// === impl SharedFacts ===

impl SharedFacts {
    fn new(resolution: Resolution, waker: Waker) -> Self {
        let facts = Facts { resolution, proof: Proof::UnderWay, circuit_open: false };
        Self { facts: Arc::new(Mutex::new(facts)), waker }
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock()
    }

    /// A function that notes a fact and wakes the reconciler.
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
