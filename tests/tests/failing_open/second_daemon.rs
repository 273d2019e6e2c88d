//! A second daemon beside the first, by mistake or as in an upgrade. One of them has the port.

use std::time::Instant;

use anyhow::Result;
use interceptor_tests::{Fixture, SECOND, SecondDaemon, TIMEOUT, counted, outcomes, run};
use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::Value;
use testbed::{Connection, Daemon, Protocol, TcpService, wait_until};

use crate::{no_call_failed, start_load};

/// A rule for a target that answers `second`.
fn second_rule(f: &Fixture<'_>) -> Result<(TcpService, String)> {
    let target = TcpService::tagged(&f.laptop, (f.laptop.ip4(), 3001), "second")?;
    Ok((target, format!("8080 -> {}:3001", f.laptop.ip4())))
}

/// Checks that the rule says who has its port.
fn says_who_holds_the_port(rule: &Value, who: &str) {
    assert_eq!(rule["reason"], "PortTaken", "{rule}");
    let message = rule["message"].as_str().unwrap_or_default();
    assert!(message.contains("port 8080") && message.contains(who), "{message}");
}

#[rstest]
#[case::sigkill(Signal::SIGKILL)]
#[case::sigterm(Signal::SIGTERM)]
fn a_second_daemon_waits_until_the_first_has_ended(#[case] signal: Signal) {
    run(|f| {
        let (_second_target, rule) = second_rule(&f)?;
        let mut first = f.daemon()?;
        let load = start_load(&f)?;
        let second = SecondDaemon::launch(f.t, &f.pod, &rule)?;
        let pending = second.wait_rule("pending")?;
        says_who_holds_the_port(&pending, &format!("process {}", first.pid()));
        load.wait_for_calls(50, TIMEOUT)?;
        assert_eq!(second.connections()?, 0);

        let ending = Instant::now();
        first.signal(signal)?;
        load.wait_for_tag("second", SECOND)?;
        let arrived = Instant::now();
        second.wait_rule("active")?;
        load.wait_for_calls(50, TIMEOUT)?;
        let report = load.stop();
        let after = report.since(arrived);
        assert_eq!(after.count("second"), after.calls.len(), "{after}");
        if signal == Signal::SIGTERM {
            no_call_failed(&report)?;
        }
        // SIGKILL breaks the calls in progress.
        assert!(
            report.failures().iter().all(|call| call.started + call.duration > ending),
            "{report}"
        );
        first.wait()?;
        Ok(())
    });
}

/// Each daemon would take the other one's connections to the app for those of clients.
#[rstest]
#[case::first_starts_first(true)]
#[case::second_starts_first(false)]
fn each_call_has_one_connection_while_two_daemons_want_the_port(#[case] first_starts_first: bool) {
    run(|mut f| {
        const CALLS: u64 = 5;
        f.target.stop_listening();
        let rule = f.rule();
        if first_starts_first {
            let first = f.daemon()?;
            let second = SecondDaemon::launch(f.t, &f.pod, &rule)?;
            says_who_holds_the_port(&second.wait_rule("pending")?, "process");
            for _ in 0..CALLS {
                assert_eq!(f.served_by()?, "app");
            }
            assert_eq!(outcomes(&first, "web")?, counted([("fell_back/target_refused", CALLS)]));
            assert_eq!(second.connections()?, 0);
        } else {
            let second = SecondDaemon::start(f.t, &f.pod, &rule)?;
            let first = Daemon::start(f.t, &f.web(&rule), &[])?;
            let state = first.wait_rules("web", "pending")?;
            let who = format!("other/interceptor-2 (process {})", second.pid());
            says_who_holds_the_port(&state["workloads"][0]["rules"][0], &who);
            for _ in 0..CALLS {
                assert_eq!(f.served_by()?, "app");
            }
            assert_eq!(second.connections()?, CALLS);
            assert_eq!(outcomes(&first, "web")?, counted([]));
        }
        assert_eq!(f.app.connections(), CALLS);
        Ok(())
    });
}

#[test]
fn a_port_goes_to_and_fro_between_daemons_without_a_failed_call() {
    run(|f| {
        let (_second_target, rule) = second_rule(&f)?;
        let mut first = f.daemon()?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let load = start_load(&f)?;
        let mut second = SecondDaemon::launch(f.t, &f.pod, &rule)?;
        second.wait_rule("pending")?;

        // The first one gives its port back, and ends with its last connection.
        first.signal(Signal::SIGTERM)?;
        load.wait_for_tag("second", SECOND)?;
        assert_eq!(stolen.ask()?.tag, "laptop", "connections of the first daemon stay with it");
        drop(stolen);
        first.wait()?;

        let third = Daemon::start(f.t, &f.web(&f.rule()), &[])?;
        third.wait_rules("web", "pending")?;
        load.wait_for_calls(50, TIMEOUT)?;
        second.end(Signal::SIGTERM)?;
        third.wait_active("web")?;
        load.wait_for_tag("laptop", SECOND)?;
        no_call_failed(&load.stop())
    });
}

#[test]
fn two_daemons_redirect_different_ports_of_a_pod() {
    run(|f| {
        let other = TcpService::tagged(&f.pod, (f.pod.ip4(), 9090), "other-app")?;
        let (_second_target, rule) = second_rule(&f)?;
        let first = f.daemon()?;
        let second = SecondDaemon::start(f.t, &f.pod, &rule.replace("8080", "9090"))?;
        assert_eq!(f.served_by()?, "laptop");
        assert_eq!(interceptor_tests::served_by(&f.client, (f.pod.ip4(), 9090))?, "second");
        // The program of the second daemon came later. The first one notices it when it arms again.
        let message = second.wait_rule("active")?["message"].to_string();
        assert!(message.contains("other sk_lookup programs in this pod's network: 1"), "{message}");
        first.wait_active("web")?;
        drop(second);
        wait_until("the app of the other port", TIMEOUT, || {
            let tag = interceptor_tests::served_by(&f.client, (f.pod.ip4(), 9090))?;
            anyhow::ensure!(tag == "other-app", "{tag}");
            Ok(())
        })?;
        assert!(other.connections() > 0);
        Ok(())
    });
}
