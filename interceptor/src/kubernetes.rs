//! Kubernetes: reads rules from annotations of this node's pods, and reports their state there.
//!
//! ```text
//! client.rs      the client for the API server; every request is counted
//! watch.rs       one watch for the node's pods, and one for namespaces if the policy selects some
//!   outage.rs      when a broken watch is retried, and what the log says about it
//!   pod.rs         reads a pod's object (pure)
//!   store.rs       the pods as last seen; the reconciler reads its workloads there
//!   boot.rs        which statuses of pods describe the time before the node's boot
//! report.rs      conditions and Events on pods, at a bounded rate
//!   condition.rs   which conditions a pod should have (pure)
//!   event.rs       which changes deserve an Event (pure)
//! ```
//!
//! The daemon needs the API server to see changes and to report states. While the API server is
//! away, all rules stay as they are.

pub mod boot;
pub mod client;
#[cfg(test)]
pub(crate) mod fake;
pub mod pod;
pub mod report;
pub mod store;
pub mod watch;

use std::sync::Arc;

use kube::Client;
use tokio::{sync::mpsc, task::JoinHandle};

use self::{
    boot::{Boot, STATUS_GRACE},
    client::Requests,
    report::{Change, EventCounts, Reports},
    store::{PodChange, Store},
    watch::WatchErrors,
};
use crate::{
    config::policy::Policy,
    control::{context::Wake, registry::Registry},
};

/// What the daemon knows about the cluster, and counters of its requests to the API server.
#[derive(Clone)]
pub struct Cluster {
    /// The pods of this node.
    pub store: Arc<Store>,
    /// The number of requests so far.
    pub requests: Arc<Requests>,
    /// The number of Events so far.
    pub events: Arc<EventCounts>,
    /// The number of broken watches so far.
    pub watch_errors: Arc<WatchErrors>,
}

/// Ends the tasks that [`Cluster::start`] started.
pub struct Tasks {
    changes: mpsc::UnboundedSender<Change>,
    reports: JoinHandle<()>,
}

// === impl Cluster ===

impl Cluster {
    /// A cluster of which nothing is known yet.
    #[must_use]
    pub fn new(policy: &Arc<Policy>) -> Self {
        Self {
            store: Arc::new(Store::new(Arc::clone(policy), Boot::of_this_node())),
            requests: Arc::default(),
            events: Arc::default(),
            watch_errors: Arc::default(),
        }
    }

    /// Starts to watch the pods of `node`, and to report on them what `registry` publishes.
    pub fn start(
        &self,
        client: &Client,
        node: &str,
        policy: &Policy,
        registry: &Arc<Registry>,
        wakes: &mpsc::UnboundedSender<Wake>,
    ) -> Tasks {
        let (changes, received) = mpsc::unbounded_channel();
        let published = changes.clone();
        registry.listen(move |name| {
            let _ = published.send(Change::Pod(Arc::clone(name)));
        });
        let changed = {
            let (changes, wakes) = (changes.clone(), wakes.clone());
            // The receivers are gone only when the daemon ends.
            move |change: Option<PodChange>| {
                if change.as_ref().is_none_or(|change| change.workload) {
                    let _ = wakes.send(Wake::Source);
                }
                let _ =
                    changes.send(change.map_or(Change::Pods, |change| Change::Pod(change.name)));
            }
        };
        let grace_over = wakes.clone();
        tokio::spawn(async move {
            tokio::time::sleep(STATUS_GRACE).await;
            let _ = grace_over.send(Wake::Source);
        });
        let (store, errors) = (Arc::clone(&self.store), Arc::clone(&self.watch_errors));
        if let Some(selector) = policy.namespaces() {
            let (store, errors) = (Arc::clone(&store), Arc::clone(&errors));
            vital(watch::watch_namespaces(
                client.clone(),
                selector.to_owned(),
                store,
                errors,
                changed.clone(),
            ));
        }
        vital(watch::watch_pods(client.clone(), node.to_owned(), store, errors, changed));
        let reports = Reports::new(
            client.clone(),
            node.to_owned(),
            Arc::clone(&self.store),
            Arc::clone(registry),
            Arc::clone(&self.events),
        );
        Tasks { changes, reports: tokio::spawn(reports.run(received)) }
    }
}

/// Starts a task that the daemon can't work without. If it panics, the daemon aborts, and all
/// traffic reaches the apps again. Otherwise a rule whose annotation is removed would stay in
/// force.
fn vital(task: impl Future<Output = ()> + Send + 'static) {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            if std::thread::panicking() {
                tracing::error!("a watch panicked, so the daemon ends: it would miss changes");
                std::process::abort();
            }
        }
    }
    tokio::spawn(async move {
        let _guard = Guard;
        task.await;
    });
}

// === impl Tasks ===

impl Tasks {
    /// Removes the conditions from the pods. Gives up after a few seconds.
    pub async fn end(self) {
        let _ = self.changes.send(Change::End);
        if let Err(error) = self.reports.await {
            tracing::error!(%error, "the task of the reports panicked");
        }
    }
}
