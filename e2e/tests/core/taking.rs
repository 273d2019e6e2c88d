//! A pod is taken, and nobody else.

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
fn one_of_three_pods_is_taken_by_every_way_there_and_kubectl_works_meanwhile() {
    run("one-of-three", |f| {
        f.installed(&[])?;
        let web = f.deployment("web", 3)?;
        let pods = web.pods()?;
        let [taken, others @ ..] = pods.as_slice() else { unreachable!("three pods") };
        taken.annotate("example.com/owner", "somebody else")?;
        let looked = pods.iter().map(Pod::looks).collect::<Result<Vec<_>>>()?;
        let (service, node_port) = (web.cluster_ip()?, web.node_port()?);
        f.wait_answering(service)?;
        f.wait_answering(node_port)?;
        let callers = f.callers_of(&[taken.address(), service, node_port])?;

        taken.annotate("debug.redirect", &f.to_laptop())?;
        taken.wait_active()?;
        let active = Instant::now();
        callers.wait_for_calls(400)?;

        // By its own address, it is the laptop; by those of the Service, the laptop is one of three.
        assert_eq!(taken.who()?, "laptop");
        let names = others
            .iter()
            .map(|pod| pod.name().to_owned())
            .chain(["laptop".to_owned()])
            .collect::<BTreeSet<_>>();
        for way in [service, node_port] {
            let mut seen = BTreeSet::new();
            wait_until(&format!("all three by {way}"), TIMEOUT, || {
                seen.insert(f.ask(way)?.tag);
                ensure!(seen.len() == 3, "{seen:?}");
                Ok(())
            })?;
            assert_eq!(seen, names, "by {way}");
        }
        let calls = callers.so_far().since(active);
        assert_eq!(calls.by(taken.name()), 0, "{calls}");
        for pod in others {
            assert_eq!(pod.who()?, pod.name());
            assert_eq!(pod.active()?, None);
        }

        // What people do with their pods goes on, with the app itself.
        assert_eq!(taken.exec(&["hostname"])?.trim(), taken.name());
        let logs = f.cluster.kubectl(&["logs", "--namespace", f.namespace(), taken.name()])?;
        ensure!(logs.contains("serves on 8080"), "{logs}");
        let forward = [
            "port-forward",
            "--namespace",
            f.namespace(),
            &format!("pod/{}", taken.name()),
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
        // It connects to the port from inside the pod, and so is taken like everybody.
        assert_eq!(forwarded?.tag, "laptop");
        ensure!(
            taken.kubectl("describe", &[])?.contains("debug.redirect/Active"),
            "describe shows the condition"
        );
        taken.wait_event("RedirectActive")?;

        taken.unannotate("debug.redirect")?;
        taken.wait_untouched()?;
        callers.wait_for(taken.name())?;
        taken.wait_event("RedirectEnded")?;
        let looks = pods.iter().map(Pod::looks).collect::<Result<Vec<_>>>()?;
        assert_eq!(looks, looked);
        callers.stop().assert_none_failed();
        Ok(())
    });
}

#[rstest]
#[case::stateful_set(Kind::StatefulSet)]
#[case::daemon_set(Kind::DaemonSet)]
#[case::job(Kind::Job)]
#[case::bare_pod(Kind::Pod)]
fn every_kind_of_pod_is_taken_and_given_back(#[case] kind: Kind) {
    run(&format!("kind-{kind:?}").to_lowercase(), |f| {
        f.installed(&[])?;
        let pod = f.start(Manifest::new(kind, "app"))?.pods()?.remove(0);
        let callers = f.callers(pod.address())?;
        pod.annotate("debug.redirect", &f.to_laptop())?;
        pod.wait_active()?;
        callers.wait_for("laptop")?;
        pod.unannotate("debug.redirect")?;
        callers.wait_for(pod.name())?;
        pod.wait_untouched()?;
        callers.stop().assert_none_failed();
        Ok(())
    });
}

#[test]
fn a_pod_that_is_annotated_before_it_runs_is_taken_within_a_second_of_its_start() {
    run("early", |f| {
        f.installed(&[])?;
        let gate = "until [ -e /tmp/open ]; do sleep 0.1; done";
        let early = Manifest::new(Kind::Pod, "early")
            .annotation("debug.redirect", &f.to_laptop())
            .after(gate);
        let workload = f.start(early)?;
        wait_until("the pod to wait at its gate", TIMEOUT, || {
            let pods = workload.list()?;
            let state = pods
                .first()
                .and_then(|pod| pod.pointer("/status/initContainerStatuses/0/state/running"));
            state.cloned().context("its first container does not run")
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
        let started = wait_until("its app to run", TIMEOUT, || {
            let pods = workload.list()?;
            let state = pods
                .first()
                .and_then(|pod| pod.pointer("/status/containerStatuses/0/state/running"));
            state.cloned().context("it does not").map(|_| Instant::now())
        })?;
        wait_until("the laptop to answer for it", TIMEOUT, || {
            let pod = Pod::of(&workload)?;
            let condition = pod.active()?.context("no condition")?;
            ensure!(condition.status == "True", "{condition}");
            Ok(())
        })?;
        let waited = started.elapsed();
        ensure!(waited < Duration::from_secs(1), "active only {waited:?} after the start");
        assert_eq!(workload.pod()?.who()?, "laptop");
        Ok(())
    });
}

#[test]
fn a_pod_whose_sandbox_is_made_again_is_taken_again() {
    run("sandbox", |f| {
        f.installed(&[])?;
        let workload = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?;
        let app = workload.pod()?;
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        app.wait_for_answer("laptop")?;

        app.kill_sandbox()?;
        let again = wait_until("the pod to have another address", LONG_TIMEOUT, || {
            let again = Pod::of(&workload)?;
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
fn two_developers_share_a_pod() {
    run("two-developers", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").ports(&[8080, 9090]))?.pod()?;
        let (first, second) = (app.address(), SocketAddr::new(app.address().ip(), 9090));
        app.annotate("debug.redirect/alice", &f.to_laptop())?;
        app.annotate("debug.redirect/bob", &f.to_laptop().replace("8080", "9090"))?;
        for who in ["alice", "bob"] {
            app.wait_for(&format!("condition=debug.redirect/Active-{who}"))?;
        }
        assert_eq!((f.ask(first)?.tag, f.ask(second)?.tag), ("laptop".into(), "laptop".into()));

        app.unannotate("debug.redirect/alice")?;
        wait_until("only bob's", TIMEOUT, || {
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
fn a_rule_that_changes_takes_effect_without_a_failed_call() {
    run("changed", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        let other = f.start(Manifest::new(Kind::Pod, "other"))?.pod()?;
        let callers = f.callers(app.address())?;
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        callers.wait_for("laptop")?;

        app.annotate("debug.redirect", &format!("8080 -> {}", other.address()))?;
        callers.wait_for("other")?;
        app.wait_event("RedirectChanged")?;
        assert_eq!(app.active()?.map(|condition| condition.status), Some("True".to_owned()));
        callers.stop().assert_none_failed();
        Ok(())
    });
}
