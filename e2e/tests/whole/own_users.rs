//! Pods with a user namespace of their own (`hostUsers: false`) are redirected like any other pod.

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{
    Fixture, Kind, LAPTOP, Manifest, Pod, Probe, ask_as, run_with_user_namespaces,
};

/// A pod whose root is an unprivileged user of the node.
fn pod(f: &Fixture) -> Result<Pod> {
    let app = Manifest::new(Kind::Pod, "app").on("node1").own_users().probe(Probe::Http);
    let pod = f.start(app)?.pod()?;
    let ids = pod.exec(&["cat", "/proc/self/uid_map"])?;
    let outside = ids.split_whitespace().nth(1).context("no ids")?;
    ensure!(outside != "0", "the pod's root is the node's root: {ids}");
    Ok(pod)
}

#[test]
fn the_pod_is_redirected_and_the_app_serves_after_kill_removal_and_uninstall() {
    run_with_user_namespaces("own-users", |f| {
        f.installed(&[])?;
        let app = pod(f)?;
        let before_rule = app.snapshot()?;
        let load = f.load(app.address())?;
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        load.wait_for("laptop")?;
        load.so_far().assert_none_failed();

        // The daemon is killed: the app serves until the redirect is back by itself.
        let daemon = f.product.first_daemon()?;
        let killed = daemon.kill_and_wait()?;
        load.wait_for("app")?;
        daemon.wait_restarted(killed.pid)?;
        load.wait_for("laptop")?;

        // The rule is removed: nothing of the product stays on the pod.
        app.unannotate("debug.redirect")?;
        load.wait_for("app")?;
        app.wait_untouched()?;
        assert_eq!(app.snapshot()?, before_rule);
        load.stop().since(killed.dead).assert_none_failed();

        // The release is removed while the pod is redirected.
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        f.product.uninstall()?;
        app.wait_for_answer("app")?;
        app.wait_untouched()
    });
}

#[test]
fn the_app_sees_its_client_and_conditions_select_requests() {
    run_with_user_namespaces("own-users-http", |f| {
        f.installed(&[])?;
        let app = pod(f)?;
        let client =
            || -> Result<_> { Ok(app.ask()?.peer.context("no address in the answer")?.ip()) };
        let directly = client()?;
        // Nothing listens on this port.
        app.annotate("debug.redirect", &format!("8080 -> {LAPTOP}:1"))?;
        app.wait_refused("TargetRefuses")?;
        assert_eq!(client()?, directly);
        let labels =
            [("workload", &*format!("{}/app", f.namespace())), ("reason", "target_refused")];
        let daemon = f.product.first_daemon()?;
        daemon.wait_metric("interceptor_connections_total", &labels, |counted| counted >= 1.0)?;
        assert_eq!(daemon.metrics()?.sum("interceptor_callers_not_shown_total", &[]), 0.0);
        app.unannotate("debug.redirect")?;

        let rule = format!("{} when request.headers[\"x-user\"] == \"debug\"", f.to_laptop());
        app.annotate("debug.redirect/alice", &rule)?;
        app.wait_for("condition=debug.redirect/Active-alice")?;
        let answers = ask_as(app.address(), &["debug", "other", "debug"])?;
        let tags: Vec<_> = answers.iter().map(|(tag, _)| tag.as_str()).collect();
        assert_eq!(tags, ["laptop", "app", "laptop"]);
        assert_eq!(answers[1].1.ip(), directly);
        assert_eq!(client()?, directly);
        assert_eq!(app.restarts()?, 0);
        Ok(())
    });
}
