//! The task of one pod: brings its conditions up to date and creates its Events.

use std::{sync::Arc, time::Duration};

use interceptor_api::EventOutcome;
use k8s_openapi::{api::core::v1::PodCondition, jiff::Timestamp};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    api::{self, RequestError},
    budget::Budget,
    condition::{ConditionSpec, conditions, transient_grace},
    event::{EndCause, PodEvent, Reported},
    shared::Shared,
};
use crate::{
    backoff::Backoff,
    control::registry::{RuleEntry, WorkloadEntry},
    kubernetes::pod::SeenPod,
};

/// Writes of conditions per pod: a burst for scripts that try rules out, then one at a time for a
/// state that flaps.
const CONDITION_BUDGET: (u32, Duration) = (120, Duration::from_secs(1));
/// Events per pod: a burst, then one at a time. The daemon counts further ones as suppressed.
const EVENT_BUDGET: (u32, Duration) = (40, Duration::from_secs(15));
/// Minimum time between our last write and the restoration of conditions that another writer
/// removed or changed.
const RESTORE_DELAY: Duration = Duration::from_secs(5);
/// Maximum number of Events per pod that wait for the API server. The oldest ones are dropped, and
/// counted as suppressed.
const MAX_WAITING_EVENTS: usize = 64;
/// The pauses after a failed write of conditions.
const RETRY: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
/// The pauses after a failed creation of an Event.
const EVENT_RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(4));
/// Maximum number of attempts in a row to create an Event. After that, all waiting Events are
/// dropped, and counted as failed.
const MAX_EVENT_ATTEMPTS: u32 = 4;

/// Reports the state of one pod's rules.
struct PodReporter {
    shared: Arc<Shared>,
    /// `None` before the first write.
    last_write: Option<LastWrite>,
    reported: Reported,
    /// Events that have not been created yet, oldest first.
    waiting_events: Vec<PodEvent>,
    event_budget: Budget,
    condition_budget: Budget,
    /// Whether another daemon redirects ports of the pod.
    is_contested: bool,
    /// Since when a rule has been in a transient state.
    transient_since: Option<Instant>,
    /// Counts failed writes of conditions in a row.
    condition_retry: Backoff,
    /// Counts failed creations of Events in a row.
    event_retry: Backoff,
}

/// The last successful write of conditions.
struct LastWrite {
    /// The conditions in the request.
    specs: Vec<ConditionSpec>,
    /// The conditions of interceptor on the pod after that, by the API server's answer.
    on_pod: Vec<PodCondition>,
    /// The pod's version after that.
    version: u64,
    at: Instant,
}

/// What the task does after a step.
enum Next {
    /// It waits for a change, at most until this time.
    Wait(Option<Instant>),
    /// It ends.
    End,
}

/// The result of a task.
pub(super) struct Done {
    /// The name of the workload.
    pub(super) name: Arc<str>,
    /// `None` if the pod is gone.
    pub(super) cleaned: Option<Cleaned>,
}

/// A pod from which all conditions that the daemon wrote were removed.
pub(super) struct Cleaned {
    uid: Arc<str>,
    /// The pod's version after that.
    version: u64,
    /// Types of remaining conditions. Another writer owns them, so they can't be removed.
    foreign: Vec<String>,
}

/// Reports on the pod of the workload `name` until no condition of the daemon is left on it.
pub(super) async fn report(shared: Arc<Shared>, name: Arc<str>, changed: Arc<Notify>) -> Done {
    let Some(mut pod) = shared.store.pod(&name) else { return Done { name, cleaned: None } };
    let mut reporter = PodReporter::new(Arc::clone(&shared));
    let mut until = None;
    loop {
        tokio::select! {
            () = changed.notified() => {}
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
        }
        // A pod that is gone took its conditions along.
        let Some(now) = shared.store.pod(&name) else { return Done { name, cleaned: None } };
        if now.uid != pod.uid {
            reporter = PodReporter::new(Arc::clone(&shared));
        }
        pod = now;
        until = match reporter.step(&name, &pod).await {
            Next::Wait(until) => until,
            Next::End => {
                let cleaned = Cleaned::new(&pod, reporter.last_write.as_ref());
                return Done { name, cleaned: Some(cleaned) };
            }
        };
    }
}

// === impl Cleaned ===

impl Cleaned {
    fn new(pod: &SeenPod, last_write: Option<&LastWrite>) -> Self {
        let (version, on_pod) = newest(pod, last_write);
        let foreign = on_pod.iter().map(|condition| condition.type_.clone()).collect();
        Self { uid: Arc::clone(&pod.uid), version, foreign }
    }

