//! Capabilities: which are needed, and how a missing one is reported.

use anyhow::{Context as _, ensure};
use interceptor_tests::{GRANTED, run};
use rstest::rstest;
use serde_json::Value;
use testbed::{Capability, CommandExt as _};

use crate::interceptor;

#[test]
fn an_able_host_passes_the_check() {
    run(|f| {
        let output = interceptor(&f, &["check"], |_| {})?;
        assert_eq!(output.exit, Some(0), "{output:?}");
        ensure!(output.stdout.lines().all(|line| !line.contains("MISSING")), "{output:?}");
        let output = interceptor(&f, &["check", "--output", "json"], |_| {})?;
        let report: Value = serde_json::from_str(&output.stdout)?;
        assert_eq!(report["able"], true, "{report}");
        Ok(())
    });
}

#[rstest]
#[case("CAP_BPF", Capability::Bpf)]
#[case("CAP_NET_ADMIN", Capability::NetAdmin)]
#[case("CAP_PERFMON", Capability::Perfmon)]
#[case("CAP_SYS_ADMIN", Capability::SysAdmin)]
fn a_missing_capability_is_named_with_its_remedy(
    #[case] name: &str,
    #[case] capability: Capability,
) {
    run(|f| {
        // CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON. The daemon requires the smaller ones
        // nevertheless.
        let output = interceptor(&f, &["check"], |command| {
            command.without(&[capability]);
        })?;
        assert_eq!(output.exit, Some(1), "{output:?}");
        let line = output
            .stdout
            .lines()
            .find(|line| line.contains(name))
            .context("no line with the capability")?;
        ensure!(line.starts_with("MISSING"), "{line}");
        ensure!(output.stdout.contains("capabilities.add"), "{output:?}");

        let output = interceptor(
            &f,
            &["run", "--netns", "/run/netns/none", "--redirect", "1 -> 192.0.2.1:1"],
            |command| {
                command.without(&[capability]);
            },
        )?;
        assert_eq!(output.exit, Some(77), "{output:?}");
        ensure!(output.stderr.contains(name), "{output:?}");
        Ok(())
    });
}

#[test]
fn the_four_capabilities_of_the_chart_are_enough() {
    run(|f| {
        let _daemon = f.daemon_adapted(&f.rule(), |command| {
            command.only(&GRANTED);
            Ok(())
        })?;
        assert_eq!(f.served_by()?, "laptop");
        Ok(())
    });
}
