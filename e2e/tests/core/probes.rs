//! A target at a breakpoint does not answer. The container keeps running, because kubelet's probes
//! reach the app.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use interceptor_e2e::{Kind, LAPTOP, Manifest, Probe, on_laptop, run};
use rstest::rstest;
use testbed::wait_until;

/// More probes than the three failures in a row that restart a container.
const PROBES: f64 = 8.0;

#[rstest]
#[case::http(Probe::Http)]
#[case::grpc(Probe::Grpc)]
#[case::tcp(Probe::Tcp)]
fn probes_reach_the_app_while_the_target_does_not_answer(#[case] probe: Probe) {
    run(&format!("probe-{probe:?}").to_lowercase(), |f| {
        f.installed(&[])?;
        // The kernel accepts connections, and no server reads.
        let breakpoint = SocketAddr::from((LAPTOP, 3100));
        let _listener = on_laptop(|| TcpListener::bind(breakpoint))?;
        let app = f.start(Manifest::new(Kind::Pod, "app").probe(probe))?.pod()?;
        let before_rule = app.snapshot()?;
        let rule = format!("8080 -> {breakpoint}");
        app.annotate("debug.redirect", &rule)?;
        app.wait_active()?;
        assert!(app.ask().is_err(), "the target answers");

        // kubelet's own count of probes.
        let probes = |result: &str| -> anyhow::Result<f64> {
            let text = f.cluster.kubectl(&[
                "get",
                "--raw",
                &format!("/api/v1/nodes/{}/proxy/metrics/probes", app.node()),
            ])?;
            let labels =
                [("namespace", f.namespace()), ("probe_type", "Liveness"), ("result", result)];
            Ok(testbed::Metrics::parse(&text)?.sum("prober_probe_total", &labels))
        };
        let (before, failed) = (probes("successful")?, probes("failed")?);
        wait_until("kubelet to probe the pod", Duration::from_secs(40), || {
            let now = probes("successful")? - before + probes("failed")? - failed;
            if now >= PROBES { Ok(()) } else { Err(anyhow::anyhow!("{now} probes")) }
        })?;
        assert_eq!(probes("failed")?, failed, "probes failed");
        assert_eq!(app.restarts()?, 0);
        app.unannotate("debug.redirect")?;
        app.wait_untouched()?;
        assert_eq!(app.snapshot()?, before_rule);
        app.wait_for_answer("app")?;
        Ok(())
    });
}
