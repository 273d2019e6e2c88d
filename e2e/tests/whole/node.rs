//! A node under load: its software restarts, or it is drained.

use std::time::Instant;

use anyhow::ensure;
use interceptor_e2e::{Kind, LONG_TIMEOUT, Manifest, run};
use rstest::rstest;
use testbed::wait_until;

#[rstest]
#[case::kubelet("node1-kubelet")]
#[case::containerd("node1-containerd")]
#[case::proxy("node1-proxy")]
fn clients_do_not_notice_a_restart_of_the_nodes_software(#[case] part: &str) {
    run(&format!("restart-{part}"), |f| {
        let (app, load) = f.redirected()?;
        let daemon = f.product.first_daemon()?;
        let pid = daemon.pid()?;
        let restarted = Instant::now();
        f.cluster.restart_part(part)?;
        let nodes = ["wait", "--for=condition=Ready", "node/node1", "--timeout=60s"];
        f.cluster.kubectl(&nodes)?;

        // A pod that is annotated now is handled by the restarted part.
        let late = f.start(Manifest::new(Kind::Pod, "late").on("node1"))?.pod()?;
        late.annotate("debug.redirect", &f.to_laptop())?;
        late.wait_active()?;
        late.wait_for_answer("laptop")?;
        let calls = load.stop();
        calls.assert_none_failed();
        let after = calls.since(restarted);
        assert_eq!(after.by("laptop"), after.len(), "{after}");
        assert_eq!(app.restarts()?, 0);
        assert_eq!(daemon.pid()?, pid, "the daemon has restarted");
        Ok(())
    });
}

#[test]
fn a_drained_node_keeps_its_daemon_and_the_redirects_of_other_pods() {
    run("drain", |f| {
        f.installed(&[])?;
        let web = f.start(Manifest::new(Kind::Deployment, "drained").replicas(2).on("node1"))?;
        let pods = web.pods()?;
        for pod in &pods {
            pod.annotate("debug.redirect", &f.to_laptop())?;
            pod.wait_active()?;
        }
        let daemon = f.product.first_daemon()?;
        let bystander =
            f.start(Manifest::new(Kind::DaemonSet, "bystander").on("node1"))?.pods()?.remove(0);
        bystander.annotate("debug.redirect", &f.to_laptop())?;
        bystander.wait_active()?;
        let load = f.load(bystander.address())?;

        let drained = f.cluster.drain("node1", "drained")?;
        wait_until("the pods of the Deployment to be gone", LONG_TIMEOUT, || {
            let left = web.list()?;
            let old = left
                .iter()
                .filter(|pod| pods.iter().any(|one| pod["metadata"]["uid"] == one.uid()))
                .count();
            ensure!(old == 0, "{old} left");
            Ok(())
        })?;
        // Pods of DaemonSets stay, the daemon's pod included.
        assert_eq!(f.product.first_daemon()?.uid(), daemon.uid());
        load.wait_for("laptop")?;
        drop(drained);

        for pod in web.pods()? {
            assert_eq!(pod.served_by()?, pod.name());
        }
        let calls = load.stop();
        calls.assert_none_failed();
        assert_eq!(calls.by("laptop"), calls.len(), "{calls}");
        Ok(())
    });
}

#[test]
fn no_call_fails_when_a_daemon_pod_is_evicted() {
    run("evicted", |f| {
        let (app, load) = f.redirected()?;
        let daemon = f.product.first_daemon()?;
        let path = format!("/api/v1/namespaces/interceptor-system/pods/{}/eviction", daemon.name());
        let name = daemon.name();
        let eviction = format!(
            r#"{{"apiVersion": "policy/v1", "kind": "Eviction",
                "metadata": {{"name": "{name}", "namespace": "interceptor-system"}}}}"#
        );
        f.cluster.apply_with(&["create", "--raw", &path, "--filename=-"], &eviction)?;
        f.product.wait_successor(&daemon)?;
        app.wait_active()?;
        load.wait_for("laptop")?;
        load.stop().assert_none_failed();
        Ok(())
    });
}
