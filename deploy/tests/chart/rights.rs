//! Tests of all rights that the chart requests: verbs, capabilities and folders of the node.
//!
//! A change here changes what admins agree to when they install the chart.

use anyhow::Result;
use serde_json::{Value, json};

use crate::common::{is_hook, of_kind, only, render, render_with, scenarios, with_helm};

fn pod(objects: &[Value]) -> Result<&Value> {
    Ok(&only(objects, "DaemonSet")?["spec"]["template"]["spec"])
}

#[test]
fn the_container_has_exactly_these_rights() {
    with_helm(|helm| {
        let objects = render(helm, "default")?;
        let context = &pod(&objects)?["containers"][0]["securityContext"];
        assert_eq!(
            *context,
            json!({
                "privileged": false,
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "runAsUser": 0,
                "runAsGroup": 0,
                "runAsNonRoot": false,
                "capabilities": {
                    "drop": ["ALL"],
                    "add": ["BPF", "NET_ADMIN", "PERFMON", "SYS_ADMIN"],
                },
                "seccompProfile": { "type": "RuntimeDefault" },
            })
        );
        Ok(())
    });
}

#[test]
fn the_container_sees_the_network_and_two_folders_of_the_node() {
    with_helm(|helm| {
        let objects = render(helm, "default")?;
        let pod = pod(&objects)?;
        assert_eq!(pod["hostNetwork"], true);
        for key in ["hostPID", "hostIPC", "hostUsers", "shareProcessNamespace", "initContainers"] {
            assert_eq!(pod[key], Value::Null, "{key}");
        }
        assert_eq!(pod["containers"].as_array().map(Vec::len), Some(1));
        assert_eq!(
            pod["volumes"],
            json!([
                { "name": "config", "configMap": { "name": "interceptor" } },
                {
                    "name": "netns",
                    "hostPath": { "path": "/run/netns", "type": "DirectoryOrCreate" },
                },
                { "name": "cgroup", "hostPath": { "path": "/sys/fs/cgroup", "type": "Directory" } },
            ])
        );
        assert_eq!(
            pod["containers"][0]["volumeMounts"],
            json!([
                { "name": "config", "mountPath": "/etc/interceptor", "readOnly": true },
                {
                    "name": "netns", "mountPath": "/run/netns", "readOnly": true,
                    "mountPropagation": "HostToContainer",
                },
                {
                    "name": "cgroup", "mountPath": "/host/sys/fs/cgroup", "readOnly": true,
                    "recursiveReadOnly": "IfPossible",
                },
            ])
        );
        Ok(())
    });
}

#[test]
fn searching_proc_needs_one_capability_and_the_nodes_processes() {
    with_helm(|helm| {
        let objects = render_with(helm, &["--set", "netns.fromProc=true"])?;
        let plain = render(helm, "default")?;
        let (pod, mut expected) = (pod(&objects)?, pod(&plain)?.clone());
        expected["hostPID"] = json!(true);
        let container = &mut expected["containers"][0];
        container["securityContext"]["capabilities"]["add"] =
            json!(["BPF", "NET_ADMIN", "PERFMON", "SYS_ADMIN", "SYS_PTRACE"]);
        container["args"].as_array_mut().expect("has arguments").push(json!("--proc-netns"));
        assert_eq!(*pod, expected);
        Ok(())
    });
}

#[test]
fn the_daemon_reads_pods_and_writes_their_status_and_events() {
    with_helm(|helm| {
        let objects = render(helm, "default")?;
        let rights = json!([
            { "apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"] },
            { "apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"] },
            { "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"] },
        ]);
        assert_eq!(only(&objects, "ClusterRole")?["rules"], rights);

        let objects = render(helm, "strict-policy")?;
        let mut with_namespaces = rights;
        with_namespaces.as_array_mut().expect("is a list").push(
            json!({ "apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"] }),
        );
        assert_eq!(only(&objects, "ClusterRole")?["rules"], with_namespaces);
        Ok(())
    });
}

#[test]
fn only_the_daemons_account_has_these_rights() {
    with_helm(|helm| {
        let objects = render(helm, "default")?;
        assert_eq!(pod(&objects)?["serviceAccountName"], "interceptor");
        assert_eq!(only(&objects, "ServiceAccount")?["metadata"]["name"], "interceptor");
        let binding = only(&objects, "ClusterRoleBinding")?;
        let namespace = "interceptor-system";
        let subject =
            json!({ "kind": "ServiceAccount", "name": "interceptor", "namespace": namespace });
        assert_eq!(binding["subjects"], json!([subject]));
        for kind in ["Role", "RoleBinding"] {
            assert_eq!(of_kind(&objects, kind).count(), 0, "{kind}");
        }
        Ok(())
    });
}

