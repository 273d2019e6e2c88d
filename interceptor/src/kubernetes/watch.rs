//! One watch for the pods of this node; one for namespaces if the policy chooses among them. Nothing is polled, and
//! the number of requests depends neither on the size of the cluster nor on time.

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

/// From the begin of a watch that was accepted to that of the next one, at the least.
const APART: Duration = Duration::from_secs(1);

/// Watches that broke; each is begun again.
#[derive(Debug, Default)]
pub struct WatchErrors(AtomicU64);

// === impl WatchErrors ===

impl WatchErrors {
    /// How many so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Keeps `store` as the pods of `node` are, for ever. Tells `changed` of each change, or of nothing in
/// particular when all of them may have changed.
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

/// Keeps `store` told of the namespaces that `selector` chooses, for ever.
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

/// Gives all events of a watch, which is begun again whenever it breaks.
async fn follow<K>(
    what: &'static str,
    client: Client,
    config: Config,
    errors: &WatchErrors,
    mut on_event: impl FnMut(Event<K>),
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let accepted = Arc::new(AtomicBool::new(false));
    let client = noting_accepted(client, Arc::clone(&accepted));
    let mut events = pin!(watcher(Api::<K>::all(client), config));
    let mut outage = Outage::new(what);
    loop {
        let event = poll_fn(|cx| {
            let event = events.as_mut().poll_next(cx);
            // What comes next may be hours away, or an error again.
            if accepted.swap(false, Ordering::Relaxed) {
                outage.is_over(Instant::now());
            }
            event
        });
        match event.await {
            Some(Ok(event)) => on_event(event),
            Some(Err(error)) => {
                errors.0.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(outage.broke(&error, Instant::now())).await;
            }
            // It never ends.
            None => return,
        }
    }
}

/// A client that sets `accepted` when the API server accepts a watch, which the watcher keeps to itself. Nor does the watcher
/// wait when one that was accepted ends at once, in order and with nothing said: such watches are begun [`APART`].
fn noting_accepted(client: Client, accepted: Arc<AtomicBool>) -> Client {
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
                *next.lock() = Instant::now() + APART;
                accepted.store(true, Ordering::Relaxed);
            }
            Ok::<_, kube::Error>(response)
        }
    });
    Client::new(service, namespace)
}
