//! What a rule says about a target that does not take connections, and about ports without a
//! listener. A developer reads it on the pod.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use interceptor_tests::{TIMEOUT, run};
use testbed::{Daemon, Load, TcpService, wait_until};

use crate::first_rule;

/// Reason and message of the first rule.
fn said(daemon: &Daemon) -> Result<(String, String)> {
    let rule = first_rule(daemon)?;
    let word = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
    Ok((word("reason"), word("message")))
}

/// Waits until the first rule has this reason. Returns its message.
fn wait_reason(daemon: &Daemon, wanted: &str) -> Result<String> {
    wait_until(&format!("the reason {wanted}"), TIMEOUT, || {
        let (reason, message) = said(daemon)?;
        ensure!(reason == wanted, "{reason}: {message}");
        Ok(message)
    })
}

#[test]
fn a_target_that_refuses_is_reported_before_the_first_client_and_until_it_answers() {
    run(|f| {
        let rule = format!("8080 -> {}:3999", f.laptop.ip4());
        let daemon = f.daemon_with(&rule, &["--log", "info"])?;
        let message = wait_reason(&daemon, "TargetRefuses")?;
        let expected = format!(
            "{}:3999 refuses connections: nothing listens there; clients get the app (port 8080)",
            f.laptop.ip4()
        );
        assert_eq!(message, expected);
        let state = daemon.workload("web")?;
        assert_eq!(state["rules"][0]["state"], "active", "the port is taken: {state}");
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(3) {
            assert_eq!(f.served_by()?, "app");
            assert_eq!(said(&daemon)?, ("TargetRefuses".to_owned(), expected.clone()));
        }

        // The daemon finds out by itself, and the target's program does not notice.
        let target = TcpService::tagged(&f.laptop, (f.laptop.ip4(), 3999), "laptop")?;
        let message = wait_reason(&daemon, "Intercepting")?;
        assert_eq!(message, format!("port 8080 → {}:3999", f.laptop.ip4()));
        assert_eq!(target.connections(), 0, "a check is no connection");
        assert_eq!(f.served_by()?, "laptop");
        assert_eq!(target.connections(), 1);
        let logs = daemon.logs();
        let lines = |word: &str| logs.lines().filter(|line| line.contains(word)).count();
        assert_eq!((lines("TargetRefuses"), lines("Intercepting")), (1, 1), "{logs}");
        Ok(())
    });
}

#[test]
fn a_target_that_refuses_again_is_reported_at_the_first_client() {
    run(|mut f| {
        let daemon = f.daemon()?;
        f.target.stop_listening();
        assert_eq!(f.served_by()?, "app");
        let called = Instant::now();
        wait_reason(&daemon, "TargetRefuses")?;
        ensure!(called.elapsed() < Duration::from_secs(1), "after {:?}", called.elapsed());
        Ok(())
    });
}

#[test]
fn a_silent_target_is_reported_and_one_that_refuses_then_has_not_recovered() {
    run(|f| {
        f.laptop.fall_asleep()?;
        let rule = format!("8080 -> {}:3999", f.laptop.ip4());
        let daemon = f.daemon_with(&rule, &["--log", "info"])?;
        let message = wait_reason(&daemon, "TargetSilent")?;
        ensure!(message.contains("is silent: connections from the pod get no answer"), "{message}");
        f.laptop.wake_up()?;
        wait_reason(&daemon, "TargetRefuses")?;
        ensure!(!daemon.logs().contains("Intercepting"), "{}", daemon.logs());
        Ok(())
    });
}

#[test]
fn a_target_without_a_route_is_reported() {
    run(|f| {
        f.pod.ip(&format!("route add unreachable {}", f.laptop.ip4()))?;
        let daemon = f.daemon()?;
        let message = wait_reason(&daemon, "TargetUnreachable")?;
        ensure!(message.contains("there is no route to it; clients get the app"), "{message}");
        f.pod.ip(&format!("route del unreachable {}", f.laptop.ip4()))?;
        wait_reason(&daemon, "Intercepting")?;
        Ok(())
    });
}

#[test]
fn a_target_that_comes_and_goes_is_reported_a_few_times() {
    run(|mut f| {
        let daemon = f.daemon_with(&f.rule(), &["--log", "info"])?;
        let load = Load::new(&f.client, f.port()).start()?;
        for _ in 0..15 {
            f.target.stop_listening();
            std::thread::sleep(Duration::from_millis(300));
            f.target = TcpService::tagged(&f.laptop, (f.laptop.ip4(), 3000), "laptop")?;
            std::thread::sleep(Duration::from_millis(300));
        }
        let (reason, message) = said(&daemon)?;
        assert_eq!(reason, "TargetRefuses", "{message}");
        wait_reason(&daemon, "Intercepting")?;
        assert_eq!(f.served_by()?, "laptop");
        let report = load.stop();
        ensure!(report.count("app") > 0 && report.count("laptop") > 0, "{report}");
        let logs = daemon.logs();
        let lines = |word: &str| logs.lines().filter(|line| line.contains(word)).count();
        assert_eq!((lines("TargetRefuses"), lines("Intercepting")), (1, 2), "{logs}");
        Ok(())
    });
}

#[test]
fn a_port_without_a_listener_is_named_until_it_has_one() {
    run(|f| {
        let daemon = f.daemon_with(&format!("8080,80 -> {}:3000", f.laptop.ip4()), &[])?;
        let (_, message) = said(&daemon)?;
        let expected = format!(
            "ports 8080, 80 → {}:3000; nothing listens on port 80, and it is not declared \
             (declared: none)",
            f.laptop.ip4()
        );
        assert_eq!(message, expected);
        let _late = TcpService::tagged(&f.pod, (f.pod.ip4(), 80), "late")?;
        wait_until("the note to go", TIMEOUT, || {
            let (_, message) = said(&daemon)?;
            ensure!(!message.contains("nothing listens"), "{message}");
            Ok(())
        })
    });
}
