//! Anything of ours ends, at any moment: the app serves, and the redirect comes back by itself.

use std::time::Instant;

use anyhow::Result;
use interceptor_e2e::{Kind, Manifest, Pod, RunningCallers, SOON, Scene, play};
use testbed::wait_until;

/// A pod that is redirected, under load.
fn taken(s: &Scene) -> Result<(Pod, RunningCallers)> {
    s.installed(&[])?;
    let app = s.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
    let callers = s.callers(app.address())?;
    app.annotate("debug.redirect", &s.to_laptop())?;
    app.wait_active()?;
    callers.wait_for("laptop")?;
    Ok((app, callers))
}

#[test]
fn a_daemon_that_is_killed_breaks_only_what_it_carried_and_takes_again() {
    play("killed", |s| {
        let (_app, callers) = taken(s)?;
        let daemon = s.product.first_daemon()?;
        let pid = daemon.pid()?;
        let killed = Instant::now();
        daemon.kill()?;
        wait_until("its end", SOON, || !std::path::Path::new(&format!("/proc/{pid}/root")).exists())?;
        let dead = Instant::now();
        callers.wait_for("app")?;
        daemon.wait_restarted(pid)?;
        callers.wait_for("laptop")?;
        let calls = callers.stop();
        // Those that it carried: begun before its end, broken by it.
        for call in calls.failures() {
            assert!(call.started <= dead && call.started + call.duration >= killed, "{call}; all: {calls}");
        }
        calls.since(dead).assert_none_failed();
        Ok(())
    });
}

#[test]
fn a_daemon_pod_that_is_deleted_fails_no_call_and_its_successor_takes_again() {
    play("deleted", |s| {
        let (app, callers) = taken(s)?;
        let daemon = s.product.first_daemon()?;
        daemon.delete()?;
        wait_until("its successor", SOON * 3, || {
            let now = s.product.first_daemon()?;
            anyhow::ensure!(now.uid() != daemon.uid(), "still the same");
            Ok(())
        })?;
        app.wait_active()?;
        callers.wait_for("laptop")?;
        callers.stop().assert_none_failed();
        Ok(())
    });
}

#[test]
fn a_laptop_that_refuses_costs_callers_nothing_and_is_told() {
    play("refusing-laptop", |s| {
        s.installed(&[])?;
        let app = s.start(Manifest::new(Kind::Pod, "app"))?.pod()?;
        let callers = s.callers(app.address())?;
        // Nobody listens there.
        app.annotate("debug.redirect", &s.to_laptop().replace("3000", "3666"))?;
        app.wait_active()?;
        app.wait_event("RedirectFellBack")?;
        let calls = callers.stop();
        calls.assert_none_failed();
        assert_eq!(calls.by("app"), calls.len(), "{calls}");
        Ok(())
    });
}

#[test]
fn a_pod_that_is_deleted_while_it_is_redirected_takes_nobody_else_with_it() {
    play("pod-deleted", |s| {
        s.installed(&[])?;
        let web = s.deployment("web", 2)?;
        let [first, second] = web.pods()?.try_into().map_err(|_| anyhow::anyhow!("two pods"))?;
        for pod in [&first, &second] {
            pod.annotate("debug.redirect", &s.to_laptop())?;
            pod.wait_active()?;
        }
        let callers = s.callers(second.address())?;
        first.kubectl("delete", &[])?;
        let pods = web.pods()?;
        let successor = pods.iter().find(|pod| pod.uid() != second.uid()).expect("another pod");
        // The annotation was on the pod, and not in the template.
        assert_eq!(successor.who()?, successor.name());
        let calls = callers.stop();
        calls.assert_none_failed();
        assert_eq!(calls.by("laptop"), calls.len(), "{calls}");
        Ok(())
    });
}
