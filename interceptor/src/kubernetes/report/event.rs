//! Which changes of a rule deserve an Event. No I/O.
//!
//! Each change has one Event: the rule takes effect, changes, is refused, falls back to the app,
//! recovers, or ends. A rule that stays in its state has none.

use std::collections::BTreeMap;

use interceptor_api::{EventReason, Reason, State};

use super::condition::shortened;
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
    fell_back: bool,
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
            let note = format!("{}: {}", rule.annotation, rule.condition.message);
            let reason = change(before, state, replaces);
            events.extend(reason.map(|reason| PodEvent { reason, note: shortened(&note) }));
        }
        let gone: Vec<_> = self.0.keys().filter(|id| !now.contains_key(*id)).cloned().collect();
        for id in gone {
            let last = self.0.remove(&id);
            let is_replaced = now.iter().any(|(new, rule)| {
                new.annotation == id.annotation && rule.condition.state == State::Active
            });
            if last.is_some_and(LastState::is_active) && !is_replaced {
                events.push(id.ended());
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
    pub fn end(&mut self) -> Vec<PodEvent> {
        let last = std::mem::take(&mut self.0);
        let active = last.into_iter().filter(|(_, last)| last.is_active());
        active.map(|(id, _)| id.ended()).collect()
    }
}

// === impl LastState ===

impl LastState {
    fn of(rule: &RuleEntry) -> Self {
        Self {
            state: rule.condition.state,
            reason: rule.condition.reason,
            fell_back: rule.fell_back,
        }
    }

    fn is_active(self) -> bool {
        self.state == State::Active
    }
}

// === impl RuleId ===

impl RuleId {
    fn of(rule: &RuleEntry) -> Self {
        let text = rule.text.clone().unwrap_or_else(|| rule.condition.message.clone());
        Self { annotation: rule.annotation.clone(), text }
    }

    fn ended(&self) -> PodEvent {
        let Self { annotation, text } = self;
        let note = format!("{annotation}: new connections reach the app again ({text})");
        PodEvent { reason: EventReason::Ended, note: shortened(&note) }
    }
}

/// The Event of a rule that was in the state `before`, if that was reported, and is in the state
/// `now`.
fn change(
    before: Option<LastState>,
    now: LastState,
    replaces: impl Fn() -> bool,
) -> Option<EventReason> {
    let was_active = before.is_some_and(LastState::is_active);
    let had_fallen_back = before.is_some_and(|before| before.fell_back);
    let last = before.map(|before| (before.state, before.reason));
    match now.state {
        State::Active if !was_active && replaces() => Some(EventReason::Changed),
        State::Active if !was_active => Some(EventReason::Active),
        State::Active => match (had_fallen_back, now.fell_back) {
            (false, true) => Some(EventReason::FellBack),
            (true, false) => Some(EventReason::Recovered),
            (false, false) | (true, true) => None,
        },
        State::Expired if last.is_none_or(|(state, _)| state != State::Expired) => {
            Some(EventReason::Expired)
        }
        State::Refused if last != Some((State::Refused, now.reason)) => Some(EventReason::Refused),
        State::Pending if was_active => Some(EventReason::Interrupted),
        State::Expired | State::Refused | State::Pending => None,
    }
}

#[cfg(test)]
mod tests;
