//! The rights of the daemon: a token that is stolen from its pod is worth little.

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{Cluster, Kind, Manifest, Pod, run};
use serde_json::{Value, json};

const MERGE: &str = "application/strategic-merge-patch+json";

/// The path of a pod in the API.
fn path(pod: &Pod) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", pod.namespace(), pod.name())
}

/// A patch that sets a condition.
fn condition(kind: &str) -> String {
    format!(
        r#"{{"status": {{"conditions": [
            {{"type": "{kind}", "status": "True", "reason": "X", "message": "x"}}
        ]}}}}"#
    )
}

/// Fails unless the API server refuses the request.
fn refused(
    cluster: &Cluster,
    token: &str,
    method: &str,
    path: &str,
    body: Option<&str>,
) -> Result<()> {
    let (code, response) = cluster.request(token, method, path, body.map(|body| (MERGE, body)))?;
    // RBAC refuses it, or the chart's admission policy.
    ensure!(code == 403, "{method} {path} {body:?}: {code} {response}");
    Ok(())
}

#[test]
fn the_token_may_set_the_products_conditions_and_nothing_else() {
    run("rights", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let daemon = f.product.first_daemon()?;
        let token = daemon.token()?;
        let before_rule = app.snapshot()?;
        let (pod, status) = (path(&app), path(&app) + "/status");

        let own = condition("debug.redirect/Active-e2e");
        let (code, response) = f.cluster.request(&token, "PATCH", &status, Some((MERGE, &own)))?;
        assert_eq!(code, 200, "{response}");
        for body in [
            &condition("Ready"),
            &condition("example.com/Active"),
            r#"{"status": {"phase": "Failed"}}"#,
            r#"{"status": {"message": "pwned"}}"#,
            r#"{"status": {"nominatedNodeName": "node2"}}"#,
            r#"{"metadata": {"labels": {"app": "other"}}}"#,
            r#"{"metadata": {"annotations": {"debug.redirect": "8080 -> 1.2.3.4:5"}}}"#,
            r#"{"metadata": {"finalizers": ["example.com/stay"]}}"#,
        ] {
            refused(&f.cluster, &token, "PATCH", &status, Some(body))?;
        }
        for body in [
            r#"{"metadata": {"annotations": {"a": "b"}}}"#,
            r#"{"spec": {"activeDeadlineSeconds": 1}}"#,
        ] {
            refused(&f.cluster, &token, "PATCH", &pod, Some(body))?;
        }
        for (method, path) in [
            ("DELETE", pod.as_str()),
            ("GET", "/api/v1/secrets"),
            ("GET", "/api/v1/configmaps"),
            ("GET", "/api/v1/nodes"),
            ("GET", "/api/v1/namespaces"),
        ] {
            refused(&f.cluster, &token, method, path, None)?;
        }
        // A token that is not bound to a pod names no node, so it has no rights on any pod.
        refused(&f.cluster, &daemon.loose_token()?, "PATCH", &status, Some(&own))?;
        assert_eq!(app.snapshot()?, before_rule);
        Ok(())
    });
}

#[test]
fn the_token_may_write_events_about_pods_of_its_own_node_and_no_others() {
    run("event-rights", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let daemon = f.product.first_daemon()?;
        let token = daemon.token()?;
        let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", app.namespace());
        let event = |name: &str, controller: &str, node: &str, kind: &str| {
            let event = json!({
                "apiVersion": "events.k8s.io/v1",
                "kind": "Event",
                "metadata": { "name": name },
                "eventTime": "2020-01-01T00:00:00.000000Z",
                "action": "Redirect",
                "reason": "Tried",
                "type": "Normal",
                "note": "by a test",
                "regarding": {
                    "apiVersion": "v1",
                    "kind": kind,
                    "namespace": app.namespace(),
                    "name": app.name(),
                },
                "reportingController": controller,
                "reportingInstance": node,
            });
            event.to_string()
        };
        let post = |token: &str, event: &str| {
            f.cluster.request(token, "POST", &path, Some(("application/json", event)))
        };
        let own = event("own", "interceptor", "node1", "Pod");
        let (code, response) = post(&token, &own)?;
        assert_eq!(code, 201, "{response}");
        for (token, event, why) in [
            (&token, event("a", "kubelet", "node1", "Pod"), "only its own Events"),
            (&token, event("b", "interceptor", "node2", "Pod"), "in the name of that node only"),
            (&token, event("c", "interceptor", "node1", "Service"), "only Events about pods"),
            (&daemon.loose_token()?, event("d", "interceptor", "node1", "Pod"), "bound to a pod"),
        ] {
            let (code, response) = post(token, &event)?;
            ensure!(code == 403 && response.contains(why), "{event}: {code} {response}");
        }
        refused(&f.cluster, &token, "PATCH", &format!("{path}/own"), Some(r#"{"note": "other"}"#))
    });
}

#[test]
fn the_account_has_only_the_documented_rights() {
    run("account", |f| {
        f.installed(&[])?;
        let token = f.product.first_daemon()?.token()?;
        let rights = rights(&f.cluster, &token)?;
        let expected = ["/pods list,watch", "/pods/status patch", "events.k8s.io/events create"];
        assert_eq!(rights, expected);
        f.installed(&["policy.namespaces=debug=allowed"])?;
        let token = f.product.first_daemon()?.token()?;
        assert_eq!(
            self::rights(&f.cluster, &token)?.first().map(String::as_str),
            Some("/namespaces list,watch")
        );
        Ok(())
    });
}

/// The rights of an account, except those of every account to review its own rights.
fn rights(cluster: &Cluster, token: &str) -> Result<Vec<String>> {
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": { "namespace": "kube-system" },
    })
    .to_string();
    let (code, response) =
        cluster.request(token, "POST", path, Some(("application/json", &review)))?;
    ensure!(code == 201, "{code} {response}");
    let response: Value = serde_json::from_str(&response)?;
    let words = |value: &Value| {
        let words = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut words = words.map(str::to_owned).collect::<Vec<_>>();
        words.sort();
        words
    };
    let mut rights = Vec::new();
    for rule in response["status"]["resourceRules"].as_array().context("no rules")? {
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                if !resource.starts_with("selfsubject") {
                    rights.push(format!("{group}/{resource} {}", words(&rule["verbs"]).join(",")));
                }
            }
        }
    }
    rights.sort();
    rights.dedup();
    Ok(rights)
}

#[test]
fn the_daemon_has_only_the_documented_capabilities() {
    run("capabilities", |f| {
        f.installed(&[])?;
        let daemon = f.product.first_daemon()?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()?))?;
        let has = |field: &str| -> Result<u64> {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(field))
                .context("no such field in the status")?;
            Ok(u64::from_str_radix(line.trim(), 16)?)
        };
        // NET_ADMIN, SYS_ADMIN, PERFMON and BPF, by their numbers.
        let expected = [12, 21, 38, 39].iter().fold(0, |all, number| all | 1_u64 << number);
        assert_eq!(has("CapEff:")?, expected);
        assert_eq!(has("CapBnd:")?, expected);
        assert_eq!(has("NoNewPrivs:")?, 1);
        Ok(())
    });
}
