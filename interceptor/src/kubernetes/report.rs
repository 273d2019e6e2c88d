//! Conditions and Events on pods, when something has changed and not too often.
//!
//! Each pod with annotations of ours has a task. It compares what is to be said with what the pod carries, and asks the
//! API server only if they differ. A budget for each pod bounds how often that can be, whatever flaps.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kube::Client;
use tokio::{
    sync::{Notify, Semaphore, mpsc::UnboundedReceiver},
    task::JoinSet,
    time::timeout,
};

use super::{pod::SeenPod, store::Store};
use crate::control::registry::Registry;

mod api;
mod budget;
pub mod condition;
pub mod event;
mod pod;
#[cfg(test)]
mod tests;

pub use api::EventCounts;

/// Requests under way at one time: 200 pods that change at once are no reason for 200 requests at once.
const AT_ONCE: usize = 8;
/// How long the last conditions may take when the daemon ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// What every pod's task may use.
struct Shared {
    client: Client,
    node: String,
    store: Arc<Store>,
    registry: Arc<Registry>,
    permits: Semaphore,
    /// For Events: conditions do not wait for them.
    event_permits: Semaphore,
    events: Arc<EventCounts>,
    /// The daemon ends: nothing of ours is in force any more.
    ending: AtomicBool,
}

/// Tells on pods what became of their rules.
pub struct Reports {
    desk: Arc<Shared>,
    /// Wakes the task of each pod that has one.
    wakers: HashMap<Arc<str>, Waker>,
    tasks: JoinSet<pod::Done>,
    /// Workloads whose pods were cleaned, as long as something is seen on them.
    cleaned: HashMap<Arc<str>, pod::Cleaned>,
}

/// Wakes a pod's task.
struct Waker {
    changed: Arc<Notify>,
    task: tokio::task::Id,
}

/// What wakes [`Reports`].
#[derive(Debug)]
pub enum Change {
    /// The reconciler has published or forgotten this workload, or its pod has changed or gone.
    Pod(Arc<str>),
    /// Any of them may have.
    Pods,
    /// The daemon ends.
    End,
}

// === impl Reports ===

impl Reports {
    /// Nothing told yet.
    #[must_use]
    pub fn new(
        client: Client,
        node: String,
        store: Arc<Store>,
        registry: Arc<Registry>,
        events: Arc<EventCounts>,
    ) -> Self {
        let desk = Shared {
            client,
            node,
            store,
            registry,
            permits: Semaphore::new(AT_ONCE),
            event_permits: Semaphore::new(AT_ONCE),
            events,
            ending: AtomicBool::new(false),
        };
        Self::of(Arc::new(desk))
    }

    fn of(desk: Arc<Shared>) -> Self {
        Self { desk, wakers: HashMap::new(), tasks: JoinSet::new(), cleaned: HashMap::new() }
    }

    /// Tells until the end; then takes everything of ours off the pods.
    pub async fn run(mut self, mut changes: UnboundedReceiver<Change>) {
        loop {
            tokio::select! {
                poke = changes.recv() => match poke {
                    Some(Change::Pod(name)) => self.wake_if_any(&name),
                    Some(Change::Pods) => self.wake_all(),
                    Some(Change::End) | None => break,
                },
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(done) => {
                        self.wakers.remove(&done.name);
                        self.cleaned.extend(done.cleaned.map(|cleaned| (Arc::clone(&done.name), cleaned)));
                        // What came between its last look and its end.
                        self.wake_if_any(&done.name);
                    }
                    // A task that panicked has said so; the next poke begins another.
                    Err(panicked) => self.wakers.retain(|_, waker| waker.task != panicked.id()),
                }
            }
        }
        self.desk.ending.store(true, Ordering::Relaxed);
        self.wake_all();
        let rest = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(FAREWELL, rest).await.is_err() {
            tracing::warn!(
                "the API server does not answer; conditions stay on pods until the daemon is back"
            );
        }
    }

    /// Wakes the pod's task, unless it has none and there is nothing to tell or to clean.
    fn wake_if_any(&mut self, name: &Arc<str>) {
        let pod = self.desk.store.pod(name);
        let leftover = pod.as_ref().filter(|pod| pod.is_leftover());
        if leftover.is_none() {
            self.cleaned.remove(name);
        }
        let is_clean =
            |pod: &SeenPod| self.cleaned.get(name).is_some_and(|cleaned| cleaned.still_is(pod));
        let to_clean = leftover.is_some_and(|pod| !is_clean(pod));
        let to_tell = pod.is_some_and(|pod| pod.workload.is_some());
        if to_tell || to_clean || self.wakers.contains_key(name) {
            self.wake(name);
        }
    }

    fn wake(&mut self, name: &Arc<str>) {
        if let Some(waker) = self.wakers.get(name) {
            return waker.changed.notify_one();
        }
        let changed = Arc::new(Notify::new());
        changed.notify_one();
        let tell = pod::tell(Arc::clone(&self.desk), Arc::clone(name), Arc::clone(&changed));
        let task = self.tasks.spawn(tell).id();
        self.wakers.insert(Arc::clone(name), Waker { changed, task });
    }

    fn wake_all(&mut self) {
        let known = self.wakers.keys().chain(self.cleaned.keys()).cloned();
        let all: HashSet<_> = known.chain(self.desk.store.leftovers()).collect();
        all.iter().for_each(|name| self.wake_if_any(name));
    }
}
