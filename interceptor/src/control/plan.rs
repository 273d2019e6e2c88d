//! Decides which rules of a workload take effect, and why the others do not.
//!
//! No I/O: the same input gives the same plan.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use interceptor_api::{Reason, Standing};
use interceptor_common::{port::Port, steal::MAX_PORTS};
use interceptor_condition::Form;
use interceptor_rule::{Condition, Ports, Rule, Target};

use crate::{
    config::{
        annotation::{AnnotationKey, Problem},
        policy::{Action, Policy},
        workloads::{MAX_ANNOTATIONS, Obstacle, WorkloadSpec},
    },
    datapath::Via,
};

/// The decisions about the rules of one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Every admitted or refused rule, in the order in which status lists them.
    pub rules: Vec<Planned>,
    /// The plan of each port that a rule takes.
    pub ports: BTreeMap<Port, PortPlan>,
}

/// The plan of one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// The rules that take it, as indices into [`Plan::rules`]. The relay asks them in this order.
    /// At least one.
    pub rules: Vec<usize>,
    /// How its connections get to their targets.
    pub via: Via,
}

/// One rule of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The annotation that contains the rule.
    pub key: AnnotationKey,
    /// The rule. `None` for a text that can't be parsed.
    pub rule: Option<Rule>,
    /// The ports that it takes. Empty when it is refused.
    pub ports: Vec<Port>,
    /// Those of them that the workload does not declare.
    pub undeclared: Vec<Port>,
    /// Why it takes none. `None` if the rule is admitted.
    pub refusal: Option<Standing>,
}

/// The state between plans: the age of annotations, and the last rules that could be parsed.
#[derive(Debug, Default)]
pub struct Planner {
    /// Annotations by age, oldest first, each with the last rules that could be parsed.
    accepted: Vec<(AnnotationKey, Vec<Rule>)>,
    /// The annotations that take each port, in the order in which they first took it.
    takers: BTreeMap<Port, Vec<AnnotationKey>>,
    /// The canonical form of each condition in `accepted`, by its source.
    forms: HashMap<Condition, Arc<Form>>,
}

/// The node for which a workload is planned.
pub struct Node<'a> {
    /// The admin's limits.
    pub policy: &'a Policy,
    /// The number of admitted rules of other workloads.
    pub elsewhere: usize,
    /// Whether an address is one of the node's own.
    pub is_node_address: &'a (dyn Fn(IpAddr) -> bool + Sync),
}

/// A rule that takes effect unless other rules hold its ports.
struct Candidate {
    key: AnnotationKey,
    rule: Rule,
    /// The canonical form of its condition. `None` without a condition.
    form: Option<Arc<Form>>,
    ports: Vec<Port>,
    /// Those of them that the workload does not declare.
    undeclared: Vec<Port>,
}

// === impl Planner ===

impl Planner {
    /// Decides on every rule of `spec`.
    ///
    /// `expired` is called for rules that would take effect. It returns the standing of a rule
    /// whose `ttl` has expired, and `None` for all others.
    pub fn plan(
        &mut self,
        spec: &WorkloadSpec,
        node: &Node<'_>,
        mut expired: impl FnMut(&AnnotationKey, &Rule) -> Option<Standing>,
    ) -> Plan {
        let mut rules = Vec::new();
        self.read(spec, &mut rules);
        self.compile();
        let obstacle = spec.obstacle.as_ref().map(obstacle);

        let requested =
            self.accepted.iter().flat_map(|(key, rules)| rules.iter().map(move |rule| (key, rule)));
        let mut admitted = Vec::new();
        for (key, rule) in requested {
            let ports = ports_of(rule, spec);
            let judged = match &obstacle {
                Some(obstacle) => Err(obstacle.clone()),
                None => node.judge(rule, admitted.len(), &ports),
            };
            // An expired rule holds no port and does not count towards the limits.
            let judged = judged.and_then(|()| expired(key, rule).map_or(Ok(()), Err));
            match judged {
                Ok(()) => {
                    let form = rule.when.as_ref().and_then(|when| self.forms.get(when)).cloned();
                    admitted.push(Candidate {
                        key: key.clone(),
                        rule: rule.clone(),
                        form,
                        undeclared: undeclared(&ports, spec),
                        ports,
                    });
                }
                Err(refusal) => rules.push(Planned::refused(key, rule, refusal)),
            }
        }
        // A rule may have been refused because of another rule that was refused afterwards. Each
        // pass corrects the takers of the ports, so passes are repeated until the plan is stable.
        let mut plan = self.assign(&admitted, rules.clone());
        for _ in 0..admitted.len() {
            let again = self.assign(&admitted, rules.clone());
            if again == plan {
                break;
            }
            plan = again;
        }
        plan
    }

