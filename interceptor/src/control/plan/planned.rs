//! What a plan says: of each rule, whether it takes effect; of each port, which rules it has.

use std::{collections::BTreeMap, time::Duration};

use interceptor_api::Standing;
use interceptor_common::port::Port;
use interceptor_rule::Rule;

use crate::{config::annotation::AnnotationKey, datapath::Via};

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

// === impl PortPlan ===

impl PortPlan {
    /// Decides how to carry the connections of a port with these rules.
    pub(super) fn new(rules: Vec<usize>) -> Self {
        // The relay can carry every rule. A faster path for some rules would be chosen here.
        Self { rules, via: Via::Relay }
    }
}

// === impl Planned ===

impl Planned {
    pub(super) fn refused(key: &AnnotationKey, rule: &Rule, refusal: Standing) -> Self {
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
