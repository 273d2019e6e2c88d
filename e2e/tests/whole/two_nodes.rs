//! Two nodes: each daemon handles the pods of its node, and targets may be on any node.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{Kind, Manifest, Pod, Probe, run_on_nodes};

#[test]
fn each_daemon_handles_its_own_pods_and_targets_may_be_on_the_other_node() {
    run_on_nodes(2, "two-nodes", |f| {
        f.installed(&[])?;
        // The count of rules is that of the whole node, so other tests' pods must be gone.
        f.wait_alone()?;
        let daemons = f.product.daemons()?;
        let target = f.start(Manifest::new(Kind::Pod, "target").on("node1"))?.pod()?;
        let on_first = f.start(Manifest::new(Kind::Deployment, "first").on("node1"))?.pod()?;
        let on_second = f.start(Manifest::new(Kind::Deployment, "second").on("node2"))?.pod()?;
        assert_eq!((on_first.node(), on_second.node()), ("node1", "node2"));
        // With two families, the second node puts IPv6 first.
        assert_eq!(on_second.address().is_ipv6(), f.cluster.is_dual_stack()?);
        let load = f.load_on(&[on_first.address(), on_second.address()])?;

        let rules = |node: &str| -> Result<f64> {
            let daemon =
                daemons.iter().find(|daemon| daemon.node() == node).context("no daemon there")?;
            Ok(daemon.metrics()?.sum("interceptor_rules", &[("state", "active")]))
        };
        on_second.annotate("debug.redirect", &format!("8080 -> {}", target.address()))?;
        on_second.wait_active()?;
        load.wait_for("target")?;
        assert_eq!(on_second.served_by()?, "target");
        assert_eq!(on_first.served_by()?, on_first.name());
        assert_eq!((rules("node1")?, rules("node2")?), (0.0, 1.0));

        // The daemon of one node ends, which does not affect pods of the other.
        on_first.annotate("debug.redirect", &f.to_laptop())?;
        on_first.wait_active()?;
        let second =
            daemons.iter().find(|daemon| daemon.node() == "node2").context("no daemon on node2")?;
        second.delete()?;
        let calls = load.so_far();
        calls.assert_none_failed();
        testbed::wait_until("a successor on node2", interceptor_e2e::LONG_TIMEOUT, || {
            let now = f.product.daemons()?;
            ensure!(now.iter().all(|daemon| daemon.uid() != second.uid()), "still there");
            Ok(())
        })?;
        on_second.wait_active()?;
        on_second.wait_for_answer("target")?;
        assert_eq!(on_first.served_by()?, "laptop");
        load.stop().assert_none_failed();
        Ok(())
    });
}

/// Neither daemon knows the other one's connections.
#[test]
fn a_chain_of_two_pods_on_two_nodes_that_lead_to_each_other_is_refused_as_a_loop() {
    /// Maximum number of connections to both pods that no client opened.
    const HANDFUL: f64 = 20.0;
    const CALLS: u32 = 5;
    run_on_nodes(2, "two-chain", |f| {
        f.installed(&[])?;
        // Connections of other probes count as those of clients.
        let pod = |name: &str, node: &str| {
            f.start(Manifest::new(Kind::Pod, name).probe(Probe::Http).on(node))?.pod()
        };
        let first = pod("first", "node1")?;
        let second = pod("second", "node2")?;
        first.annotate("debug.redirect", &format!("8080 -> {}", second.address()))?;
        first.wait_active()?;
        assert_eq!(first.served_by()?, "second");

        second.annotate("debug.redirect", &format!("8080 -> {}", first.address()))?;
        let annotated = Instant::now();
        let calls = Cell::new(1_u32);
        let is_app = |pod: &Pod| -> Result<()> {
            calls.set(calls.get() + 1);
            let tag = pod.served_by()?;
            ensure!(["first", "second"].contains(&tag.as_str()), "{tag} answered");
            Ok(())
        };
        testbed::wait_until("one of the rules to be refused", Duration::from_secs(10), || {
            is_app(&first)?;
            let conditions = [first.active()?, second.active()?];
            let mut conditions = conditions.iter().flatten();
            let found = conditions.any(|one| one.status == "False" && one.reason == "Loop");
            ensure!(found, "{:?}", [first.active()?, second.active()?]);
            Ok(())
        })?;
        println!("refused after {:.1?}", annotated.elapsed());
        for _ in 0..CALLS {
            is_app(&first)?;
            is_app(&second)?;
        }
        let mut connections = 0.0;
        for daemon in f.product.daemons()? {
            connections += daemon.connections_to(&first)? + daemon.connections_to(&second)?;
        }
        println!("{} calls, {connections} connections", calls.get());
        // A call to one of the pods may reach the other one by its target.
        assert!(connections <= f64::from(2 * calls.get()) + HANDFUL, "{connections}");
        Ok(())
    });
}

#[test]
fn the_token_of_a_daemon_is_refused_for_pods_of_the_other_node() {
    run_on_nodes(2, "two-tokens", |f| {
        f.installed(&[])?;
        let here = f.start(Manifest::new(Kind::Pod, "here").on("node1"))?.pod()?;
        let there = f.start(Manifest::new(Kind::Pod, "there").on("node2"))?.pod()?;
        let token = f.product.first_daemon()?.token()?;
        let body = r#"{"status": {"conditions": [
            {"type": "debug.redirect/Active", "status": "True", "reason": "X", "message": "x"}
        ]}}"#;
        let patch = |pod: &Pod| {
            let path = format!("/api/v1/namespaces/{}/pods/{}/status", pod.namespace(), pod.name());
            f.cluster.request(
                &token,
                "PATCH",
                &path,
                Some(("application/strategic-merge-patch+json", body)),
            )
        };
        assert_eq!(patch(&here)?.0, 200);
        let (code, response) = patch(&there)?;
        assert_eq!(code, 403, "{response}");
        assert_eq!(there.active()?, None);
        Ok(())
    });
}

#[test]
fn no_call_of_a_service_fails_while_a_node_with_redirected_pods_is_drained() {
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
        let load = f.load(service)?;
        load.wait_for("laptop")?;

        let drained = f.cluster.drain("node1", "moving")?;
        let moved = web.pods()?;
        ensure!(moved.iter().all(|pod| pod.node() == "node2"), "pods are still on node1");
        load.wait_for_calls(200)?;
        drop(drained);
        let calls = load.stop();
        calls.assert_none_failed();
        println!("{calls}");
        Ok(())
    });
}
