//! The two requests that the daemon makes on pods.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use interceptor_api::{EventOutcome, EventReason};
use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Pod, PodCondition},
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::timeout;

use crate::kubernetes::{
    pod::{self, SeenPod},
    report::event::PodEvent,
};

/// Who writes: the field manager of the conditions and the controller of the Events.
const WRITER: &str = "interceptor";
/// What an Event's name may have of the pod's: names have at most 253 characters.
const MAX_NAME_OF_POD: usize = 200;
/// Characters of the name of whoever tells of an Event, as the API has it.
const MAX_INSTANCE: usize = 128;
/// An answer that takes longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Events by their reason, and what became of them.
#[derive(Debug, Default)]
pub struct EventCounts(Mutex<BTreeMap<(EventReason, EventOutcome), u64>>);

/// Why a pod could not be told.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no such pod any more, or another one of its name.
    Gone,
    /// It may work later.
    Error(String),
}

// === impl EventCounts ===

impl EventCounts {
    /// Every reason with an outcome and the count.
    #[must_use]
    pub fn counts(&self) -> Vec<(EventReason, EventOutcome, u64)> {
        let counts = self.0.lock();
        counts.iter().map(|((reason, outcome), n)| (*reason, *outcome, *n)).collect()
    }

    pub(super) fn count(&self, reason: EventReason, outcome: EventOutcome) {
        *self.0.lock().entry((reason, outcome)).or_default() += 1;
    }
}

/// Makes `conditions` the conditions of ours on `pod`: those that were applied before and are not among them go. Gives the
/// pod as it is then.
pub(super) async fn apply(
    client: &Client,
    pod: &SeenPod,
    conditions: &[PodCondition],
) -> Result<SeenPod, Failure> {
    let body = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        // The uid makes it a conflict when another pod has the name by now.
        "metadata": { "name": &*pod.name, "uid": &*pod.uid },
        "status": { "conditions": conditions },
    });
    let pods = Api::<Pod>::namespaced(client.clone(), &pod.namespace);
    let params = PatchParams::apply(WRITER).force();
    let patch = Patch::Apply(&body);
    let now = answered(timeout(PATIENCE, pods.patch_status(&pod.name, &params, &patch)).await)?;
    pod::read(&now).ok_or_else(|| Failure::Error("an answer without a pod".to_owned()))
}

/// Tells `news` of `pod`.
pub(super) async fn tell(
    client: &Client,
    node: &str,
    pod: &SeenPod,
    news: &PodEvent,
) -> Result<(), Failure> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let now = Timestamp::now();
    // Unique, as the API wants it; nobody reads it. A label of a name may not end with a dash or a dot.
    let name: String = pod.name.chars().take(MAX_NAME_OF_POD).collect();
    let name = name.trim_end_matches(['-', '.']);
    let name =
        format!("{name}.{:x}{:x}", now.as_nanosecond(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let event = Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(pod.namespace.to_string()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        action: Some("Redirect".to_owned()),
        reason: Some(news.reason.to_string()),
        type_: Some(if news.reason.is_warning() { "Warning" } else { "Normal" }.to_owned()),
        note: Some(news.note.clone()),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(pod.namespace.to_string()),
            name: Some(pod.name.to_string()),
            uid: Some(pod.uid.to_string()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(WRITER.to_owned()),
        reporting_instance: Some(node.chars().take(MAX_INSTANCE).collect()),
        ..Event::default()
    };
    let events = Api::<Event>::namespaced(client.clone(), &pod.namespace);
    answered(timeout(PATIENCE, events.create(&PostParams::default(), &event)).await).map(drop)
}

fn answered<T>(answer: Result<kube::Result<T>, tokio::time::error::Elapsed>) -> Result<T, Failure> {
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Err(Failure::Gone),
        Ok(Err(error)) => Err(Failure::Error(error.to_string())),
        Err(_elapsed) => Err(Failure::Error(format!("no answer within {PATIENCE:?}"))),
    }
}
