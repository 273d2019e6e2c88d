//! The app sees the address of its client when it serves in the target's place.

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{Kind, LAPTOP, Manifest, run};

#[test]
fn the_app_sees_the_clients_address_when_the_target_refuses() {
    run("client-address", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let client =
            || -> Result<_> { Ok(app.ask()?.peer.context("no address in the answer")?.ip()) };
        let directly = client()?;
        assert_ne!(directly, app.address().ip());

        // Nothing listens on this port.
        app.annotate("debug.redirect", &format!("8080 -> {LAPTOP}:1"))?;
        app.wait_refused("TargetRefuses")?;
        assert_eq!(client()?, directly);
        let daemon = f.product.first_daemon()?;
        let metrics = daemon.metrics()?;
        assert_eq!(metrics.sum("interceptor_caller_address_kept", &[]), 1.0);
        assert_eq!(metrics.sum("interceptor_callers_not_shown_total", &[]), 0.0);
        let refused =
            [("workload", &*format!("{}/app", f.namespace())), ("reason", "target_refused")];
        // Connections of kubelet may count, too.
        assert!(metrics.sum("interceptor_connections_total", &refused) >= 1.0);
        let output = daemon.exec(&["check"])?;
        ensure!(output.contains("ok       caller's address: kept"), "{output}");
        Ok(())
    });
}
