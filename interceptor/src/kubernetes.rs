//! Kubernetes: rules from the annotations of this node's pods, and what became of them back to where people look.
//!
//! ```text
//! client.rs      the API server; every request is counted
//! watch.rs       one watch for the pods of this node, and one for namespaces if the policy chooses among them
//!   outage.rs      when a watch that broke is begun again, and what the log says of it
//!   pod.rs         what a pod's object says to us (pure)
//!   store.rs       the pods as they were last seen; the reconciler reads its workloads there
//!   boot.rs        from when on it is true what is said of pods
//! report.rs      conditions and Events, when something has changed and not too often
//!   condition.rs   what is to be said of a pod (pure)
//!   event.rs       what is worth an Event (pure)
//! ```
//!
//! The API server is needed to hear of changes and to tell of them. While it is away, what was in force stays in force.

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

/// What is known of the cluster and of the talk with its API server.
#[derive(Clone)]
pub struct Cluster {
    /// The pods of this node.
    pub store: Arc<Store>,
    /// Requests so far.
    pub requests: Arc<Requests>,
    /// Events so far.
    pub events: Arc<EventCounts>,
    /// Watches that broke so far.
    pub watch_errors: Arc<WatchErrors>,
}

/// The end of the tasks that talk to the API server.
pub struct Tasks {
    changes: mpsc::UnboundedSender<Change>,
    reports: JoinHandle<()>,
}

// === impl Cluster ===

impl Cluster {
    /// Nothing known yet.
    #[must_use]
    pub fn new(policy: &Arc<Policy>) -> Self {
        Self {
            store: Arc::new(Store::new(Arc::clone(policy), Boot::of_this_node())),
            requests: Arc::default(),
            events: Arc::default(),
            watch_errors: Arc::default(),
        }
    }

    /// Begins to hear of the pods of `node` and to tell on them what `registry` publishes.
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
            // Nobody listens any more when the daemon ends.
            move |change: Option<PodChange>| {
                if change.as_ref().is_none_or(|change| change.workload) {
                    let _ = wakes.send(Wake::Source);
                }
                let _ =
                    changes.send(change.map_or(Change::Pods, |change| Change::Pod(change.name)));
            }
        };
        let end_of_doubt = wakes.clone();
        tokio::spawn(async move {
            tokio::time::sleep(STATUS_GRACE).await;
            let _ = end_of_doubt.send(Wake::Source);
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

/// Starts a task that the daemon is of no use without: should it panic, so does the daemon, which gives all traffic back.
/// Otherwise nobody would ever hear that a rule is to end.
fn vital(task: impl Future<Output = ()> + Send + 'static) {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            if std::thread::panicking() {
                tracing::error!("the daemon can't hear of changes any more, and ends");
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
    /// Takes what is ours off the pods; gives up after a few seconds.
    pub async fn end(self) {
        let _ = self.changes.send(Change::End);
        if let Err(error) = self.reports.await {
            tracing::error!(%error, "the reports ended by themselves");
        }
    }
}
