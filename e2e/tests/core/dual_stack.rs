//! A pod with an address of each family is redirected at both, and served by the app at both
//! afterwards.

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

/// The address with the same family as `of`.
fn of_family(of: IpAddr, addresses: &[SocketAddr]) -> Result<SocketAddr> {
    let found = addresses.iter().find(|address| address.is_ipv4() == of.is_ipv4());
    found.copied().with_context(|| format!("{addresses:?} has none of the family of {of}"))
}

/// The client's addresses that the app sees, by one call to each address of the pod.
fn client_addresses_seen(
    app: &Pod,
    ask: impl Fn(SocketAddr) -> Result<(String, IpAddr)>,
) -> Result<Vec<IpAddr>> {
    let seen = app.addresses().into_iter().map(|address| {
        let (server, client) = ask(address)?;
        ensure!(server == app.name(), "{server} answered at {address}");
        ensure!(client.is_ipv4() == address.is_ipv4(), "{client} called {address}");
        Ok(client)
    });
    seen.collect()
}

#[rstest]
#[case::to_ipv4(LAPTOP.into())]
#[case::to_ipv6(LAPTOP6.into())]
fn both_families_are_redirected_at_every_address_to_a_target_of_either_family(
    #[case] laptop: IpAddr,
) {
    run_dual_stack("dual-stack", |f| {
        f.installed(&[])?;
        let web = f.start(Manifest::new(Kind::Deployment, "web").on("node1").dual_stack())?;
        let app = web.pod()?;
        let addresses = [app.addresses(), web.service_addresses()?].concat();
        ensure!(
            addresses.len() == 6
                && addresses.iter().filter(|address| address.is_ipv6()).count() == 3,
            "{addresses:?}"
        );
        addresses.iter().try_for_each(|address| f.wait_answering(*address))?;
        let before_rule = app.snapshot()?;
        let load = f.load_on(&addresses)?;

        app.annotate(
            "debug.redirect",
            &format!("8080 -> {}", SocketAddr::new(laptop, LAPTOP_PORT)),
        )?;
        app.wait_active()?;
        let active = Instant::now();
        for address in &addresses {
            let answer = f.ask(*address)?;
            assert_eq!(answer.tag, "laptop", "at {address}");
            // The relay connects from the pod's network, in the family of the target.
            let client = answer.peer.context("no address in the answer")?;
            assert_eq!(client.ip(), of_family(laptop, &app.addresses())?.ip(), "at {address}");
        }
        load.wait_for_calls(addresses.len() * 10)?;
        let calls = load.so_far().since(active);
        assert_eq!(calls.by("laptop"), calls.len(), "{calls}");

        app.unannotate("debug.redirect")?;
        app.wait_untouched()?;
        let ended = Instant::now();
        for address in &addresses {
            assert_eq!(f.ask(*address)?.tag, app.name(), "at {address}");
        }
        assert_eq!(app.snapshot()?, before_rule);
        let calls = load.stop();
        calls.assert_none_failed();
        assert_eq!(calls.since(ended).by("laptop"), 0, "{calls}");
        Ok(())
    });
}

#[test]
fn the_app_sees_the_clients_addresses_of_both_families() {
    run_dual_stack("dual-address", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let once = |to: SocketAddr| {
            let answer = f.ask(to)?;
            Ok((answer.tag, answer.peer.context("no address in the answer")?.ip()))
        };
        let directly = client_addresses_seen(&app, once)?;
        ensure!(directly.len() == 2, "{directly:?}");

        // A request that does not match, on a connection with one that does.
        let laptop = SocketAddr::from((LAPTOP6, LAPTOP_PORT));
        app.annotate(
            "debug.redirect",
            &format!("8080 -> {laptop} when request.headers[\"x-user\"] == \"debug\""),
        )?;
        app.wait_active()?;
        let users = |to: SocketAddr| {
            let mut answers = ask_as(to, &["debug", "other"])?.into_iter();
            let (matching, other) = answers.next().zip(answers.next()).context("two answers")?;
            ensure!(matching.0 == "laptop", "{} answered a matching request", matching.0);
            Ok((other.0, other.1.ip()))
        };
        assert_eq!(client_addresses_seen(&app, users)?, directly);

        // Nothing listens on this port.
        app.annotate("debug.redirect", &format!("8080 -> [{LAPTOP6}]:1"))?;
        app.wait_refused("TargetRefuses")?;
        wait_until("the app to answer for the target", TIMEOUT, || {
            ensure!(client_addresses_seen(&app, once)? == directly, "the app sees other clients");
            Ok(())
        })?;
        let daemon = f.product.first_daemon()?;
        assert_eq!(daemon.metrics()?.sum("interceptor_callers_not_shown_total", &[]), 0.0);
        let workload = format!("{}/app", f.namespace());
        let refused = [("workload", workload.as_str()), ("reason", "target_refused")];
        daemon.wait_metric("interceptor_connections_total", &refused, |counted| counted >= 2.0)?;

        // The node is refused as target by each of its addresses.
        app.annotate("debug.redirect", "8080 -> [fd3e:9c51:a7d2:99::1]:3000")?;
        let condition = app.wait_refused("TargetDenied")?;
        ensure!(condition.message.contains("node"), "{condition}");
        Ok(())
    });
}

#[test]
fn the_app_serves_both_families_within_a_second_of_sigkill_and_the_target_serves_again() {
    run_dual_stack("dual-killed", |f| {
        f.installed(&[])?;
        let app = f.start(Manifest::new(Kind::Pod, "app").on("node1"))?.pod()?;
        let families = app.addresses();
        ensure!(families.len() == 2, "{families:?}");
        let loads = families.iter().map(|family| f.load(*family)).collect::<Result<Vec<_>>>()?;
        app.annotate("debug.redirect", &f.to_laptop())?;
        app.wait_active()?;
        loads.iter().try_for_each(|load| load.wait_for("laptop"))?;

        let daemon = f.product.first_daemon()?;
        let killed = daemon.kill_and_wait()?;
        for (family, load) in families.iter().zip(&loads) {
            load.wait_for_calls(20)?;
            let calls = load.so_far().since(killed.killed);
            let back = calls
                .first_by("app")
                .with_context(|| format!("the app does not serve {family}: {calls}"))?;
            ensure!(
                back - killed.killed < Duration::from_secs(1),
                "the app serves {family} after {:?}",
                back - killed.killed
            );
        }
        daemon.wait_restarted(killed.pid)?;
        for load in loads {
            load.wait_for("laptop")?;
            load.stop().assert_broken_only_by(&killed);
        }
        Ok(())
    });
}
