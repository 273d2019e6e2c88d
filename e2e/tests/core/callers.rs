//! What the app sees of those whom it serves in the target's place.

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{Kind, LAPTOP, Manifest, run};

#[test]
fn the_app_sees_the_caller_as_it_does_without_us() {
    run("callers", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let caller =
            || -> Result<_> { Ok(app.ask()?.peer.context("no address in the answer")?.ip()) };
        let directly = caller()?;
        assert_ne!(directly, app.address().ip());

        // Nobody listens there.
        app.annotate("debug.redirect", &format!("8080 -> {LAPTOP}:1"))?;
        app.wait_active()?;
        assert_eq!(caller()?, directly);
        let daemon = f.product.first_daemon()?;
        let metrics = daemon.metrics()?;
        assert_eq!(metrics.sum("interceptor_caller_address_kept", &[]), 1.0);
        assert_eq!(metrics.sum("interceptor_callers_not_shown_total", &[]), 0.0);
        let refused =
            [("workload", &*format!("{}/app", f.namespace())), ("reason", "target_refused")];
        // Kubelet may have called as well.
        assert!(metrics.sum("interceptor_connections_total", &refused) >= 1.0);
        let told = daemon.exec(&["check"])?;
        ensure!(told.contains("ok       caller's address: kept"), "{told}");
        Ok(())
    });
}