    /// Reads the annotations. If a text can't be parsed, the last rules that could be parsed stay
    /// in force. Refusals go to `refused`.
    fn read(&mut self, spec: &WorkloadSpec, refused: &mut Vec<Planned>) {
        self.accepted.retain(|(key, _)| spec.rules.iter().any(|written| written.key == *key));
        for written in &spec.rules {
            let known = self.accepted.iter().position(|(key, _)| *key == written.key);
            match (&written.rules, known) {
                (Ok(rules), Some(at)) => self.accepted[at].1.clone_from(rules),
                (Ok(rules), None) => self.accepted.push((written.key.clone(), rules.clone())),
                (Err(error), known) => {
                    let reason = reason_of(&error.problem);
                    if let Some(at) = known.filter(|_| reason != Reason::RuleInvalid) {
                        // The text was parsed and is refused, so it replaces the rules before it.
                        self.accepted[at].1.clear();
                    }
                    let note = known.map(|at| in_force(&self.accepted[at].1)).unwrap_or_default();
                    let caret = error
                        .caret
                        .as_deref()
                        .map(|caret| format!("\n{caret}"))
                        .unwrap_or_default();
                    refused.push(Planned {
                        key: written.key.clone(),
                        rule: None,
                        ports: Vec::new(),
                        undeclared: Vec::new(),
                        refusal: Some(Standing::refused(reason, format!("{error}{note}{caret}"))),
                    });
                }
            }
        }
    }

    /// Keeps the form of each condition that is in use. Compiling one again for each plan would be
    /// slow.
    fn compile(&mut self) {
        let rules = self.accepted.iter().flat_map(|(_, rules)| rules);
        let mut known = std::mem::take(&mut self.forms);
        for when in rules.filter_map(|rule| rule.when.as_ref()) {
            let compiled = || {
                let condition = interceptor_condition::Condition::compile(when.source()).ok()?;
                Some(Arc::new(condition.form()))
            };
            if let Some(form) = known.remove(when).or_else(compiled) {
                self.forms.entry(when.clone()).or_insert(form);
            }
        }
    }

    /// Orders the rules of each port by when their annotation first took it. Refuses a rule if the
    /// rules before it leave it no connection.
    fn assign(&mut self, candidates: &[Candidate], mut rules: Vec<Planned>) -> Plan {
        self.takers.retain(|port, takers| {
            takers.retain(|key| {
                candidates
                    .iter()
                    .any(|candidate| candidate.key == *key && candidate.ports.contains(port))
            });
            !takers.is_empty()
        });
        let mut orders: BTreeMap<Port, Vec<usize>> = BTreeMap::new();
        let mut accepted: Vec<Option<usize>> = vec![None; candidates.len()];
        for (n, candidate) in candidates.iter().enumerate() {
            let before = |port| self.asked_before(candidates, port, n);
            let refusal = candidate.ports.iter().find_map(|&port| {
                // An annotation that took the port first is asked first, even if it is a later
                // candidate.
                let mut others = before(port)
                    .into_iter()
                    .filter(|&other| other > n || accepted[other].is_some());
                let message =
                    others.find_map(|other| candidates[other].leaves_nothing_to(candidate, port));
                message.map(|message| Standing::refused(Reason::PortTaken, message))
            });
            let more = candidate.ports.iter().filter(|port| !orders.contains_key(port)).count();
            let refusal = refusal.or_else(|| {
                let message = || format!("more than {MAX_PORTS} redirected ports in one workload");
                (orders.len() + more > MAX_PORTS as usize)
                    .then(|| Standing::refused(Reason::LimitExceeded, message()))
            });
            if let Some(refusal) = refusal {
                rules.push(Planned::refused(&candidate.key, &candidate.rule, refusal));
                continue;
            }
            accepted[n] = Some(rules.len());
            for &port in &candidate.ports {
                let order = orders.entry(port).or_default();
                let before = before(port).into_iter();
                let at = before.filter(|&other| other < n && accepted[other].is_some()).count();
                order.insert(at, rules.len());
            }
            rules.push(Planned {
                key: candidate.key.clone(),
                rule: Some(candidate.rule.clone()),
                ports: candidate.ports.clone(),
                undeclared: candidate.undeclared.clone(),
                refusal: None,
            });
        }
        for (&port, order) in &orders {
            let takers = self.takers.entry(port).or_default();
            takers.clear();
            for &rule in order {
                if takers.last() != Some(&rules[rule].key) {
                    takers.push(rules[rule].key.clone());
                }
            }
        }
        self.takers.retain(|port, _| orders.contains_key(port));
        let ports = orders.into_iter().map(|(port, order)| (port, PortPlan::new(order)));
        Plan { ports: ports.collect(), rules }
    }