#[test]
fn admission_policies_apply_to_the_account_and_deny() {
    with_helm(|helm| {
        for (more, account) in [
            (&[][..], "system:serviceaccount:interceptor-system:interceptor"),
            (
                &["--set", "serviceAccount.name=other"][..],
                "system:serviceaccount:interceptor-system:other",
            ),
            (&["--namespace", "elsewhere"][..], "system:serviceaccount:elsewhere:interceptor"),
        ] {
            let objects = render_with(helm, more)?;
            let (namespace, _) = account.rsplit_once(':').expect("an account has a namespace");
            let uninstall = format!("{namespace}:interceptor-uninstall");
            let policies: Vec<_> = of_kind(&objects, "ValidatingAdmissionPolicy").collect();
            assert_eq!(policies.len(), 2);
            for policy in policies {
                assert_eq!(policy["spec"]["failurePolicy"], "Fail");
                let condition = &policy["spec"]["matchConditions"][0]["expression"];
                let expected = if policy["metadata"]["name"] == "interceptor-pods" {
                    format!("request.userInfo.username in ['{account}', '{uninstall}']")
                } else {
                    format!("request.userInfo.username == '{account}'")
                };
                assert_eq!(*condition, expected);
                let binding = of_kind(&objects, "ValidatingAdmissionPolicyBinding")
                    .find(|binding| binding["spec"]["policyName"] == policy["metadata"]["name"])
                    .expect("each policy is bound");
                assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
            }
        }
        Ok(())
    });
}

#[test]
fn hooks_have_rights_of_their_own_while_they_run() {
    with_helm(|helm| {
        let objects = render(helm, "default")?;
        let hooks: Vec<_> = objects.iter().filter(|object| is_hook(object)).collect();
        for hook in &hooks {
            let annotations = &hook["metadata"]["annotations"];
            // The test's pod stays for its log.
            let policy = if hook["kind"] == "Pod" {
                "before-hook-creation"
            } else {
                "before-hook-creation,hook-succeeded"
            };
            assert_eq!(annotations["helm.sh/hook-delete-policy"], policy);
        }
        let rules = |kind: &str, name: &str| {
            let role = objects
                .iter()
                .find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
            role.map(|role| role["rules"].clone())
        };
        assert_eq!(
            rules("Role", "interceptor-test"),
            Some(json!([{
                "apiGroups": [""], "resources": ["pods"], "resourceNames": ["interceptor-test"],
                "verbs": ["get", "patch"],
            }]))
        );
        assert_eq!(
            rules("Role", "interceptor-uninstall"),
            Some(json!([
                {
                    "apiGroups": ["apps"], "resources": ["daemonsets"],
                    "resourceNames": ["interceptor"], "verbs": ["get", "delete"],
                },
                {
                    "apiGroups": ["batch"], "resources": ["jobs"],
                    "resourceNames": ["interceptor-uninstall"], "verbs": ["patch"],
                },
                { "apiGroups": [""], "resources": ["pods"], "verbs": ["list", "delete"] },
            ]))
        );
        let wide: Vec<_> = hooks.iter().filter(|hook| hook["kind"] == "ClusterRole").collect();
        assert_eq!(wide.len(), 1, "only `helm uninstall` has rights on the whole cluster");
        assert_eq!(
            rules("ClusterRole", "interceptor-uninstall"),
            Some(json!([
                { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] },
                { "apiGroups": [""], "resources": ["pods"], "verbs": ["list"] },
                { "apiGroups": [""], "resources": ["pods/status"], "verbs": ["patch"] },
                {
                    "apiGroups": ["rbac.authorization.k8s.io"],
                    "resources": ["clusterrolebindings"], "resourceNames": ["interceptor"],
                    "verbs": ["delete"],
                },
            ]))
        );
        // `helm test --logs` prints the log of the test's pod once for each hook of the test.
        let of_test =
            hooks.iter().filter(|hook| hook["metadata"]["annotations"]["helm.sh/hook"] == "test");
        assert_eq!(of_test.map(|hook| &hook["kind"]).collect::<Vec<_>>(), ["Pod"]);
        let pods = hooks.iter().filter_map(|hook| match hook["kind"].as_str() {
            Some("Pod") => Some(&hook["spec"]),
            Some("Job") => Some(&hook["spec"]["template"]["spec"]),
            _ => None,
        });
        for pod in pods {
            assert_eq!(pod["hostNetwork"], Value::Null);
            assert_eq!(pod["volumes"], Value::Null);
            let context = &pod["containers"][0]["securityContext"];
            assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
            assert_eq!(context["runAsNonRoot"], true);
        }
        Ok(())
    });
}

#[test]
fn accounts_and_rights_of_the_admin_are_not_created() {
    with_helm(|helm| {
        let objects = render(helm, "own-accounts")?;
        let mut kinds: Vec<_> = objects.iter().map(|object| &object["kind"]).collect();
        kinds.sort_by_key(ToString::to_string);
        assert_eq!(kinds, ["ConfigMap", "DaemonSet"]);
        assert_eq!(pod(&objects)?["serviceAccountName"], "traffic");
        Ok(())
    });
}

#[test]
fn no_scenario_is_privileged() {
    with_helm(|helm| {
        for scenario in scenarios()? {
            for object in render(helm, &scenario)? {
                let spec = if object["kind"] == "Pod" {
                    &object["spec"]
                } else {
                    &object["spec"]["template"]["spec"]
                };
                for container in spec["containers"].as_array().into_iter().flatten() {
                    let context = &container["securityContext"];
                    assert_eq!(context["privileged"], false, "{scenario}: {container}");
                    assert_eq!(
                        context["capabilities"]["drop"],
                        json!(["ALL"]),
                        "{scenario}: {container}"
                    );
                    assert_eq!(context["readOnlyRootFilesystem"], true, "{scenario}: {container}");
                }
            }
        }
        Ok(())
    });
}
