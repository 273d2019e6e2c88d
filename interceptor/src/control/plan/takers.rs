//! Which rules share a port, and in which order the relay asks them.

use std::{collections::BTreeMap, sync::Arc};

use interceptor_api::{Reason, Standing};
use interceptor_common::{port::Port, steal::MAX_PORTS};
use interceptor_condition::Form;
use interceptor_rule::Rule;

use super::planned::{Plan, Planned, PortPlan};
use crate::config::annotation::AnnotationKey;

/// The annotations that take each port, in the order in which they first took it.
#[derive(Debug, Default)]
pub(super) struct Takers(BTreeMap<Port, Vec<AnnotationKey>>);

/// A rule that takes effect unless other rules hold its ports.
pub(super) struct Candidate {
    pub(super) key: AnnotationKey,
    pub(super) rule: Rule,
    /// The canonical form of its condition. `None` without a condition.
    pub(super) form: Option<Arc<Form>>,
    pub(super) ports: Vec<Port>,
    /// Those of them that the workload does not declare.
    pub(super) undeclared: Vec<Port>,
}

// === impl Takers ===

impl Takers {
    /// The plan with these candidates, after `rules` that take no port.
    pub(super) fn plan(&mut self, candidates: &[Candidate], rules: &[Planned]) -> Plan {
        // A rule may have been refused because of another rule that was refused afterwards. Each
        // pass corrects the takers of the ports, so passes are repeated until the plan is stable.
        let mut plan = self.assign(candidates, rules.to_vec());
        for _ in 0..candidates.len() {
            let again = self.assign(candidates, rules.to_vec());
            if again == plan {
                break;
            }
            plan = again;
        }
        plan
    }

    /// Orders the rules of each port by when their annotation first took it. Refuses a rule if the
    /// rules before it leave it no connection.
    fn assign(&mut self, candidates: &[Candidate], mut rules: Vec<Planned>) -> Plan {
        self.0.retain(|port, takers| {
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
            let takers = self.0.entry(port).or_default();
            takers.clear();
            for &rule in order {
                if takers.last() != Some(&rules[rule].key) {
                    takers.push(rules[rule].key.clone());
                }
            }
        }
        self.0.retain(|port, _| orders.contains_key(port));
        let ports = orders.into_iter().map(|(port, order)| (port, PortPlan::new(order)));
        Plan { ports: ports.collect(), rules }
    }

    /// The candidates for `port` that the relay asks before candidate `n`, by index.
    fn asked_before(&self, candidates: &[Candidate], port: Port, n: usize) -> Vec<usize> {
        let came = |other: usize| {
            let mut takers = self.0.get(&port).into_iter().flatten();
            (takers.position(|key| *key == candidates[other].key).unwrap_or(usize::MAX), other)
        };
        let claimants =
            (0..candidates.len()).filter(|&other| candidates[other].ports.contains(&port));
        claimants.filter(|&other| came(other) < came(n)).collect()
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