    /// The candidates for `port` that the relay asks before candidate `n`, by index.
    fn asked_before(&self, candidates: &[Candidate], port: Port, n: usize) -> Vec<usize> {
        let came = |other: usize| {
            let mut takers = self.takers.get(&port).into_iter().flatten();
            (takers.position(|key| *key == candidates[other].key).unwrap_or(usize::MAX), other)
        };
        let claimants =
            (0..candidates.len()).filter(|&other| candidates[other].ports.contains(&port));
        claimants.filter(|&other| came(other) < came(n)).collect()
    }
}

// === impl PortPlan ===

impl PortPlan {
    /// Decides how to carry the connections of a port with these rules.
    fn new(rules: Vec<usize>) -> Self {
        // The relay can carry every rule. A faster path for some rules would be chosen here.
        Self { rules, via: Via::Relay }
    }
}

// === impl Candidate ===

impl Candidate {
    /// Why `later`, which the relay asks after this rule, would never get a connection of `port`.
    fn leaves_nothing_to(&self, later: &Self, port: Port) -> Option<String> {
        let Self { key, rule, form, .. } = self;
        if rule.percent.is_some() {
            return None;
        }
        let what = match (form, &later.form) {
            (None, _) if rule.when.is_none() => format!("port {port}"),
            (Some(form), _) if form.is_always() => format!("port {port}"),
            (Some(form), Some(wanted)) if form.covers(wanted) => {
                let same = if form == wanted { "the same requests" } else { "all these requests" };
                format!("{same} of port {port}{}", self.wording_for(later))
            }
            _ => return None,
        };
        Some(if *key == later.key {
            format!("an earlier rule of {key} already takes {what}")
        } else {
            format!("{key} holds {what}")
        })
    }

    /// The condition, for the author of a rule with another text.
    fn wording_for(&self, later: &Self) -> String {
        match &self.rule.when {
            Some(when) if self.rule.when != later.rule.when => {
                format!(" by {}", interceptor_rule::quoted(&format!("when {when}")))
            }
            _ => String::new(),
        }
    }
}

// === impl Node ===

impl Node<'_> {
    /// Judges a rule without regard to ports that other rules hold. `before` rules of its workload
    /// were admitted before it.
    ///
    /// # Errors
    /// The reason why the rule takes no port.
    fn judge(&self, rule: &Rule, before: usize, ports: &[Port]) -> Result<(), Standing> {
        let Self { policy, elsewhere, is_node_address } = self;
        if let Some(unsupported) = rule.unsupported() {
            return Err(Standing::refused(Reason::NotSupported, unsupported.to_string()));
        }
        if ports.is_empty() {
            let message =
                "the rule names no ports and the workload declares none; write `8080 -> …`";
            return Err(Standing::refused(Reason::NoPorts, message));
        }
        policy
            .judge_action(Action::Redirect)
            .map_err(|refusal| Standing::refused(Reason::NotAllowed, refusal.to_string()))?;
        policy
            .judge_rules(before + 1)
            .and_then(|()| policy.judge_rules_per_node(elsewhere + before + 1))
            .map_err(|refusal| Standing::refused(Reason::LimitExceeded, refusal.to_string()))?;
        policy
            .judge_ttl(rule.ttl)
            .map_err(|refusal| Standing::refused(Reason::LimitExceeded, refusal.to_string()))?;
        // This name always means loopback (RFC 6761), so no look-up is needed to refuse it.
        let ip = match &rule.target {
            Target::Address(address) => Some(address.ip()),
            Target::Name { host, .. } if host.as_str() == "localhost" => {
                Some(Ipv4Addr::LOCALHOST.into())
            }
            Target::Name { .. } | Target::Session(_) => None,
        };
        if let Some(ip) = ip {
            policy
                .judge_target(ip, is_node_address)
                .map_err(|refusal| Standing::refused(Reason::TargetDenied, refusal.to_string()))?;
        }
        Ok(())
    }
}

