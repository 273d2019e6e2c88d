//! Pods with a user namespace of their own (`hostUsers: false`): what a redirect does to them is what it does to others.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{
    Fixture, Kind, LAPTOP, Manifest, Pod, Probe, ask_as, run_with_user_namespaces,
};

/// A pod whose root is nobody on the node.
fn pod(f: &Fixture) -> Result<Pod> {
    let app = Manifest::new(Kind::Pod, "app").on("node1").own_users().probe(Probe::Http);
    let pod = f.start(app)?.pod()?;
    let ids = pod.exec(&["cat", "/proc/self/uid_map"])?;
    let outside = ids.split_whitespace().nth(1).context("no ids")?;
    ensure!(outside != "0", "its root is that of the node: {ids}");
    Ok(pod)
}

#[test]
fn a_pod_with_users_of_its_own_is_taken_and_given_back_whatever_ends() {
    run_with_user_namespaces("own-users", |f| {
        f.installed(&[])?;
        let app = pod(f)?;
        let looked = app.looks()?;
        let callers = f.callers(app.address())?;
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        callers.wait_for("laptop")?;
        callers.so_far().assert_none_failed();

        // Killed: the app serves, until the redirect is back by itself.
        let daemon = f.product.first_daemon()?;
        let pid = daemon.pid()?;
        daemon.kill()?;
        daemon.wait_ended(pid)?;
        let dead = Instant::now();
        callers.wait_for("app")?;
        daemon.wait_restarted(pid)?;
        callers.wait_for("laptop")?;

        // Removed: nothing of ours stays.
        app.unannotate("debug.redirect")?;
        callers.wait_for("app")?;
        app.wait_untouched()?;
        assert_eq!(app.looks()?, looked);
        callers.stop().since(dead).assert_none_failed();

        // The release goes while the pod is taken.
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        f.product.uninstall()?;
        app.wait_for_answer("app")?;
        app.wait_untouched()
    });
}

#[test]
fn its_app_sees_the_caller_and_conditions_choose_among_requests() {
    run_with_user_namespaces("own-users-http", |f| {
        f.installed(&[])?;
        let app = pod(f)?;
        let caller =
            || -> Result<_> { Ok(app.ask()?.peer.context("no address in the answer")?.ip()) };
        let directly = caller()?;
        // Nobody listens there.
        app.annotate("debug.redirect", &format!("8080 -> {LAPTOP}:1"))?;
        app.wait_active()?;
        assert_eq!(caller()?, directly);
        let labels =
            [("workload", &*format!("{}/app", f.namespace())), ("reason", "target_refused")];
        let daemon = f.product.first_daemon()?;
        daemon.wait_metric("interceptor_connections_total", &labels, |counted| counted >= 1.0)?;
        assert_eq!(daemon.metrics()?.sum("interceptor_callers_not_shown_total", &[]), 0.0);
        app.unannotate("debug.redirect")?;

        let rule = format!("{} when request.headers[\"x-user\"] == \"debug\"", f.to_laptop());
        app.annotate("debug.redirect/alice", &rule)?;
        app.wait_for("condition=debug.redirect/Active-alice")?;
        let answers = ask_as(app.address(), &["debug", "somebody", "debug"])?;
        let tags: Vec<_> = answers.iter().map(|(tag, _)| tag.as_str()).collect();
        assert_eq!(tags, ["laptop", "app", "laptop"]);
        assert_eq!(answers[1].1.ip(), directly);
        assert_eq!(caller()?, directly);
        assert_eq!(app.restarts()?, 0);
        Ok(())
    });
}
