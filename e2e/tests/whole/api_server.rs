//! The API server away: what is redirected stays so, and what changed meanwhile is caught up with.

use std::time::{Duration, Instant};

use anyhow::ensure;
use interceptor_e2e::{Kind, LONG_TIMEOUT, Manifest, run};
use testbed::wait_until;

/// Longer than any time-out of a client's own.
const AWAY: Duration = Duration::from_secs(60);
/// Where the daemon asks, it notices that the API server is back within 5 s; and what a busy machine takes.
const CAUGHT_UP: Duration = Duration::from_secs(10);

#[test]
fn a_minute_without_the_api_server_changes_nothing_for_callers() {
    run("api-away", |f| {
        f.installed(&[])?;
        let web = f.start(Manifest::new(Kind::Deployment, "web").replicas(2).on("node1"))?;
        let [taken, free] = web.pods()?.try_into().map_err(|_| anyhow::anyhow!("two pods"))?;
        let callers = f.callers_of(&[taken.address(), free.address()])?;
        taken.annotate("debug.redirect", &f.to_laptop())?;
        taken.wait_active()?;
        callers.wait_for("laptop")?;
        let daemon = f.product.first_daemon()?;
        let pid = daemon.pid()?;

        let stopped = f.cluster.stop_part("apiserver")?;
        let away = Instant::now();
        wait_until("a minute", AWAY * 2, || away.elapsed() >= AWAY)?;
        let calls = callers.so_far().since(away);
        calls.assert_none_failed();
        assert_eq!(calls.by(taken.name()), 0, "{calls}");
        assert_eq!(daemon.pid()?, pid, "the daemon stays");
        stopped.start()?;

        wait_until("the API server to answer", LONG_TIMEOUT, || f.cluster.nodes())?;
        let back = Instant::now();
        taken.unannotate("debug.redirect")?;
        free.annotate("debug.redirect", &f.to_laptop())?;
        f.cluster.wait_api_service()?;
        let reachable = Instant::now();
        taken.wait_untouched()?;
        free.wait_active()?;
        let caught_up = reachable.elapsed();
        println!(
            "its Service was back {:.1?} after the API server, and all was caught up with {caught_up:.1?} later",
            reachable - back
        );
        assert!(caught_up < CAUGHT_UP, "{caught_up:?}");
        assert_eq!((taken.who()?, free.who()?), (taken.name().to_owned(), "laptop".to_owned()));
        callers.stop().assert_none_failed();
        Ok(())
    });
}

#[test]
fn a_daemon_that_starts_while_the_api_server_is_away_waits_for_it() {
    run("api-away-start", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        let callers = f.callers(app.address())?;
        callers.wait_for("laptop")?;
        let daemon = f.product.first_daemon()?;
        let pid = daemon.pid()?;

        let stopped = f.cluster.stop_part("apiserver")?;
        daemon.kill()?;
        let dead = Instant::now();
        // kubelet starts the container again on its own.
        wait_until("another process", LONG_TIMEOUT, || {
            let now = daemon.pid()?;
            ensure!(now != pid, "still {pid}");
            Ok(())
        })?;
        callers.wait_for("app")?;
        stopped.start()?;
        f.cluster.wait_api_service()?;
        callers.wait_for("laptop")?;
        let calls = callers.stop();
        calls.since(dead + Duration::from_secs(1)).assert_none_failed();
        Ok(())
    });
}
