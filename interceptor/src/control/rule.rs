//! A rule in force: its target, its standing, and the background tasks that keep both current.

use std::{net::SocketAddr, num::NonZeroU16, sync::Arc};

use interceptor_api::{Reason, Standing};
use interceptor_common::port::Port;
use interceptor_condition::{Condition, Needs};
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
    /// What the rule takes, as the subject of a sentence.
    subject: &'static str,
    /// Whether the kernel has taken its ports.
    pub(super) taken: bool,
    facts: SharedFacts,
    tasks: Vec<OwnedTask>,
}

/// A rule that the plan admits, but that can't be put in force.
#[derive(Debug)]
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
    /// Whether its target is silent, so that clients reach the app.
    pub fell_back: bool,
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
    circuit_open: bool,
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
            subject: subject(rule),
            taken: false,
            facts: SharedFacts::new(resolution, waker),
            tasks: Vec::new(),
        }
    }

    /// Starts the tasks that watch the target. No port is taken yet.
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

    /// Starts to prove that its ports, which have just been taken, are intercepted.
    pub(super) fn prove(&mut self, workload: &Arc<Workload>) {
        let report = self.facts.reporter(|facts, proof| facts.proof = proof);
        let proof = canary::prove(Arc::clone(workload), self.ports.clone(), report);
        self.tasks.push(OwnedTask::spawn(proof));
    }

    /// Records why its ports could not be taken.
    pub(super) fn failed(&self, why: String) {
        self.facts.lock().proof = Proof::Failed(why);
    }

    /// The entry for the registry, with the counters of the rule's `routes`.
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

    /// Starts the task that dials the target while it is silent.
    fn reopen(&self, workload: &Arc<Workload>) -> OwnedTask {
        let name = Arc::clone(&workload.name);
        let (key, target) = (self.key.clone(), self.rule.target.to_string());
        let report = self.facts.reporter(move |facts, open| {
            if open {
                tracing::info!(
                    workload = %name,
                    rule = %key,
                    target,
                    "target is silent; clients reach the app"
                );
            } else {
                tracing::info!(workload = %name, rule = %key, target, "target answers again");
            }
            facts.circuit_open = open;
        });
        let target = Arc::clone(&self.target);
        OwnedTask::spawn(half_open::keep_trying(Arc::clone(workload), target, report))
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
                local: self.rule.local,
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
            (Resolution::Usable, Proof::Proven) if facts.circuit_open => Standing::active(format!(
                "{target} is silent: clients reach the app until it answers"
            )),
            (Resolution::Usable, Proof::Proven) => {
                let subject = self.subject;
                Standing::active(match self.rule.percent {
                    None => format!("{subject} reach {target}"),
                    Some(percent) => format!("{percent} % of {subject} reach {target}"),
                })
            }
        }
    }
}

#[cfg(test)]
impl ActiveRule {
    /// A rule in force without tasks, for tests.
    pub(super) fn idle(planned: &Planned, expires_at: Option<Instant>) -> Self {
        let (wakes, _) = tokio::sync::mpsc::unbounded_channel();
        let rule = planned.rule.as_ref().expect("a rule that could be read");
        Self::new(planned, rule, expires_at, Waker::new(&Arc::from("web"), &wakes))
    }

    /// Gives its target's name an address.
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

/// What a rule takes. A condition that needs no request is decided once for a whole connection.
fn subject(rule: &Rule) -> &'static str {
    let Some(when) = &rule.when else { return "new connections" };
    match Condition::compile(when.source()).map(|condition| condition.needs()) {
        Ok(Needs::Connection | Needs::ServerName) => "connections that match the condition",
        Ok(Needs::Request) | Err(_) => "requests that match the condition",
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    #[rstest]
    #[case("80 -> a:1 percent 5", "new connections")]
    #[case("80 -> a:1 when source.port == 1", "connections that match the condition")]
    #[case(
        "80 -> a:1 when connection.requested_server_name == 'a'",
        "connections that match the condition"
    )]
    #[case("80 -> a:1 when request.path == '/'", "requests that match the condition")]
    fn a_message_names_requests_only_for_conditions_that_need_them(
        #[case] rule: &str,
        #[case] subject: &str,
    ) {
        let rules = interceptor_rule::parse(rule).expect("is a rule");
        assert_eq!(super::subject(&rules[0]), subject);
    }
}
