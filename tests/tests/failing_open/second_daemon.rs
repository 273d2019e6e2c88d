//! A second daemon beside the first, as in an upgrade.

use std::time::{Duration, Instant};

use interceptor_tests::{SECOND, SOON, SecondDaemon, play};
use nix::sys::signal::Signal;
use rstest::rstest;
use testbed::{Connection, Question, TcpService, wait_until};

use crate::{load, no_call_failed};

#[rstest]
#[case::killed(Signal::SIGKILL)]
#[case::ended(Signal::SIGTERM)]
fn a_second_daemon_takes_over_and_the_first_serves_after_its_end(#[case] signal: Signal) {
    play(|s| {
        let _second_target = TcpService::tagged(&s.laptop, (s.laptop.ip4(), 3001), "second")?;
        let first = s.daemon()?;
        let mut stolen = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let caller = load(&s)?;

        let rule = format!("8080 -> {}:3001", s.laptop.ip4());
        let mut second = SecondDaemon::start(s.t, &s.pod, &rule)?;
        caller.wait_for_tag("second", SECOND)?;
        caller.wait_for_calls(50, SOON)?;
        assert_eq!(stolen.ask()?.tag, "laptop", "those of the first stay with it");

        let ending = Instant::now();
        second.end(signal)?;
        let ended = Instant::now();
        caller.wait_for_calls(50, SOON)?;
        let report = caller.stop();
        let after = report.since(ended);
        assert_eq!(after.count("laptop"), after.calls.len(), "{after}");
        if signal == Signal::SIGTERM {
            no_call_failed(&report)?;
        }
        // By force it takes along what it had in its hands at that moment.
        assert!(
            report.failures().iter().all(|call| call.started + call.duration > ending),
            "{report}"
        );
        assert_eq!(report.count("app"), 0, "{report}");
        assert_eq!(stolen.ask()?.tag, "laptop");
        assert_eq!(first.workload("web")?["rules"][0]["state"], "active");
        Ok(())
    });
}

#[rstest]
#[case::killed(Signal::SIGKILL)]
#[case::ended(Signal::SIGTERM)]
fn an_upgrade_to_a_second_daemon_fails_no_call(#[case] signal: Signal) {
    play(|s| {
        let _second_target = TcpService::tagged(&s.laptop, (s.laptop.ip4(), 3001), "second")?;
        let mut first = s.daemon()?;
        let caller = load(&s)?;
        let second = SecondDaemon::start(s.t, &s.pod, &format!("8080 -> {}:3001", s.laptop.ip4()))?;
        let arrived = caller.wait_for_tag("second", SECOND)?;
        // Calls that the first one has were begun before; they are answered within a moment.
        wait_until("the first daemon to be idle", SOON, || s.dev.open() == 0)?;
        first.signal(signal)?;
        first.wait()?;
        caller.wait_for_calls(100, SOON)?;
        let report = caller.stop();
        no_call_failed(&report)?;
        let after = report.since(arrived + Duration::from_millis(100));
        assert_eq!(after.count("second"), after.calls.len(), "{after}");
        assert_eq!(second.status()?["workloads"][0]["rules"][0]["state"], "active");
        Ok(())
    });
}
