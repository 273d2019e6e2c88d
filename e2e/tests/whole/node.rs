//! The node's own software restarts, or is drained, under load.

use std::time::Instant;

use anyhow::ensure;
use interceptor_e2e::{Fixture, Kind, LONG_TIMEOUT, Manifest, run};
use rstest::rstest;
use testbed::wait_until;

#[rstest]
#[case::kubelet("node1-kubelet")]
#[case::containerd("node1-containerd")]
#[case::proxy("node1-proxy")]
fn a_restart_of_the_nodes_software_changes_nothing_for_callers(#[case] part: &str) {
    run(&format!("restart-{part}"), |f| {
        let (app, callers) = f.redirected()?;
        let daemon = f.product.first_daemon()?;
        let pid = daemon.pid()?;
        let restarted = Instant::now();
        f.cluster.restart_part(part)?;
        let nodes = ["wait", "--for=condition=Ready", "node/node1", "--timeout=60s"];
        f.cluster.kubectl(&nodes)?;

        // Whatever is annotated now is served by the new one.
        let late = f.start(Manifest::new(Kind::Pod, "late").on("node1"))?.pod()?;
        late.annotate("debug.redirect", &f.to_laptop())?;
        late.wait_active()?;
        late.wait_for_answer("laptop")?;
        let calls = callers.stop();
        calls.assert_none_failed();
        let after = calls.since(restarted);
        assert_eq!(after.by("laptop"), after.len(), "{after}");
        assert_eq!(app.restarts()?, 0);
        assert_eq!(daemon.pid()?, pid, "the daemon stays");
        Ok(())
    });
}

#[test]
fn a_drained_node_keeps_its_daemon_and_what_that_carries() {
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
        let callers = f.callers(bystander.address())?;

        let uncordon = Uncordon(f);
        let drain = [
            "drain",
            "node1",
            "--ignore-daemonsets",
            "--pod-selector=app=drained",
            "--timeout=60s",
        ];
        f.cluster.kubectl(&drain)?;
        wait_until("the pods of the Deployment to be gone", LONG_TIMEOUT, || {
            let left = web.list()?;
            let old = left
                .iter()
                .filter(|pod| pods.iter().any(|one| pod["metadata"]["uid"] == one.uid()))
                .count();
            ensure!(old == 0, "{old} left");
            Ok(())
        })?;
        // Pods of DaemonSets stay, the daemon's among them.
        assert_eq!(f.product.first_daemon()?.uid(), daemon.uid());
        callers.wait_for("laptop")?;
        drop(uncordon);

        for pod in web.pods()? {
            assert_eq!(pod.who()?, pod.name());
        }
        let calls = callers.stop();
        calls.assert_none_failed();
        assert_eq!(calls.by("laptop"), calls.len(), "{calls}");
        Ok(())
    });
}

#[test]
fn a_daemon_pod_that_is_evicted_comes_back_and_fails_no_call() {
    run("evicted", |f| {
        let (app, callers) = f.redirected()?;
        let daemon = f.product.first_daemon()?;
        let path = format!("/api/v1/namespaces/interceptor-system/pods/{}/eviction", daemon.name());
        let name = daemon.name();
        let eviction = format!(
            r#"{{"apiVersion": "policy/v1", "kind": "Eviction",
                "metadata": {{"name": "{name}", "namespace": "interceptor-system"}}}}"#
        );
        f.cluster.apply_with(&["create", "--raw", &path, "--filename=-"], &eviction)?;
        wait_until("its successor", LONG_TIMEOUT, || {
            let now = f.product.first_daemon()?;
            ensure!(now.uid() != daemon.uid(), "still the same");
            Ok(())
        })?;
        app.wait_active()?;
        callers.wait_for("laptop")?;
        callers.stop().assert_none_failed();
        Ok(())
    });
}

/// Lets pods come to the node again, whatever happens.
struct Uncordon<'f>(&'f Fixture);

impl Drop for Uncordon<'_> {
    fn drop(&mut self) {
        let _ = self.0.cluster.kubectl(&["uncordon", "node1"]);
    }
}
