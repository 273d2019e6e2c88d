//! Which rules of a workload take effect, and why the others don't. No I/O: the same input gives the same plan.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    num::NonZeroU16,
    time::Duration,
};

use interceptor_common::steal::MAX_PORTS;
use interceptor_rule::{Ports, Rule, Target};

use super::reason::{Condition, Reason};
use crate::config::{
    annotation::{AnnotationKey, Problem},
    policy::{Action, Policy},
    workloads::{Obstacle, Workload},
};

/// What a workload's annotations amount to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Every rule that is in force or was refused, in the order in which they are told.
    pub rules: Vec<Planned>,
}

/// One rule of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Where it stands.
    pub key: AnnotationKey,
    /// The rule; `None` when its text can't be read and no earlier text could.
    pub rule: Option<Rule>,
    /// The ports that it takes; empty when it is refused.
    pub ports: Vec<NonZeroU16>,
    /// Why it takes none.
    pub refusal: Option<Condition>,
}

/// What must be remembered between plans: who came first, and what was last understood.
#[derive(Debug, Default)]
pub struct Planner {
    /// Annotations by age, each with the last rules that could be read.
    accepted: Vec<(AnnotationKey, Vec<Rule>)>,
    /// Who holds a port.
    holders: BTreeMap<NonZeroU16, AnnotationKey>,
}

// === impl Planner ===

impl Planner {
    /// Decides on every rule of `spec`, on a node that has rules of other workloads, too: `elsewhere` of them.
    ///
    /// `expired` is asked about rules that would take effect, and gives what is to be said of one whose time is over.
    pub fn plan(
        &mut self,
        spec: &Workload,
        policy: &Policy,
        elsewhere: usize,
        is_node_address: impl Fn(IpAddr) -> bool,
        mut expired: impl FnMut(&AnnotationKey, &Rule) -> Option<Condition>,
    ) -> Plan {
        let mut rules = Vec::new();
        self.read(spec, &mut rules);
        let obstacle = spec.obstacle.as_ref().map(obstacle);

        let claims = self.accepted.iter().flat_map(|(key, rules)| rules.iter().map(move |rule| (key, rule)));
        let mut admitted = Vec::new();
        for (key, rule) in claims {
            let ports = ports_of(rule, spec);
            let judged = match &obstacle {
                Some(obstacle) => Err(obstacle.clone()),
                None => judge(rule, admitted.len(), elsewhere, &ports, policy, &is_node_address),
            };
            // A rule whose time is over holds no port and takes no room.
            let judged = judged.and_then(|()| expired(key, rule).map_or(Ok(()), Err));
            match judged {
                Ok(()) => admitted.push((key.clone(), rule.clone(), ports)),
                Err(refusal) => rules.push(Planned::refused(key, rule, refusal)),
            }
        }
        self.assign(admitted, &mut rules);
        Plan { rules }
    }

    /// Takes in what is written. A text that can't be read leaves the last one that could in force.
    fn read(&mut self, spec: &Workload, told: &mut Vec<Planned>) {
        self.accepted.retain(|(key, _)| spec.rules.iter().any(|written| written.key == *key));
        for written in &spec.rules {
            let known = self.accepted.iter().position(|(key, _)| *key == written.key);
            match (&written.rules, known) {
                (Ok(rules), Some(at)) => self.accepted[at].1.clone_from(rules),
                (Ok(rules), None) => self.accepted.push((written.key.clone(), rules.clone())),
                (Err(error), known) => {
                    let reason = reason_of(&error.problem);
                    if let Some(at) = known.filter(|_| reason != Reason::RuleInvalid) {
                        // It was understood and can't be done: what stood there before is not wanted any more.
                        self.accepted[at].1.clear();
                    }
                    let kept = known.is_some_and(|at| !self.accepted[at].1.is_empty());
                    let note = if kept { "; the previous rules stay in force" } else { "" };
                    let caret = error.caret.as_deref().map(|caret| format!("\n{caret}")).unwrap_or_default();
                    told.push(Planned {
                        key: written.key.clone(),
                        rule: None,
                        ports: Vec::new(),
                        refusal: Some(Condition::refused(reason, format!("{error}{note}{caret}"))),
                    });
                }
            }
        }
    }

