//! One watch for the pods of this node; one for namespaces if the policy chooses among them. Nothing is polled, and
//! the number of requests depends neither on the size of the cluster nor on time.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        utils::Backoff,
        watcher,
        watcher::{Config, Error, Event},
    },
};

use super::{
    pod,
    store::{Change, Store},
};

/// The first try after a watch broke; doubles up to [`SLOWEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// An API server that is back is noticed within this long. All nodes ask again then, so each waits a time of its own.
const SLOWEST_RETRY: Duration = Duration::from_secs(5);

/// How long to wait before a watch is begun again.
#[derive(Debug, Default)]
struct Retry {
    failures: u32,
}

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

    fn note(&self, what: &str, error: &Error) {
        // While the API server is away this comes with every try.
        if self.0.fetch_add(1, Ordering::Relaxed).is_multiple_of(10) {
            tracing::warn!(%error, "the watch of {what} broke; what is in force stays in force while it is tried again");
        } else {
            tracing::debug!(%error, "the watch of {what} broke");
        }
    }
}

/// Keeps `store` as the pods of `node` are, for ever. Tells `changed` of each change, or of nothing in
/// particular when all of them may have changed.
pub async fn watch_pods(
    client: Client,
    node: String,
    store: Arc<Store>,
    errors: Arc<WatchErrors>,
    changed: impl Fn(Option<Change>),
) {
    let config = Config::default().fields(&format!("spec.nodeName={node}"));
    let events = watcher(Api::<Pod>::all(client), config).backoff(Retry::default());
    let mut listed = Vec::new();
    follow(events, |event| match event {
        Ok(Event::Init) => listed.clear(),
        Ok(Event::InitApply(pod)) => listed.extend(pod::read(&pod)),
        Ok(Event::InitDone) => {
            store.replace(std::mem::take(&mut listed));
            changed(None);
        }
        Ok(Event::Apply(pod)) => {
            if let Some(change) = pod::read(&pod).and_then(|pod| store.apply(pod)) {
                changed(Some(change));
            }
        }
        Ok(Event::Delete(pod)) => {
            if let Some(change) = pod::read(&pod).and_then(|pod| store.delete(&pod)) {
                changed(Some(change));
            }
        }
        Err(error) => errors.note("pods", &error),
    })
    .await;
}

/// Keeps `store` told of the namespaces that `selector` chooses, for ever.
pub async fn watch_namespaces(
    client: Client,
    selector: String,
    store: Arc<Store>,
    errors: Arc<WatchErrors>,
    changed: impl Fn(Option<Change>),
) {
    let config = Config::default().labels(&selector);
    let events = watcher(Api::<PartialObjectMeta<Namespace>>::all(client), config).backoff(Retry::default());
    let mut listed = BTreeSet::new();
    let name = |namespace: &PartialObjectMeta<Namespace>| namespace.metadata.name.clone().unwrap_or_default();
    follow(events, |event| {
        match event {
            Ok(Event::Init) => return listed.clear(),
            Ok(Event::InitApply(namespace)) => {
                listed.insert(name(&namespace));
                return;
            }
            Ok(Event::InitDone) => store.replace_namespaces(std::mem::take(&mut listed)),
            Ok(Event::Apply(namespace)) => store.set_namespace(name(&namespace), true),
            Ok(Event::Delete(namespace)) => store.set_namespace(name(&namespace), false),
            Err(error) => return errors.note("namespaces", &error),
        }
        changed(None);
    })
    .await;
}

// === impl Retry ===

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = SLOWEST_RETRY.min(FIRST_RETRY * 2_u32.saturating_pow(self.failures));
        self.failures = (self.failures + 1).min(16);
        // Somewhere in the second half of it.
        let share = RandomState::new().hash_one(self.failures) % 1000;
        Some(pause / 2 + pause / 2000 * share as u32)
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

async fn follow<T>(
    events: impl Stream<Item = Result<Event<T>, Error>>,
    mut on_event: impl FnMut(Result<Event<T>, Error>),
) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        on_event(event);
    }
}
