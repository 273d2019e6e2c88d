//! An `exec` liveness probe, for as long as a developer stays at a breakpoint.

use std::{
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use anyhow::ensure;
use interceptor_e2e::{Kind, LAPTOP, Manifest, Probe, on_laptop, run};
use testbed::wait_until;

/// How long the target does not answer.
const BREAKPOINT: Duration = Duration::from_secs(120);

#[test]
fn an_exec_probe_never_fails_while_the_target_hangs_for_two_minutes() {
    run("exec-probe-long", |f| {
        f.installed(&[])?;
        let breakpoint = SocketAddr::from((LAPTOP, 3101));
        let _listener = on_laptop(|| TcpListener::bind(breakpoint))?;
        let app = f.start(Manifest::new(Kind::Pod, "app").probe(Probe::Exec).hooks())?.pod()?;
        app.annotate("debug.redirect", &format!("8080 -> {breakpoint}"))?;
        app.wait_active()?;
        assert!(app.ask().is_err(), "the target answers");
        let begin = Instant::now();
        wait_until("the end of two minutes", BREAKPOINT + Duration::from_secs(10), || {
            assert_eq!(app.restarts()?, 0);
            ensure!(begin.elapsed() >= BREAKPOINT, "{:?}", begin.elapsed());
            Ok(())
        })?;
        assert!(app.is_ready()?);
        app.unannotate("debug.redirect")?;
        app.wait_for_answer("app")?;
        Ok(())
    });
}
