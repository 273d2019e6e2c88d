//! Decides which rules of a workload take effect, and why the others do not.
//!
//! No I/O: the same input gives the same plan.
//!
//! ```text
//! node.rs     whether a rule may take effect at all: policy, limits, what is built
//! takers.rs   which rules share a port, and which of them is asked first
//! refusals.rs why a whole workload, or a text, takes no effect
//! planned.rs  the plan itself
//! ```

mod node;
mod planned;
mod refusals;
mod takers;

use std::{collections::HashMap, sync::Arc};

use interceptor_api::{Reason, Standing};
use interceptor_common::port::Port;
use interceptor_condition::Form;
use interceptor_rule::{Condition, Ports, Rule};

pub use self::{
    node::Node,
    planned::{Plan, Planned, PortPlan},
};
use self::{
    refusals::{in_force, obstacle, reason_of},
    takers::{Candidate, Takers},
};
use crate::config::{annotation::AnnotationKey, workloads::WorkloadSpec};

/// The state between plans: the age of annotations, and the last rules that could be parsed.
#[derive(Debug, Default)]
pub struct Planner {
    /// Annotations by age, oldest first, each with the last rules that could be parsed.
    accepted: Vec<(AnnotationKey, Vec<Rule>)>,
    takers: Takers,
    /// The canonical form of each condition in `accepted`, by its source.
    forms: HashMap<Condition, Arc<Form>>,
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
        self.takers.plan(&admitted, &rules)
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
