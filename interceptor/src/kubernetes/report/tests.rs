//! Reports over an API server with prepared answers. Each test decides what the watch shows.

use interceptor_api::{Reason, Standing};
use k8s_openapi::api::core::v1::PodCondition;
use parking_lot::Mutex;
use serde_json::{Value, json};
use testbed::wait_until;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::*;
use crate::{
    config::policy::Policy,
    control::registry::{RuleEntry, WorkloadEntry},
    kubernetes::{
        fake::{RequestLog, client, status},
        pod::read,
    },
};

pub(super) const NAME: &str = "shop/web";
const PATCH: &str = "PATCH /api/v1/namespaces/shop/pods/web/status";
const EVENT: &str = "POST /apis/events.k8s.io/v1/namespaces/shop/events";
/// Maximum time for anything here.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The pod in this version.
pub(super) fn pod(version: u64, annotated: bool, conditions: &[PodCondition]) -> SeenPod {
    let object = serde_json::from_value(object(version, annotated, conditions)).expect("a pod");
    read(&object).expect("has a name")
}

fn object(version: u64, annotated: bool, conditions: &[PodCondition]) -> Value {
    let annotations =
        if annotated { json!({ "debug.redirect": "8080 -> laptop:1" }) } else { json!({}) };
    json!({
        "metadata": {
            "namespace": "shop", "name": "web", "uid": "u-1",
            "resourceVersion": version.to_string(), "annotations": annotations,
        },
        "spec": { "containers": [] },
        "status": { "phase": "Running", "podIP": "10.244.1.2", "conditions": conditions },
    })
}

/// The pod's rules, in this state.
pub(super) fn rules(standing: Standing) -> Vec<RuleEntry> {
    vec![RuleEntry::bare("debug.redirect", "8080 -> laptop:1", standing)]
}

/// The pod's rules, active.
pub(super) fn active() -> Vec<RuleEntry> {
    rules(Standing::active("all of it"))
}

/// The pod's rules, refused.
pub(super) fn refused() -> Vec<RuleEntry> {
    rules(Standing::refused(Reason::TargetDenied, "no"))
}

/// The conditions on the pod after these rules were reported.
pub(super) fn on_pod(rules: &[RuleEntry]) -> Vec<PodCondition> {
    condition::conditions(rules)
        .iter()
        .map(|spec| spec.to_condition("2026-01-01T00:00:00Z".parse().expect("a time")))
        .collect()
}

/// A condition of another writer, with a type of interceptor.
pub(super) fn foreign() -> PodCondition {
    PodCondition {
        type_: "debug.redirect/Foreign".to_owned(),
        status: "True".to_owned(),
        ..PodCondition::default()
    }
}

/// The pod, published with these rules.
pub(super) fn published(rules: Vec<RuleEntry>) -> WorkloadEntry {
    let uid = Some("u-1".into());
    WorkloadEntry {
        name: NAME.into(),
        uid,
        netns: String::new(),
        armed: None,
        failure: None,
        is_contested: false,
        rules,
    }
}

/// Answers each write with the next of these versions of the pod and its conditions.
pub(super) fn shared(answers: Vec<(u64, Vec<PodCondition>)>) -> (Arc<Shared>, RequestLog) {
    shared_refusing(0, answers)
}

/// The same, but refuses the first Events.
pub(super) fn shared_refusing(
    events: usize,
    answers: Vec<(u64, Vec<PodCondition>)>,
) -> (Arc<Shared>, RequestLog) {
    let answers = Mutex::new(answers.into_iter());
    let answers = Arc::new(answers);
    let (client, requests) = client(move |request, before| {
        if request == EVENT && before < events {
            return (429, status(429, "TooManyRequests"));
        }
        if request == EVENT {
            return (201, json!({ "metadata": {}, "eventTime": null }));
        }
        let answer = answers.lock().next();
        let (version, conditions) = answer.unwrap_or_else(|| panic!("one too many: {request}"));
        (200, object(version, true, &conditions))
    });
    let store = Arc::new(Store::new(Arc::new(Policy::default()), None));
    let shared = Shared::new(client, "here".to_owned(), store, Arc::default(), Arc::default());
    (Arc::new(shared), requests)
}

