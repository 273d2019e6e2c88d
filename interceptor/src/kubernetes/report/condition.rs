//! What a pod's conditions are to say. No I/O.

use std::collections::BTreeMap;

use interceptor_api::{AnnotationKey, ConditionType, Reason, State};
use k8s_openapi::{
    api::core::v1::PodCondition, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp,
};

use crate::control::registry::RuleEntry;

/// The longest message, in bytes; that of Events, too (the API's own limit for an Event's note is 1 kB).
pub const MAX_MESSAGE: usize = 1000;

/// What one condition says, without its times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConditionSpec {
    /// For example `debug.redirect/Active`.
    pub type_: String,
    /// `True` or `False`.
    pub active: bool,
    /// One CamelCase word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// The conditions of a pod with these rules: one for each kind of annotation, and one for each developer's.
#[must_use]
pub fn conditions(rules: &[RuleEntry]) -> Vec<ConditionSpec> {
    let mut concerned = BTreeMap::<ConditionType, Vec<&RuleEntry>>::new();
    for rule in rules {
        let key = AnnotationKey::new(&rule.annotation).unwrap_or_else(AnnotationKey::redirect);
        for type_ in ConditionType::of(&key) {
            concerned.entry(type_).or_default().push(rule);
        }
    }
    concerned.into_iter().map(|(type_, rules)| summary(type_.into(), &rules)).collect()
}

/// Whether a rule is on its way to another state by itself, within milliseconds as a rule.
#[must_use]
pub fn is_passing(rules: &[RuleEntry]) -> bool {
    rules.iter().any(|rule| matches!(rule.condition.reason, Reason::Proving | Reason::Resolving))
}

/// One condition for several rules: true only if every one of them is in force.
fn summary(type_: String, rules: &[&RuleEntry]) -> ConditionSpec {
    let is_active = |rule: &&&RuleEntry| rule.condition.state == State::Active;
    let worst = rules.iter().find(|rule| !is_active(rule)).or_else(|| rules.first());
    let Some(worst) = worst else {
        return ConditionSpec {
            type_,
            active: false,
            reason: String::new(),
            message: String::new(),
        };
    };
    let active = rules.iter().filter(is_active).count();
    let message = if active == rules.len() {
        let each: Vec<_> = rules.iter().map(|rule| rule.condition.message.as_str()).collect();
        each.join("; ")
    } else if rules.len() == 1 {
        worst.condition.message.clone()
    } else {
        format!(
            "{active} of {} rules are active; {}: {}",
            rules.len(),
            worst.annotation,
            worst.condition.message
        )
    };
    let active = active == rules.len();
    ConditionSpec {
        type_,
        active,
        reason: worst.condition.reason.to_string(),
        message: shortened(&message),
    }
}

/// At most [`MAX_MESSAGE`] bytes of `text`.
#[must_use]
pub fn shortened(text: &str) -> String {
    if text.len() <= MAX_MESSAGE {
        return text.to_owned();
    }
    let end = (0..=MAX_MESSAGE - '…'.len_utf8())
        .rev()
        .find(|&end| text.is_char_boundary(end))
        .unwrap_or(0);
    format!("{}…", &text[..end])
}

// === impl ConditionSpec ===

impl ConditionSpec {
    /// What a condition on a pod says.
    #[must_use]
    pub fn read(condition: &PodCondition) -> Self {
        Self {
            type_: condition.type_.clone(),
            active: condition.status == "True",
            reason: condition.reason.clone().unwrap_or_default(),
            message: condition.message.clone().unwrap_or_default(),
        }
    }

    /// The condition, changed at `since`.
    #[must_use]
    pub fn condition(&self, since: Timestamp) -> PodCondition {
        PodCondition {
            type_: self.type_.clone(),
            status: if self.active { "True" } else { "False" }.to_owned(),
            reason: Some(self.reason.clone()),
            message: Some(self.message.clone()),
            last_transition_time: Some(Time(since)),
            ..PodCondition::default()
        }
    }
}

#[cfg(test)]
mod tests;
