//! Status and metrics agree with what clients saw.

use anyhow::{Context as _, ensure};
use interceptor_tests::{Frozen, TIMEOUT, counted, outcomes, run, threads};
use testbed::{Connection, Protocol, wait_until};

use crate::{first_rule, interceptor};

#[test]
fn status_and_metrics_agree_with_the_clients_count() {
    run(|f| {
        let daemon = f.daemon()?;
        for _ in 0..7 {
            assert_eq!(f.served_by()?, "laptop");
        }
        let mut open = Connection::open(&f.client, f.port(), Protocol::Line)?;
        let answer = open.ask()?;
        assert_eq!(answer.tag, "laptop");
        let now = wait_until("the eighth connection", TIMEOUT, || {
            let rule = first_rule(&daemon)?;
            ensure!(rule["connections"]["active"] == 1, "{rule}");
            Ok(rule)
        })?;
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 8)]));
        let labels = [("workload", "web"), ("port", "8080")];
        assert_eq!(daemon.metric("interceptor_active_connections", &labels), 1.0);
        assert_eq!(daemon.metric("interceptor_connect_seconds_count", &labels), 8.0);
        let bytes = daemon.metric("interceptor_bytes_total", &[("direction", "to_target")]);
        assert_eq!(now["bytes_to_target"].as_f64(), Some(bytes));
        assert_eq!(bytes as u64 % 8, 0, "the bytes of eight equal requests");

        let table = interceptor(&f, &["status"], |_| {})?;
        ensure!(
            table.stdout.contains("1 open, 8 redirected, 0 fell back, 0 passed, 0 refused"),
            "{}",
            table.stdout
        );
        Ok(())
    });
}

#[test]
fn labels_are_removed_with_their_rule_and_never_name_a_client() {
    run(|f| {
        let daemon = f.daemon()?;
        f.served_by()?;
        let text = daemon.get("/metrics")?;
        for name in [
            "interceptor_connections_total",
            "interceptor_bytes_total",
            "interceptor_active_connections",
            "interceptor_rules",
            "interceptor_arm_seconds",
            "interceptor_connect_seconds",
            "interceptor_heartbeat_age_seconds",
            "interceptor_build_info",
        ] {
            ensure!(text.contains(name), "{name} is missing");
        }
        ensure!(!text.contains(&f.client.ip4().to_string()), "{text}");
        assert_eq!(daemon.metric("interceptor_rules", &[("state", "active")]), 1.0);

        daemon.rewrite_workloads(&f.without_rule())?;
        wait_until("the end of the rule's labels", TIMEOUT, || {
            let text = daemon.get("/metrics")?;
            ensure!(!text.contains("workload=\"web\""), "{text}");
            Ok(())
        })?;
        assert_eq!(daemon.metric("interceptor_rules", &[("state", "active")]), 0.0);
        Ok(())
    });
}

#[test]
fn livez_fails_while_a_worker_hangs() {
    run(|f| {
        let daemon = f.daemon()?;
        daemon.get("/livez").context("live")?;
        daemon.get("/readyz").context("ready")?;
        let workers = threads(daemon.pid(), "relay-")?;
        let frozen = Frozen::new(&workers[..1])?;
        wait_until("/livez to fail", TIMEOUT, || daemon.get("/livez").is_err())?;
        drop(frozen);
        wait_until("/livez to recover", TIMEOUT, || daemon.get("/livez").is_ok())?;
        Ok(())
    });
}
