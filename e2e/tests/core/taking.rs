//! A pod is redirected, and no other pod is affected.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{Kind, LONG_TIMEOUT, Manifest, Pod, TIMEOUT, run};
use rstest::rstest;
use testbed::wait_until;

#[test]
fn one_of_three_pods_is_redirected_at_every_address_while_kubectl_works() {
    run("one-of-three", |f| {
        f.installed(&[])?;
        let web = f.deployment("web", 3)?;
        let pods = web.pods()?;
        let [redirected, others @ ..] = pods.as_slice() else { unreachable!("three pods") };
        redirected.annotate("example.com/owner", "another team")?;
        let before_rule = pods.iter().map(Pod::snapshot).collect::<Result<Vec<_>>>()?;
        let (service, node_port) = (web.cluster_ip()?, web.node_port()?);
        f.wait_answering(service)?;
        f.wait_answering(node_port)?;
        let load = f.load_on(&[redirected.address(), service, node_port])?;

        redirected.annotate("debug.redirect", &f.to_laptop())?;
        redirected.wait_active()?;
        let active = Instant::now();
        load.wait_for_calls(400)?;

        // At the pod's own address the laptop answers. At the addresses of the Service, it is one
        // of three servers.
        assert_eq!(redirected.served_by()?, "laptop");
        let names = others
            .iter()
            .map(|pod| pod.name().to_owned())
            .chain(["laptop".to_owned()])
            .collect::<BTreeSet<_>>();
        for address in [service, node_port] {
            let mut seen = BTreeSet::new();
            wait_until(&format!("all three servers at {address}"), TIMEOUT, || {
                seen.insert(f.ask(address)?.tag);
                ensure!(seen.len() == 3, "{seen:?}");
                Ok(())
            })?;
            assert_eq!(seen, names, "at {address}");
        }
        let calls = load.so_far().since(active);
        assert_eq!(calls.by(redirected.name()), 0, "{calls}");
        for pod in others {
            assert_eq!(pod.served_by()?, pod.name());
            assert_eq!(pod.active()?, None);
        }

        // exec and logs still reach the app's container.
        assert_eq!(redirected.exec(&["hostname"])?.trim(), redirected.name());
        let logs = f.cluster.kubectl(&["logs", "--namespace", f.namespace(), redirected.name()])?;
        ensure!(logs.contains("serves on 8080"), "{logs}");
        let forward = [
            "port-forward",
            "--namespace",
            f.namespace(),
            &format!("pod/{}", redirected.name()),
            "18080:8080",
        ];
        let mut forward = f
            .cluster
            .kubectl_command(&forward)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let forwarded = wait_until("port-forward", TIMEOUT, || {
            let mut connection = testbed::Connection::open_here(
                (Ipv4Addr::LOCALHOST, 18080).into(),
                testbed::Protocol::Http,
            )?;
            connection.ask()
        });
        forward.kill()?;
        forward.wait()?;
        // port-forward connects from inside the pod, so it is redirected, too.
        assert_eq!(forwarded?.tag, "laptop");
        ensure!(
            redirected.kubectl("describe", &[])?.contains("debug.redirect/Active"),
            "`kubectl describe` does not show the condition"
        );
        redirected.wait_event("RedirectActive")?;

        redirected.unannotate("debug.redirect")?;
        redirected.wait_untouched()?;
        load.wait_for(redirected.name())?;
        redirected.wait_event("RedirectEnded")?;
        let now = pods.iter().map(Pod::snapshot).collect::<Result<Vec<_>>>()?;
        assert_eq!(now, before_rule);
        load.stop().assert_none_failed();
        Ok(())
    });
}

#[rstest]
#[case::stateful_set(Kind::StatefulSet)]
#[case::daemon_set(Kind::DaemonSet)]
#[case::job(Kind::Job)]
#[case::bare_pod(Kind::Pod)]
fn pods_of_every_kind_are_redirected_and_served_by_the_app_afterwards(#[case] kind: Kind) {
    run(&format!("kind-{kind:?}").to_lowercase(), |f| {
        f.installed(&[])?;
        let pod = f.start(Manifest::new(kind, "app"))?.pods()?.remove(0);
        let load = f.load(pod.address())?;
        pod.annotate("debug.redirect", &f.to_laptop())?;
        pod.wait_active()?;
        load.wait_for("laptop")?;
        pod.unannotate("debug.redirect")?;
        load.wait_for(pod.name())?;
        pod.wait_untouched()?;
        load.stop().assert_none_failed();
        Ok(())
    });
}

