//! One watch for the pods of this node, and one for namespaces if the policy selects some of them.
//!
//! Nothing is polled. The number of requests depends neither on the size of the cluster nor on
//! time.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::Stream as _;
use http::Request;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client, Resource,
    client::Body,
    core::PartialObjectMeta,
    runtime::{
        watcher,
        watcher::{Config, Event},
    },
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::time::sleep_until;
use tower::service_fn;

use self::outage::Outage;
use super::{
    client::is_watch,
    pod,
    store::{PodChange, Store},
};

mod outage;
#[cfg(test)]
mod tests;

/// Minimum time between the starts of two watches that the API server accepted.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// The number of broken watches. Each of them is retried.
#[derive(Debug, Default)]
pub struct WatchErrors(AtomicU64);

// === impl WatchErrors ===

impl WatchErrors {
    /// The number so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Keeps the pods in `store` up to date with those of `node`, for ever.
///
/// Calls `changed` with each change, or with `None` when any pod may have changed.
pub async fn watch_pods(
    client: Client,
    node: String,
    store: Arc<Store>,
    errors: Arc<WatchErrors>,
    changed: impl Fn(Option<PodChange>),
) {
    let config = Config::default().fields(&format!("spec.nodeName={node}"));
    let mut listed = Vec::new();
    follow::<Pod>("pods", client, config, &errors, |event| match event {
        Event::Init => listed.clear(),
        Event::InitApply(pod) => listed.extend(pod::read(&pod)),
        Event::InitDone => {
            store.replace(std::mem::take(&mut listed));
            changed(None);
        }
        Event::Apply(pod) => {
            if let Some(change) = pod::read(&pod).and_then(|pod| store.apply(pod)) {
                changed(Some(change));
            }
        }
        Event::Delete(pod) => {
            if let Some(change) = pod::read(&pod).and_then(|pod| store.delete(&pod)) {
                changed(Some(change));
            }
        }
    })
    .await;
}

/// Keeps the namespaces in `store` up to date with those that the label `selector` selects, for
/// ever.
pub async fn watch_namespaces(
    client: Client,
    selector: String,
    store: Arc<Store>,
    errors: Arc<WatchErrors>,
    changed: impl Fn(Option<PodChange>),
) {
    let config = Config::default().labels(&selector);
    let mut listed = BTreeSet::new();
    let name = |namespace: &PartialObjectMeta<Namespace>| {
        namespace.metadata.name.clone().unwrap_or_default()
    };
    follow::<PartialObjectMeta<Namespace>>("namespaces", client, config, &errors, |event| {
        match event {
            Event::Init => return listed.clear(),
            Event::InitApply(namespace) => {
                listed.insert(name(&namespace));
                return;
            }
            Event::InitDone => store.replace_namespaces(std::mem::take(&mut listed)),
            Event::Apply(namespace) => store.set_namespace(name(&namespace), true),
            Event::Delete(namespace) => store.set_namespace(name(&namespace), false),
        }
        changed(None);
    })
    .await;
}

/// Passes all events of a watch to `on_event`. Retries the watch whenever it breaks.
async fn follow<K>(
    resource: &'static str,
    client: Client,
    config: Config,
    errors: &WatchErrors,
    mut on_event: impl FnMut(Event<K>),
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let accepted = Arc::new(AtomicBool::new(false));
    let client = noting_acceptance(client, Arc::clone(&accepted));
    let mut events = pin!(watcher(Api::<K>::all(client), config));
    let mut outage = Outage::new(resource);
    loop {
        let event = poll_fn(|cx| {
            let event = events.as_mut().poll_next(cx);
            // Noted here because the next event may take hours, or be an error.
            if accepted.swap(false, Ordering::Relaxed) {
                outage.accepted(Instant::now());
            }
            event
        });
        match event.await {
            Some(Ok(event)) => on_event(event),
            Some(Err(error)) => {
                errors.0.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(outage.failed(&error, Instant::now())).await;
            }
            // The watcher never ends.
            None => return,
        }
    }
}

/// A client that sets `accepted` when the API server accepts a watch. The watcher does not report
/// that.
///
/// Nor does the watcher pause after a watch that was accepted and ended at once, without an event
/// and without an error. The client starts such watches at most once per [`MIN_INTERVAL`].
fn noting_acceptance(client: Client, accepted: Arc<AtomicBool>) -> Client {
    let namespace = client.default_namespace().to_owned();
    let next = Arc::new(Mutex::new(Instant::now()));
    let service = service_fn(move |request: Request<Body>| {
        let (client, accepted, next) = (client.clone(), Arc::clone(&accepted), Arc::clone(&next));
        let is_watch = is_watch(request.uri());
        async move {
            if !is_watch {
                return client.send(request).await;
            }
            let at = *next.lock();
            sleep_until(at.into()).await;
            let response = client.send(request).await?;
            if response.status().is_success() {
                *next.lock() = Instant::now() + MIN_INTERVAL;
                accepted.store(true, Ordering::Relaxed);
            }
            Ok::<_, kube::Error>(response)
        }
    });
    Client::new(service, namespace)
}
