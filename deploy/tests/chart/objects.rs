//! Tests of the rendered objects: they have the types of the API and refer to each other.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    apps::v1::DaemonSet,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, ServiceAccount},
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::common::{
    hook_of_kind, is_hook, of_kind, only, render, render_with, scenarios, with_helm,
};

// --- types ------------------------------------------------------------------------------------

#[test]
fn every_object_of_every_scenario_has_a_type_of_the_api() {
    with_helm(|helm| {
        for scenario in scenarios()? {
            for object in render(helm, &scenario)? {
                judge(&object).with_context(|| {
                    format!("{scenario}: {} {}", object["kind"], object["metadata"]["name"])
                })?;
            }
        }
        Ok(())
    });
}

#[test]
fn an_unknown_field_is_found() {
    let object =
        |spec: Value| json!({ "apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": spec });
    let right = object(json!({ "containers": [{ "name": "a", "args": [] }] }));
    judge(&right).expect("is right");
    let unknown = object(json!({ "containers": [{ "name": "a", "arg": [] }] }));
    assert_eq!(
        judge(&unknown).expect_err("has an unknown field").to_string(),
        "the API has no spec.containers.0.arg"
    );
    let wrong = object(json!({ "containers": [{ "name": "a", "args": "x" }] }));
    assert!(judge(&wrong).is_err());
    let null = object(json!({ "containers": [{ "name": "a" }], "nodeName": null }));
    assert_eq!(judge(&null).expect_err("has a null").to_string(), "the API has no spec.nodeName");
}

/// Checks that the API knows the object's type and would drop none of its fields.
fn judge(object: &Value) -> Result<()> {
    let version = object["apiVersion"].as_str().context("no apiVersion")?;
    let kind = object["kind"].as_str().context("no kind")?;
    match (version, kind) {
        ("v1", "ConfigMap") => strict::<ConfigMap>(object),
        ("v1", "Pod") => strict::<Pod>(object),
        ("v1", "ServiceAccount") => strict::<ServiceAccount>(object),
        ("apps/v1", "DaemonSet") => strict::<DaemonSet>(object),
        ("batch/v1", "Job") => strict::<Job>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => strict::<ClusterRole>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => {
            strict::<ClusterRoleBinding>(object)
        }
        ("rbac.authorization.k8s.io/v1", "Role") => strict::<Role>(object),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => strict::<RoleBinding>(object),
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy") => {
            strict::<ValidatingAdmissionPolicy>(object)
        }
        ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding") => {
            strict::<ValidatingAdmissionPolicyBinding>(object)
        }
        ("monitoring.coreos.com/v1", "PodMonitor") => strict::<operator::PodMonitor>(object),
        ("monitoring.coreos.com/v1", "PrometheusRule") => {
            strict::<operator::PrometheusRule>(object)
        }
        _ => bail!("the chart should have no {version} {kind}"),
    }
}

/// Reads `object` as a `T` and writes it again. A field that is lost is not a field of `T`.
fn strict<T: DeserializeOwned + Serialize>(object: &Value) -> Result<()> {
    let typed: T = serde_json::from_value(object.clone())?;
    let back = serde_json::to_value(typed)?;
    match lost(object, &back, "") {
        Some(path) => bail!("the API has no {path}"),
        None => Ok(()),
    }
}

/// The path of the first field of `written` that is missing in `read` or differs there.
fn lost(written: &Value, read: &Value, path: &str) -> Option<String> {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            written.iter().find_map(|(key, value)| match read.get(key) {
                Some(read) => lost(value, read, &below(key)),
                None => Some(below(key)),
            })
        }
        (Value::Array(written), Value::Array(read)) if written.len() == read.len() => written
            .iter()
            .zip(read)
            .enumerate()
            .find_map(|(n, (a, b))| lost(a, b, &below(&n.to_string()))),
        _ => (written != read).then(|| path.to_owned()),
    }
}

