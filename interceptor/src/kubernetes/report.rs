//! Conditions and Events on pods, written when a rule changes its state and at a bounded rate.
//!
//! Each pod with annotations of interceptor has a task. The task compares the conditions that the
//! pod should have with those that it has, and sends a request only if they differ. A budget per
//! pod bounds the rate of requests, even if a state changes all the time.
//!
//! ```text
//! pod.rs         the task of one pod
//! shared.rs      what the tasks of all pods have in common
//! condition.rs   which conditions a pod should have (pure)
//! event.rs       which changes deserve an Event (pure)
//! budget.rs      a token bucket
//! api.rs         the two requests
//! ```

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use kube::Client;
use tokio::{
    sync::{Notify, mpsc::UnboundedReceiver},
    task::JoinSet,
    time::timeout,
};

use self::shared::Shared;
use super::{pod::SeenPod, store::Store};
use crate::control::registry::Registry;

mod api;
mod budget;
pub mod condition;
pub mod event;
mod pod;
mod shared;
#[cfg(test)]
mod tests;

pub use api::{EventCount, EventCounts};

/// Maximum time that the removal of conditions may take when the daemon ends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Reports the states of rules on their pods.
pub struct Reports {
    shared: Arc<Shared>,
    /// The task of each pod that has one, by workload name.
    pods: HashMap<Arc<str>, PodTask>,
    tasks: JoinSet<pod::Done>,
    /// Pods that were cleaned, as long as the watch shows a leftover on them.
    cleaned: HashMap<Arc<str>, pod::Cleaned>,
}

/// The task of one pod.
struct PodTask {
    /// Wakes it.
    changed: Arc<Notify>,
    id: tokio::task::Id,
}

/// What wakes [`Reports`].
#[derive(Debug)]
pub enum Change {
    /// The reconciler published or removed this workload, or the watch shows a change of its pod.
    Pod(Arc<str>),
    /// Any pod may have changed.
    Pods,
    /// The daemon ends.
    End,
}

// === impl Reports ===

impl Reports {
    /// Reports on the pods in `store` what `registry` publishes. Nothing happens before
    /// [`run`](Self::run).
    #[must_use]
    pub fn new(
        client: Client,
        node: String,
        store: Arc<Store>,
        registry: Arc<Registry>,
        events: Arc<EventCounts>,
    ) -> Self {
        Self::from_shared(Arc::new(Shared::new(client, node, store, registry, events)))
    }

    fn from_shared(shared: Arc<Shared>) -> Self {
        Self { shared, pods: HashMap::new(), tasks: JoinSet::new(), cleaned: HashMap::new() }
    }

    /// Reports until the daemon ends; then removes every condition of interceptor from the pods.
    pub async fn run(mut self, mut changes: UnboundedReceiver<Change>) {
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Some(Change::Pod(name)) => self.wake_if_needed(&name),
                    Some(Change::Pods) => self.wake_all(),
                    Some(Change::End) | None => break,
                },
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(done) => {
                        self.pods.remove(&done.name);
                        let cleaned = done.cleaned.map(|pod| (Arc::clone(&done.name), pod));
                        self.cleaned.extend(cleaned);
                        // A change between the task's last step and its end needs a new task.
                        self.wake_if_needed(&done.name);
                    }
                    // The panic hook has logged it. The next change starts a new task.
                    Err(panicked) => self.pods.retain(|_, task| task.id != panicked.id()),
                }
            }
        }
        self.shared.end();
        self.wake_all();
        let rest = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(SHUTDOWN_TIMEOUT, rest).await.is_err() {
            tracing::warn!(
                "the API server does not answer; \
                 conditions stay on the pods until the daemon runs again"
            );
        }
    }

    /// Wakes the pod's task. Starts one if the pod has something to report or a leftover to remove.
    fn wake_if_needed(&mut self, name: &Arc<str>) {
        let pod = self.shared.store.pod(name);
        let leftover = pod.as_ref().filter(|pod| pod.is_leftover());
        if leftover.is_none() {
            self.cleaned.remove(name);
        }
        let is_clean =
            |pod: &SeenPod| self.cleaned.get(name).is_some_and(|cleaned| cleaned.still_is(pod));
        let must_clean = leftover.is_some_and(|pod| !is_clean(pod));
        let must_report = pod.is_some_and(|pod| pod.workload.is_some());
        if must_report || must_clean || self.pods.contains_key(name) {
            self.wake(name);
        }
    }

    fn wake(&mut self, name: &Arc<str>) {
        if let Some(task) = self.pods.get(name) {
            return task.changed.notify_one();
        }
        let changed = Arc::new(Notify::new());
        changed.notify_one();
        let report = pod::report(Arc::clone(&self.shared), Arc::clone(name), Arc::clone(&changed));
        let id = self.tasks.spawn(report).id();
        self.pods.insert(Arc::clone(name), PodTask { changed, id });
    }

    fn wake_all(&mut self) {
        let known = self.pods.keys().chain(self.cleaned.keys()).cloned();
        let all: HashSet<_> = known.chain(self.shared.store.leftovers()).collect();
        all.iter().for_each(|name| self.wake_if_needed(name));
    }
}
