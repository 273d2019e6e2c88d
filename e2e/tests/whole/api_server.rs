//! An outage of the API server: redirects go on, and changes take effect afterwards.

use std::time::{Duration, Instant};

use anyhow::ensure;
use interceptor_e2e::{Kind, LONG_TIMEOUT, Manifest, run};
use testbed::wait_until;

/// The length of the outage, longer than any timeout of a Kubernetes client.
const OUTAGE: Duration = Duration::from_secs(60);
/// Maximum time until changes take effect after the outage. The daemon reconnects within 5 s; the
/// rest is for a busy machine.
const MAXIMUM_DELAY: Duration = Duration::from_secs(10);

#[test]
fn clients_do_not_notice_a_minute_without_the_api_server() {
    run("api-away", |f| {
        f.installed(&[])?;
        let web = f.start(Manifest::new(Kind::Deployment, "web").replicas(2).on("node1"))?;
        let [redirected, unchanged] =
            web.pods()?.try_into().map_err(|_| anyhow::anyhow!("two pods"))?;
        let load = f.load_on(&[redirected.address(), unchanged.address()])?;
        redirected.annotate("debug.redirect", &f.to_laptop())?;
        redirected.wait_active()?;
        load.wait_for("laptop")?;
        let daemon = f.product.first_daemon()?;
        let pid = daemon.pid()?;

        let stopped = f.cluster.stop_part("apiserver")?;
        let stopped_at = Instant::now();
        wait_until("a minute", OUTAGE * 2, || stopped_at.elapsed() >= OUTAGE)?;
        let calls = load.so_far().since(stopped_at);
        calls.assert_none_failed();
        assert_eq!(calls.by(redirected.name()), 0, "{calls}");
        assert_eq!(daemon.pid()?, pid, "the daemon has restarted");
        stopped.start()?;

        wait_until("the API server to answer", LONG_TIMEOUT, || f.cluster.nodes())?;
        let back = Instant::now();
        redirected.unannotate("debug.redirect")?;
        unchanged.annotate("debug.redirect", &f.to_laptop())?;
        f.cluster.wait_api_service()?;
        let reachable = Instant::now();
        redirected.wait_untouched()?;
        unchanged.wait_active()?;
        let caught_up = reachable.elapsed();
        println!(
            "the Service answered {:.1?} after the API server; \
             changes took effect {caught_up:.1?} later",
            reachable - back
        );
        assert!(caught_up < MAXIMUM_DELAY, "{caught_up:?}");
        assert_eq!(
            (redirected.served_by()?, unchanged.served_by()?),
            (redirected.name().to_owned(), "laptop".to_owned())
        );
        load.stop().assert_none_failed();
        Ok(())
    });
}

#[test]
fn a_daemon_that_starts_during_the_outage_waits_for_the_api_server() {
    run("api-away-start", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        let load = f.load(app.address())?;
        load.wait_for("laptop")?;
        let daemon = f.product.first_daemon()?;
        let pid = daemon.pid()?;

        let stopped = f.cluster.stop_part("apiserver")?;
        daemon.kill()?;
        let dead = Instant::now();
        // kubelet restarts the container without the API server.
        wait_until("another process", LONG_TIMEOUT, || {
            let now = daemon.pid()?;
            ensure!(now != pid, "process {pid} is still there");
            Ok(())
        })?;
        load.wait_for("app")?;
        stopped.start()?;
        f.cluster.wait_api_service()?;
        load.wait_for("laptop")?;
        let calls = load.stop();
        calls.since(dead + Duration::from_secs(1)).assert_none_failed();
        Ok(())
    });
}
