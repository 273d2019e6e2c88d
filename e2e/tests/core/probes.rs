//! A developer at a breakpoint: the target answers nothing, and the container lives on, because kubelet still reaches the
//! app.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use interceptor_e2e::{Kind, LAPTOP, Manifest, Probe, on_laptop, run};
use rstest::rstest;
use testbed::wait_until;

/// More than three failures in a row, which is what ends a container.
const PROBES: f64 = 8.0;

#[rstest]
#[case::http(Probe::Http)]
#[case::grpc(Probe::Grpc)]
#[case::tcp(Probe::Tcp)]
fn kubelet_reaches_the_app_while_the_target_stands_still(#[case] probe: Probe) {
    run(&format!("probe-{probe:?}").to_lowercase(), |f| {
        f.installed(&[])?;
        // The kernel accepts for it; nobody ever reads.
        let breakpoint = SocketAddr::from((LAPTOP, 3100));
        let _listener = on_laptop(|| TcpListener::bind(breakpoint))?;
        let app = f.start(Manifest::new(Kind::Pod, "app").probe(probe))?.pod()?;
        let looked = app.looks()?;
        let rule = format!("8080 -> {breakpoint}");
        app.annotate("debug.redirect", &rule)?;
        app.wait_active()?;
        assert!(app.ask().is_err(), "a caller should stand at the breakpoint");

        // kubelet's own count of what it asked since.
        let asked = |result: &str| -> anyhow::Result<f64> {
            let text = f.cluster.kubectl(&[
                "get",
                "--raw",
                &format!("/api/v1/nodes/{}/proxy/metrics/probes", app.node()),
            ])?;
            let labels =
                [("namespace", f.namespace()), ("probe_type", "Liveness"), ("result", result)];
            Ok(testbed::Metrics::parse(&text)?.sum("prober_probe_total", &labels))
        };
        let (before, failed) = (asked("successful")?, asked("failed")?);
        wait_until("kubelet to probe it", Duration::from_secs(40), || {
            let now = asked("successful")? - before + asked("failed")? - failed;
            if now >= PROBES { Ok(()) } else { Err(anyhow::anyhow!("{now} probes")) }
        })?;
        assert_eq!(asked("failed")?, failed, "probes failed");
        assert_eq!(app.restarts()?, 0);
        app.unannotate("debug.redirect")?;
        app.wait_untouched()?;
        assert_eq!(app.looks()?, looked);
        app.wait_for_answer("app")?;
        Ok(())
    });
}
