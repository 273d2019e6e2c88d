//! The store of the node's pods, as a specification.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::{config::annotation::AnnotationKey, kubernetes::pod::read};

const RULE: &str = "8080 -> 10.20.0.7:3000 ttl 1h";

/// A running pod with this name and address. `written` is the time of its annotation, if it has
/// one.
fn pod(name: &str, ip: &str, written: Option<&str>) -> SeenPod {
    let managed = written.map(|time| {
        json!([{
            "manager": "kubectl-annotate", "operation": "Update", "time": time, "fieldsType": "FieldsV1",
            "fieldsV1": { "f:metadata": { "f:annotations": { "f:debug.redirect": {} } } },
        }])
    });
    let annotations = if written.is_some() { json!({ "debug.redirect": RULE }) } else { json!({}) };
    let object = json!({
        "metadata": {
            "namespace": "shop", "name": name, "uid": format!("uid-{name}"),
            "annotations": annotations, "managedFields": managed,
        },
        "spec": { "containers": [] },
        "status": {
            "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }],
            "containerStatuses": [{
                "name": "web", "image": "web", "imageID": "web", "ready": true, "restartCount": 0,
                "state": { "running": { "startedAt": "2026-01-01T00:00:00Z" } },
            }],
        },
    });
    seen(object)
}

fn seen(object: Value) -> SeenPod {
    read(&serde_json::from_value(object).expect("a pod")).expect("has a name")
}

fn store(boot: Option<Boot>) -> Store {
    Store::new(Arc::new(Policy::default()), boot)
}

fn time(text: &str) -> SystemTime {
    text.parse::<Timestamp>().expect("a time").into()
}

/// The obstacles of all workloads, by name.
fn obstacles(store: &Store) -> Vec<(String, Option<Obstacle>)> {
    store
        .workloads()
        .into_iter()
        .map(|workload| (workload.name.as_str().to_owned(), workload.obstacle))
        .collect()
}

fn written(store: &Store) -> Option<SystemTime> {
    let workloads = store.workloads();
    Some(workloads.first()?.written(&AnnotationKey::redirect())?.at)
}

const NINE: &str = "2026-01-01T09:00:00Z";
const TEN: &str = "2026-01-01T10:00:00Z";

#[test]
fn two_pods_that_report_the_same_address_wait_until_only_one_does() {
    let store = store(None);
    store.apply(pod("web", "10.0.0.2", Some(NINE)));
    assert_eq!(obstacles(&store), [("shop/web".to_owned(), None)]);

    // A pod without annotations.
    let change = store.apply(pod("new", "10.0.0.2", None)).expect("concerns the other");
    assert!(change.workload);
    let ip = "10.0.0.2".parse().expect("an address");
    let shared = Obstacle::SharedAddress { ip, with: "shop/new".to_owned() };
    assert_eq!(obstacles(&store), [("shop/web".to_owned(), Some(shared))]);

    let change = store.apply(pod("new", "10.0.0.3", None)).expect("concerns the other");
    assert!(change.workload);
    assert_eq!(obstacles(&store), [("shop/web".to_owned(), None)]);
    assert_eq!(store.delete(&pod("new", "10.0.0.3", None)), None, "no other pod has the address");
}

#[test]
fn a_pod_that_ends_gives_its_address_up() {
    let store = store(None);
    store.apply(pod("web", "10.0.0.2", Some(NINE)));
    for change in [
        json!({ "metadata": { "deletionTimestamp": TEN } }),
        json!({ "status": { "phase": "Succeeded" } }),
        json!({ "spec": { "hostNetwork": true } }),
    ] {
        let mut object = json!({
            "metadata": { "namespace": "shop", "name": "old", "uid": "uid-old" },
            "spec": { "containers": [] },
            "status": { "phase": "Running", "podIP": "10.0.0.2" },
        });
        let (part, value) =
            change.as_object().and_then(|change| change.iter().next()).expect("one part");
        let fields = value.as_object().expect("fields").clone();
        object[part].as_object_mut().expect("an object").extend(fields);
        store.apply(seen(object));
        assert_eq!(obstacles(&store), [("shop/web".to_owned(), None)], "{change}");
    }
}

#[test]
fn a_status_from_before_the_boot_is_distrusted() {
    let started = time("2026-01-01T00:00:00Z");
    let minute = Duration::from_secs(60);
    let (now, soon) = (Instant::now(), Instant::now() + minute);
    for (boot, obstacle) in [
        (Boot::new(started + minute, soon), Some(Obstacle::NoSandbox)),
        (Boot::new(started - minute, soon), None),
        // The grace is over: the kubelet would have refreshed the status, so a clock was changed.
        (Boot::new(started + minute, now), None),
    ] {
        let store = store(Some(boot));
        store.apply(pod("web", "10.0.0.2", Some(NINE)));
        assert_eq!(obstacles(&store), [("shop/web".to_owned(), obstacle)]);
    }
}

#[test]
fn a_rule_keeps_its_age_when_the_same_tool_writes_something_else() {
    let store = store(None);
    store.apply(pod("web", "10.0.0.2", Some(NINE)));
    // The same tool wrote something else.
    assert_eq!(store.apply(pod("web", "10.0.0.2", Some(TEN))), None, "nothing of interest");
    assert_eq!(written(&store), Some(time(NINE)));
    store.replace(vec![pod("web", "10.0.0.2", Some(TEN))]);
    assert_eq!(written(&store), Some(time(NINE)), "also when the watch lists all pods again");

    // Removed and added again.
    store.apply(pod("web", "10.0.0.2", None));
    store.apply(pod("web", "10.0.0.2", Some(TEN)));
    assert_eq!(written(&store), Some(time(TEN)));
}
