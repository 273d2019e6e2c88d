//! A second daemon beside the first, as in an upgrade.

use std::time::{Duration, Instant};

use interceptor_tests::{SECOND, SecondDaemon, TIMEOUT, run};
use nix::sys::signal::Signal;
use rstest::rstest;
use testbed::{Connection, Protocol, TcpService, wait_until};

use crate::{no_call_failed, start_load};

#[rstest]
#[case::sigkill(Signal::SIGKILL)]
#[case::sigterm(Signal::SIGTERM)]
fn a_second_daemon_takes_over_until_it_ends(#[case] signal: Signal) {
    run(|f| {
        let _second_target = TcpService::tagged(&f.laptop, (f.laptop.ip4(), 3001), "second")?;
        let first = f.daemon()?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let load = start_load(&f)?;

        let rule = format!("8080 -> {}:3001", f.laptop.ip4());
        let mut second = SecondDaemon::start(f.t, &f.pod, &rule)?;
        load.wait_for_tag("second", SECOND)?;
        load.wait_for_calls(50, TIMEOUT)?;
        assert_eq!(stolen.ask()?.tag, "laptop", "connections of the first daemon stay with it");

        let ending = Instant::now();
        second.end(signal)?;
        let ended = Instant::now();
        load.wait_for_calls(50, TIMEOUT)?;
        let report = load.stop();
        let after = report.since(ended);
        assert_eq!(after.count("laptop"), after.calls.len(), "{after}");
        if signal == Signal::SIGTERM {
            no_call_failed(&report)?;
        }
        // SIGKILL breaks the calls in progress.
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
#[case::sigkill(Signal::SIGKILL)]
#[case::sigterm(Signal::SIGTERM)]
fn an_upgrade_to_a_second_daemon_fails_no_call(#[case] signal: Signal) {
    run(|f| {
        let _second_target = TcpService::tagged(&f.laptop, (f.laptop.ip4(), 3001), "second")?;
        let mut first = f.daemon()?;
        let load = start_load(&f)?;
        let second = SecondDaemon::start(f.t, &f.pod, &format!("8080 -> {}:3001", f.laptop.ip4()))?;
        let arrived = load.wait_for_tag("second", SECOND)?;
        // The first daemon still has calls that started before; they end within a moment.
        wait_until("the first daemon to be idle", TIMEOUT, || f.target.open() == 0)?;
        first.signal(signal)?;
        first.wait()?;
        load.wait_for_calls(100, TIMEOUT)?;
        let report = load.stop();
        no_call_failed(&report)?;
        let after = report.since(arrived + Duration::from_millis(100));
        assert_eq!(after.count("second"), after.calls.len(), "{after}");
        assert_eq!(second.status()?["workloads"][0]["rules"][0]["state"], "active");
        Ok(())
    });
}
