//! The whole daemon, or one of its worker threads, is stopped.

use std::time::{Duration, Instant};

use interceptor_tests::{Frozen, OpenLoopLoad, SECOND, TIMEOUT, outcomes, run, threads};
use nix::sys::signal::Signal;
use testbed::{Connection, Protocol, wait_until};

use crate::{AT_ONCE, no_call_failed};

#[test]
fn the_app_serves_within_a_second_of_sigstop_and_the_target_again_after_sigcont() {
    run(|f| {
        let daemon = f.daemon()?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let load = OpenLoopLoad::start(&f.client, f.port(), Duration::from_millis(20));
        wait_until("a call", TIMEOUT, || f.target.requests() > 1)?;

        daemon.signal(Signal::SIGSTOP)?;
        let stopped = Instant::now();
        wait_until("the app to serve", SECOND, || f.app.requests() > 0)?;
        // From here on, calls arrive for longer than a heartbeat is valid.
        let goal = f.app.requests() + 40;
        wait_until("many more calls to the app", TIMEOUT, || f.app.requests() >= goal)?;
        let resumed = Instant::now();
        daemon.signal(Signal::SIGCONT)?;
        let seen = f.target.requests();
        // The calls that hung are served first, then new ones.
        wait_until("the laptop to serve again", SECOND, || f.target.requests() > seen)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        f.wait_served_by("laptop", TIMEOUT)?;
        let report = load.stop();

        let hung = report.between(stopped + SECOND, resumed).calls;
        assert!(hung.len() > 10, "{report}");
        for call in &hung {
            assert!(call.tag() == Some("app") && call.duration < AT_ONCE, "{call}");
        }
        no_call_failed(&report)?;
        // The program counts each first packet of a call, so a repeated SYN counts twice.
        let outcomes = outcomes(&daemon, "web")?;
        assert!(
            outcomes["passed/daemon_hung"] >= report.count("app") as u64,
            "{outcomes:?}; {report}"
        );
        Ok(())
    });
}

#[test]
fn the_app_serves_when_all_workers_are_stuck() {
    run(|f| {
        let daemon = f.daemon()?;
        let load = OpenLoopLoad::start(&f.client, f.port(), Duration::from_millis(20));
        wait_until("a call", TIMEOUT, || f.target.requests() > 0)?;
        let frozen = Frozen::new(&threads(daemon.pid(), "relay-")?)?;
        let stuck = Instant::now();
        wait_until("the app to serve", SECOND, || f.app.requests() > 0)?;
        // The control side still runs and reports the workers.
        wait_until("/livez to fail", SECOND, || daemon.get("/livez").is_err())?;
        assert!(daemon.metric("interceptor_heartbeat_age_seconds", &[]) > 0.5);
        let goal = f.app.requests() + 30;
        wait_until("more calls to the app", TIMEOUT, || f.app.requests() >= goal)?;
        let resumed = Instant::now();
        drop(frozen);
        f.wait_served_by("laptop", TIMEOUT)?;
        wait_until("/livez to succeed", TIMEOUT, || daemon.get("/livez"))?;
        let report = load.stop();

        let hung = report.between(stuck + SECOND, resumed).calls;
        for call in &hung {
            assert!(call.tag() == Some("app") && call.duration < AT_ONCE, "{call}");
        }
        no_call_failed(&report)
    });
}

#[test]
fn the_other_workers_serve_when_one_is_stuck() {
    run(|f| {
        let daemon = f.daemon_with(&f.rule(), &["--workers", "2"])?;
        let load = OpenLoopLoad::start(&f.client, f.port(), Duration::from_millis(20));
        wait_until("a call", TIMEOUT, || f.target.requests() > 0)?;
        let frozen = Frozen::new(&threads(daemon.pid(), "relay-")?[..1])?;
        let stuck = Instant::now();
        wait_until("/livez to report the stuck worker", TIMEOUT, || daemon.get("/livez").is_err())?;
        let goal = f.target.requests() + 50;
        wait_until("many calls", TIMEOUT, || f.target.requests() >= goal)?;
        let resumed = Instant::now();
        drop(frozen);
        let report = load.stop();

        let after = report.between(stuck + SECOND, resumed).calls;
        assert!(after.len() > 10, "{report}");
        for call in &after {
            assert!(call.tag() == Some("laptop") && call.duration < AT_ONCE, "{call}");
        }
        no_call_failed(&report)?;
        assert_eq!(report.count("app"), 0, "{report}");
        Ok(())
    });
}
