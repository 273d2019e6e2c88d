//! Hosts where the address is lost: the daemon works, and reports the loss.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{Fixture, run};
use serde_json::Value;
use testbed::{Capability, Cgroup, CommandExt as _, Connection, Protocol, binary};

use crate::{counts, refused, sees_the_caller};

/// What `interceptor check` says of the caller's address.
fn checked(adapt: impl FnOnce(&mut std::process::Command) -> Result<()>) -> Result<Value> {
    let mut command = std::process::Command::new(binary()?);
    command.args(["check", "--output", "json"]);
    adapt(&mut command)?;
    let told: Value = serde_json::from_slice(&command.output()?.stdout)?;
    assert_eq!(told["able"], true, "it works all the same: {told}");
    let findings = told["findings"].as_array().context("no findings")?;
    findings
        .iter()
        .find(|finding| finding["name"] == "caller's address")
        .cloned()
        .context("no finding")
}

fn lost(
    f: &Fixture<'_>,
    why: &str,
    adapt: impl Fn(&mut std::process::Command) -> Result<()>,
) -> Result<()> {
    let daemon = f.daemon_adapted(&refused(&f.laptop), &adapt)?;
    let mut connection = Connection::open(&f.client, f.port(), Protocol::Line)?;
    let answer = connection.ask()?;
    assert_eq!(
        (answer.tag.as_str(), answer.peer.map(|peer| peer.ip())),
        ("app", Some(f.pod.ip4().into()))
    );
    assert_eq!(counts(&daemon)?, (0, 1));
    assert_eq!(daemon.metric("interceptor_caller_address_kept", &[]), 0.0);
    let told = daemon.state()?["caller_address"].clone();
    assert_eq!(told["state"], "lost");
    for text in [&told["reason"], &told["remedy"]] {
        ensure!(!text.as_str().unwrap_or_default().is_empty(), "{told}");
    }
    ensure!(told["reason"].as_str().is_some_and(|reason| reason.contains(why)), "{told}");
    assert_eq!(daemon.logs().matches("applications won't see callers' addresses").count(), 1);

    let finding = checked(&adapt)?;
    assert_eq!(finding["verdict"], "warning", "{finding}");
    ensure!(finding["found"].as_str().is_some_and(|found| found.contains(why)), "{finding}");
    ensure!(finding["remedy"] == told["remedy"], "{finding} {told}");
    Ok(())
}

#[test]
fn without_cgroups_of_version_2_it_works_and_says_what_is_lost() {
    run(|f| {
        lost(&f, "no cgroup v2 file system is mounted", |command| {
            command.without_cgroups();
            Ok(())
        })
    });
}

#[test]
fn a_container_that_sees_its_own_cgroup_only_says_so() {
    run(|f| {
        let cgroup = Cgroup::new("own")?;
        lost(&f, "this container's own cgroup", |command| {
            command.contained(&cgroup, None)?;
            Ok(())
        })
    });
}

#[test]
fn a_container_that_is_shown_the_hosts_cgroups_keeps_the_address() {
    run(|f| {
        let (cgroup, hosts) = (Cgroup::new("hosts")?, f.t.dir().join("cgroup"));
        fs::create_dir(&hosts)?;
        let adapt = |command: &mut std::process::Command| {
            // What the chart grants.
            let rights =
                [Capability::Bpf, Capability::NetAdmin, Capability::Perfmon, Capability::SysAdmin];
            command.contained(&cgroup, Some(&hosts))?.only(&rights);
            Ok(())
        };
        assert_eq!(checked(adapt)?["verdict"], "ok");
        let daemon = f.daemon_adapted(&refused(&f.laptop), adapt)?;
        let mut connection = Connection::open(&f.client, f.port(), Protocol::Line)?;
        sees_the_caller(&mut connection, "app")?;
        assert_eq!(daemon.metric("interceptor_caller_address_kept", &[]), 1.0);
        drop((connection, daemon));
        Ok(())
    });
}
