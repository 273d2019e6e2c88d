//! A pod with an address of each family is taken by both of them, and given back by both.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use interceptor_e2e::{
    Kind, LAPTOP, LAPTOP_PORT, LAPTOP6, Manifest, Pod, TIMEOUT, ask_as, run_dual_stack,
};
use rstest::rstest;
use testbed::wait_until;

/// The address of the same family as another one.
fn of_family(of: IpAddr, addresses: &[SocketAddr]) -> Result<SocketAddr> {
    let found = addresses.iter().find(|address| address.is_ipv4() == of.is_ipv4());
    found.copied().with_context(|| format!("{addresses:?} has none of the family of {of}"))
}

/// Which of the pod's addresses the app sees as the caller's, and who answered, without us: each by one call.
fn callers_seen(
    app: &Pod,
    ask: impl Fn(SocketAddr) -> Result<(String, IpAddr)>,
) -> Result<Vec<IpAddr>> {
    let seen = app.addresses().into_iter().map(|address| {
        let (who, caller) = ask(address)?;
        ensure!(who == app.name(), "{who} answered at {address}");
        ensure!(caller.is_ipv4() == address.is_ipv4(), "{caller} called {address}");
        Ok(caller)
    });
    seen.collect()
}

#[rstest]
#[case::to_ipv4(LAPTOP.into())]
#[case::to_ipv6(LAPTOP6.into())]
fn both_families_are_taken_by_every_way_there_whatever_the_targets_family(#[case] laptop: IpAddr) {
    run_dual_stack("dual-stack", |f| {
        f.installed(&[])?;
        let web = f.start(Manifest::new(Kind::Deployment, "web").on("node1").dual_stack())?;
        let app = web.pod()?;
        let ways = [app.addresses(), web.ways()?].concat();
        ensure!(
            ways.len() == 6 && ways.iter().filter(|way| way.is_ipv6()).count() == 3,
            "{ways:?}"
        );
        ways.iter().try_for_each(|way| f.wait_answering(*way))?;
        let looked = app.looks()?;
        let callers = f.callers_of(&ways)?;

        app.annotate(
            "debug.redirect",
            &format!("8080 -> {}", SocketAddr::new(laptop, LAPTOP_PORT)),
        )?;
        app.wait_active()?;
        let active = Instant::now();
        for way in &ways {
            let answer = f.ask(*way)?;
            assert_eq!(answer.tag, "laptop", "by {way}");
            // It is called from the pod's place in the network, in its own family.
            let caller = answer.peer.context("no address in the answer")?;
            assert_eq!(caller.ip(), of_family(laptop, &app.addresses())?.ip(), "by {way}");
        }
        callers.wait_for_calls(ways.len() * 10)?;
        let calls = callers.so_far().since(active);
        assert_eq!(calls.by("laptop"), calls.len(), "{calls}");

        app.unannotate("debug.redirect")?;
        app.wait_untouched()?;
        let ended = Instant::now();
        for way in &ways {
            assert_eq!(f.ask(*way)?.tag, app.name(), "by {way}");
        }
        assert_eq!(app.looks()?, looked);
        let calls = callers.stop();
        calls.assert_none_failed();
        assert_eq!(calls.since(ended).by("laptop"), 0, "{calls}");
        Ok(())
    });
}

#[test]
fn the_app_sees_the_callers_of_both_families_as_it_does_without_us() {
    run_dual_stack("dual-callers", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let once = |to: SocketAddr| {
            let answer = f.ask(to)?;
            Ok((answer.tag, answer.peer.context("no address in the answer")?.ip()))
        };
        let directly = callers_seen(&app, once)?;
        ensure!(directly.len() == 2, "{directly:?}");

        // Requests that don't match, one after the other on a connection with one that does.
        let laptop = SocketAddr::from((LAPTOP6, LAPTOP_PORT));
        app.annotate(
            "debug.redirect",
            &format!("8080 -> {laptop} when request.headers[\"x-user\"] == \"debug\""),
        )?;
        app.wait_active()?;
        let users = |to: SocketAddr| {
            let mut answers = ask_as(to, &["debug", "somebody"])?.into_iter();
            let (taken, left) = answers.next().zip(answers.next()).context("two answers")?;
            ensure!(taken.0 == "laptop", "{} answered whom the laptop should", taken.0);
            Ok((left.0, left.1.ip()))
        };
        assert_eq!(callers_seen(&app, users)?, directly);

        // Nobody listens there.
        app.annotate("debug.redirect", &format!("8080 -> [{LAPTOP6}]:1"))?;
        app.wait_event("RedirectChanged")?;
        wait_until("the app to answer for the target", TIMEOUT, || {
            ensure!(callers_seen(&app, once)? == directly, "other callers");
            Ok(())
        })?;
        let daemon = f.product.first_daemon()?;
        assert_eq!(daemon.metrics()?.sum("interceptor_callers_not_shown_total", &[]), 0.0);
        let workload = format!("{}/app", f.namespace());
        let refused = [("workload", workload.as_str()), ("reason", "target_refused")];
        daemon.wait_metric("interceptor_connections_total", &refused, |counted| counted >= 2.0)?;

        // The node is no target, by no address of its own.
        app.annotate("debug.redirect", "8080 -> [fd3e:9c51:a7d2:99::1]:3000")?;
        let condition = app.wait_refused("TargetDenied")?;
        ensure!(condition.message.contains("node"), "{condition}");
        Ok(())
    });
}

#[test]
fn a_daemon_that_is_killed_gives_both_families_back_within_a_second_and_takes_both_again() {
    run_dual_stack("dual-killed", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let families = app.addresses();
        ensure!(families.len() == 2, "{families:?}");
        let callers =
            families.iter().map(|family| f.callers(*family)).collect::<Result<Vec<_>>>()?;
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        callers.iter().try_for_each(|callers| callers.wait_for("laptop"))?;

        let daemon = f.product.first_daemon()?;
        let pid = daemon.pid()?;
        let killed = Instant::now();
        daemon.kill()?;
        daemon.wait_ended(pid)?;
        let dead = Instant::now();
        for (family, callers) in families.iter().zip(&callers) {
            callers.wait_for_calls(20)?;
            let calls = callers.so_far().since(killed);
            let back = calls
                .first_by("app")
                .with_context(|| format!("{family} is not given back: {calls}"))?;
            ensure!(
                back - killed < Duration::from_secs(1),
                "{family} is given back after {:?}",
                back - killed
            );
        }
        daemon.wait_restarted(pid)?;
        for callers in callers {
            callers.wait_for("laptop")?;
            callers.stop().assert_broken_only_by_its_end(killed, dead);
        }
        Ok(())
    });
}
