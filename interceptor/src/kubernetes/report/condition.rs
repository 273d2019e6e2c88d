//! Which conditions a pod should have. No I/O.

use std::{collections::BTreeMap, time::Duration};

use interceptor_api::{AnnotationKey, ConditionType, Reason};
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

/// How long these rules may stay as they are before that is reported. One of them is about to
/// change without any action from outside. `None`: they are reported at once.
#[must_use]
pub fn transient_grace(rules: &[RuleEntry]) -> Option<Duration> {
    rules.iter().filter_map(|rule| grace(rule.condition.reason)).max()
}

/// How long a reason usually lasts, if it passes by itself.
fn grace(reason: Reason) -> Option<Duration> {
    match reason {
        // Milliseconds; up to the connect time-out for a target that is silent.
        Reason::Proving => Some(Duration::from_secs(2)),
        // Milliseconds; without an answer, the reason is another one after 2 s.
        Reason::Resolving => Some(Duration::from_secs(4)),
        // The namespace of a pod that ends is gone a moment before its status says that it ends.
        Reason::NetnsNotFound => Some(Duration::from_secs(5)),
        _ => None,
    }
}

/// What a rule does, or why it does nothing, and since when it is written.
#[must_use]
pub fn sentence(rule: &RuleEntry) -> String {
    let RuleEntry { annotation, condition, .. } = rule;
    // The lines below the first are a picture of the mistake.
    let (first, picture) = match condition.message.split_once('\n') {
        Some((first, picture)) => (first, format!("\n{picture}")),
        None => (&*condition.message, String::new()),
    };
    format!("{annotation}: {first}{}{picture}", since(rule).unwrap_or_default())
}

/// When the rule's annotation was written, and with which tool. It never changes by itself.
fn since(rule: &RuleEntry) -> Option<String> {
    let written = rule.written.as_ref()?;
    let at = Timestamp::try_from(written.at).ok()?;
    let with = if written.with.is_empty() { String::new() } else { format!(" ({})", written.with) };
    Some(format!("; since {at}{with}"))
}

/// One condition for several rules. It is true only if the target of every rule is reached. The
/// rules that do not reach theirs come first in the message.
fn summary(type_: ConditionType, rules: &[&RuleEntry]) -> ConditionSpec {
    let (good, bad): (Vec<_>, Vec<_>) =
        rules.iter().copied().partition(|rule| rule.condition.reaches_target());
    let mut parts: Vec<_> = bad.iter().chain(&good).map(|rule| sentence(rule)).collect();
    if rules.len() > 1 && !bad.is_empty() {
        parts.insert(0, format!("{} of {} rules are active", good.len(), rules.len()));
    }
    let reason = bad.first().map_or(Reason::Intercepting, |rule| rule.condition.reason);
    ConditionSpec {
        type_: type_.into(),
        active: bad.is_empty(),
        reason: reason.to_string(),
        message: shortened(&parts.join("; ")),
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
