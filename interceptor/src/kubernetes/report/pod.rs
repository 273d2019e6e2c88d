//! The task of one pod.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use k8s_openapi::{api::core::v1::PodCondition, jiff::Timestamp};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    Shared,
    api::{self, Failure},
    budget::Budget,
};
use crate::{
    backoff::Backoff,
    kubernetes::{
        pod::SeenPod,
        report::condition::{ConditionSpec, conditions, is_passing},
        report::event::{PodEvent, Reported},
    },
};

/// A state that passes by itself is told if it has not passed by then.
const PASSING: Duration = Duration::from_secs(1);
/// Conditions of one pod: this many in a row (a script that tries things out), then one at a time (something flaps).
const CONDITIONS: (u32, Duration) = (120, Duration::from_secs(1));
/// Events of one pod, likewise; what exceeds it is not told, and counted.
const EVENTS: (u32, Duration) = (40, Duration::from_secs(15));
/// What somebody else took off or changed is put right so long after the last write at the earliest.
const RESTORE: Duration = Duration::from_secs(5);
/// PodEvent that wait for an API server that is away; the oldest are dropped, and counted as suppressed.
const UNTOLD: usize = 64;
/// The delays after a write of conditions that failed.
const RETRY: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
/// The delays after an Event that could not be created.
const EVENT_RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(4));
/// An Event that was refused so often in a row is not told, and what waits behind it neither.
const EVENT_TRIES: u32 = 4;

/// What the task remembers of its pod.
struct PodReporter {
    desk: Arc<Shared>,
    /// Nothing before the first one.
    last: Option<LastWrite>,
    told: Reported,
    /// PodEvent for Events that were not made yet.
    untold: Vec<PodEvent>,
    events: Budget,
    conditions: Budget,
    /// Since when a state has been passing.
    passing_since: Option<Instant>,
    /// Writes of conditions that failed in a row, and Events.
    retry: Backoff,
    event_retry: Backoff,
}

/// Conditions written.
struct LastWrite {
    said: Vec<ConditionSpec>,
    /// What of ours the pod carries since.
    carried: Vec<PodCondition>,
    /// The pod's version by that.
    version: u64,
    at: Instant,
}

/// What is to be done next.
enum Next {
    /// Nothing until something changes, or until then at the latest.
    Wait(Option<Instant>),
    /// Nothing any more.
    End,
}

/// The end of a task.
pub(super) struct Done {
    /// The workload that it told of.
    pub(super) name: Arc<str>,
    /// Nothing if the pod is gone.
    pub(super) cleaned: Option<Cleaned>,
}

/// A pod that nothing of ours is on any more.
pub(super) struct Cleaned {
    uid: Arc<str>,
    /// Since this version.
    version: u64,
    /// What is on it still, by type: not ours to take off.
    theirs: Vec<String>,
}

/// Tells of the pod behind the workload `name` until nothing of ours is on it.
pub(super) async fn tell(desk: Arc<Shared>, name: Arc<str>, changed: Arc<Notify>) -> Done {
    let Some(mut pod) = desk.store.pod(&name) else { return Done { name, cleaned: None } };
    let mut teller = PodReporter::new(Arc::clone(&desk));
    let mut until = None;
    loop {
        tokio::select! {
            () = changed.notified() => {}
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
        }
        // Gone, and all that was on it?
        let Some(now) = desk.store.pod(&name) else { return Done { name, cleaned: None } };
        if now.uid != pod.uid {
            teller = PodReporter::new(Arc::clone(&desk));
        }
        pod = now;
        until = match teller.step(&name, &pod).await {
            Next::Wait(until) => until,
            Next::End => {
                return Done { name, cleaned: Some(Cleaned::new(&pod, teller.last.as_ref())) };
            }
        };
    }
}

// === impl Cleaned ===

impl Cleaned {
    fn new(pod: &SeenPod, last: Option<&LastWrite>) -> Self {
        let (version, carried) = known(pod, last);
        let theirs = carried.iter().map(|condition| condition.type_.clone()).collect();
        Self { uid: Arc::clone(&pod.uid), version, theirs }
    }

    /// Whether that can be said of the pod as it is seen now.
    pub(super) fn still_is(&self, pod: &SeenPod) -> bool {
        let is_theirs = |condition: &PodCondition| self.theirs.contains(&condition.type_);
        self.uid == pod.uid && (pod.version < self.version || pod.conditions.iter().all(is_theirs))
    }
}

// === impl PodReporter ===

impl PodReporter {
    fn new(desk: Arc<Shared>) -> Self {
        Self {
            last: None,
            told: Reported::default(),
            untold: Vec::new(),
            events: Budget::new(EVENTS.0, EVENTS.1),
            conditions: Budget::new(CONDITIONS.0, CONDITIONS.1),
            passing_since: None,
            retry: RETRY,
            event_retry: EVENT_RETRY,
            desk,
        }
    }

