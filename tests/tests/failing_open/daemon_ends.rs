//! The daemon ends, by SIGKILL or by SIGTERM.

use std::{
    net::Shutdown,
    time::{Duration, Instant},
};

use interceptor_tests::{SECOND, TIMEOUT, run};
use nix::sys::signal::Signal;
use testbed::{Connection, Load, Protocol, wait_until};

use crate::{AT_ONCE, load, no_call_failed};

#[test]
fn after_sigkill_the_app_serves_and_only_stolen_connections_break() {
    run(|f| {
        let mut daemon = f.daemon()?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let caller = load(&f)?;

        let killed = Instant::now();
        daemon.signal(Signal::SIGKILL)?;
        daemon.wait()?;
        let dead = Instant::now();
        caller.wait_for_calls(200, TIMEOUT)?;
        let report = caller.stop();

        let after = report.since(dead);
        assert_eq!(after.count("app"), after.calls.len(), "{after}");
        assert!(after.longest() < AT_ONCE, "{after}");
        let broken = report.failures();
        assert!(broken.iter().all(|call| call.started + call.duration > killed), "{report}");
        assert!(stolen.ask().is_err(), "who should have answered?");
        Ok(())
    });
}

#[test]
fn after_sigterm_no_call_fails_and_stolen_connections_finish() {
    run(|f| {
        let mut daemon = f.daemon()?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let caller = load(&f)?;

        daemon.signal(Signal::SIGTERM)?;
        caller.wait_for_tag("app", SECOND)?;
        // Not that call's begin: another one that began later may have come before it.
        let given_back = Instant::now();
        for _ in 0..20 {
            assert_eq!(stolen.ask()?.tag, "laptop");
            caller.wait_for_calls(20, TIMEOUT)?;
        }
        assert!(daemon.get("/state").is_ok(), "it should wait for the stolen connection");
        stolen.stream().shutdown(Shutdown::Both)?;
        let status = daemon.wait()?;
        caller.wait_for_calls(50, TIMEOUT)?;
        let report = caller.stop();

        assert!(status.success(), "{status}");
        no_call_failed(&report)?;
        assert!(report.longest() < AT_ONCE, "{report}");
        assert_eq!(report.since(given_back).count("laptop"), 0, "{report}");
        Ok(())
    });
}

#[test]
fn sigterm_again_and_again_fails_no_call() {
    run(|f| {
        let caller = Load::new(&f.client, f.port()).threads(4).interval(Duration::ZERO).start()?;
        for _ in 0..5 {
            let mut daemon = f.daemon()?;
            caller.wait_for_tag("laptop", TIMEOUT)?;
            daemon.signal(Signal::SIGTERM)?;
            assert!(daemon.wait()?.success());
            caller.wait_for_tag("app", TIMEOUT)?;
        }
        let report = caller.stop();
        no_call_failed(&report)?;
        assert!(report.longest() < AT_ONCE, "{report}");
        Ok(())
    });
}

#[test]
fn stolen_connections_go_on_for_as_long_as_the_drain_timeout_allows() {
    run(|f| {
        let mut daemon = f.daemon_with(&f.rule(), &["--drain-timeout", "6s"])?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let asked = Instant::now();
        daemon.signal(Signal::SIGTERM)?;
        wait_until("the app", TIMEOUT, || f.served_by().is_ok_and(|tag| tag == "app"))?;
        // Past everything that the daemon does by itself after SIGTERM.
        while asked.elapsed() < 5 * SECOND {
            assert_eq!(stolen.ask()?.tag, "laptop", "after {:?}", asked.elapsed());
        }
        drop(stolen);
        assert!(daemon.wait()?.success());
        assert!(asked.elapsed() < 6 * SECOND, "nothing was left to wait for");
        Ok(())
    });
}

#[test]
fn the_drain_timeout_cuts_what_does_not_end() {
    run(|f| {
        let mut daemon = f.daemon_with(&f.rule(), &["--drain-timeout", "1s"])?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let asked = Instant::now();
        daemon.signal(Signal::SIGTERM)?;
        wait_until("the app", TIMEOUT, || f.served_by().is_ok_and(|tag| tag == "app"))?;
        assert_eq!(stolen.ask()?.tag, "laptop", "there is time left");
        assert!(daemon.wait()?.success());
        let took = asked.elapsed();
        assert!(took >= SECOND && took < SECOND * 2, "ended after {took:?}");
        assert!(stolen.ask().is_err(), "who should have answered?");
        Ok(())
    });
}
