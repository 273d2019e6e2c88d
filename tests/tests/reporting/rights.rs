//! Capabilities: which are needed, and how a missing one is reported.

use anyhow::{Context as _, ensure};
use interceptor_tests::run;
use rstest::rstest;
use serde_json::Value;
use testbed::{Capability, CommandExt as _};

use crate::interceptor;

const NEEDED: [Capability; 4] =
    [Capability::Bpf, Capability::NetAdmin, Capability::Perfmon, Capability::SysAdmin];

#[test]
fn a_host_that_is_able_passes_the_check() {
    run(|f| {
        let told = interceptor(&f, &["check"], |_| {})?;
        assert_eq!(told.exit, Some(0), "{told:?}");
        ensure!(told.out.lines().all(|line| !line.contains("MISSING")), "{told:?}");
        let told = interceptor(&f, &["check", "--output", "json"], |_| {})?;
        let report: Value = serde_json::from_str(&told.out)?;
        assert_eq!(report["able"], true, "{report}");
        Ok(())
    });
}

#[rstest]
#[case("CAP_BPF", Capability::Bpf)]
#[case("CAP_NET_ADMIN", Capability::NetAdmin)]
#[case("CAP_PERFMON", Capability::Perfmon)]
#[case("CAP_SYS_ADMIN", Capability::SysAdmin)]
fn a_missing_right_is_named_with_its_remedy(#[case] name: &str, #[case] capability: Capability) {
    run(|f| {
        // CAP_SYS_ADMIN stands in for CAP_BPF and CAP_PERFMON; the daemon asks for the smaller ones all the same.
        let told = interceptor(&f, &["check"], |command| {
            command.without(&[capability]);
        })?;
        assert_eq!(told.exit, Some(1), "{told:?}");
        let line = told.out.lines().find(|line| line.contains(name)).context("no line about it")?;
        ensure!(line.starts_with("MISSING"), "{line}");
        ensure!(told.out.contains("capabilities.add"), "{told:?}");

        let told = interceptor(
            &f,
            &["run", "--netns", "/run/netns/none", "--redirect", "1 -> 192.0.2.1:1"],
            |command| {
                command.without(&[capability]);
            },
        )?;
        assert_eq!(told.exit, Some(77), "{told:?}");
        ensure!(told.err.contains(name), "{told:?}");
        Ok(())
    });
}

#[test]
fn four_capabilities_are_enough() {
    run(|f| {
        let _daemon = f.daemon_adapted(&f.rule(), |command| {
            command.only(&NEEDED);
            Ok(())
        })?;
        assert_eq!(f.served_by()?, "laptop");
        Ok(())
    });
}
