//! What is worth an Event. No I/O.
//!
//! An Event is told once for each change of a rule: taken up, changed, refused, fallen back to the application and back,
//! ended. What stays as it is makes none.

use std::collections::BTreeMap;

use interceptor_api::EventReason;

use super::condition::shortened;
use crate::control::{
    registry::RuleEntry,
    status::{Reason, State},
};

/// Something that happened to a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEvent {
    /// What changed.
    pub reason: EventReason,
    /// A sentence.
    pub note: String,
}

/// Rules as they were last told of: by annotation and text.
#[derive(Debug, Default)]
pub struct Reported(BTreeMap<(String, String), LastState>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastState {
    state: State,
    reason: Reason,
    fell_back: bool,
}

// === impl Reported ===

impl Reported {
    /// Compares `rules` with what was told before, remembers them, and gives what is news.
    pub fn news(&mut self, rules: &[RuleEntry]) -> Vec<PodEvent> {
        let now: BTreeMap<_, _> = rules.iter().map(|rule| (identity(rule), rule)).collect();
        let mut news = Vec::new();
        for (id, rule) in &now {
            let standing = LastState::of(rule);
            let before = self.0.insert(id.clone(), standing);
            // Its annotation had another rule in force until now: changed, rather than ended and begun.
            let replaces = || {
                self.0.iter().any(|(old, told)| {
                    old.0 == id.0 && told.state == State::Active && !now.contains_key(old)
                })
            };
            news.extend(change(rule, before, standing, replaces));
        }
        let ended: Vec<_> = self.0.keys().filter(|id| !now.contains_key(*id)).cloned().collect();
        for id in ended {
            let told = self.0.remove(&id);
            let replaced = now
                .iter()
                .any(|(new, rule)| new.0 == id.0 && rule.condition.state == State::Active);
            if told.is_some_and(|told| told.state == State::Active) && !replaced {
                news.push(ended_news(&id));
            }
        }
        news
    }

    /// Whether something that was told to be in force is not among `rules` any more.
    #[must_use]
    pub fn is_outdated(&self, rules: &[RuleEntry]) -> bool {
        let is_there = |id: &(String, String)| rules.iter().any(|rule| identity(rule) == *id);
        self.0.iter().any(|(id, told)| told.state == State::Active && !is_there(id))
    }

    /// What is news when nothing of ours is left on the pod.
    pub fn end(&mut self) -> Vec<PodEvent> {
        let told = std::mem::take(&mut self.0);
        told.iter()
            .filter(|(_, told)| told.state == State::Active)
            .map(|(id, _)| ended_news(id))
            .collect()
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
}

fn identity(rule: &RuleEntry) -> (String, String) {
    // A text that can't be read is told by its error.
    (rule.annotation.clone(), rule.text.clone().unwrap_or_else(|| rule.condition.message.clone()))
}

fn change(
    rule: &RuleEntry,
    before: Option<LastState>,
    now: LastState,
    replaces: impl Fn() -> bool,
) -> Option<PodEvent> {
    let was_active = before.is_some_and(|before| before.state == State::Active);
    let said = format!("{}: {}", rule.annotation, rule.condition.message);
    let news = |reason| Some(PodEvent { reason, note: shortened(&said) });
    match now.state {
        State::Active if !was_active && replaces() => news(EventReason::Changed),
        State::Active if !was_active => news(EventReason::Active),
        State::Active => {
            let fell_back = before.is_some_and(|before| before.fell_back);
            match (fell_back, now.fell_back) {
                (false, true) => news(EventReason::FellBack),
                (true, false) => news(EventReason::Recovered),
                _ => None,
            }
        }
        State::Expired if before.is_none_or(|before| before.state != State::Expired) => {
            news(EventReason::Expired)
        }
        State::Refused
            if before.is_none_or(|before| {
                (before.state, before.reason) != (State::Refused, now.reason)
            }) =>
        {
            news(EventReason::Refused)
        }
        // It takes no connections any more, and is to take them again when it can.
        State::Pending if was_active => news(EventReason::Interrupted),
        State::Expired | State::Refused | State::Pending => None,
    }
}

fn ended_news((annotation, rule): &(String, String)) -> PodEvent {
    let note = format!("{annotation}: new connections reach the application again ({rule})");
    PodEvent { reason: EventReason::Ended, note: shortened(&note) }
}

#[cfg(test)]
mod tests;