/// The types of the Prometheus operator, with the fields that the chart uses.
mod operator {
    use serde::{Deserialize, Serialize};
    use serde_json::{Map, Value};

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(crate) struct PodMonitor {
        api_version: String,
        kind: String,
        metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
        spec: PodMonitorSpec,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct PodMonitorSpec {
        job_label: String,
        selector: k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector,
        pod_metrics_endpoints: Vec<Endpoint>,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    struct Endpoint {
        port: String,
        path: String,
        honor_labels: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interval: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scrape_timeout: Option<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        relabelings: Vec<Value>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        metric_relabelings: Vec<Value>,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    pub(crate) struct PrometheusRule {
        api_version: String,
        kind: String,
        metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
        spec: PrometheusRuleSpec,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct PrometheusRuleSpec {
        groups: Vec<Group>,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Group {
        name: String,
        rules: Vec<Rule>,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Rule {
        alert: String,
        expr: String,
        #[serde(default, skip_serializing_if = "Option::is_none", rename = "for")]
        lasts: Option<String>,
        labels: Map<String, Value>,
        annotations: Map<String, Value>,
    }
}

// --- references -------------------------------------------------------------------------------

#[test]
fn objects_have_the_recommended_labels_and_selectors_have_only_stable_ones() {
    with_helm(|helm| {
        for scenario in scenarios()? {
            for object in render(helm, &scenario)? {
                let labels = object["metadata"]["labels"].as_object().context("no labels")?;
                for key in ["name", "instance", "version", "managed-by"] {
                    ensure!(
                        labels.contains_key(&format!("app.kubernetes.io/{key}")),
                        "{key}: {object}"
                    );
                }
                ensure!(labels.contains_key("helm.sh/chart"), "{object}");
            }
        }
        let objects = render(helm, "everything")?;
        let daemons = only(&objects, "DaemonSet")?;
        let selected = json!({
            "app.kubernetes.io/name": "redirects",
            "app.kubernetes.io/instance": "interceptor",
        });
        assert_eq!(daemons["spec"]["selector"]["matchLabels"], selected);
        let mut labels = selected;
        labels["network"] = json!("agent");
        labels["team"] = json!("platform");
        assert_eq!(daemons["spec"]["template"]["metadata"]["labels"], labels);
        Ok(())
    });
}

/// Otherwise Prometheus would replace the redirected pod by the daemon's.
#[test]
fn prometheus_keeps_the_labels_of_the_redirected_pod() {
    with_helm(|helm| {
        let objects = render(helm, "monitoring")?;
        let endpoints = &only(&objects, "PodMonitor")?["spec"]["podMetricsEndpoints"];
        assert_eq!(endpoints[0]["honorLabels"], true);
        Ok(())
    });
}

#[test]
fn the_daemons_selector_does_not_select_the_pods_of_hooks() {
    with_helm(|helm| {
        let objects = render(helm, "monitoring")?;
        let selector = &only(&objects, "PodMonitor")?["spec"]["selector"];
        assert_eq!(*selector, only(&objects, "DaemonSet")?["spec"]["selector"]);
        let wanted = selector["matchLabels"].as_object().context("no labels to select by")?;
        let mut pods = 0;
        for hook in objects.iter().filter(|object| is_hook(object)) {
            let metadata = match hook["kind"].as_str() {
                Some("Pod") => &hook["metadata"],
                Some("Job") => &hook["spec"]["template"]["metadata"],
                _ => continue,
            };
            ensure!(wanted.iter().any(|(key, value)| metadata["labels"][key] != *value), "{hook}");
            pods += 1;
        }
        assert_eq!(pods, 2);
        Ok(())
    });
}

#[test]
fn each_file_has_one_object_and_each_name_is_unique() {
    with_helm(|helm| {
        for scenario in scenarios()? {
            let objects = render(helm, &scenario)?;
            let names: BTreeSet<_> = objects
                .iter()
                .map(|object| format!("{} {}", object["kind"], object["metadata"]["name"]))
                .collect();
            assert_eq!(names.len(), objects.len(), "{scenario}");
        }
        let text = helm.template(&interceptor_deploy::chart(), &[])?;
        let sources: Vec<_> = text.lines().filter(|line| line.starts_with("# Source: ")).collect();
        let different: BTreeSet<_> = sources.iter().collect();
        assert_eq!(different.len(), sources.len(), "{sources:?}");
        Ok(())
    });
}

#[test]
fn the_daemon_has_the_arguments_and_settings_of_the_values() {
    with_helm(|helm| {
        let objects = render(helm, "default")?;
        let pod = &only(&objects, "DaemonSet")?["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(
            container["args"],
            json!([
                "run",
                "--kubernetes",
                "--node-name=$(NODE_NAME)",
                "--instance=interceptor-system/$(POD_NAME)",
                "--policy=/etc/interceptor/policy.yaml",
                "--admin=127.0.0.1:9469",
                "--metrics=$(HOST_IP):9469",
                "--drain-timeout=25s",
            ])
        );
        assert_eq!(pod["terminationGracePeriodSeconds"], 35);
        assert_eq!(pod["priorityClassName"], "system-node-critical");
        assert_eq!(
            pod["tolerations"],
            json!([
                { "effect": "NoSchedule", "operator": "Exists" },
                { "effect": "NoExecute", "operator": "Exists" },
            ])
        );
        for hook in ["Pod", "Job"] {
            let hook = hook_of_kind(&objects, hook)?;
            let pod =
                hook["spec"].get("template").map_or(&hook["spec"], |template| &template["spec"]);
            // With a toleration of all taints the pod might go to a node that is down.
            let control_plane = "node-role.kubernetes.io/control-plane";
            let tolerations = pod["tolerations"].as_array().context("no tolerations")?;
            let (waits, others): (Vec<_>, Vec<_>) =
                tolerations.iter().partition(|one| one["tolerationSeconds"] == 5);
            let expected =
                json!({ "key": control_plane, "effect": "NoSchedule", "operator": "Exists" });
            assert_eq!(others, [&expected]);
            // The Job of the uninstall is moved from a node that goes away.
            assert_eq!(waits.len(), if hook["kind"] == "Job" { 2 } else { 0 });
        }
        for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
            let at = json!({ "host": "127.0.0.1", "path": path, "port": 9469 });
            assert_eq!(container[probe]["httpGet"], at);
        }

        let objects = render(helm, "everything")?;
        let pod = &only(&objects, "DaemonSet")?["spec"]["template"]["spec"];
        let arguments = pod["containers"][0]["args"].as_array().context("no arguments")?;
        for argument in [
            "--admin=127.0.0.1:9470",
            "--metrics=$(HOST_IP):9471",
            "--drain-timeout=50s",
            "--workers=3",
            "--netns-dir=/run/other",
        ] {
            ensure!(arguments.iter().any(|one| one == argument), "{argument}: {arguments:?}");
        }
        assert_eq!(pod["terminationGracePeriodSeconds"], 60);
        Ok(())
    });
}

#[test]
fn names_are_short_enough_for_their_suffixes() {
    with_helm(|helm| {
        let name = "a".repeat(53);
        let objects = render_with(
            helm,
            &[
                "--set",
                &format!("fullnameOverride={name}"),
                "--set",
                &format!("nameOverride={name}"),
            ],
        )?;
        for object in &objects {
            let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
            let values = labels.map(|(_, value)| value).chain([&object["metadata"]["name"]]);
            let too_long = values.filter_map(Value::as_str).find(|value| value.len() > 63);
            assert_eq!(too_long, None, "{}", object["kind"]);
        }
        let daemons = &only(&objects, "DaemonSet")?["spec"]["selector"]["matchLabels"];
        for hook in ["Pod", "Job"] {
            let labels = &hook_of_kind(&objects, hook)?["metadata"]["labels"];
            ensure!(
                daemons
                    .as_object()
                    .context("labels")?
                    .iter()
                    .any(|(key, value)| labels[key] != *value),
                "the DaemonSet would select the {hook}"
            );
        }
        Ok(())
    });
}

#[test]
fn a_new_policy_replaces_the_pods() {
    with_helm(|helm| {
        let sum = |more: &[&str]| -> Result<Value> {
            let objects = render_with(helm, more)?;
            let annotations =
                &only(&objects, "DaemonSet")?["spec"]["template"]["metadata"]["annotations"];
            Ok(annotations["checksum/config"].clone())
        };
        let plain = sum(&[])?;
        ensure!(plain.is_string());
        assert_eq!(sum(&["--set", "logLevel=debug"])?, plain);
        ensure!(sum(&["--set", "policy.dial=node"])? != plain);
        Ok(())
    });
}

#[test]
fn the_image_has_the_digest_or_else_the_tag_or_else_the_version() {
    with_helm(|helm| {
        let digest = format!("sha256:{}", "a".repeat(64));
        let by_digest = format!("image.digest={digest}");
        for (more, image) in [
            (&[][..], concat!("interceptor:", env!("CARGO_PKG_VERSION")).to_owned()),
            (&["--set", "image.tag=v7"], "interceptor:v7".to_owned()),
            (&["--set", "image.tag=v7", "--set", &by_digest], format!("interceptor@{digest}")),
        ] {
            let objects = render_with(helm, more)?;
            let pod = &only(&objects, "DaemonSet")?["spec"]["template"]["spec"];
            assert_eq!(pod["containers"][0]["image"], image);
        }
        Ok(())
    });
}

#[test]
fn objects_that_need_an_operator_are_off_by_default() {
    with_helm(|helm| {
        let objects = render(helm, "default")?;
        for kind in ["PodMonitor", "PrometheusRule"] {
            assert_eq!(of_kind(&objects, kind).count(), 0, "{kind}");
        }
        assert_eq!(of_kind(&objects, "ConfigMap").count(), 1);
        Ok(())
    });
}
