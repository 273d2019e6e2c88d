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
//! selftest.rs    `helm test`, uninstall.rs `helm uninstall`: commands of their own
//! ```
//!
//! The API server is needed to hear of changes and to tell of them. While it is away, what was in force stays in force.

pub mod boot;
pub mod client;
pub mod condition;
pub mod event;
#[cfg(test)]
mod fake;
pub mod pod;
pub mod report;
pub mod selftest;
pub mod store;
pub mod uninstall;
pub mod watch;

use std::sync::Arc;

use ::kube::Client;
use tokio::{sync::mpsc, task::JoinHandle};

use self::{
    boot::{Boot, DOUBT},
    client::Requests,
    report::{EventCounts, Poke, Reports},
    store::{Change, Store},
    watch::WatchErrors,
};
use crate::{
    config::policy::Policy,
    control::{reconciler::Wake, registry::Registry},
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
pub struct Talk {
    pokes: mpsc::UnboundedSender<Poke>,
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
    pub fn talk(
        &self,
        client: &Client,
        node: &str,
        policy: &Policy,
        registry: &Arc<Registry>,
        wakes: &mpsc::UnboundedSender<Wake>,
    ) -> Talk {
        let (pokes, poked) = mpsc::unbounded_channel();
        let published = pokes.clone();
        registry.listen(move |name| {
            let _ = published.send(Poke::Pod(Arc::clone(name)));
        });
        let changed = {
            let (pokes, wakes) = (pokes.clone(), wakes.clone());
            // Nobody listens any more when the daemon ends.
            move |change: Option<Change>| {
                if change.as_ref().is_none_or(|change| change.workload) {
                    let _ = wakes.send(Wake::Source);
                }
                let _ = pokes.send(change.map_or(Poke::Pods, |change| Poke::Pod(change.name)));
            }
        };
        let end_of_doubt = wakes.clone();
        tokio::spawn(async move {
            tokio::time::sleep(DOUBT).await;
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
        Talk { pokes, reports: tokio::spawn(reports.run(poked)) }
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

// === impl Talk ===

impl Talk {
    /// Takes what is ours off the pods; gives up after a few seconds.
    pub async fn end(self) {
        let _ = self.pokes.send(Poke::End);
        if let Err(error) = self.reports.await {
            tracing::error!(%error, "the reports ended by themselves");
        }
    }
}
