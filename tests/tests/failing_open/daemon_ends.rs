//! The daemon ends, by SIGKILL or by SIGTERM.

use std::{
    net::Shutdown,
    time::{Duration, Instant},
};

use interceptor_tests::{SECOND, TIMEOUT, run};
use nix::sys::signal::Signal;
use testbed::{Connection, Load, Protocol};

use crate::{AT_ONCE, no_call_failed, start_load};

#[test]
fn after_sigkill_the_app_serves_and_only_stolen_connections_break() {
    run(|f| {
        let mut daemon = f.daemon()?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let load = start_load(&f)?;

        let killed = Instant::now();
        daemon.signal(Signal::SIGKILL)?;
        daemon.wait()?;
        let dead = Instant::now();
        load.wait_for_calls(200, TIMEOUT)?;
        let report = load.stop();

        let after = report.since(dead);
        assert_eq!(after.count("app"), after.calls.len(), "{after}");
        assert!(after.longest() < AT_ONCE, "{after}");
        let broken = report.failures();
        assert!(broken.iter().all(|call| call.started + call.duration > killed), "{report}");
        assert!(stolen.ask().is_err(), "the stolen connection still answers");
        Ok(())
    });
}

#[test]
fn after_sigterm_no_call_fails_and_stolen_connections_go_on() {
    run(|f| {
        let mut daemon = f.daemon()?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let load = start_load(&f)?;

        daemon.signal(Signal::SIGTERM)?;
        load.wait_for_tag("app", SECOND)?;
        // Not the start of that call: a call that started later may have arrived earlier.
        let released = Instant::now();
        for _ in 0..20 {
            assert_eq!(stolen.ask()?.tag, "laptop");
            load.wait_for_calls(20, TIMEOUT)?;
        }
        assert!(daemon.get("/state").is_ok(), "the daemon does not wait for the stolen connection");
        stolen.stream().shutdown(Shutdown::Both)?;
        let status = daemon.wait()?;
        load.wait_for_calls(50, TIMEOUT)?;
        let report = load.stop();

        assert!(status.success(), "{status}");
        no_call_failed(&report)?;
        assert!(report.longest() < AT_ONCE, "{report}");
        assert_eq!(report.since(released).count("laptop"), 0, "{report}");
        Ok(())
    });
}

#[test]
fn no_call_fails_when_daemons_start_and_end_by_sigterm() {
    run(|f| {
        let load = Load::new(&f.client, f.port()).threads(4).interval(Duration::ZERO).start()?;
        for _ in 0..5 {
            let mut daemon = f.daemon()?;
            load.wait_for_tag("laptop", TIMEOUT)?;
            daemon.signal(Signal::SIGTERM)?;
            assert!(daemon.wait()?.success());
            load.wait_for_tag("app", TIMEOUT)?;
        }
        let report = load.stop();
        no_call_failed(&report)?;
        assert!(report.longest() < AT_ONCE, "{report}");
        Ok(())
    });
}

#[test]
fn stolen_connections_go_on_until_the_drain_timeout() {
    run(|f| {
        let mut daemon = f.daemon_with(&f.rule(), &["--drain-timeout", "6s"])?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let ending = Instant::now();
        daemon.signal(Signal::SIGTERM)?;
        f.wait_served_by("app", TIMEOUT)?;
        // Longer than anything else that the daemon does after SIGTERM.
        while ending.elapsed() < 5 * SECOND {
            assert_eq!(stolen.ask()?.tag, "laptop", "after {:?}", ending.elapsed());
        }
        drop(stolen);
        assert!(daemon.wait()?.success());
        assert!(ending.elapsed() < 6 * SECOND, "the daemon waits without an open connection");
        Ok(())
    });
}

#[test]
fn connections_that_outlast_the_drain_timeout_are_cut() {
    run(|f| {
        let mut daemon = f.daemon_with(&f.rule(), &["--drain-timeout", "1s"])?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let ending = Instant::now();
        daemon.signal(Signal::SIGTERM)?;
        f.wait_served_by("app", TIMEOUT)?;
        assert_eq!(stolen.ask()?.tag, "laptop", "cut before the drain timeout");
        assert!(daemon.wait()?.success());
        let took = ending.elapsed();
        assert!(took >= SECOND && took < SECOND * 2, "ended after {took:?}");
        assert!(stolen.ask().is_err(), "the stolen connection still answers");
        Ok(())
    });
}