/// The number of writes of conditions.
pub(super) fn writes(requests: &RequestLog) -> usize {
    requests.all().iter().filter(|request| *request == PATCH).count()
}

/// The number of attempts to create an Event.
pub(super) fn events(requests: &RequestLog) -> usize {
    requests.all().iter().filter(|request| *request == EVENT).count()
}

/// Running reports.
struct Fixture {
    shared: Arc<Shared>,
    requests: RequestLog,
    changes: UnboundedSender<Change>,
}

impl Fixture {
    fn new(answers: Vec<(u64, Vec<PodCondition>)>) -> Self {
        let (shared, requests) = shared(answers);
        let (changes, received) = unbounded_channel();
        tokio::spawn(Reports::from_shared(Arc::clone(&shared)).run(received));
        Self { shared, requests, changes }
    }

    /// The watch shows the pod like this.
    fn show(&self, pod: SeenPod) {
        if let Some(change) = self.shared.store.apply(pod) {
            self.send(Change::Pod(change.name));
        }
    }

    fn publish(&self, rules: Vec<RuleEntry>) {
        self.shared.registry.publish(published(rules));
        self.send(Change::Pod(NAME.into()));
    }

    fn withdraw(&self) {
        self.shared.registry.remove(&NAME.into());
        self.send(Change::Pod(NAME.into()));
    }

    fn send(&self, change: Change) {
        self.changes.send(change).expect("the reports run");
    }

    /// Waits until this request was sent `count` times, and not more often.
    async fn wait_requests(&self, request: &'static str, count: usize) {
        let requests = self.requests.clone();
        let wait = move || {
            wait_until(&format!("{count} of {request}"), TIMEOUT, || {
                let all = requests.all();
                let now = all.iter().filter(|one| *one == request).count();
                if now == count { Ok(()) } else { Err(format!("{all:?}")) }
            })
        };
        tokio::task::spawn_blocking(wait).await.expect("no panic").expect("that many");
    }
}

#[tokio::test]
async fn a_rule_that_returns_while_its_end_is_written_is_reported_again() {
    let reported = on_pod(&active());
    let fixture = Fixture::new(vec![(2, reported.clone()), (5, vec![]), (6, reported.clone())]);
    fixture.show(pod(1, true, &[]));
    fixture.publish(active());
    fixture.wait_requests(PATCH, 1).await;
    fixture.show(pod(2, true, &reported));
    fixture.withdraw();
    fixture.show(pod(3, false, &reported));
    fixture.wait_requests(PATCH, 2).await;
    // The annotation is back just before the API server removed the conditions.
    fixture.show(pod(4, true, &reported));
    fixture.publish(active());
    // Active, ended, active: the pod has a task again.
    fixture.wait_requests(EVENT, 3).await;
    fixture.show(pod(5, true, &[]));
    fixture.wait_requests(PATCH, 3).await;
}

#[tokio::test]
async fn a_leftover_on_a_pod_is_removed_once_each_time() {
    let left = on_pod(&active());
    let fixture = Fixture::new(vec![(2, vec![]), (5, vec![foreign()]), (9, vec![foreign()])]);
    fixture.show(pod(1, false, &left));
    fixture.wait_requests(PATCH, 1).await;
    // The watch is late.
    fixture.send(Change::Pods);
    fixture.show(pod(2, false, &[]));
    // Another writer restores it, and adds a condition that it owns.
    let with_foreign = [left, vec![foreign()]].concat();
    fixture.show(pod(4, false, &with_foreign));
    fixture.wait_requests(PATCH, 2).await;
    fixture.show(pod(5, false, &[foreign()]));
    fixture.send(Change::Pods);
    // Another pod has the name.
    let another = SeenPod { uid: "u-2".into(), ..pod(8, false, &with_foreign) };
    fixture.show(another);
    fixture.wait_requests(PATCH, 3).await;
}