// === impl Planned ===

impl Planned {
    fn refused(key: &AnnotationKey, rule: &Rule, refusal: Standing) -> Self {
        Self {
            key: key.clone(),
            rule: Some(rule.clone()),
            ports: Vec::new(),
            undeclared: Vec::new(),
            refusal: Some(refusal),
        }
    }

    /// The rule's `ttl`. `None`: the rule lasts until it is removed.
    #[must_use]
    pub fn ttl(&self) -> Option<Duration> {
        self.rule.as_ref().and_then(|rule| rule.ttl)
    }
}

/// The standing of all rules of a workload with an obstacle.
fn obstacle(obstacle: &Obstacle) -> Standing {
    match obstacle {
        Obstacle::HostNetwork => Standing::refused(
            Reason::HostNetwork,
            "the pod uses the node's own network (hostNetwork), which the daemon never touches",
        ),
        Obstacle::Sandboxed(class) => Standing::refused(
            Reason::NoNetns,
            format!(
                "runtime class {class} (gVisor, Kata) hides the pod's connections from the node"
            ),
        ),
        Obstacle::NotRunning(phase) => Standing::pending(
            Reason::PodNotRunning,
            format!("the pod has no address yet (phase {phase})"),
        ),
        Obstacle::NoSandbox => Standing::pending(
            Reason::PodNotRunning,
            "the pod's sandbox is being recreated; its reported address is stale",
        ),
        Obstacle::SharedAddress { ip, with } => Standing::pending(
            Reason::PodNotRunning,
            format!("pod {with} also reports address {ip}; waiting until only one pod has it"),
        ),
        Obstacle::TooManyAnnotations(count) => Standing::refused(
            Reason::LimitExceeded,
            format!(
                "the pod has {count} debug annotations; the maximum is {MAX_ANNOTATIONS}, so none \
                 takes effect"
            ),
        ),
        Obstacle::Ended(phase) => Standing::ended(format!("the pod has ended (phase {phase})")),
        Obstacle::Policy(refusal) => Standing::refused(Reason::NotAllowed, refusal.to_string()),
    }
}

fn reason_of(problem: &Problem) -> Reason {
    match problem {
        Problem::Parse(_)
        | Problem::Condition { .. }
        | Problem::PortName { .. }
        | Problem::Developer(_)
        | Problem::Misspelt(_) => Reason::RuleInvalid,
        Problem::Unsupported(_) | Problem::Mirror => Reason::NotSupported,
        Problem::NoPorts { .. } => Reason::NoPorts,
    }
}

/// What stays in force instead of a text that can't be parsed, as the end of a sentence.
fn in_force(rules: &[Rule]) -> String {
    let Some((first, more)) = rules.split_first() else { return String::new() };
    let first = interceptor_rule::quoted(&first.to_string());
    match more.len() {
        0 => format!("; the previous rule stays in force: {first}"),
        more => format!("; the previous rules stay in force: {first} and {more} more"),
    }
}

fn ports_of(rule: &Rule, spec: &WorkloadSpec) -> Vec<Port> {
    match &rule.ports {
        Ports::Listed(ports) => ports.clone(),
        Ports::Declared => spec.ports.iter().copied().map(Port::tcp).collect(),
    }
}

fn undeclared(ports: &[Port], spec: &WorkloadSpec) -> Vec<Port> {
    let declared = |port: &&Port| spec.ports.iter().any(|declared| Port::tcp(*declared) == **port);
    ports.iter().filter(|port| !declared(port)).copied().collect()
}

#[cfg(test)]
mod tests;
