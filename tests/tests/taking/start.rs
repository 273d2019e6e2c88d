//! The start of a redirect: connections that are open already, and the canary that proves a rule.

use std::{
    io::{self, Read as _, Write as _},
    net::Shutdown,
    time::Duration,
};

use interceptor_tests::{TIMEOUT, counted, outcomes, run, served_by};
use testbed::{
    Checksum, Connection, Daemon, Load, Protocol, TcpService, receive, send, wait_until,
};

#[test]
fn open_connections_stay_with_the_app_byte_for_byte() {
    run(|f| {
        const BYTES: u64 = 20_000_000;
        let _sink = TcpService::sink(&f.pod, (f.pod.ip4(), 9001))?;
        let _source = TcpService::source(&f.pod, (f.pod.ip4(), 9002), BYTES)?;
        let mut idle = Connection::open(&f.client, f.port(), Protocol::Line)?;
        let upload = Connection::open(&f.client, (f.pod.ip4(), 9001), Protocol::Line)?;
        let download = Connection::open(&f.client, (f.pod.ip4(), 9002), Protocol::Line)?;
        assert_eq!(idle.ask()?.tag, "app");
        let mut halves = Vec::new();
        send(&mut halves, 2 * BYTES)?;
        let (first, second) = halves.split_at(halves.len() / 2);
        upload.stream().write_all(first)?;
        let mut received = vec![0; 100_000];
        download.stream().read_exact(&mut received)?;

        let daemon = f.daemon_with(&format!("8080,9001,9002 -> {}:3000", f.laptop.ip4()), &[])?;
        assert_eq!(f.served_by()?, "laptop");

        upload.stream().write_all(second)?;
        upload.stream().shutdown(Shutdown::Write)?;
        let mut sent = Checksum::default();
        sent.add(&halves);
        assert_eq!(io::read_to_string(upload.stream())?.trim(), sent.to_string());
        download.stream().read_to_end(&mut received)?;
        assert_eq!(receive(received.as_slice())?, send(io::sink(), BYTES)?);
        assert_eq!(idle.ask()?.tag, "app");
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", 1)]));
        Ok(())
    });
}

#[test]
fn no_call_fails_when_rules_come_and_go() {
    run(|f| {
        let daemon = Daemon::start(f.t, &f.without_rule(), &[])?;
        let load = Load::new(&f.client, f.port()).threads(4).interval(Duration::ZERO).start()?;
        load.wait_for_tag("app", TIMEOUT)?;
        for _ in 0..5 {
            daemon.rewrite_workloads(&f.web(&f.rule()))?;
            load.wait_for_tag("laptop", TIMEOUT)?;
            daemon.rewrite_workloads(&f.without_rule())?;
            load.wait_for_tag("app", TIMEOUT)?;
        }
        let report = load.stop();
        assert_eq!(report.failures().len(), 0, "{report}");
        assert_eq!(report.count("laptop") as u64, f.target.requests());
        assert_eq!(report.count("app") as u64, f.app.requests());
        Ok(())
    });
}

#[test]
fn a_rule_is_active_only_after_its_canary_has_arrived() {
    run(|f| {
        let daemon = f.daemon()?;
        // Without its loopback interface the pod gets no canary, while clients can still connect.
        f.pod.ip("link set lo down")?;
        daemon.rewrite_workloads(&f.web(&format!("8081 -> {}:3000", f.laptop.ip4())))?;
        let state = daemon.wait_rules("web", "pending")?;
        wait_until("the reason", TIMEOUT, || {
            let rule =
                daemon.workload("web").map_err(|error| error.to_string())?["rules"][0].clone();
            let names_port =
                rule["message"].as_str().is_some_and(|message| message.contains("127.0.0.1:8081"));
            if rule["reason"] == "ProbeFailed" && names_port {
                Ok(())
            } else {
                Err(rule.to_string())
            }
        })?;
        assert_eq!(daemon.metric("interceptor_rules", &[("state", "active")]), 0.0, "{state}");
        assert_eq!(daemon.metric("interceptor_rules", &[("state", "pending")]), 1.0);

        f.pod.ip("link set lo up")?;
        daemon.wait_active("web")?;
        assert_eq!(daemon.metric("interceptor_rules", &[("state", "active")]), 1.0);
        assert_eq!(served_by(&f.client, (f.pod.ip4(), 8081))?, "laptop");
        Ok(())
    });
}

#[test]
fn a_rule_for_a_pod_without_loopback_is_pending_until_it_is_up() {
    run(|f| {
        f.pod.ip("link set lo down")?;
        let daemon = Daemon::start(f.t, &f.web(&f.rule()), &[])?;
        let state = daemon.wait_state("a reason", |state| {
            let rule = &state["workloads"][0]["rules"][0];
            rule["state"] == "pending" && rule["reason"] != "Proving"
        })?;
        assert_ne!(state["workloads"][0]["rules"][0]["message"], "", "{state}");
        assert!(f.served_by().is_ok(), "no server answers");
        f.pod.ip("link set lo up")?;
        daemon.wait_active("web")?;
        assert_eq!(f.served_by()?, "laptop");
        Ok(())
    });
}
