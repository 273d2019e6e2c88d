//! The daemon, or a worker thread of it, stands still.

use std::time::{Duration, Instant};

use interceptor_tests::{Frozen, OpenLoopLoad, SECOND, TIMEOUT, outcomes, run, threads};
use nix::sys::signal::Signal;
use testbed::{Connection, Protocol, wait_until};

use crate::{AT_ONCE, no_call_failed};

#[test]
fn during_sigstop_the_app_serves_within_a_second_and_after_sigcont_the_steal_resumes() {
    run(|f| {
        let daemon = f.daemon()?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let arrivals = OpenLoopLoad::start(&f.client, f.port(), Duration::from_millis(20));
        wait_until("an arrival", TIMEOUT, || f.target.requests() > 1)?;

        daemon.signal(Signal::SIGSTOP)?;
        let stopped = Instant::now();
        wait_until("the app to serve", SECOND, || f.app.requests() > 0)?;
        // From here on for longer than a heartbeat lives.
        let goal = f.app.requests() + 40;
        wait_until("many more calls to the app", TIMEOUT, || f.app.requests() >= goal)?;
        let resumed = Instant::now();
        daemon.signal(Signal::SIGCONT)?;
        let seen = f.target.requests();
        // Those that hung are served now, and then new ones.
        wait_until("the laptop to serve again", SECOND, || f.target.requests() > seen)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        wait_until("new calls to be stolen", TIMEOUT, || {
            f.served_by().is_ok_and(|tag| tag == "laptop")
        })?;
        let report = arrivals.stop();

        let hung: Vec<_> = report
            .since(stopped + SECOND)
            .calls
            .into_iter()
            .filter(|call| call.started < resumed)
            .collect();
        assert!(hung.len() > 10, "{report}");
        for call in &hung {
            assert!(call.tag() == Some("app") && call.duration < AT_ONCE, "{call}");
        }
        no_call_failed(&report)?;
        // A call is counted for each time that its first packet was seen.
        let outcomes = outcomes(&daemon, "web")?;
        assert!(
            outcomes["passed/daemon_hung"] >= report.count("app") as u64,
            "{outcomes:?}; {report}"
        );
        Ok(())
    });
}

#[test]
fn workers_that_are_stuck_leave_the_port_to_the_app() {
    run(|f| {
        let daemon = f.daemon()?;
        let arrivals = OpenLoopLoad::start(&f.client, f.port(), Duration::from_millis(20));
        wait_until("an arrival", TIMEOUT, || f.target.requests() > 0)?;
        let frozen = Frozen::new(&threads(daemon.pid(), "relay-")?)?;
        let stuck = Instant::now();
        wait_until("the app to serve", SECOND, || f.app.requests() > 0)?;
        // The control side is alive, and it tells.
        wait_until("/livez to say so", SECOND, || daemon.get("/livez").is_err())?;
        assert!(daemon.metric("interceptor_heartbeat_age_seconds", &[]) > 0.5);
        let goal = f.app.requests() + 30;
        wait_until("more calls to the app", TIMEOUT, || f.app.requests() >= goal)?;
        let resumed = Instant::now();
        drop(frozen);
        wait_until("new calls to be stolen", TIMEOUT, || {
            f.served_by().is_ok_and(|tag| tag == "laptop")
        })?;
        wait_until("/livez to be content", TIMEOUT, || daemon.get("/livez"))?;
        let report = arrivals.stop();

        let hung: Vec<_> = report
            .since(stuck + SECOND)
            .calls
            .into_iter()
            .filter(|call| call.started < resumed)
            .collect();
        for call in &hung {
            assert!(call.tag() == Some("app") && call.duration < AT_ONCE, "{call}");
        }
        no_call_failed(&report)
    });
}

#[test]
fn a_worker_that_is_stuck_leaves_its_share_to_the_others() {
    run(|f| {
        let daemon = f.daemon_with(&f.rule(), &["--workers", "2"])?;
        let arrivals = OpenLoopLoad::start(&f.client, f.port(), Duration::from_millis(20));
        wait_until("an arrival", TIMEOUT, || f.target.requests() > 0)?;
        let frozen = Frozen::new(&threads(daemon.pid(), "relay-")?[..1])?;
        let stuck = Instant::now();
        wait_until("the second worker to be alone", TIMEOUT, || daemon.get("/livez").is_err())?;
        let goal = f.target.requests() + 50;
        wait_until("many calls", TIMEOUT, || f.target.requests() >= goal)?;
        let resumed = Instant::now();
        drop(frozen);
        let report = arrivals.stop();

        let after: Vec<_> = report
            .since(stuck + SECOND)
            .calls
            .into_iter()
            .filter(|call| call.started < resumed)
            .collect();
        assert!(after.len() > 10, "{report}");
        for call in &after {
            assert!(call.tag() == Some("laptop") && call.duration < AT_ONCE, "{call}");
        }
        no_call_failed(&report)?;
        assert_eq!(report.count("app"), 0, "{report}");
        Ok(())
    });
}
