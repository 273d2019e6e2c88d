//! Two nodes: each daemon has its own pods, and targets may be anywhere.

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{Fixture, Kind, Manifest, run_on_nodes};

#[test]
fn each_daemon_acts_on_its_own_pods_and_targets_may_be_on_the_other_node() {
    run_on_nodes(2, "two-nodes", |f| {
        f.installed(&[])?;
        // Rules are counted for a whole node.
        f.wait_alone()?;
        let daemons = f.product.daemons()?;
        let target = f.start(Manifest::new(Kind::Pod, "target").on("node1"))?.pod()?;
        let on_first = f.start(Manifest::new(Kind::Deployment, "first").on("node1"))?.pod()?;
        let on_second = f.start(Manifest::new(Kind::Deployment, "second").on("node2"))?.pod()?;
        assert_eq!((on_first.node(), on_second.node()), ("node1", "node2"));
        // Of two families, the second node puts IPv6 first.
        assert_eq!(on_second.address().is_ipv6(), f.cluster.is_dual_stack()?);
        let callers = f.callers_of(&[on_first.address(), on_second.address()])?;

        let rules = |node: &str| -> Result<f64> {
            let daemon =
                daemons.iter().find(|daemon| daemon.node() == node).context("no daemon there")?;
            Ok(daemon.metrics()?.sum("interceptor_rules", &[("state", "active")]))
        };
        on_second.annotate("debug.redirect", &format!("8080 -> {}", target.address()))?;
        on_second.wait_active()?;
        callers.wait_for("target")?;
        assert_eq!(on_second.who()?, "target");
        assert_eq!(on_first.who()?, on_first.name());
        assert_eq!((rules("node1")?, rules("node2")?), (0.0, 1.0));

        // The daemon of one node ends: the other's pods are none of its business.
        on_first.annotate("debug.redirect", &f.to_laptop())?;
        on_first.wait_active()?;
        let second =
            daemons.iter().find(|daemon| daemon.node() == "node2").context("no daemon on node2")?;
        second.delete()?;
        let calls = callers.so_far();
        calls.assert_none_failed();
        testbed::wait_until("its successor", interceptor_e2e::LONG_TIMEOUT, || {
            let now = f.product.daemons()?;
            ensure!(now.iter().all(|daemon| daemon.uid() != second.uid()), "still there");
            Ok(())
        })?;
        on_second.wait_active()?;
        on_second.wait_for_answer("target")?;
        assert_eq!(on_first.who()?, "laptop");
        callers.stop().assert_none_failed();
        Ok(())
    });
}

#[test]
fn a_daemons_token_is_refused_for_pods_of_the_other_node() {
    run_on_nodes(2, "two-tokens", |f| {
        f.installed(&[])?;
        let here = f.start(Manifest::new(Kind::Pod, "here").on("node1"))?.pod()?;
        let there = f.start(Manifest::new(Kind::Pod, "there").on("node2"))?.pod()?;
        let token = f.product.first_daemon()?.token()?;
        let body = r#"{"status": {"conditions": [{"type": "debug.redirect/Active", "status": "True", "reason": "X", "message": "x"}]}}"#;
        let patch = |pod: &interceptor_e2e::Pod| {
            let path = format!("/api/v1/namespaces/{}/pods/{}/status", pod.namespace(), pod.name());
            f.cluster.request(
                &token,
                "PATCH",
                &path,
                Some(("application/strategic-merge-patch+json", body)),
            )
        };
        assert_eq!(patch(&here)?.0, 200);
        let (code, told) = patch(&there)?;
        assert_eq!(code, 403, "{told}");
        assert_eq!(there.active()?, None);
        Ok(())
    });
}

#[test]
fn a_service_loses_no_call_while_a_node_with_redirected_pods_is_drained() {
    run_on_nodes(2, "two-drain", |f| {
        f.installed(&[])?;
        let web = f.deployment("moving", 6)?;
        let pods = web.pods()?;
        let (here, there): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| pod.node() == "node1");
        ensure!(!here.is_empty() && !there.is_empty(), "all pods are on one node");
        for pod in &here {
            pod.annotate("debug.redirect", &f.to_laptop())?;
            pod.wait_active()?;
        }
        let service = web.cluster_ip()?;
        f.wait_answering(service)?;
        let callers = f.callers(service)?;
        callers.wait_for("laptop")?;

        let uncordon = Uncordon(f);
        let drain =
            ["drain", "node1", "--ignore-daemonsets", "--pod-selector=app=moving", "--timeout=60s"];
        f.cluster.kubectl(&drain)?;
        let moved = web.pods()?;
        ensure!(moved.iter().all(|pod| pod.node() == "node2"), "pods are still on node1");
        callers.wait_for_calls(200)?;
        drop(uncordon);
        let calls = callers.stop();
        calls.assert_none_failed();
        println!("{calls}");
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
