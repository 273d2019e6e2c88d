//! A target at a breakpoint does not answer. The container keeps running, because kubelet's probes
//! reach the app.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use anyhow::{Result, ensure};
use interceptor_e2e::{
    Fixture, Kind, LAPTOP, LONG_TIMEOUT, Manifest, Pod, Probe, TIMEOUT, on_laptop, run,
};
use rstest::rstest;
use testbed::wait_until;

/// More probes than the three failures in a row that restart a container.
const PROBES: f64 = 8.0;

/// Waits for further liveness probes of the pod, and asserts that none failed.
fn assert_probed(f: &Fixture, app: &Pod) -> Result<()> {
    // kubelet's own count of probes.
    let probes = |result: &str| -> Result<f64> {
        let text = f.cluster.kubectl(&[
            "get",
            "--raw",
            &format!("/api/v1/nodes/{}/proxy/metrics/probes", app.node()),
        ])?;
        let labels = [("namespace", f.namespace()), ("probe_type", "Liveness"), ("result", result)];
        Ok(testbed::Metrics::parse(&text)?.sum("prober_probe_total", &labels))
    };
    let (before, failed) = (probes("successful")?, probes("failed")?);
    wait_until("kubelet to probe the pod", Duration::from_secs(40), || {
        let now = probes("successful")? - before + probes("failed")? - failed;
        ensure!(now >= PROBES, "{now} probes");
        Ok(())
    })?;
    assert_eq!(probes("failed")?, failed, "probes failed");
    Ok(())
}

#[rstest]
#[case::http(Probe::Http)]
#[case::grpc(Probe::Grpc)]
#[case::tcp(Probe::Tcp)]
#[case::exec(Probe::Exec)]
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

        assert_probed(f, &app)?;
        assert_eq!(app.restarts()?, 0);
        app.unannotate("debug.redirect")?;
        app.wait_untouched()?;
        assert_eq!(app.snapshot()?, before_rule);
        app.wait_for_answer("app")?;
        Ok(())
    });
}

#[test]
fn exec_checks_reach_the_app_through_a_restart_while_a_sidecar_is_redirected() {
    run("exec-checks", |f| {
        f.installed(&[])?;
        let breakpoint = SocketAddr::from((LAPTOP, 3100));
        let _listener = on_laptop(|| TcpListener::bind(breakpoint))?;
        let manifest = Manifest::new(Kind::Pod, "app").probe(Probe::Exec).hooks().sidecar();
        let app = f.start(manifest)?.pod()?;
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        let call = |container: &str| {
            app.exec_in(container, &["timeout", "2", "wget", "-qO-", "http://127.0.0.1:8080/"])
        };
        // A command in the container is what the kubelet runs for a probe.
        assert!(call("app")?.starts_with("app "));
        assert!(call("sidecar")?.starts_with("laptop "));

        app.annotate("debug.redirect", &format!("8080 -> {breakpoint}"))?;
        wait_until("the target that does not answer", TIMEOUT, || {
            ensure!(app.ask().is_err(), "the first target answers");
            Ok(())
        })?;
        assert!(call("sidecar").is_err(), "the target answers");
        assert_probed(f, &app)?;
        assert_eq!(app.restarts()?, 0);

        // The app ends. Its next container has another id, and its hook and startup probe run while
        // the rule is in force.
        app.exec_in("app", &["sh", "-c", "kill 1"])?;
        wait_until("a restarted app", LONG_TIMEOUT, || {
            ensure!(app.restarts()? == 1, "{} restarts", app.restarts()?);
            ensure!(app.is_ready()?, "not ready");
            Ok(())
        })?;
        let logs = app.kubectl("logs", &["--container=app"])?;
        for path in ["/start", "/startup", "/live"] {
            let line = format!("app: GET {path}");
            assert!(logs.lines().any(|other| other == line), "{path}: {logs}");
        }
        assert_probed(f, &app)?;
        assert_eq!(app.restarts()?, 1);
        assert!(call("app")?.starts_with("app "));

        app.annotate("debug.redirect", &format!("{} with local-to-target", f.to_laptop()))?;
        wait_until("redirected probes", TIMEOUT, || {
            let answer = call("app")?;
            ensure!(answer.starts_with("laptop "), "{answer}");
            Ok(())
        })?;
        app.unannotate("debug.redirect")?;
        app.wait_untouched()?;
        app.wait_for_answer("app")?;
        Ok(())
    });
}
