//! How a pod's object is read, as a specification.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

/// A running pod with an annotation, and with these changes.
fn pod(changes: &Value) -> SeenPod {
    let mut object = json!({
        "metadata": {
            "namespace": "shop", "name": "web-0", "uid": "u-1",
            "annotations": { "debug.redirect": "8080 -> 10.20.0.7:3000", "other.example/foo": "bar" },
        },
        "spec": { "containers": [{ "name": "web", "ports": [{ "containerPort": 8080 }] }] },
        "status": { "phase": "Running", "podIP": "10.244.1.2", "podIPs": [{ "ip": "10.244.1.2" }, { "ip": "fd00::2" }] },
    });
    merge(&mut object, changes);
    read(&serde_json::from_value(object).expect("a pod")).expect("has a name")
}

/// As `kubectl patch --type=merge` does it.
fn merge(object: &mut Value, changes: &Value) {
    match (object, changes) {
        (Value::Object(object), Value::Object(changes)) => {
            for (key, change) in changes {
                if change.is_null() {
                    object.remove(key);
                } else {
                    merge(object.entry(key.clone()).or_insert(Value::Null), change);
                }
            }
        }
        (object, changes) => *object = changes.clone(),
    }
}

fn workload_of(changes: &Value) -> WorkloadSpec {
    pod(changes).workload.expect("has an annotation of interceptor")
}

fn ports(ports: &[NonZeroU16]) -> Vec<u16> {
    ports.iter().map(|port| port.get()).collect()
}

#[test]
fn a_pod_with_an_annotation_is_a_workload() {
    let workload = workload_of(&json!({}));
    assert_eq!(workload.name.as_str(), "shop/web-0");
    assert_eq!(workload.rules.len(), 1, "the other annotation is not interceptor's");
    assert_eq!(ports(&workload.ports), [8080]);
    assert_eq!(workload.obstacle, None);
    let ips = ["10.244.1.2", "fd00::2"].map(|ip| ip.parse().expect("an address")).to_vec();
    assert_eq!(workload.netns, NetnsSource::Pod { uid: "u-1".into(), ips });
}

#[rstest]
#[case::ipv6_first(json!({"podIP": "fd00::2", "podIPs": [{"ip": "fd00::2"}, {"ip": "10.244.1.2"}]}), &["fd00::2", "10.244.1.2"])]
#[case::ipv6_alone(json!({"podIP": "fd00::2", "podIPs": [{"ip": "fd00::2"}]}), &["fd00::2"])]
fn every_address_counts_in_any_order(#[case] status: Value, #[case] addresses: &[&str]) {
    let workload = workload_of(&json!({ "status": status }));
    assert_eq!(workload.obstacle, None);
    let ips = addresses.iter().map(|ip| ip.parse().expect("an address")).collect();
    assert_eq!(workload.netns, NetnsSource::Pod { uid: "u-1".into(), ips });
}

#[test]
fn a_pod_without_annotations_is_no_workload() {
    let seen = pod(&json!({"metadata": {"annotations": {"debug.redirect": null}}}));
    assert_eq!(seen.workload, None);
    assert!(seen.conditions.is_empty());
}

#[rstest]
#[case::host_network(json!({"spec": {"hostNetwork": true}}), "HostNetwork")]
#[case::gvisor(json!({"spec": {"runtimeClassName": "gvisor"}}), "Sandboxed(\"gvisor\")")]
#[case::kata(json!({"spec": {"runtimeClassName": "kata-qemu"}}), "Sandboxed(\"kata-qemu\")")]
#[case::not_yet(json!({"status": {"phase": "Pending", "podIP": null, "podIPs": null}}), "NotRunning(\"Pending\")")]
#[case::done(json!({"status": {"phase": "Succeeded"}}), "Ended(\"Succeeded\")")]
#[case::failed(json!({"status": {"phase": "Failed"}}), "Ended(\"Failed\")")]
#[case::sandbox_gone(json!({"status": {"conditions": [{"type": "PodReadyToStartContainers", "status": "False"}]}}), "NoSandbox")]
fn obstacles_are_found(#[case] changes: Value, #[case] expected: &str) {
    assert_eq!(format!("{:?}", workload_of(&changes).obstacle.expect("an obstacle")), expected);
}

#[test]
fn more_annotations_than_can_be_reported_are_refused_together() {
    for (count, obstacle) in [(64, None), (65, Some(Obstacle::TooManyAnnotations(65)))] {
        let annotations =
            (0..count - 1).map(|n| (format!("debug.redirect/dev{n}"), json!("9000 -> 10.0.0.1:1")));
        let annotations = annotations.collect::<serde_json::Map<_, _>>();
        let workload = workload_of(&json!({"metadata": {"annotations": annotations}}));
        assert_eq!((workload.rules.len(), workload.obstacle), (64, obstacle));
    }
}

#[test]
fn a_value_that_is_too_long_is_cut_before_it_is_kept() {
    for cut in ["a", "ä", "☃", "🦀"] {
        let value = format!("8080 -> 10.0.0.1:1{}{}", " ".repeat(8192 - 19), cut.repeat(100_000));
        let workload =
            workload_of(&json!({"metadata": {"annotations": {"debug.redirect": value}}}));
        let rules = &workload.rules[0];
        assert!(rules.value.len() < 8200, "{}", rules.value.len());
        assert!(
            rules.rules.as_ref().is_err_and(|error| error.to_string().contains("8192")),
            "{rules:?}"
        );
    }
}

