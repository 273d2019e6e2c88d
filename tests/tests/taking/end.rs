//! The end of a redirect: a rule that is removed, changed or expired, and a daemon that ends.

use std::{
    net::Shutdown,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{Fixture, SECOND, TIMEOUT, counted, outcomes, run};
use nix::sys::signal::Signal;
use rstest::rstest;
use testbed::{Connection, Load, Protocol, TcpService, bpf_inventory, netns_inventory, wait_until};

use crate::listeners;

#[rstest]
#[case::the_rule(|f: &Fixture<'_>| f.without_rule())]
#[case::the_workload(|_: &Fixture<'_>| "workloads: []\n".into())]
#[case::the_port(|f: &Fixture<'_>| f.web(&format!("8081 -> {}:3000", f.laptop.ip4())))]
fn a_removal_returns_the_port_to_the_app_at_once_and_open_connections_go_on(
    #[case] rest: fn(&Fixture<'_>) -> String,
) {
    run(|f| {
        let daemon = f.daemon()?;
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let load = Load::new(&f.client, f.port()).start()?;
        load.wait_for_tag("laptop", TIMEOUT)?;

        let removed = Instant::now();
        daemon.rewrite_workloads(&rest(&f))?;
        let given_back = load.wait_for_tag("app", SECOND)?;
        load.wait_for_calls(100, TIMEOUT)?;
        let report = load.stop();
        assert_eq!(report.failures().len(), 0, "{report}");
        assert_eq!(report.since(given_back).count("laptop"), 0, "{report}");
        assert!(given_back - removed < SECOND);

        assert_eq!(stolen.ask()?.tag, "laptop");
        // The open connection outlives the relay's listeners and the counters of its port.
        wait_until(
            "the end of the listeners and counters of the port",
            TIMEOUT,
            || -> Result<()> {
                let armed = !bpf_inventory()?.links_in(&f.pod)?.is_empty();
                ensure!(armed || listeners(&f.pod) == [f.app.addr()], "the relay still listens");
                let metrics = daemon.metrics()?;
                let counted =
                    metrics.matching("interceptor_active_connections", &[("port", "8080")]).count();
                ensure!(counted == 0, "the port still has counters");
                Ok(())
            },
        )?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        stolen.stream().shutdown(Shutdown::Both)?;
        wait_until("the end of the last stolen connection", TIMEOUT, || f.target.open() == 0)
    });
}

#[test]
fn new_connections_reach_a_changed_target_and_open_ones_stay_with_the_old_target() {
    run(|f| {
        let _second = TcpService::tagged(&f.laptop, (f.laptop.ip4(), 3001), "second")?;
        let daemon = f.daemon()?;
        let mut old = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(old.ask()?.tag, "laptop");
        let load = Load::new(&f.client, f.port()).threads(2).start()?;
        load.wait_for_tag("laptop", TIMEOUT)?;

        daemon.rewrite_workloads(&f.web(&format!("8080 -> {}:3001", f.laptop.ip4())))?;
        let changed = load.wait_for_tag("second", TIMEOUT)?;
        load.wait_for_calls(50, TIMEOUT)?;
        let mut new = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!((old.ask()?.tag.as_str(), new.ask()?.tag.as_str()), ("laptop", "second"));
        daemon.wait_active("web")?;
        let report = load.stop();

        assert_eq!(report.failures().len(), 0, "{report}");
        assert_eq!(report.count("app"), 0, "calls reached the app during the change: {report}");
        // The old rule may have redirected a call that started a moment before.
        assert_eq!(
            report.since(changed + Duration::from_millis(100)).count("laptop"),
            0,
            "{report}"
        );
        // The counters belong to the annotation and go on with the new rule.
        let redirected = report.calls.len() as u64 + 2;
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", redirected)]));
        Ok(())
    });
}

#[test]
fn a_rule_ends_with_its_ttl() {
    run(|f| {
        let launched = Instant::now();
        let daemon = f.daemon_with(&format!("{} ttl 2s", f.rule()), &[])?;
        let active = Instant::now();
        let mut stolen = Connection::open(&f.client, f.port(), Protocol::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let load = Load::new(&f.client, f.port()).start()?;
        load.wait_for_tag("app", Duration::from_secs(3))?;
        // The ttl starts when the daemon reads the rule: after the launch and before it is active.
        let (longest, shortest) = (launched.elapsed(), active.elapsed());
        assert!(longest >= Duration::from_secs(2), "ended after {longest:?}");
        assert!(shortest < Duration::from_millis(2500), "ended after {shortest:?}");
        let state = daemon.wait_rules("web", "expired")?;
        let rule = &state["workloads"][0]["rules"][0];
        assert_eq!(rule["reason"], "TtlExpired", "{state}");
        let message = "the rule's ttl (2s) has expired; to start it again, remove the annotation \
                       and add it again";
        assert_eq!(rule["message"], message);
        assert_eq!(stolen.ask()?.tag, "laptop");
        let report = load.stop();
        assert_eq!(report.failures().len(), 0, "{report}");
        Ok(())
    });
}

#[rstest]
#[case::sigterm(Signal::SIGTERM)]
#[case::sigkill(Signal::SIGKILL)]
fn the_namespaces_are_unchanged_during_and_after_a_redirect(#[case] signal: Signal) {
    run(|f| {
        let before = [netns_inventory(&f.pod)?, netns_inventory(f.t.node())?];
        let unchanged = || -> Result<()> {
            for (netns, before) in [&f.pod, f.t.node()].into_iter().zip(&before) {
                let diff = netns_inventory(netns)?.diff(before);
                ensure!(diff.is_empty(), "{}: {diff}", netns.label());
            }
            Ok(())
        };

        let mut daemon = f.daemon()?;
        assert_eq!(f.served_by()?, "laptop");
        unchanged().context("while the daemon runs")?;
        let objects = daemon.bpf_objects()?;
        assert_eq!(bpf_inventory()?.links_in(&f.pod)?.len(), 1);
        assert!(objects.len() > 3, "{objects:?}");

        daemon.signal(signal)?;
        daemon.wait()?;
        unchanged().context("after the end of the daemon")?;
        // The kernel frees programs and maps a moment after the process has ended.
        wait_until("the end of all programs, maps and links", TIMEOUT, || {
            let bpf = bpf_inventory().map_err(|error| format!("{error:#}"))?;
            let mut left = bpf.still_here(&objects);
            left.extend(bpf.links_in(&f.pod).map_err(|error| format!("{error:#}"))?);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })?;
        assert_eq!(listeners(&f.pod), [f.app.addr()]);
        assert_eq!(f.served_by()?, "app");
        Ok(())
    });
}