#[test]
fn a_pod_that_is_annotated_before_it_runs_is_redirected_within_a_second_of_its_start() {
    run("early", |f| {
        f.installed(&[])?;
        let gate = "until [ -e /tmp/open ]; do sleep 0.1; done";
        let early = Manifest::new(Kind::Pod, "early")
            .annotation("debug.redirect", &f.to_laptop())
            .after(gate);
        let workload = f.start(early)?;
        wait_until("the init container to run", TIMEOUT, || {
            let pods = workload.list()?;
            let state = pods
                .first()
                .and_then(|pod| pod.pointer("/status/initContainerStatuses/0/state/running"));
            state.cloned().context("the init container does not run")
        })?;

        let open = [
            "exec",
            "--namespace",
            f.namespace(),
            "early",
            "--container=first",
            "--",
            "sh",
            "-c",
            ":>/tmp/open",
        ];
        f.cluster.kubectl(&open)?;
        let started = wait_until("the app to run", TIMEOUT, || {
            let pods = workload.list()?;
            let state = pods
                .first()
                .and_then(|pod| pod.pointer("/status/containerStatuses/0/state/running"));
            state.cloned().context("the app does not run").map(|_| Instant::now())
        })?;
        wait_until("the rule to be active", TIMEOUT, || {
            let pod = workload.first_pod()?;
            let condition = pod.active()?.context("no condition")?;
            ensure!(condition.status == "True", "{condition}");
            Ok(())
        })?;
        let waited = started.elapsed();
        ensure!(waited < Duration::from_secs(1), "active only {waited:?} after the start");
        assert_eq!(workload.pod()?.served_by()?, "laptop");
        Ok(())
    });
}

#[test]
fn a_pod_with_a_recreated_sandbox_is_redirected_again() {
    run("sandbox", |f| {
        f.installed(&[])?;
        let workload = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?;
        let app = workload.pod()?;
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        app.wait_for_answer("laptop")?;

        app.kill_sandbox()?;
        let again = wait_until("the pod to have another address", LONG_TIMEOUT, || {
            let again = workload.first_pod()?;
            ensure!(!again.addresses().is_empty() && again.address() != app.address(), "{again:?}");
            anyhow::Ok(again)
        })?;
        assert_eq!(again.uid(), app.uid(), "the same pod");
        again.wait_for_answer("laptop")?;
        again.wait_active()?;
        again.unannotate("debug.redirect")?;
        again.wait_untouched()?;
        again.wait_for_answer("app")
    });
}

#[test]
fn rules_of_two_developers_share_a_pod() {
    run("two-developers", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").ports(&[8080, 9090]))?.pod()?;
        let (first, second) = (app.address(), SocketAddr::new(app.address().ip(), 9090));
        app.annotate("debug.redirect/alice", &f.to_laptop())?;
        app.annotate("debug.redirect/bob", &f.to_laptop().replace("8080", "9090"))?;
        for name in ["alice", "bob"] {
            app.wait_for(&format!("condition=debug.redirect/Active-{name}"))?;
        }
        assert_eq!((f.ask(first)?.tag, f.ask(second)?.tag), ("laptop".into(), "laptop".into()));

        app.unannotate("debug.redirect/alice")?;
        wait_until("only the condition of bob", TIMEOUT, || {
            let kinds = app
                .conditions()?
                .into_keys()
                .filter(|kind| kind.starts_with("debug."))
                .collect::<Vec<_>>();
            ensure!(kinds == ["debug.redirect/Active", "debug.redirect/Active-bob"], "{kinds:?}");
            Ok(())
        })?;
        app.wait_for_answer(app.name())?;
        assert_eq!(f.ask(second)?.tag, "laptop");
        Ok(())
    });
}

#[test]
fn no_call_fails_when_a_rule_changes() {
    run("changed", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        let other = f.start(Manifest::new(Kind::Pod, "other"))?.pod()?;
        let load = f.load(app.address())?;
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        load.wait_for("laptop")?;

        app.annotate("debug.redirect", &format!("8080 -> {}", other.address()))?;
        load.wait_for("other")?;
        app.wait_event("RedirectChanged")?;
        assert_eq!(app.active()?.map(|condition| condition.status), Some("True".to_owned()));
        load.stop().assert_none_failed();
        Ok(())
    });
}
