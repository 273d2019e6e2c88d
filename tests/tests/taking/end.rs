//! The end of a redirect: a rule that is removed, changed or expired, and a daemon that ends.

use std::{
    net::Shutdown,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{SECOND, SOON, Scene, counted, outcomes, play};
use nix::sys::signal::Signal;
use rstest::rstest;
use testbed::{
    Caller, Connection, Question, TcpService, bpf_inventory, netns_inventory, wait_until,
};

use crate::listeners;

#[rstest]
#[case::the_rule(|s: &Scene<'_>| s.without_rule())]
#[case::the_workload(|_: &Scene<'_>| "workloads: []\n".into())]
#[case::the_port(|s: &Scene<'_>| s.web(&format!("8081 -> {}:3000", s.laptop.ip4())))]
fn removal_gives_back_at_once_and_stolen_connections_finish(
    #[case] rest: fn(&Scene<'_>) -> String,
) {
    play(|s| {
        let daemon = s.daemon()?;
        let mut stolen = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let caller = Caller::new(&s.client, s.port()).start()?;
        caller.wait_for_tag("laptop", SOON)?;

        let removed = Instant::now();
        daemon.rewrite_workloads(&rest(&s))?;
        let given_back = caller.wait_for_tag("app", SECOND)?;
        caller.wait_for_calls(100, SOON)?;
        let report = caller.stop();
        assert_eq!(report.failures().len(), 0, "{report}");
        assert_eq!(report.since(given_back).count("laptop"), 0, "{report}");
        assert!(given_back - removed < SECOND);

        assert_eq!(stolen.ask()?.tag, "laptop");
        // It outlives the relay's listeners, and the counters of its port.
        wait_until("the end of what was kept for latecomers", SOON, || -> Result<()> {
            let armed = !bpf_inventory()?.links_in(&s.pod)?.is_empty();
            ensure!(armed || listeners(&s.pod) == [s.app.addr()], "the relay listens");
            let metrics = daemon.metrics()?;
            let counted =
                metrics.matching("interceptor_active_connections", &[("port", "8080")]).count();
            ensure!(counted == 0, "the port is counted");
            Ok(())
        })?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        stolen.stream().shutdown(Shutdown::Both)?;
        wait_until("the end of the last stolen connection", SOON, || s.dev.open() == 0)
    });
}

#[test]
fn a_changed_target_gets_the_new_connections_and_the_old_target_keeps_the_old_ones() {
    play(|s| {
        let _second = TcpService::tagged(&s.laptop, (s.laptop.ip4(), 3001), "second")?;
        let daemon = s.daemon()?;
        let mut old = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!(old.ask()?.tag, "laptop");
        let caller = Caller::new(&s.client, s.port()).threads(2).start()?;
        caller.wait_for_tag("laptop", SOON)?;

        daemon.rewrite_workloads(&s.web(&format!("8080 -> {}:3001", s.laptop.ip4())))?;
        let changed = caller.wait_for_tag("second", SOON)?;
        caller.wait_for_calls(50, SOON)?;
        let mut new = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!((old.ask()?.tag.as_str(), new.ask()?.tag.as_str()), ("laptop", "second"));
        daemon.wait_active("web")?;
        let report = caller.stop();

        assert_eq!(report.failures().len(), 0, "{report}");
        assert_eq!(report.count("app"), 0, "the port was never given back in between: {report}");
        // A call that began a moment before may have been taken by the old rule.
        assert_eq!(
            report.since(changed + Duration::from_millis(100)).count("laptop"),
            0,
            "{report}"
        );
        // Who follows on the same annotation goes on counting.
        let redirected = report.calls.len() as u64 + 2;
        assert_eq!(outcomes(&daemon, "web")?, counted([("redirected", redirected)]));
        Ok(())
    });
}

#[test]
fn the_ttl_of_a_rule_ends_it() {
    play(|s| {
        let launched = Instant::now();
        let daemon = s.daemon_with(&format!("{} ttl 2s", s.rule()), &[])?;
        let active = Instant::now();
        let mut stolen = Connection::open(&s.client, s.port(), Question::Line)?;
        assert_eq!(stolen.ask()?.tag, "laptop");
        let caller = Caller::new(&s.client, s.port()).start()?;
        caller.wait_for_tag("app", Duration::from_secs(3))?;
        // Its time begins when the daemon reads it.
        let (longest, shortest) = (launched.elapsed(), active.elapsed());
        assert!(longest >= Duration::from_secs(2), "ended after {longest:?}");
        assert!(shortest < Duration::from_millis(2500), "ended after {shortest:?}");
        let state = daemon.wait_rules("web", "expired")?;
        assert_eq!(state["workloads"][0]["rules"][0]["reason"], "TtlExpired", "{state}");
        assert_eq!(stolen.ask()?.tag, "laptop");
        let report = caller.stop();
        assert_eq!(report.failures().len(), 0, "{report}");
        Ok(())
    });
}

#[rstest]
#[case::in_order(Signal::SIGTERM)]
#[case::by_force(Signal::SIGKILL)]
fn nothing_is_added_while_it_runs_and_nothing_stays_after_its_end(#[case] signal: Signal) {
    play(|s| {
        let before = [netns_inventory(&s.pod)?, netns_inventory(s.t.node())?];
        let unchanged = || -> Result<()> {
            for (netns, before) in [&s.pod, s.t.node()].into_iter().zip(&before) {
                let diff = netns_inventory(netns)?.diff(before);
                ensure!(diff.is_empty(), "{}: {diff}", netns.label());
            }
            Ok(())
        };

        let mut daemon = s.daemon()?;
        assert_eq!(s.who()?, "laptop");
        unchanged().context("while it runs")?;
        let objects = daemon.bpf_objects()?;
        assert_eq!(bpf_inventory()?.links_in(&s.pod)?.len(), 1);
        assert!(objects.len() > 3, "{objects:?}");

        daemon.signal(signal)?;
        daemon.wait()?;
        unchanged().context("after its end")?;
        // The kernel lets go of programs and maps a moment after the process.
        wait_until("the end of all programs, maps and links", SOON, || {
            let bpf = bpf_inventory().map_err(|error| format!("{error:#}"))?;
            let mut left = bpf.still_here(&objects);
            left.extend(bpf.links_in(&s.pod).map_err(|error| format!("{error:#}"))?);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })?;
        assert_eq!(listeners(&s.pod), [s.app.addr()]);
        assert_eq!(s.who()?, "app");
        Ok(())
    });
}