    /// Whether the pod, as the watch shows it, is still clean.
    pub(super) fn still_is(&self, pod: &SeenPod) -> bool {
        let is_foreign = |condition: &PodCondition| self.foreign.contains(&condition.type_);
        let is_late = pod.version < self.version;
        self.uid == pod.uid && (is_late || pod.conditions.iter().all(is_foreign))
    }
}

// === impl PodReporter ===

impl PodReporter {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            last_write: None,
            reported: Reported::default(),
            waiting_events: Vec::new(),
            event_budget: Budget::new(EVENT_BUDGET.0, EVENT_BUDGET.1),
            condition_budget: Budget::new(CONDITION_BUDGET.0, CONDITION_BUDGET.1),
            is_contested: false,
            transient_since: None,
            condition_retry: RETRY,
            event_retry: EVENT_RETRY,
            shared,
        }
    }

    /// Brings the pod's conditions up to date, and creates the Events of changes.
    async fn step(&mut self, name: &str, pod: &SeenPod) -> Next {
        let entry = self.shared.registry.workload(name);
        let (wanted, events) = match entry {
            _ if self.shared.is_ending() => (Vec::new(), self.reported.end(EndCause::Shutdown)),
            Some(entry) if is_of(&entry, pod) => {
                self.is_contested = entry.is_contested;
                if pod.workload.is_none() {
                    // The annotations are gone, but the reconciler has not removed the rules yet.
                    return Next::Wait(None);
                }
                if let Some(until) = self.transient_until(&entry.rules) {
                    return self.wait_for_transient(pod, &entry.rules, until).await;
                }
                (conditions(&entry.rules), self.reported.update(&entry.rules))
            }
            // The reconciler has not published the annotations yet.
            _ if pod.workload.is_some() => return Next::Wait(None),
            _ => (Vec::new(), self.reported.end(EndCause::Removed)),
        };
        self.add_events(worth_telling(events, pod));
        if let Err(retry_at) = self.apply(pod, &wanted).await {
            return Next::Wait(Some(retry_at));
        }
        // After the conditions: if the API server does not answer, it gets no further requests.
        let retry_at = self.create_events(pod).await;
        if wanted.is_empty() && retry_at.is_none() { Next::End } else { Next::Wait(retry_at) }
    }

    /// The time until which a transient state of these rules is not reported. `None` if their state
    /// must be reported now.
    fn transient_until(&mut self, rules: &[RuleEntry]) -> Option<Instant> {
        let Some(grace) = transient_grace(rules) else {
            self.transient_since = None;
            return None;
        };
        let now = Instant::now();
        let until = *self.transient_since.get_or_insert(now) + grace;
        (now < until).then_some(until)
    }

    /// Waits for a transient state to end, without reporting it.
    async fn wait_for_transient(
        &mut self,
        pod: &SeenPod,
        rules: &[RuleEntry],
        until: Instant,
    ) -> Next {
        // A stale `True` of the previous rule would be mistaken for this rule's.
        if self.reported.is_outdated(rules)
            && let Err(retry_at) = self.apply(pod, &conditions(rules)).await
        {
            return Next::Wait(Some(retry_at.min(until)));
        }
        Next::Wait(Some(until))
    }

    /// Applies the wanted conditions, if they differ from those on the pod.
    ///
    /// # Errors
    /// They could not be applied now; the error is the time of the next attempt.
    async fn apply(&mut self, pod: &SeenPod, wanted: &[ConditionSpec]) -> Result<(), Instant> {
        let now = Instant::now();
        let (_, on_pod) = newest(pod, self.last_write.as_ref());
        // Another daemon's conditions say what is in force. Both write by the same name, so a write
        // of this daemon would replace them, again and again. Its Events say why it waits.
        let is_own = self.last_write.as_ref().is_some_and(|last| last.on_pod == on_pod);
        let is_foreign = self.is_contested && !is_own && !on_pod.is_empty();
        if is_foreign || are_equal(wanted, on_pod) {
            return Ok(());
        }
        let is_ending = self.shared.is_ending();
        let same_write = self.last_write.as_ref().filter(|last| last.specs == wanted);
        if let Some(last) = same_write.filter(|_| !is_ending) {
            // The difference remained after our last write: another writer owns those conditions.
            if last.on_pod == on_pod {
                return Ok(());
            }
            // Another writer changed them, and may do so again and again.
            if now < last.at + RESTORE_DELAY {
                return Err(last.at + RESTORE_DELAY);
            }
        }
        if !is_ending {
            self.condition_budget.take(now)?;
        }
        let with_time = |spec: &ConditionSpec| spec.to_condition(transition_time(spec, on_pod));
        let list: Vec<_> = wanted.iter().map(with_time).collect();
        let _permit = self.shared.condition_permits.acquire().await;
        match api::apply_conditions(&self.shared.client, pod, &list).await {
            Ok(SeenPod { conditions: on_pod, version, .. }) => {
                self.condition_retry.reset();
                let specs = wanted.to_vec();
                self.last_write = Some(LastWrite { specs, on_pod, version, at: now });
                Ok(())
            }
            Err(error) => {
                // If the pod is gone, the watch soon shows that, so it is not worth a warning.
                if let (RequestError::Other(error), 0) = (&error, self.condition_retry.failures()) {
                    let workload = format_args!("{}/{}", pod.namespace, pod.name);
                    tracing::warn!(%workload, error, "could not write conditions; retrying");
                }
                Err(Instant::now() + self.condition_retry.failed())
            }
        }
    }

    /// Adds Events to those that wait. Drops the oldest above [`MAX_WAITING_EVENTS`].
    fn add_events(&mut self, events: Vec<PodEvent>) {
        self.waiting_events.extend(events);
        let excess = self.waiting_events.len().saturating_sub(MAX_WAITING_EVENTS);
        for event in self.waiting_events.drain(..excess) {
            self.shared.events.count(event.reason, EventOutcome::Suppressed);
        }
    }

    /// Creates the waiting Events until one fails. Returns the time of the next attempt, if there
    /// is one.
    async fn create_events(&mut self, pod: &SeenPod) -> Option<Instant> {
        let mut waiting = std::mem::take(&mut self.waiting_events).into_iter();
        while let Some(event) = waiting.next() {
            if self.event_budget.take(Instant::now()).is_err() {
                self.shared.events.count(event.reason, EventOutcome::Suppressed);
                continue;
            }
            let result = {
                let _permit = self.shared.event_permits.acquire().await;
                api::create_event(&self.shared.client, &self.shared.node, pod, &event).await
            };
            match result {
                Ok(()) => self.shared.events.count(event.reason, EventOutcome::Sent),
                Err(RequestError::Gone) => {
                    self.shared.events.count(event.reason, EventOutcome::Failed);
                }
                Err(RequestError::Other(error)) => {
                    tracing::debug!(
                        pod = %pod.name,
                        reason = %event.reason,
                        error,
                        "could not create an Event"
                    );
                    return self.retry_later(std::iter::once(event).chain(waiting).collect());
                }
            }
            self.event_retry.reset();
        }
        None
    }

    /// Keeps Events for a later attempt, and returns its time. Drops them after the last attempt,
    /// or if the daemon ends.
    fn retry_later(&mut self, events: Vec<PodEvent>) -> Option<Instant> {
        let pause = self.event_retry.failed();
        if self.event_retry.failures() == MAX_EVENT_ATTEMPTS || self.shared.is_ending() {
            self.event_retry.reset();
            for event in events {
                self.shared.events.count(event.reason, EventOutcome::Failed);
            }
            return None;
        }
        self.waiting_events = events;
        Some(Instant::now() + pause)
    }
}

