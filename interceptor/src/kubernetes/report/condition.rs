//! Which conditions a pod should have. No I/O.

use std::collections::BTreeMap;

use interceptor_api::{AnnotationKey, ConditionType, Reason, State};
use k8s_openapi::{
    api::core::v1::PodCondition, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp,
};

use crate::control::registry::RuleEntry;

/// Maximum length of the message of a condition or an Event, in bytes. The API's own limit for the
/// note of an Event is 1 kB.
pub const MAX_MESSAGE: usize = 1000;

/// A condition without its times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConditionSpec {
    /// For example `debug.redirect/Active`.
    pub type_: String,
    /// Whether its status is `True` rather than `False`.
    pub active: bool,
    /// One CamelCase word, see [`Reason`].
    pub reason: String,
    /// A sentence, of at most [`MAX_MESSAGE`] bytes.
    pub message: String,
}

/// The conditions of a pod with these rules: one per action, and one per developer.
#[must_use]
pub fn conditions(rules: &[RuleEntry]) -> Vec<ConditionSpec> {
    let mut by_type = BTreeMap::<ConditionType, Vec<&RuleEntry>>::new();
    for rule in rules {
        let key = AnnotationKey::new(&rule.annotation).unwrap_or_else(AnnotationKey::redirect);
        for type_ in ConditionType::of(&key) {
            by_type.entry(type_).or_default().push(rule);
        }
    }
    by_type.into_iter().map(|(type_, rules)| summary(type_, &rules)).collect()
}

/// Whether a rule is about to change its state without any action from outside. That usually takes
/// milliseconds.
#[must_use]
pub fn is_transient(rules: &[RuleEntry]) -> bool {
    rules.iter().any(|rule| matches!(rule.condition.reason, Reason::Proving | Reason::Resolving))
}

/// One condition for several rules. It is true only if every rule is active.
fn summary(type_: ConditionType, rules: &[&RuleEntry]) -> ConditionSpec {
    let is_active = |rule: &&&RuleEntry| rule.condition.state == State::Active;
    let inactive = rules.iter().find(|rule| !is_active(rule));
    let count = rules.iter().filter(is_active).count();
    let message = match inactive {
        None => {
            let each: Vec<_> = rules.iter().map(|rule| rule.condition.message.as_str()).collect();
            each.join("; ")
        }
        Some(rule) if rules.len() == 1 => rule.condition.message.clone(),
        Some(rule) => format!(
            "{count} of {} rules are active; {}: {}",
            rules.len(),
            rule.annotation,
            rule.condition.message
        ),
    };
    let decisive = inactive.or(rules.first());
    let reason = decisive.map_or(Reason::Intercepting, |rule| rule.condition.reason);
    ConditionSpec {
        type_: type_.into(),
        active: inactive.is_none(),
        reason: reason.to_string(),
        message: shortened(&message),
    }
}

/// At most [`MAX_MESSAGE`] bytes of `text`.
#[must_use]
pub fn shortened(text: &str) -> String {
    if text.len() <= MAX_MESSAGE {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX_MESSAGE - '…'.len_utf8());
    format!("{}…", &text[..end])
}

// === impl ConditionSpec ===

impl ConditionSpec {
    /// Reads a condition that stands on a pod.
    #[must_use]
    pub fn read(condition: &PodCondition) -> Self {
        Self {
            type_: condition.type_.clone(),
            active: condition.status == "True",
            reason: condition.reason.clone().unwrap_or_default(),
            message: condition.message.clone().unwrap_or_default(),
        }
    }

    /// The condition as the API has it, with `since` as its last transition.
    #[must_use]
    pub fn to_condition(&self, since: Timestamp) -> PodCondition {
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
