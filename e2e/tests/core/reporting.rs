//! What a developer sees of a rule on its pod: conditions and Events, and nothing that is false.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{Kind, LAPTOP, Manifest, Pod, TIMEOUT, run};
use serde_json::Value;
use testbed::wait_until;

/// The reasons of all Events of the product about the pod.
fn reasons(pod: &Pod) -> Result<Vec<String>> {
    let events = pod.events()?;
    Ok(events.iter().filter_map(|event| Some(event["reason"].as_str()?.to_owned())).collect())
}

fn warnings(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["type"] == "Warning").collect()
}

#[test]
fn a_target_that_refuses_is_false_with_a_warning_until_it_is_another() {
    run("refusing-target", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        let load = f.load(app.address())?;
        let target = format!("{LAPTOP}:3999");
        app.annotate("debug.redirect/alice", &format!("8080 -> {target}"))?;
        let words = format!(
            "debug.redirect/alice: {target} refuses connections: nothing listens there; clients \
             get the app (port 8080); since 20"
        );
        let condition = app.wait_refused("TargetRefuses")?;
        ensure!(condition.message.starts_with(&words), "{condition}");
        let event = app.wait_event("RedirectFellBack")?;
        assert_eq!(event["type"], "Warning");
        ensure!(event["note"].as_str().is_some_and(|note| note.starts_with(&words)), "{event}");
        load.wait_for_calls(100)?;
        let again = app.active()?.context("no condition")?;
        assert_eq!(again, condition, "it does not change by itself");
        let calls = load.stop();
        calls.assert_none_failed();
        assert_eq!(calls.by("app"), calls.len(), "{calls}");

        app.annotate("debug.redirect/alice", &f.to_laptop())?;
        app.wait_for("condition=debug.redirect/Active-alice")?;
        let condition = app.active()?.context("no condition")?;
        let words = format!("debug.redirect/alice: port 8080 → {LAPTOP}:3000; since 20");
        ensure!(condition.message.starts_with(&words), "{condition}");
        app.unannotate("debug.redirect/alice")?;
        let ended = app.wait_event("RedirectEnded")?;
        ensure!(ended["note"].to_string().contains("the annotation was removed"), "{ended}");
        Ok(())
    });
}

#[test]
fn a_rule_that_waits_for_a_name_has_a_warning_in_words() {
    run("no-such-name", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        app.annotate("debug.redirect", "8080 -> no-such-name.invalid:3000")?;
        let event = wait_until("an Event RedirectWaiting", 3 * TIMEOUT, || {
            let events = app.events()?;
            let found = events.into_iter().find(|event| event["reason"] == "RedirectWaiting");
            found.context("none")
        })?;
        let note = event["note"].as_str().context("no note")?;
        ensure!(note.starts_with("debug.redirect: NameNotResolved: "), "{note}");
        ensure!(note.contains("no-such-name.invalid") && !note.contains('{'), "{note}");
        assert_eq!(event["type"], "Warning");
        Ok(())
    });
}

#[test]
fn a_port_without_a_listener_that_is_not_declared_is_named() {
    run("wrong-port", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        app.annotate("debug.redirect", &f.to_laptop().replace("8080", "80"))?;
        app.wait_active()?;
        let condition = app.active()?.context("no condition")?;
        let words = "nothing listens on port 80, and it is not declared (declared: 8080)";
        ensure!(condition.message.contains(words), "{condition}");
        Ok(())
    });
}

#[test]
fn the_deletion_of_a_pod_writes_no_warning() {
    run("deletion", |f| {
        let (app, load) = f.redirected()?;
        load.stop();
        let daemons = f.product.daemons()?;
        f.cluster.kubectl(&["delete", "pod", "--namespace", f.namespace(), app.name()])?;
        // The grace of what passes by itself is over after this.
        std::thread::sleep(Duration::from_secs(7));
        let events = app.events()?;
        ensure!(!events.is_empty() && warnings(&events).is_empty(), "{events:?}");
        for daemon in daemons {
            let logs = daemon.logs()?;
            let name = format!("{}/{}", f.namespace(), app.name());
            let faults: Vec<_> = logs
                .lines()
                .filter(|line| line.contains(&name))
                .filter(|line| line.contains("WARN") || line.contains("ERROR"))
                .collect();
            ensure!(faults.is_empty(), "{faults:?}");
        }
        Ok(())
    });
}

#[test]
fn a_job_that_completes_is_no_refused_rule() {
    run("completed", |f| {
        f.installed(&[])?;
        let job = f.start(Manifest::new(Kind::Job, "job").on("node1"))?;
        let pod = job.pod()?;
        pod.annotate("debug.redirect", &f.to_laptop())?;
        pod.wait_active()?;
        // Later, so that the end of the container does not disturb this command.
        pod.exec(&["sh", "-c", "(sleep 1; kill 1) > /dev/null 2>&1 &"])?;
        let condition = wait_until("the pod to have ended", 3 * TIMEOUT, || {
            let condition = pod.active()?.context("no condition")?;
            ensure!(condition.reason == "PodNotRunning", "{condition}");
            Ok(condition)
        })?;
        ensure!(condition.message.contains("the pod has ended"), "{condition}");
        let ended = pod.wait_event("RedirectEnded")?;
        ensure!(ended["note"].to_string().contains("the pod has ended"), "{ended}");
        let events = pod.events()?;
        ensure!(warnings(&events).is_empty(), "{:?}", reasons(&pod)?);
        let daemons = f.product.daemons()?;
        let daemon = daemons.iter().find(|daemon| daemon.node() == pod.node()).context("none")?;
        let rules = |state, wanted: fn(f64) -> bool| {
            daemon.wait_metric("interceptor_rules", &[("state", state)], wanted).map(drop)
        };
        rules("ended", |count| count >= 1.0)?;
        // Rules of earlier tests, whose pods are being deleted, may be refused for a moment.
        rules("refused", |count| count == 0.0)
    });
}

#[test]
fn an_expired_rule_says_how_to_start_it_again_and_that_works() {
    run("expired", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        let rule = format!("{} ttl 5s", f.to_laptop());
        app.annotate("debug.redirect", &rule)?;
        app.wait_active()?;
        let condition = app.wait_refused("TtlExpired")?;
        let annotate = format!("kubectl annotate pod {} -n {}", app.name(), f.namespace());
        let words = format!("`{annotate} debug.redirect-`, then `{annotate} debug.redirect='…'`");
        ensure!(condition.message.contains(&words), "{condition}");

        // To write the same text over it changes nothing, as the message says.
        app.annotate("debug.redirect", &rule)?;
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(app.active()?, Some(condition));
        app.unannotate("debug.redirect")?;
        app.annotate("debug.redirect", &rule)?;
        app.wait_active()
    });
}