/// The Events that are worth creating: none of a pod that is being deleted is a Warning.
fn worth_telling(mut events: Vec<PodEvent>, pod: &SeenPod) -> Vec<PodEvent> {
    if pod.workload.as_ref().is_some_and(|workload| workload.terminating) {
        events.retain(|event| !event.reason.is_warning());
    }
    events
}

/// Whether the reconciler published this entry for this very pod.
fn is_of(entry: &WorkloadEntry, pod: &SeenPod) -> bool {
    entry.uid.as_ref() == Some(&pod.uid)
}

/// The newest known version of the pod, and the conditions of interceptor on it. Until the watch
/// has caught up with our last write, the answer to that write is newer.
fn newest<'a>(pod: &'a SeenPod, last_write: Option<&'a LastWrite>) -> (u64, &'a [PodCondition]) {
    match last_write {
        Some(last) if pod.version < last.version => (last.version, &last.on_pod),
        _ => (pod.version, &pod.conditions),
    }
}

/// Whether the conditions on a pod are exactly the wanted ones.
fn are_equal(wanted: &[ConditionSpec], on_pod: &[PodCondition]) -> bool {
    let exists = |spec: &ConditionSpec| on_pod.iter().any(|one| ConditionSpec::read(one) == *spec);
    wanted.len() == on_pod.len() && wanted.iter().all(exists)
}

/// When the condition took its status: the time on the pod, if the status stays the same.
fn transition_time(wanted: &ConditionSpec, on_pod: &[PodCondition]) -> Timestamp {
    let time = on_pod.iter().find_map(|condition| {
        let spec = ConditionSpec::read(condition);
        let is_same = spec.type_ == wanted.type_ && spec.active == wanted.active;
        Some(condition.last_transition_time.as_ref().filter(|_| is_same)?.0)
    });
    time.unwrap_or_else(Timestamp::now)
}

#[cfg(test)]
mod tests;