    /// Gives each port to the rule that holds it already, else to the oldest that asks for it.
    fn assign(&mut self, admitted: Vec<(AnnotationKey, Rule, Vec<NonZeroU16>)>, told: &mut Vec<Planned>) {
        let claimed_by = |port: &NonZeroU16, holder: &AnnotationKey| {
            admitted.iter().any(|(key, _, ports)| key == holder && ports.contains(port))
        };
        self.holders.retain(|port, holder| claimed_by(port, holder));
        // Which rule of its annotation got a port: two rules of one annotation may ask for the same.
        let mut taken: HashMap<NonZeroU16, AnnotationKey> = HashMap::new();
        for (key, rule, ports) in admitted {
            let holder = ports.iter().find_map(|port| {
                let holder =
                    taken.get(port).or_else(|| self.holders.get(port).filter(|holder| **holder != key));
                holder.map(|holder| (*port, holder.clone()))
            });
            if let Some((port, holder)) = holder {
                let message = if holder == key {
                    format!("an earlier rule of {key} takes port {port} already")
                } else {
                    format!("{holder} holds port {port}")
                };
                told.push(Planned::refused(&key, &rule, Condition::refused(Reason::PortTaken, message)));
            } else if taken.len() + ports.len() > MAX_PORTS as usize {
                let message = format!("more than {MAX_PORTS} redirected ports in one workload");
                told.push(Planned::refused(&key, &rule, Condition::refused(Reason::LimitExceeded, message)));
            } else {
                for &port in &ports {
                    taken.insert(port, key.clone());
                    self.holders.insert(port, key.clone());
                }
                told.push(Planned { key, rule: Some(rule), ports, refusal: None });
            }
        }
    }
}

// === impl Planned ===

impl Planned {
    fn refused(key: &AnnotationKey, rule: &Rule, refusal: Condition) -> Self {
        Self { key: key.clone(), rule: Some(rule.clone()), ports: Vec::new(), refusal: Some(refusal) }
    }

    /// How long the rule lasts, if not until it is removed.
    #[must_use]
    pub fn ttl(&self) -> Option<Duration> {
        self.rule.as_ref().and_then(|rule| rule.ttl)
    }
}

/// What can be said of a rule by itself.
fn judge(
    rule: &Rule,
    before: usize,
    elsewhere: usize,
    ports: &[NonZeroU16],
    policy: &Policy,
    is_node_address: impl Fn(IpAddr) -> bool,
) -> Result<(), Condition> {
    if let Some(unsupported) = rule.unsupported() {
        return Err(Condition::refused(Reason::NotSupported, unsupported.to_string()));
    }
    if ports.is_empty() {
        let message = "the rule names no ports and the workload declares none; write `8080 -> …`";
        return Err(Condition::refused(Reason::NoPorts, message));
    }
    policy
        .judge_action(Action::Redirect)
        .map_err(|refusal| Condition::refused(Reason::NotAllowed, refusal.to_string()))?;
    policy
        .judge_rules(before + 1)
        .and_then(|()| policy.judge_rules_per_node(elsewhere + before + 1))
        .map_err(|refusal| Condition::refused(Reason::LimitExceeded, refusal.to_string()))?;
    policy
        .judge_ttl(rule.ttl)
        .map_err(|refusal| Condition::refused(Reason::LimitExceeded, refusal.to_string()))?;
    if let Target::Address(address) = &rule.target {
        policy
            .judge_target(address.ip(), is_node_address)
            .map_err(|refusal| Condition::refused(Reason::TargetDenied, refusal.to_string()))?;
    }
    Ok(())
}

/// Why a workload has no rules in force, whatever they say.
fn obstacle(obstacle: &Obstacle) -> Condition {
    match obstacle {
        Obstacle::HostNetwork => Condition::refused(
            Reason::HostNetwork,
            "the pod lives in the node's own network (hostNetwork), which is never touched",
        ),
        Obstacle::Sandboxed(class) => Condition::refused(
            Reason::NoNetns,
            format!(
                "runtime class {class} keeps the pod's connections out of the node's sight (gVisor, Kata)"
            ),
        ),
        Obstacle::NotRunning(phase) => {
            Condition::pending(Reason::PodNotRunning, format!("the pod has no address yet (phase {phase})"))
        }
        Obstacle::Ended(phase) => {
            Condition::refused(Reason::PodNotRunning, format!("the pod has ended (phase {phase})"))
        }
        Obstacle::Policy(refusal) => Condition::refused(Reason::NotAllowed, refusal.to_string()),
    }
}

fn reason_of(problem: &Problem) -> Reason {
    match problem {
        Problem::Parse(_) | Problem::Developer | Problem::Misspelt(_) => Reason::RuleInvalid,
        Problem::Unsupported(_) | Problem::Mirror => Reason::NotSupported,
        Problem::NoPorts { .. } => Reason::NoPorts,
    }
}

fn ports_of(rule: &Rule, spec: &Workload) -> Vec<NonZeroU16> {
    match &rule.ports {
        Ports::Listed(ports) => ports.clone(),
        Ports::Declared => spec.ports.clone(),
    }
}

#[cfg(test)]
mod tests;