#[test]
fn an_ordinary_runtime_class_is_no_obstacle() {
    assert_eq!(workload_of(&json!({"spec": {"runtimeClassName": "nvidia"}})).obstacle, None);
}

#[test]
fn declared_ports_are_the_tcp_ports_of_containers_that_run_at_the_same_time() {
    let workload = workload_of(&json!({"spec": {
        "containers": [
            {"name": "a", "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]},
            {"name": "b", "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 9000, "protocol": "TCP"}]},
        ],
        "initContainers": [
            {"name": "sidecar", "restartPolicy": "Always", "ports": [{"containerPort": 15001}]},
            {"name": "setup", "ports": [{"containerPort": 1}]},
        ],
    }}));
    assert_eq!(ports(&workload.ports), [80, 9000, 15001]);
}

#[test]
fn health_checks_are_recognised_by_the_first_bytes_of_the_kubelet() {
    let workload = workload_of(&json!({"spec": {"containers": [{
        "name": "web",
        "ports": [{"containerPort": 8080, "name": "http"}],
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 8443, "scheme": "HTTPS"}},
        "startupProbe": {"grpc": {"port": 9000}},
    }, {
        "name": "other",
        "livenessProbe": {"httpGet": {"port": 81, "httpHeaders": [{"name": "user-agent", "value": "checker/1"}]}},
        "readinessProbe": {"tcpSocket": {"port": 82}},
        "startupProbe": {"exec": {"command": ["true"]}},
    }, {
        "name": "again",
        "livenessProbe": {"httpGet": {"port": 8080}},
        "readinessProbe": {"httpGet": {"port": "nowhere"}},
        "startupProbe": {"httpGet": {"port": 83, "httpHeaders": [{"name": "User-Agent", "value": ""}]}},
        "lifecycle": {"preStop": {"httpGet": {"port": 84}}, "postStart": {"exec": {"command": ["true"]}}},
    }]}}));
    let expected = [
        (8080, HealthSign::UserAgent("kube-probe/".to_owned())),
        (8443, HealthSign::Tls),
        (9000, HealthSign::Http2),
        (81, HealthSign::UserAgent("checker/1".to_owned())),
        (84, HealthSign::UserAgent("kube-lifecycle/".to_owned())),
    ];
    let checks: Vec<_> =
        workload.health_checks.into_iter().map(|check| (check.port.get(), check.sign)).collect();
    assert_eq!(checks, expected);
}

#[test]
fn only_conditions_of_interceptor_are_read() {
    let condition = |type_: &str| json!({"type": type_, "status": "True"});
    let seen = pod(&json!({"status": {"conditions": [
        condition("Ready"), condition("debug.redirect/Active"), condition("debug.mirror/Active"), condition("debug.example/Active"),
    ]}}));
    let types: Vec<_> = seen.conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(types, ["debug.redirect/Active", "debug.mirror/Active"]);
}

#[test]
fn an_invalid_annotation_has_an_error_with_its_place() {
    let workload =
        workload_of(&json!({"metadata": {"annotations": {"debug.redirect": "8080 => a:1"}}}));
    let error = workload.rules[0].rules.clone().expect_err("is wrong");
    assert!(error.to_string().starts_with("column 6: expected `->`"), "{error}");
}

#[test]
fn a_key_that_is_nearly_right_is_an_error_with_the_right_key() {
    let workload = workload_of(&json!({"metadata": {"annotations": {
        "debug.redirect": null, "debug/redirect.alice": "8080 -> a:1", "debugger.example/level": "9",
    }}}));
    assert_eq!(workload.rules.len(), 1, "the other annotation is not interceptor's");
    let error = workload.rules[0].rules.clone().expect_err("is wrong");
    assert_eq!(error.to_string(), "unknown annotation, did you mean `debug.redirect/alice`?");
}

#[test]
fn the_name_of_a_declared_port_is_an_error_with_its_number() {
    let workload = workload_of(&json!({
        "metadata": {"annotations": {"debug.redirect": "http -> a:1"}},
        "spec": {"containers": [{"name": "web", "ports": [{"containerPort": 8080, "name": "http"}]}]},
    }));
    let error = workload.rules[0].rules.clone().expect_err("is wrong");
    let expected = "column 1: expected a port from 1 to 65535, found `http`; write its number: the \
                    pod declares port 8080 as `http`";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_time_of_writing_is_that_of_the_manager_of_the_annotation() {
    let entry = |manager: &str, time: &str, annotation: &str| {
        let fields = json!({"f:metadata": {"f:annotations": {(annotation): {}}}});
        json!({"manager": manager, "operation": "Update", "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields})
    };
    let workload = workload_of(&json!({"metadata": {"managedFields": [
        entry("controller", "2026-01-01T00:00:00Z", "f:other.example/foo"),
        entry("kubectl-annotate", "2026-01-02T00:00:00Z", "f:debug.redirect"),
        {"manager": "kubelet", "operation": "Update", "time": "2026-01-03T00:00:00Z", "fieldsType": "FieldsV1",
         "fieldsV1": {"f:status": {}}},
    ]}}));
    let expected = SystemTime::from(
        "2026-01-02T00:00:00Z".parse::<k8s_openapi::jiff::Timestamp>().expect("a time"),
    );
    let written = Written { at: expected, with: "kubectl-annotate".into() };
    assert_eq!(workload.rules[0].written, Some(written));
    assert_eq!(workload_of(&json!({})).rules[0].written, None);
}
