//! The two requests that the daemon sends about pods: apply conditions, create an Event.

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
use tokio::time::{error::Elapsed, timeout};

use super::event::PodEvent;
use crate::kubernetes::pod::{self, SeenPod};

/// The field manager of the conditions, and the controller of the Events.
const WRITER: &str = "interceptor";
/// Maximum number of characters that an Event's name takes from the pod's name. The API server
/// refuses names of more than 253 characters.
const MAX_NAME_OF_POD: usize = 200;
/// Maximum number of characters in `reportingInstance` of an Event, a limit of the API.
const MAX_INSTANCE: usize = 128;
/// Maximum time for the answer to a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of Events by reason and outcome.
#[derive(Debug, Default)]
pub struct EventCounts(Mutex<BTreeMap<(EventReason, EventOutcome), u64>>);

/// The number of Events with one reason and one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCount {
    /// What changed about a rule.
    pub reason: EventReason,
    /// What became of the Events.
    pub outcome: EventOutcome,
    /// The number so far.
    pub count: u64,
}

/// Why a request about a pod failed.
#[derive(Debug)]
pub(super) enum RequestError {
    /// The pod is gone, or another pod has its name.
    Gone,
    /// Any other error. A later request may succeed.
    Other(String),
}

// === impl EventCounts ===

impl EventCounts {
    /// Every pair of reason and outcome that occurred.
    #[must_use]
    pub fn counts(&self) -> Vec<EventCount> {
        let counts = self.0.lock();
        let counts = counts.iter();
        counts.map(|(&(reason, outcome), &count)| EventCount { reason, outcome, count }).collect()
    }

    pub(super) fn count(&self, reason: EventReason, outcome: EventOutcome) {
        *self.0.lock().entry((reason, outcome)).or_default() += 1;
    }
}

/// Makes `conditions` the conditions of interceptor on `pod`, and returns the pod after that.
///
/// Server-side apply removes the conditions that an earlier request applied and this one leaves
/// out.
pub(super) async fn apply_conditions(
    client: &Client,
    pod: &SeenPod,
    conditions: &[PodCondition],
) -> Result<SeenPod, RequestError> {
    let body = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        // With the uid, the API server answers with a conflict if another pod has the name.
        "metadata": { "name": &*pod.name, "uid": &*pod.uid },
        "status": { "conditions": conditions },
    });
    let pods = Api::<Pod>::namespaced(client.clone(), &pod.namespace);
    let params = PatchParams::apply(WRITER).force();
    let patch = Patch::Apply(&body);
    let request = pods.patch_status(&pod.name, &params, &patch);
    let now = result(timeout(REQUEST_TIMEOUT, request).await)?;
    pod::read(&now).ok_or_else(|| RequestError::Other("the answer has no pod".to_owned()))
}

/// Creates an Event about `pod`.
pub(super) async fn create_event(
    client: &Client,
    node: &str,
    pod: &SeenPod,
    event: &PodEvent,
) -> Result<(), RequestError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let now = Timestamp::now();
    // The API requires a unique name, whose labels must not end with a dash or a dot.
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
        reason: Some(event.reason.to_string()),
        type_: Some(if event.reason.is_warning() { "Warning" } else { "Normal" }.to_owned()),
        note: Some(event.note.clone()),
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
    let params = PostParams::default();
    result(timeout(REQUEST_TIMEOUT, events.create(&params, &event)).await).map(drop)
}

fn result<T>(answer: Result<kube::Result<T>, Elapsed>) -> Result<T, RequestError> {
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
            Err(RequestError::Gone)
        }
        Ok(Err(error)) => Err(RequestError::Other(error.to_string())),
        Err(_elapsed) => Err(RequestError::Other(format!("no answer within {REQUEST_TIMEOUT:?}"))),
    }
}