    /// Brings the pod's conditions to what is to be said, and tells what is news.
    async fn step(&mut self, name: &str, pod: &SeenPod) -> Next {
        let ending = self.desk.ending.load(Ordering::Relaxed);
        let entry = self.desk.registry.workload(name);
        let (said, news) = match &entry {
            Some(entry)
                if !ending && pod.workload.is_some() && entry.uid.as_ref() == Some(&pod.uid) =>
            {
                if is_passing(&entry.rules) {
                    let patience = *self.passing_since.get_or_insert_with(Instant::now) + PASSING;
                    if Instant::now() < patience {
                        // What is true on the pod of the rule before would be taken for what is true of this one.
                        if self.told.is_outdated(&entry.rules)
                            && let Err(again) = self.apply(pod, &conditions(&entry.rules)).await
                        {
                            return Next::Wait(Some(again.min(patience)));
                        }
                        return Next::Wait(Some(patience));
                    }
                } else {
                    self.passing_since = None;
                }
                (conditions(&entry.rules), self.told.news(&entry.rules))
            }
            // The reconciler has not come to it yet, to what is written or to that nothing is.
            Some(entry) if !ending && entry.uid.as_ref() == Some(&pod.uid) => {
                return Next::Wait(None);
            }
            _ if !ending && pod.workload.is_some() => return Next::Wait(None),
            _ => (Vec::new(), self.told.end()),
        };
        self.untold.extend(news);
        let excess = self.untold.len().saturating_sub(UNTOLD);
        self.untold
            .drain(..excess)
            .for_each(|news| self.desk.events.count(news.reason, "suppressed"));
        if let Err(again) = self.apply(pod, &said).await {
            return Next::Wait(Some(again));
        }
        // Conditions come first, and an API server that does not answer is not asked for more.
        let again = self.tell(pod).await;
        if said.is_empty() && again.is_none() { Next::End } else { Next::Wait(again) }
    }

    /// Applies conditions that differ from what the pod carries. The error tells when to try again.
    async fn apply(&mut self, pod: &SeenPod, said: &[ConditionSpec]) -> Result<(), Instant> {
        let now = Instant::now();
        let (_, carried) = known(pod, self.last.as_ref());
        if is_said(said, carried) {
            return Ok(());
        }
        let ending = self.desk.ending.load(Ordering::Relaxed);
        if let Some(last) = self.last.as_ref().filter(|last| last.said == said && !ending) {
            // What differs still is somebody else's, and no write of ours changes it.
            if last.carried == carried {
                return Ok(());
            }
            // Who else writes them may do so again and again.
            if now < last.at + RESTORE {
                return Err(last.at + RESTORE);
            }
        }
        if !ending {
            self.conditions.take(now)?;
        }
        let list: Vec<_> = said.iter().map(|said| said.condition(since(said, carried))).collect();
        let _permit = self.desk.permits.acquire().await;
        match api::apply(&self.desk.client, pod, &list).await {
            Ok(SeenPod { conditions: carried, version, .. }) => {
                self.retry.reset();
                self.last = Some(LastWrite { said: said.to_vec(), carried, version, at: now });
                Ok(())
            }
            Err(failure) => {
                // A pod that is gone is soon gone from the watch, too.
                if let (Failure::Error(error), 0) = (&failure, self.retry.failures()) {
                    let workload = format_args!("{}/{}", pod.namespace, pod.name);
                    tracing::warn!(%workload, error, "write conditions; trying again");
                }
                Err(Instant::now() + self.retry.failed())
            }
        }
    }

    /// Creates Events for what is news, until one fails: the next would only keep the pod's conditions waiting. Tells when to
    /// try that one again.
    async fn tell(&mut self, pod: &SeenPod) -> Option<Instant> {
        let mut untold = std::mem::take(&mut self.untold).into_iter();
        while let Some(news) = untold.next() {
            if self.events.take(Instant::now()).is_err() {
                self.desk.events.count(news.reason, "suppressed");
                continue;
            }
            let told = {
                let _permit = self.desk.event_permits.acquire().await;
                api::tell(&self.desk.client, &self.desk.node, pod, &news).await
            };
            match told {
                Ok(()) => self.desk.events.count(news.reason, "sent"),
                Err(Failure::Gone) => self.desk.events.count(news.reason, "failed"),
                Err(Failure::Error(error)) => {
                    tracing::debug!(pod = %pod.name, reason = news.reason, error, "create an Event");
                    let untold = std::iter::once(news).chain(untold).collect::<Vec<_>>();
                    return self.put_off(untold);
                }
            }
            self.event_retry.reset();
        }
        None
    }

    /// Keeps what could not be told for another time, unless that was tried often enough or the daemon ends.
    fn put_off(&mut self, untold: Vec<PodEvent>) -> Option<Instant> {
        let pause = self.event_retry.failed();
        if self.event_retry.failures() == EVENT_TRIES || self.desk.ending.load(Ordering::Relaxed) {
            self.event_retry.reset();
            untold.iter().for_each(|news| self.desk.events.count(news.reason, "failed"));
            return None;
        }
        self.untold = untold;
        Some(Instant::now() + pause)
    }
}

/// The version of the pod that is known, and what of ours it carries. The watch is always a little late: until it has come
/// to our own last write, that knows better.
fn known<'a>(pod: &'a SeenPod, last: Option<&'a LastWrite>) -> (u64, &'a [PodCondition]) {
    match last {
        Some(last) if pod.version < last.version => (last.version, &last.carried),
        _ => (pod.version, &pod.conditions),
    }
}

/// Whether `carried` says just that.
fn is_said(said: &[ConditionSpec], carried: &[PodCondition]) -> bool {
    said.len() == carried.len()
        && said
            .iter()
            .all(|said| carried.iter().any(|carried| ConditionSpec::read(carried) == *said))
}

/// Since when it is so: its message may have changed later.
fn since(said: &ConditionSpec, carried: &[PodCondition]) -> Timestamp {
    let same =
        carried.iter().map(|carried| (ConditionSpec::read(carried), &carried.last_transition_time));
    let mut same =
        same.filter(|(carried, _)| (&carried.type_, carried.active) == (&said.type_, said.active));
    same.find_map(|(_, time)| Some(time.as_ref()?.0)).unwrap_or_else(Timestamp::now)
}

#[cfg(test)]
mod tests;
