//! Hosts where the client's address is lost: the daemon works, and reports the loss.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{Fixture, GRANTED, run};
use serde_json::Value;
use testbed::{Cgroup, CommandExt as _, Connection, Protocol, binary};

use crate::{check_client_seen, counts, refused_rule};

/// A finding of `interceptor check`, by name.
fn finding(
    name: &str,
    adapt: impl FnOnce(&mut std::process::Command) -> Result<()>,
) -> Result<Value> {
    let mut command = std::process::Command::new(binary()?);
    command.args(["check", "--output", "json"]);
    adapt(&mut command)?;
    let report: Value = serde_json::from_slice(&command.output()?.stdout)?;
    assert_eq!(report["able"], true, "the host should be able: {report}");
    let findings = report["findings"].as_array().context("no findings")?;
    findings.iter().find(|finding| finding["name"] == name).cloned().context("no finding")
}

/// Runs the daemon, and checks that it serves, and reports in every place that the address is lost.
fn check_lost(
    f: &Fixture<'_>,
    why: &str,
    adapt: impl Fn(&mut std::process::Command) -> Result<()>,
) -> Result<()> {
    let daemon = f.daemon_adapted(&refused_rule(&f.laptop), &adapt)?;
    let mut connection = Connection::open(&f.client, f.port(), Protocol::Line)?;
    let answer = connection.ask()?;
    assert_eq!(
        (answer.tag.as_str(), answer.peer.map(|peer| peer.ip())),
        ("app", Some(f.pod.ip4().into()))
    );
    assert_eq!(counts(&daemon)?, (0, 1));
    assert_eq!(daemon.metric("interceptor_caller_address_kept", &[]), 0.0);
    let report = daemon.state()?["caller_address"].clone();
    assert_eq!(report["state"], "lost");
    for text in [&report["reason"], &report["remedy"]] {
        ensure!(!text.as_str().unwrap_or_default().is_empty(), "{report}");
    }
    ensure!(report["reason"].as_str().is_some_and(|reason| reason.contains(why)), "{report}");
    assert_eq!(daemon.logs().matches("apps won't see client addresses").count(), 1);

    let checks = finding("exec probes", &adapt)?;
    ensure!(checks["verdict"] == "warning", "{checks}");
    ensure!(checks["found"].as_str().is_some_and(|found| found.contains(why)), "{checks}");
    let finding = finding("caller's address", &adapt)?;
    assert_eq!(finding["verdict"], "warning", "{finding}");
    ensure!(finding["found"].as_str().is_some_and(|found| found.contains(why)), "{finding}");
    ensure!(finding["remedy"] == report["remedy"], "{finding} {report}");
    Ok(())
}

#[test]
fn a_host_without_cgroup_v2_loses_the_address_and_reports_so() {
    run(|f| {
        check_lost(&f, "no cgroup v2 file system is mounted", |command| {
            command.without_cgroups();
            Ok(())
        })
    });
}

#[test]
fn a_container_that_sees_only_its_own_cgroup_loses_the_address_and_reports_so() {
    run(|f| {
        let cgroup = Cgroup::new("own")?;
        check_lost(&f, "this container's own cgroup", |command| {
            command.contained(&cgroup, None)?;
            Ok(())
        })
    });
}

#[test]
fn a_container_with_the_hosts_cgroups_mounted_keeps_the_address() {
    run(|f| {
        let (cgroup, hosts) = (Cgroup::new("hosts")?, f.t.dir().join("cgroup"));
        fs::create_dir(&hosts)?;
        let adapt = |command: &mut std::process::Command| {
            command.contained(&cgroup, Some(&hosts))?.only(&GRANTED);
            Ok(())
        };
        for name in ["caller's address", "exec probes"] {
            assert_eq!(finding(name, adapt)?["verdict"], "ok", "{name}");
        }
        let daemon = f.daemon_adapted(&refused_rule(&f.laptop), adapt)?;
        let mut connection = Connection::open(&f.client, f.port(), Protocol::Line)?;
        check_client_seen(&mut connection, "app")?;
        assert_eq!(daemon.metric("interceptor_caller_address_kept", &[]), 1.0);
        drop((connection, daemon));
        Ok(())
    });
}
