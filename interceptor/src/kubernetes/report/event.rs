//! Which changes of a rule deserve an Event. No I/O.
//!
//! Each change has one Event: the rule takes effect, changes, waits, is refused, falls back to the
//! app, recovers, or ends. A rule that stays in its state has none. The ordinary end of a pod is no
//! Warning.

use std::collections::BTreeMap;

use interceptor_api::{EventReason, Reason, State};

use super::condition::{sentence, shortened};
use crate::control::registry::RuleEntry;

/// An Event about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEvent {
    /// What changed about a rule.
    pub reason: EventReason,
    /// A sentence, of at most [`MAX_MESSAGE`](super::condition::MAX_MESSAGE) bytes.
    pub note: String,
}

/// The last reported state of each rule of a pod.
#[derive(Debug, Default)]
pub struct Reported(BTreeMap<RuleId, LastState>);

/// What identifies a rule over time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RuleId {
    /// The key of its annotation.
    annotation: String,
    /// Its canonical form; the error, if its text is invalid.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastState {
    state: State,
    reason: Reason,
}

/// Why the rules of a pod end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// The annotation is gone.
    Removed,
    /// The annotation has another rule.
    Replaced,
    /// The daemon ends.
    Shutdown,
}

// === impl Reported ===

impl Reported {
    /// Compares `rules` with the last reported state, remembers them, and returns the Events.
    pub fn update(&mut self, rules: &[RuleEntry]) -> Vec<PodEvent> {
        let now: BTreeMap<_, _> = rules.iter().map(|rule| (RuleId::of(rule), rule)).collect();
        let mut events = Vec::new();
        for (id, rule) in &now {
            let state = LastState::of(rule);
            let before = self.0.insert(id.clone(), state);
            // An active rule of the same annotation is gone: the annotation changed.
            let replaces = || {
                self.0.iter().any(|(old, last)| {
                    old.annotation == id.annotation && last.is_active() && !now.contains_key(old)
                })
            };
            let reason = change(before, state, replaces);
            events.extend(reason.map(|reason| PodEvent { reason, note: note(reason, id, rule) }));
        }
        let gone: Vec<_> = self.0.keys().filter(|id| !now.contains_key(*id)).cloned().collect();
        for id in gone {
            let last = self.0.remove(&id);
            let mut others = now.iter().filter(|(new, _)| new.annotation == id.annotation);
            let cause = if others.clone().next().is_some() {
                EndCause::Replaced
            } else {
                EndCause::Removed
            };
            let is_replaced = others.any(|(_, rule)| rule.condition.state == State::Active);
            if last.is_some_and(LastState::is_active) && !is_replaced {
                events.push(id.ended(cause));
            }
        }
        events
    }

    /// Whether a rule that was reported active is not among `rules`.
    #[must_use]
    pub fn is_outdated(&self, rules: &[RuleEntry]) -> bool {
        let exists = |id: &RuleId| rules.iter().any(|rule| RuleId::of(rule) == *id);
        self.0.iter().any(|(id, last)| last.is_active() && !exists(id))
    }

    /// Forgets every rule, since the pod has none any more, and returns the Events.
    pub fn end(&mut self, cause: EndCause) -> Vec<PodEvent> {
        let last = std::mem::take(&mut self.0);
        let active = last.into_iter().filter(|(_, last)| last.is_active());
        active.map(|(id, _)| id.ended(cause)).collect()
    }
}

// === impl LastState ===

impl LastState {
    fn of(rule: &RuleEntry) -> Self {
        Self { state: rule.condition.state, reason: rule.condition.reason }
    }

    /// Whether the rule takes connections, whether or not its target does.
    fn is_active(self) -> bool {
        self.state == State::Active
    }

    /// Whether it takes connections that its target does not take.
    fn fell_back(self) -> bool {
        self.is_active() && self.reason != Reason::Intercepting
    }
}

// === impl RuleId ===

impl RuleId {
    fn of(rule: &RuleEntry) -> Self {
        let text = rule.text.clone().unwrap_or_else(|| rule.condition.message.clone());
        Self { annotation: rule.annotation.clone(), text }
    }

    fn ended(&self, cause: EndCause) -> PodEvent {
        let cause = match cause {
            EndCause::Removed => "the annotation was removed",
            EndCause::Replaced => "the annotation was changed",
            EndCause::Shutdown => {
                "the daemon on this node stops (upgrade, restart or uninstall); the next one puts \
                 the rule in force again"
            }
        };
        let Self { annotation, text } = self;
        let note =
            format!("{annotation}: {cause}; new connections reach the app again (rule: {text})");
        PodEvent { reason: EventReason::Ended, note: shortened(&note) }
    }
}

/// What an Event says of a rule. Where the reason of the Event is not the rule's, both are named.
fn note(event: EventReason, id: &RuleId, rule: &RuleEntry) -> String {
    let sentence = sentence(rule);
    let annotation = &id.annotation;
    let said = sentence.strip_prefix(&format!("{annotation}: ")).unwrap_or(&sentence);
    shortened(&match event {
        EventReason::Waiting | EventReason::Interrupted => {
            let reason = rule.condition.reason;
            // Another rule or daemon has the port: what clients get is its affair.
            let clients = if reason == Reason::PortTaken { "" } else { "; clients get the app" };
            format!("{annotation}: {reason}: {said}{clients}")
        }
        EventReason::Recovered => format!("{annotation}: the target answers again: {said}"),
        EventReason::Ended => format!("{annotation}: {said} (rule: {})", id.text),
        _ => sentence,
    })
}

/// The Event of a rule that was in the state `before`, if that was reported, and is in the state
/// `now`.
fn change(
    before: Option<LastState>,
    now: LastState,
    replaces: impl Fn() -> bool,
) -> Option<EventReason> {
    if before == Some(now) {
        return None;
    }
    let was_active = before.is_some_and(LastState::is_active);
    match now.state {
        State::Active if now.fell_back() => Some(EventReason::FellBack),
        State::Active if was_active => Some(EventReason::Recovered),
        State::Active if replaces() => Some(EventReason::Changed),
        State::Active => Some(EventReason::Active),
        State::Expired => Some(EventReason::Expired),
        State::Refused => Some(EventReason::Refused),
        State::Pending if was_active => Some(EventReason::Interrupted),
        State::Pending if is_fault(now.reason) => Some(EventReason::Waiting),
        State::Ended if was_active => Some(EventReason::Ended),
        State::Pending | State::Ended => None,
    }
}

/// Whether a rule that waits for this reason needs a person's attention. A pod that is being
/// started does not, and what is transient ends in another state.
fn is_fault(reason: Reason) -> bool {
    !matches!(reason, Reason::PodNotRunning | Reason::Proving | Reason::Resolving)
}

#[cfg(test)]
mod tests;
