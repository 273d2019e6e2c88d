//! Several rules on one port, and rules that change while connections are open.

use anyhow::ensure;
use interceptor_tests::{DEBUG_HEADER, HttpEchoServer, TIMEOUT};
use testbed::{Daemon, wait_until};

use crate::{decided, run_http};

#[test]
fn several_rules_share_a_port() {
    run_http(|f| {
        let bob = HttpEchoServer::start(&f.base.laptop, (f.base.laptop.ip4(), 4001), "bob")?;
        let laptop = f.base.laptop.ip4();
        let file = format!(
            "workloads:\n- name: web\n  netns: {}\n  annotations:\n    \
             debug.redirect/alice: \"80 -> {laptop}:4000 when {user} == 'alice'\"\n    \
             debug.redirect/bob: \"80 -> {laptop}:4001 when {user} in ['alice', 'bob']\"\n    \
             debug.redirect/carol: \"80 -> {laptop}:4001 when ('alice'=={user})\"\n",
            f.base.pod.netns_path().display(),
            user = "request.headers['x-user']",
        );
        let daemon = Daemon::start(f.base.t, &file, &[])?;
        wait_until("the first two to be active", TIMEOUT, || {
            let workload = daemon.workload("web")?;
            let states: Vec<_> = workload["rules"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|rule| rule["state"].clone())
                .collect();
            ensure!(states.iter().filter(|state| *state == "active").count() == 2, "{workload}");
            Ok(())
        })?;
        let workload = daemon.workload("web")?;
        assert!(
            workload
                .to_string()
                .contains("debug.redirect/alice holds the same requests of port 80"),
            "{workload}"
        );

        let mut client = f.connect()?;
        for _ in 0..3 {
            assert_eq!(client.get("/", &["X-User: bob"])?.tag, "bob");
            assert_eq!(client.get("/", &["X-User: alice"])?.tag, "laptop");
            assert_eq!(client.get("/", &["X-User: carol"])?.tag, "app");
        }
        assert_eq!(bob.service().requests(), 3);
        // The later rule of bob matches alice's requests, too.
        assert_eq!(decided(&daemon, "earlier_rule")?, 3);
        assert_eq!(decided(&daemon, "matched")?, 6);
        Ok(())
    });
}

#[test]
fn changes_of_rules_apply_to_open_connections_and_fail_no_request() {
    run_http(|f| {
        let daemon = f.daemon()?;
        let mut client = f.connect()?;
        assert_eq!(client.get("/", &["X-User: other"])?.tag, "app");
        daemon
            .rewrite_workloads(&f.base.web(&f.rule("when request.headers['x-user'] == 'other'")))?;
        wait_until("the new condition", TIMEOUT, || {
            let response = client.get("/", &["X-User: other"])?;
            ensure!(response.tag == "laptop", "{response:?}");
            Ok(())
        })?;
        assert_eq!(client.get("/", &[DEBUG_HEADER])?.tag, "app");
        daemon.rewrite_workloads(&f.base.without_rule())?;
        wait_until("no rule", TIMEOUT, || {
            let response = client.get("/", &["X-User: other"])?;
            ensure!(response.tag == "app", "{response:?}");
            Ok(())
        })?;
        assert_eq!(f.app.service().connections(), 1);
        Ok(())
    });
}
