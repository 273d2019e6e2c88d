//! The task of one pod.

use std::{collections::HashMap, sync::Arc, sync::atomic::Ordering, time::Duration};

use k8s_openapi::jiff::Timestamp;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    Desk,
    api::{self, Failure},
    budget::Budget,
};
use crate::kube::{
    condition::{Said, conditions, is_passing},
    event::{News, Told},
    pod::SeenPod,
};

/// A state that passes by itself is told if it has not passed by then.
const PASSING: Duration = Duration::from_secs(1);
/// Conditions of one pod: this many in a row (a script that tries things out), then one at a time (something flaps).
const CONDITIONS: (u32, Duration) = (120, Duration::from_secs(1));
/// Events of one pod, likewise; what exceeds it is not told, and counted.
const EVENTS: (u32, Duration) = (40, Duration::from_secs(15));
/// News that wait for an API server that is away; the oldest are dropped, and counted as suppressed.
const UNTOLD: usize = 64;
/// After a request that failed; doubles up to [`SLOWEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(500);
const SLOWEST_RETRY: Duration = Duration::from_secs(15);

/// What the task remembers of its pod.
struct Teller {
    desk: Arc<Desk>,
    /// What the pod carries, as far as is known, each with the time of its last change.
    carried: HashMap<String, (Said, Timestamp)>,
    told: Told,
    /// News for Events that were not made yet.
    untold: Vec<News>,
    events: Budget,
    conditions: Budget,
    /// Since when a state has been passing.
    passing_since: Option<Instant>,
    failures: u32,
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
    /// The pod's uid, if there is a pod that nothing of ours is on any more.
    pub(super) cleaned: Option<Arc<str>>,
}

/// Tells of the pod behind the workload `name` until nothing of ours is on it.
pub(super) async fn tell(desk: Arc<Desk>, name: Arc<str>, changed: Arc<Notify>) -> Done {
    let Some(mut pod) = desk.store.pod(&name) else { return Done { name, cleaned: None } };
    let mut teller = Teller::new(Arc::clone(&desk), &pod);
    let mut until = None;
    loop {
        tokio::select! {
            () = changed.notified() => {}
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
        }
        // Gone, and all that was on it?
        let Some(now) = desk.store.pod(&name) else { return Done { name, cleaned: None } };
        if now.uid != pod.uid {
            teller = Teller::new(Arc::clone(&desk), &now);
        }
        pod = now;
        until = match teller.step(&name, &pod).await {
            Next::Wait(until) => until,
            Next::End => return Done { name, cleaned: Some(pod.uid) },
        };
    }
}

// === impl Teller ===

impl Teller {
    fn new(desk: Arc<Desk>, pod: &SeenPod) -> Self {
        let since = |time: Option<Timestamp>| time.unwrap_or_else(Timestamp::now);
        let carried = pod.conditions.iter().map(|condition| {
            let time = condition.last_transition_time.as_ref().map(|time| time.0);
            (condition.type_.clone(), (Said::read(condition), since(time)))
        });
        Self {
            carried: carried.collect(),
            told: Told::default(),
            untold: Vec::new(),
            events: Budget::new(EVENTS.0, EVENTS.1),
            conditions: Budget::new(CONDITIONS.0, CONDITIONS.1),
            passing_since: None,
            failures: 0,
            desk,
        }
    }

    /// Brings the pod's conditions to what is to be said, and tells what is news.
    async fn step(&mut self, name: &str, pod: &SeenPod) -> Next {
        let ending = self.desk.ending.load(Ordering::Relaxed);
        let entry = self.desk.registry.workload(name);
        let (said, news) = match &entry {
            Some(entry) if !ending && pod.workload.is_some() && entry.uid.as_ref() == Some(&pod.uid) => {
                if is_passing(&entry.rules) {
                    let patience = *self.passing_since.get_or_insert_with(Instant::now) + PASSING;
                    if Instant::now() < patience {
                        return Next::Wait(Some(patience));
                    }
                } else {
                    self.passing_since = None;
                }
                (conditions(&entry.rules), self.told.news(&entry.rules))
            }
            // The reconciler has not come to it yet.
            _ if !ending && pod.workload.is_some() => return Next::Wait(None),
            _ => (Vec::new(), self.told.end()),
        };
        self.untold.extend(news);
        let excess = self.untold.len().saturating_sub(UNTOLD);
        self.untold.drain(..excess).for_each(|news| self.desk.events.count(news.reason, "suppressed"));
        if let Err(again) = self.apply(pod, &said).await {
            return Next::Wait(Some(again));
        }
        // Conditions come first, and an API server that does not answer is not asked for more.
        self.tell(pod).await;
        if said.is_empty() { Next::End } else { Next::Wait(None) }
    }

    /// Applies conditions that differ from what the pod carries. The error tells when to try again.
    async fn apply(&mut self, pod: &SeenPod, said: &[Said]) -> Result<(), Instant> {
        let same = |said: &Said| self.carried.get(&said.type_).is_some_and(|(carried, _)| carried == said);
        if said.len() == self.carried.len() && said.iter().all(same) {
            return Ok(());
        }
        if !self.desk.ending.load(Ordering::Relaxed) {
            self.conditions.take(Instant::now())?;
        }
        let now = Timestamp::now();
        let since = |said: &Said| match self.carried.get(&said.type_) {
            Some((carried, since)) if carried.active == said.active => *since,
            _ => now,
        };
        let carried: HashMap<_, _> =
            said.iter().map(|said| (said.type_.clone(), (said.clone(), since(said)))).collect();
        let list: Vec<_> = carried.values().map(|(said, since)| said.condition(*since)).collect();
        let _permit = self.desk.permits.acquire().await;
        match api::apply(&self.desk.client, pod, &list).await {
            Ok(()) => {
                self.failures = 0;
                self.carried = carried;
                Ok(())
            }
            Err(failure) => {
                // A pod that is gone is soon gone from the watch, too.
                if let (Failure::Error(error), 0) = (&failure, self.failures) {
                    let workload = format_args!("{}/{}", pod.namespace, pod.name);
                    tracing::warn!(%workload, error, "write conditions; trying again");
                }
                let pause = SLOWEST_RETRY.min(FIRST_RETRY * 2_u32.saturating_pow(self.failures.min(16)));
                self.failures += 1;
                Err(Instant::now() + pause)
            }
        }
    }

    async fn tell(&mut self, pod: &SeenPod) {
        for news in std::mem::take(&mut self.untold) {
            let outcome = if self.events.take(Instant::now()).is_err() {
                "suppressed"
            } else {
                let _permit = self.desk.permits.acquire().await;
                match api::tell(&self.desk.client, &self.desk.node, pod, &news).await {
                    Ok(()) => "sent",
                    Err(Failure::Gone) => "failed",
                    Err(Failure::Error(error)) => {
                        tracing::debug!(pod = %pod.name, reason = news.reason, error, "create an Event");
                        "failed"
                    }
                }
            };
            self.desk.events.count(news.reason, outcome);
        }
    }
}
